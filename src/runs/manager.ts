/**
 * The one way in for runs: REST, the protocol, crons, and later MCP, create, follow and stop runs through it.
 *
 * It admits and cancels in the database and reads logs from the bridge; executing is the worker's business, in this
 * process or another. Nothing here waits on a timer: followers wake from the log, and a log ends when the run has.
 */
import type { Signals, StreamBridge } from "../bridge/bridge.js";
import type { Caller, PerCaller } from "../core/caller.js";
import type { Clock } from "../core/clock.js";
import { conflict, GatewayError, notFound, unsupported } from "../core/errors.js";
import { newId } from "../core/ids.js";
import type { Log } from "../core/log.js";
import { type Assistant, type CancelAction, isInFlight, type JsonObject, type Run } from "../core/model.js";
import { requirePageFits } from "../core/page.js";
import type { GraphHost } from "../graphs/host.js";
import type { Checkpoints } from "../storage/ports/checkpoints.js";
import type { CronTick } from "../storage/ports/crons.js";
import type { Page } from "../storage/ports/page.js";
import type { AdmitResult, BriefRun, ListedRun, RunStore } from "../storage/ports/runs.js";
import type { ThreadStore } from "../storage/ports/threads.js";
import { type AdmissionOptions, admissionOf } from "./admission.js";
import { authorizeRun } from "./authorization.js";
import type { RunRequest } from "./draft.js";
import type { LedgerWriter } from "./ledger-writer.js";
import type { RunReader, RunReading } from "./reading.js";
import { briefOf, cancelledAs, createStopper } from "./stopping.js";
import type { Slot } from "./worker.js";

export interface RunManagerDeps {
  readonly runs: RunStore;
  readonly threads: ThreadStore;
  readonly checkpoints: Pick<Checkpoints, "has">;
  /** `version` undefined: the current one. */
  readonly findAssistant: (caller: Caller, idOrGraphId: string, version: number | undefined) => Promise<Assistant>;
  readonly host: GraphHost;
  readonly bridge: StreamBridge;
  readonly ledgerWriter: LedgerWriter;
  readonly signals: Signals;
  readonly clock: Clock;
  readonly log: Log;
  readonly reader: RunReader;
  /** Room of a worker in this process, which then starts the run without being told; null without. */
  readonly reserveSlot: () => Slot | null;
  /** Throws `validation` or `unsupported` for a webhook that may not be sent. */
  readonly requireWebhook: (url: string) => void;
  /** Throws `unavailable` while nothing new may begin. */
  readonly requireOpen: () => void;
  readonly options: AdmissionOptions & {
    /** Whether there are credentials for what runs may ask of LangSmith. */
    readonly hasLangsmith?: boolean;
    /** What the runs of one batch may take from their assistants together: each is stored, and answered, with it. */
    readonly maxInheritedBytes: number;
  };
}

interface AskedRun {
  readonly request: RunRequest;
  readonly assistant: Assistant;
}

/** Runs in flight that have all of what is given. */
export interface CancelSelection {
  readonly threadId?: string | undefined;
  /** Only with a thread. */
  readonly runIds?: readonly string[] | undefined;
  readonly status?: "pending" | "running" | undefined;
  readonly assistantId?: string | undefined;
}

export interface RunManager {
  /**
   * Admits a run and returns its row, committed. `threadId` null makes a thread for it: a temporary one unless the
   * request keeps it. An idempotency key that was used before returns the run that it created. `unavailable`, and nothing
   * written, while the gateway stops: clients ask again, and what they wait for must not run twice.
   */
  create(threadId: string | null, request: RunRequest): Promise<Run>;
  /**
   * The same for the tick of a cron; undefined, and no run, when somebody has fired it before, or the cron is not what it
   * was.
   */
  fire(tick: CronTick, threadId: string | null, request: RunRequest): Promise<Run | undefined>;
  /**
   * Several, each on a thread of its own; none when one of them asks for an assistant that does not exist or a webhook that
   * may not be sent, or when their assistants are too much for one answer.
   */
  createBatch(requests: readonly RunRequest[]): Promise<readonly Run[]>;
  get(threadId: string | null, runId: string): Promise<Run>;
  /** The run that occupies the thread now: the one that executes, else the next in line. */
  active(threadId: string): Promise<Run | undefined>;
  list(...args: Parameters<RunStore["list"]>): Promise<Page<ListedRun>>;
  /** Deletes a finished run's row; `conflict` while it is in flight. */
  remove(threadId: string, runId: string): Promise<void>;
  /** The run to follow or to wait for, also when only its log is left. */
  read(threadId: string | null, runId: string): Promise<RunReading>;
  readingOf(run: Run): RunReading;
  /** Requests a cancel and tells the worker. Idempotent; `conflict` for a run that ended otherwise. */
  cancel(threadId: string | null, runId: string, action: CancelAction): Promise<void>;
  /** Resolves when the run is in flight no more. */
  ended(runId: string, signal: AbortSignal): Promise<void>;
  /** Cancels every run in flight that matches; returns how many. */
  cancelMany(selection: CancelSelection, action: CancelAction): Promise<number>;
}

