/**
 * The one way in for runs: REST, and later the protocol, crons and MCP, create, follow and stop runs through it.
 *
 * It admits and cancels in the database and reads logs from the bridge; executing is the worker's business, in this
 * process or another. Nothing here waits on a timer: followers wake from the log, and a log ends when the run has.
 */
import type { Signals, StreamBridge } from "../bridge/bridge.js";
import type { Clock } from "../core/clock.js";
import { conflict, GatewayError, notFound } from "../core/errors.js";
import type { Log } from "../core/log.js";
import {
  type Assistant,
  type CancelAction,
  isInFlight,
  type MultitaskStrategy,
  type Run,
  type RunStatus,
} from "../core/model.js";
import type { GraphHost } from "../graphs/host.js";
import type { AdmitResult, Checkpoints, Page, RunStore, ThreadStore } from "../storage/storage.js";
import { type AdmissionOptions, admissionOf } from "./admission.js";
import type { RunRequest } from "./draft.js";
import { tell } from "./ending.js";
import type { RunReader, RunReading } from "./reading.js";
import { resultJson } from "./result.js";
import { openRunLog } from "./run-log.js";
import { nextSignal } from "./wait.js";
import type { Slot } from "./worker.js";

export interface RunManagerDeps {
  readonly runs: RunStore;
  readonly threads: ThreadStore;
  readonly checkpoints: Pick<Checkpoints, "has">;
  readonly findAssistant: (idOrGraphId: string) => Promise<Assistant>;
  readonly host: GraphHost;
  readonly bridge: StreamBridge;
  readonly signals: Signals;
  readonly clock: Clock;
  readonly log: Log;
  readonly reader: RunReader;
  /** Room of a worker in this process, which then starts the run without being told; null without. */
  readonly reserveSlot: () => Slot | null;
  readonly options: AdmissionOptions;
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
   * request keeps it. An idempotency key that was used before returns the run that it created.
   */
  create(threadId: string | null, request: RunRequest): Promise<Run>;
  /** Several, each on a thread of its own; none when one of them asks for an assistant that does not exist. */
  createBatch(requests: readonly RunRequest[]): Promise<readonly Run[]>;
  get(threadId: string | null, runId: string): Promise<Run>;
  /** The run that occupies the thread now: the one that executes, else the next in line. */
  active(threadId: string): Promise<Run | undefined>;
  list(threadId: string, query: { limit: number; offset: number; status?: RunStatus | undefined }): Promise<Page<Run>>;
  /** Deletes a finished run's row; `conflict` while it is in flight. */
  remove(threadId: string, runId: string): Promise<void>;
  /** The run to follow or to wait for, also when only its log is left. */
  read(threadId: string | null, runId: string): Promise<RunReading>;
  readingOf(run: Run): RunReading;
  /** Requests a cancel and tells the worker. Idempotent; `conflict` for a run that ended otherwise. */
  cancel(threadId: string | null, runId: string, action: CancelAction): Promise<void>;
  /** Resolves when the run is in flight no more. */
  ended(runId: string, signal: AbortSignal): Promise<void>;
  /** For a thread that is being deleted: cancels what is in flight on it and resolves when all of it has stopped. */
  stopThread(threadId: string): Promise<void>;
  /** Cancels every run in flight that matches; returns how many. */
  cancelMany(selection: CancelSelection, action: CancelAction): Promise<number>;
}

export function createRunManager(deps: RunManagerDeps): RunManager {
  const { runs, threads, bridge, signals, reader } = deps;

  async function get(threadId: string | null, runId: string): Promise<Run> {
    const run = await runs.get(threadId, runId);
    if (run === undefined) throw notFound("run", runId);
    return run;
  }

  async function admit(threadId: string | null, request: RunRequest, assistant: Assistant): Promise<Run> {
    const admitted = await admitInSlot(deps.reserveSlot(), (claim) =>
      runs.admit(admissionOf(threadId, request, { assistant, claim, now: deps.clock.now(), options: deps.options })),
    );
    if (admitted.kind === "repeated") return admitted.run;
    const ended = cancelledAs(admitted.run.multitaskStrategy);
    await Promise.all(admitted.cancelled.map((other) => tellCancelled(other, ended)));
    if (admitted.run.status === "pending") signals.send("runs");
    return { ...admitted.run, status: "pending" }; // as clients know a new run, however soon it starts
  }

  /** The new run is committed and must be answered for, whatever goes wrong with those that it cancelled (W8). */
  async function tellCancelled(run: Run, ended: "interrupted" | "rollback"): Promise<void> {
    try {
      if (run.status === "running") signals.send(`cancel:${run.runId}`);
      else if (run.fence === 0) await endUnstarted(run, ended);
    } catch (error) {
      deps.log.error({ err: error, runId: run.runId }, "the stream of a cancelled run could not be ended");
    }
  }

  /** A pointer to nowhere is refused before there is a run; hooks send one with every message. */
  async function requireCheckpoint(threadId: string, request: RunRequest, { graphId }: Assistant): Promise<void> {
    const { checkpoint, config } = request;
    if (checkpoint?.checkpointId === undefined) return;
    if (deps.checkpoints.has(threadId, checkpoint.checkpointNs, checkpoint.checkpointId)) return;
    // A graph that keeps its checkpoints itself may have it; for any other this says what is missing.
    await deps.host.getState({ graphId, threadId, checkpoint, config }, { subgraphs: false });
  }

  /** A run that never ran has no worker to end its log, nor to remove a thread that was its own. */
  async function endUnstarted(run: Run, status: "interrupted" | "rollback"): Promise<void> {
    const runLog = await openRunLog(bridge, run, run.fence + 1);
    const thread = await threads.get(run.threadId);
    const { valuesJson, interrupts } = thread ?? { valuesJson: null, interrupts: {} };
    await runLog.end({ status, error: null, resultJson: resultJson({ valuesJson, interrupts, error: null }) });
    tell(signals, run);
    if (run.payload.temporary) await threads.remove(run.threadId);
  }

  async function cancel(threadId: string | null, runId: string, action: CancelAction): Promise<void> {
    const run = await get(threadId, runId);
    switch (await runs.requestCancel(threadId, runId, action)) {
      case "ended":
        return endUnstarted(run, cancelledAs(action));
      case "requested":
        signals.send(`cancel:${runId}`);
        return;
      case "already":
        return;
      case "finished": {
        const { status } = await get(threadId, runId);
        throw conflict(`run ${runId} has ended already with status ${status}`, { status });
      }
      case "missing":
        throw notFound("run", runId);
    }
  }

  async function ended(runId: string, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const change = nextSignal(signals, `run:${runId}`, signal);
      const run = await runs.get(null, runId);
      if (run === undefined || !isInFlight(run.status)) return change.forget();
      await change.promise;
    }
  }

  /** Of a thread that no run can start on any more. */
  async function stopRun(run: Run): Promise<void> {
    const answer = await runs.requestCancel(run.threadId, run.runId, "interrupt");
    if (run.status === "pending" && (answer === "ended" || answer === "requested")) {
      return endUnstarted(run, "interrupted"); // nobody claims it: its row goes with the thread
    }
    signals.send(`cancel:${run.runId}`);
    await ended(run.runId, NEVER);
  }

  return {
    get,
    cancel,
    ended,
    readingOf: (run) => reader.ofRun(run),

    async create(threadId, request) {
      const assistant = await deps.findAssistant(request.assistantId);
      if (threadId !== null) await requireCheckpoint(threadId, request, assistant);
      return admit(threadId, request, assistant);
    },

    async createBatch(requests) {
      const found = await Promise.all(
        requests.map(async (request) => ({ request, assistant: await deps.findAssistant(request.assistantId) })),
      );
      return Promise.all(found.map(({ request, assistant }) => admit(null, request, assistant)));
    },

    async active(threadId) {
      const inFlight = await runs.listInFlight({ threadId });
      return inFlight.find(({ status }) => status === "running") ?? inFlight.at(-1);
    },

    async list(threadId, query) {
      if ((await threads.get(threadId)) === undefined) throw notFound("thread", threadId);
      return runs.list(threadId, query);
    },

    async remove(threadId, runId) {
      const run = await get(threadId, runId);
      if (!(await runs.remove(threadId, runId))) {
        throw conflict(`run ${runId} is ${run.status}; cancel it first`, { status: run.status });
      }
      await bridge.drop(runId);
    },

    async read(threadId, runId) {
      const run = await runs.get(threadId, runId);
      const reading = run === undefined ? await reader.ofRetained(threadId, runId) : reader.ofRun(run);
      if (reading === undefined) throw notFound("run", runId);
      return reading;
    },

    async stopThread(threadId) {
      await Promise.all((await runs.listInFlight({ threadId })).map(stopRun));
    },

    async cancelMany(selection, action) {
      const outcomes = await Promise.all(
        (await select(runs, selection)).map((run) =>
          cancel(run.threadId, run.runId, action).then(() => true, hasEnded),
        ),
      );
      return outcomes.filter(Boolean).length;
    },
  };
}

async function admitInSlot(
  slot: Slot | null,
  admit: (claim: Slot["claim"] | null) => Promise<AdmitResult>,
): Promise<AdmitResult> {
  if (slot === null) return admit(null);
  let isTaken = false;
  try {
    const admitted = await admit(slot.claim);
    isTaken = admitted.kind === "admitted" && admitted.run.status === "running";
    if (isTaken) slot.begin(admitted.run);
    return admitted;
  } finally {
    if (!isTaken) slot.free();
  }
}

const NEVER = new AbortController().signal;

function cancelledAs(action: CancelAction | MultitaskStrategy): "interrupted" | "rollback" {
  return action === "rollback" ? "rollback" : "interrupted";
}

/** A run that ended between being listed and being cancelled needs no cancel. */
function hasEnded(error: unknown): false {
  if (error instanceof GatewayError) return false;
  throw error;
}

async function select(
  runs: RunStore,
  { threadId, runIds, status, assistantId }: CancelSelection,
): Promise<readonly Run[]> {
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