export interface RunManagers extends PerCaller<RunManager> {
  /**
   * For a thread that is being deleted: cancels what is in flight on it and resolves when all of it has stopped, wherever it
   * executes. Throws `unavailable` when `signal` aborts first.
   */
  stopThread(threadId: string, signal?: AbortSignal): Promise<void>;
  /** Cancels runs that nobody, on any replica, has read for so long although their clients wanted them to stop then. */
  cancelAbandoned(forMs: number): Promise<number>;
}

export function createRunManager(deps: RunManagerDeps): RunManagers {
  const { threads, bridge, signals, reader } = deps;
  const stopper = createStopper(deps);

  /** In the caller's name: the run is made as the authorisation wants it. undefined: the tick was fired before. */
  async function admit(
    caller: Caller,
    threadId: string | null,
    { request, assistant, tick = null }: AskedRun & { readonly tick?: CronTick | null },
  ): Promise<Run | undefined> {
    deps.requireOpen();
    const ids = { threadId: threadId ?? newId(), runId: newId() };
    const { scope, request: permitted } = await authorizeRun(caller, request, { ...ids, assistant });
    const runs = deps.runs.within(scope);
    const admitted = await admitInSlot(deps.reserveSlot(), (claim) => {
      const admission = admissionOf(permitted, {
        ...ids,
        isOwnThread: threadId === null,
        user: caller.user,
        asked: request,
        assistant,
        claim,
        cronId: tick?.cronId ?? null,
        now: deps.clock.now(),
        options: deps.options,
      });
      return tick === null ? runs.admit(admission) : runs.fire(tick, admission);
    });
    return admitted && announce(admitted);
  }

  async function announce(admitted: AdmitResult): Promise<Run> {
    if (admitted.kind === "repeated") return admitted.run;
    const ended = cancelledAs(admitted.run.multitaskStrategy);
    // What never ran ends with what the thread shows now, before a run that is stopped with it changes that.
    await Promise.all(admitted.cancelled.map((other) => endIfUnstarted(other, ended)));
    for (const { runId, status } of admitted.cancelled) if (status === "running") signals.send(`cancel:${runId}`);
    if (admitted.run.status === "pending") signals.send("runs");
    return { ...admitted.run, status: "pending" }; // as clients know a new run, however soon it starts
  }

  /** The new run is committed and must be answered for, whatever goes wrong with those that it cancelled (W8). */
  async function endIfUnstarted(run: BriefRun, ended: "interrupted" | "rollback"): Promise<void> {
    try {
      if (run.status === "pending" && run.fence === 0) await stopper.endUnstarted(run, ended);
    } catch (error) {
      deps.log.error({ err: error, runId: run.runId }, "the stream of a cancelled run could not be ended");
    }
  }

  /** A pointer to nowhere is refused before there is a run; hooks send one with every message. */
  async function requireCheckpoint(
    caller: Caller,
    threadId: string,
    { request, assistant: { graphId } }: AskedRun,
  ): Promise<void> {
    const { checkpoint, config } = request;
    if (checkpoint?.checkpointId === undefined) return;
    const { scope } = await caller.authorize("threads:read", { thread_id: threadId });
    const isOutOfSight = scope.length > 0 && (await threads.within(scope).get(threadId)) === undefined;
    if (isOutOfSight) return; // the admission says so
    if (await deps.checkpoints.has(threadId, checkpoint.checkpointNs, checkpoint.checkpointId)) return;
    // A graph that keeps its checkpoints itself may have it; for any other this says what is missing.
    await deps.host.getState({ graphId, threadId, checkpoint, config }, { subgraphs: false });
  }

  return {
    as: (caller) => asCaller(caller),

    async cancelAbandoned(forMs) {
      const runIds = await deps.runs.listAbandoned(forMs);
      const cancels = runIds.map((runId) =>
        stopper.cancel(deps.runs, null, { runId, action: "interrupt" }).then(() => true, hasEnded),
      );
      return (await Promise.all(cancels)).filter(Boolean).length;
    },

    stopThread: (threadId, signal = NEVER) => stopper.stopThread(threadId, signal),
  };

  function asCaller(caller: Caller): RunManager {
    /** The runs that the caller may do this to. */
    async function runsFor(
      action: "threads:read" | "threads:update" | "threads:delete",
      asked: { readonly thread_id: string | null } & JsonObject,
    ): Promise<RunStore> {
      const { scope } = await caller.authorize(action, asked);
      return deps.runs.within(scope);
    }

    async function get(threadId: string | null, runId: string): Promise<Run> {
      const runs = await runsFor("threads:read", { thread_id: threadId });
      const run = await runs.get(threadId, runId);
      if (run === undefined) throw notFound("run", runId);
      return run;
    }

    /** What a run asks for is looked for before anything of it is made. */
    async function findAssistant(request: RunRequest): Promise<Assistant> {
      if (deps.options.hasLangsmith !== true) refuseLangsmith(request);
      return deps.findAssistant(caller, request.assistantId, request.assistantVersion);
    }

    return {
      get,
      ended: stopper.ended,
      readingOf: (run) => reader.ofRun(run),

      async create(threadId, request) {
        const assistant = await findAssistant(request);
        if (request.webhook !== undefined) deps.requireWebhook(request.webhook);
        if (threadId !== null) await requireCheckpoint(caller, threadId, { request, assistant });
        return required(await admit(caller, threadId, { request, assistant }));
      },

      async fire(tick, threadId, request) {
        if (request.webhook !== undefined) deps.requireWebhook(request.webhook);
        return admit(caller, threadId, { request, assistant: await findAssistant(request), tick });
      },

      async createBatch(requests) {
        const found: AskedRun[] = [];
        const sizes: number[] = [];
        for (const request of requests) {
          const assistant = await findAssistant(request);
          if (request.webhook !== undefined) deps.requireWebhook(request.webhook);
          sizes.push(Buffer.byteLength(JSON.stringify([assistant.config, assistant.context])));
          requirePageFits(sizes, deps.options.maxInheritedBytes);
          found.push({ request, assistant });
        }
        return Promise.all(found.map(async (each) => required(await admit(caller, null, each))));
      },

      async active(threadId) {
        const runs = await runsFor("threads:read", { thread_id: threadId });
        const inFlight = await runs.listInFlight({ threadId });
        const active = inFlight.find(({ status }) => status === "running") ?? inFlight.at(-1);
        return active && runs.get(threadId, active.runId);
      },

      async list(threadId, query) {
        const { scope } = await caller.authorize("threads:search", { thread_id: threadId, status: query.status });
        if ((await threads.within(scope).get(threadId)) === undefined) throw notFound("thread", threadId);
        return deps.runs.within(scope).list(threadId, query);
      },

      async remove(threadId, runId) {
        const runs = await runsFor("threads:delete", { thread_id: threadId, run_id: runId });
        // What was refused may have ended, or gone, since: only what is seen afterwards tells why.
        while (!(await runs.remove(threadId, runId))) {
          const { status } = await briefOf(runs, threadId, runId);
          if (isInFlight(status)) throw conflict(`run ${runId} is ${status}; cancel it first`, { status });
        }
        await bridge.drop(runId);
      },

      async read(threadId, runId) {
        const { scope } = await caller.authorize("threads:read", { thread_id: threadId });
        const run = await deps.runs.within(scope).get(threadId, runId);
        if (run !== undefined) return reader.ofRun(run);
        // What is out of sight is not read from a log that its run has left either.
        const isOutOfSight = scope.length > 0 && (await deps.runs.getBrief(null, runId)) !== undefined;
        const reading = isOutOfSight ? undefined : await reader.ofRetained(threadId, runId, scope);
        if (reading === undefined) throw notFound("run", runId);
        return reading;
      },

      async cancel(threadId, runId, action) {
        const runs = await runsFor("threads:update", { thread_id: threadId, action, metadata: { run_ids: [runId] } });
        await stopper.cancel(runs, threadId, { runId, action });
      },

      async cancelMany(selection, action) {
        const { threadId = null, runIds = null, status = "all" } = selection;
        const metadata = { run_ids: runIds, status };
        const runs = await runsFor("threads:update", { thread_id: threadId, action, metadata });
        const outcomes = await Promise.all(
          (await select(runs, selection)).map(({ threadId: of, runId }) =>
            stopper.cancel(runs, of, { runId, action }).then(() => true, hasEnded),
          ),
        );
        return outcomes.filter(Boolean).length;
      },
    };
  }
}

function refuseLangsmith({ feedbackKeys, langsmithTracer }: RunRequest): void {
  const why = "there are no credentials for LangSmith (langsmith.api_key)";
  if (feedbackKeys !== undefined) throw unsupported("feedback_keys", why);
  if (langsmithTracer !== undefined) throw unsupported("langsmith_tracer", why);
}

async function admitInSlot<Result extends AdmitResult | undefined>(
  slot: Slot | null,
  admit: (claim: Slot["claim"] | null) => Promise<Result>,
): Promise<Result> {
  if (slot === null) return admit(null);
  let isTaken = false;
  try {
    const admitted = await admit(slot.claim);
    if (admitted?.kind === "admitted" && admitted.run.status === "running") {
      isTaken = true;
      slot.begin(admitted.run);
    }
    return admitted;
  } finally {
    if (!isTaken) slot.free();
  }
}

/** What is not the tick of a cron becomes a run, or is refused. */
function required(run: Run | undefined): Run {
  if (run === undefined) throw new Error("a run was neither admitted nor refused");
  return run;
}

const NEVER = new AbortController().signal;

/** A run that ended between being listed and being cancelled needs no cancel. */
function hasEnded(error: unknown): false {
  if (error instanceof GatewayError) return false;
  throw error;
}

async function select(
  runs: RunStore,
  { threadId, runIds, status, assistantId }: CancelSelection,
): Promise<readonly BriefRun[]> {
  const inFlight = await runs.listInFlight({
    ...(threadId === undefined ? {} : { threadId }),
    ...(status === undefined ? {} : { status }),
  });
  return inFlight.filter(
    (run) =>
      (runIds === undefined || runIds.includes(run.runId)) &&
      (assistantId === undefined || run.assistantId === assistantId),
  );
}
