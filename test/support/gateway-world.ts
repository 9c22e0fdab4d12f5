/**
 * A gateway that a test drives through its life, with clients that write down what they ask and hear.
 *
 * Threads and runs have the names that `gateway-model.ts` gives them; what is observed comes in these names, so that it can
 * be compared with the model.
 */
import type { SqliteSaver } from "@langchain/langgraph-checkpoint-sqlite";
import { answerFor } from "../../src/api/errors.js";
import { formatEventId } from "../../src/bridge/bridge.js";
import { hostKit } from "../../src/core/kit.js";
import { type Json, THREAD_STATUSES } from "../../src/core/model.js";
import { openCheckpoints } from "../../src/storage/checkpoints.js";
import { createDatabase } from "../../src/storage/database.js";
import { migrate } from "../../src/storage/migrations.js";
import { openSqlite } from "../../src/storage/sqlite.js";
import { createDrivenHost, type DrivenHost, type DrivenRecords } from "./driven-host.js";
import { createFakeClock, type FakeClock } from "./fake-clock.js";
import { type CreateRun, type Heard, headOf, type Model, metadataOf, type Request, statusOf } from "./gateway-model.js";
import { type GatewayProcess, type ProcessOptions, startProcess } from "./gateway-process.js";
import type { Call, Connection, Fault, History, SeenEvent } from "./history-data.js";
import { dumpDatabase } from "./history-dump.js";
import { isObject } from "./history-view.js";
import { runRequest } from "./run-request.js";

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

interface Waiter {
  readonly run: string;
  /** Whether the run was in flight when it was asked for. */
  readonly sawBegin: boolean;
  heard: Heard | "broken" | undefined;
}

interface ObservedRun {
  readonly thread: string;
  readonly run: string;
  readonly status: string;
}

interface ObservedThread {
  readonly status: string;
  /** Whether it keeps the error of its last run, seen or not: a busy thread hides it. */
  readonly failed: boolean;
  readonly shown: Heard;
  readonly asked: Json;
  readonly metadata: { readonly [key: string]: Json };
  readonly head: Heard;
  readonly open: boolean;
}

export interface Observed {
  readonly threads: Readonly<Record<string, ObservedThread>>;
  /** In the order of their admission. */
  readonly runs: readonly ObservedRun[];
  readonly executing: readonly string[];
  /** Idempotency keys that stand for a run, be it gone. */
  readonly keys: readonly string[];
}

export type World = Awaited<ReturnType<typeof createWorld>>;

const systemNow = Date.now;

export async function createWorld(options: ProcessOptions) {
  const connection = openSqlite(":memory:", "FULL");
  await migrate(createDatabase(connection));
  const checkpoints = openCheckpoints(":memory:");
  const clock: FakeClock = createFakeClock();
  Date.now = () => clock.now(); // the ids of checkpoints are made of it
  const records: DrivenRecords = { executions: [], approvals: [] };
  const calls: Mutable<Call>[] = [];
  const readers: Mutable<Connection>[] = [];
  const faults: Fault[] = [];
  const waiters: Waiter[] = [];
  const ids = new Map<string, string>();
  const names = new Map<string, string>();
  let uses = 0;
  let gate: (call: string) => Promise<void> | undefined = () => undefined;
  /** Another one in each life: what an earlier one hears is nobody's any more. */
  let life = {};
  /** The name of the copy that was asked for last. */
  let copying: string | undefined;
  let process: GatewayProcess<DrivenHost> = await start();
  /** The latest time that a process told. */
  let told = process.clock.now();

  async function start(): Promise<GatewayProcess<DrivenHost>> {
    return startProcess({
      connection,
      checkpoints,
      clock,
      createHost: (of) => createDrivenHost(of, records),
      options,
      gate: (call) => gate(call),
      onUse: () => uses++,
    });
  }

  /** For what clients write down: never before anything that the gateway has written until then. */
  function now(): number {
    told = Math.max(told, process.clock.now());
    return told;
  }

  function name(id: string, as: string): void {
    ids.set(as, id);
    names.set(id, as);
  }

  const idOf = (as: string): string => ids.get(as) ?? as;
  const nameOf = (id: string): string => names.get(id) ?? id;

  /** Until nobody has anything to do but to wait for the test. */
  async function quiet(): Promise<void> {
    for (let still = 0; still < 4; ) {
      const before = uses;
      await new Promise((resolve) => setImmediate(resolve));
      still = uses === before && !connection.inTransaction ? still + 1 : 0;
    }
  }

  async function send(request: Request): Promise<{ readonly status: number; readonly run?: string }> {
    const { manager, threads, state, host } = process;
    switch (request.kind) {
      case "create thread":
        await threads.create({
          threadId: request.thread,
          metadata: {},
          ifExists: request.ifExists,
          ttl: null,
          supersteps: [],
        });
        return { status: 200 };
      case "patch thread":
        await threads.patch(idOf(request.thread), { metadata: { [request.key]: request.value } });
        return { status: 200 };
      case "delete thread":
        await threads.remove(idOf(request.thread));
        return { status: 204 };
      case "copy thread": {
        copying = request.copy;
        const copy = await threads.copy(idOf(request.thread));
        name(copy.threadId, request.copy);
        return { status: 200 };
      }
      case "expire thread": {
        const isDeleted = await process.expire(idOf(request.thread), request.strategy);
        return { status: isDeleted ? 204 : 200 };
      }
      case "create run": {
        const run = await manager.create(request.on === "thread" ? idOf(request.thread) : null, toRunRequest(request));
        if (!names.has(run.runId)) name(run.runId, request.run);
        if (request.on !== "thread" && !names.has(run.threadId)) name(run.threadId, request.thread);
        return { status: 200, run: nameOf(run.runId) };
      }
      case "cancel run":
        await manager.cancel(null, idOf(request.run), request.action);
        return { status: 202 };
      case "delete run": {
        const run = await manager.get(null, idOf(request.run));
        await manager.remove(run.threadId, run.runId);
        return { status: 204 };
      }
      case "update state":
        await state.update(idOf(request.thread), {
          checkpoint: null,
          supersteps: [[{ values: { log: [request.text] }, asNode: "work" }]],
        });
        return { status: 200 };
      case "instruct":
        if (host.waiting().includes(idOf(request.run))) host.instruct(idOf(request.run), request.instruction);
        return { status: 200 };
    }
  }

  /** A client's request, from asking to answer, written down. */
  async function perform(request: Request): Promise<{ readonly status: number; readonly run?: string }> {
    const call = callOf(request, { at: now(), idOf });
    if (call !== undefined) calls.push(call);
    const of = life;
    let answer: { readonly status: number; readonly run?: string };
    try {
      answer = await send(request);
    } catch (error) {
      const { status, unexpected } = answerFor(error, 409);
      if (unexpected && of === life) throw error; // no request may end so
      if (of !== life) return { status: 0 };
      answer = { status };
    }
    if (call !== undefined && of === life) {
      // Nobody asked for the deletion: it happened or did not.
      if (request.kind === "expire thread" && answer.status !== 204) {
        call.heard = "broken";
        return answer;
      }
      const isNew = request.kind === "create run" && answer.run === request.run;
      call.heard = {
        at: now(),
        status: answer.status,
        ...(answer.run === undefined ? {} : { runId: idOf(answer.run) }),
        ...(isNew ? { threadId: idOf(request.thread) } : {}),
        ...(request.kind === "create thread" ? { threadId: request.thread } : {}),
      };
    }
    return answer;
  }

  /** Waits for the run until it ends, or the process does. */
  function wait(run: string, { sawBegin }: { readonly sawBegin: boolean }): void {
    const waiter: Waiter = { run, sawBegin, heard: undefined };
    const call: Mutable<Call> = { ask: "wait run", runId: idOf(run), at: now(), heard: "none" };
    waiters.push(waiter);
    calls.push(call);
    const of = life;
    const hear = (heard: Heard | "broken", body?: Json): void => {
      if (of !== life) return;
      waiter.heard = heard;
      call.heard = heard === "broken" ? "broken" : { at: now(), status: 200, body: body ?? null };
    };
    const answered = async (): Promise<void> => {
      const reading = await process.manager.read(null, idOf(run));
      const text = await reading.result(new AbortController().signal);
      const body = JSON.parse(text ?? "null") as Json;
      hear(toHeard(body), body);
    };
    answered().catch(() => hear("broken"));
  }

  /** Reads the run's stream from `cursor` until it ends, or the process does. */
  function watch(run: string, reader: string): void {
    const earlier = readers.filter((connection) => connection.reader === reader && connection.runId === idOf(run));
    if (earlier.some(({ ended }) => ended !== "cut")) return;
    const seen = earlier.flatMap(({ events }) => events);
    const cursor = seen.findLast(({ id }) => id !== null)?.id ?? null;
    const events: SeenEvent[] = [];
    const connection: Mutable<Connection> = { reader, runId: idOf(run), cursor, events, ended: "open" };
    readers.push(connection);
    const of = life;
    const read = async (): Promise<void> => {
      const reading = await process.manager.read(null, idOf(run));
      const [fence = 0, seq = 0] = (cursor ?? "0-0").split("-").map(Number);
      const from = cursor === null ? ({ from: "start" } as const) : { after: { fence, seq } };
      for await (const batch of reading.follow({ cursor: from, signal: new AbortController().signal })) {
        if (of !== life) return;
        for (const { id, event, data } of batch) {
          events.push({ id: id === null ? null : formatEventId(id), event, data: JSON.parse(data) });
        }
      }
      if (of === life) connection.ended = "end";
    };
    read().catch(() => {
      if (of === life) connection.ended = "cut";
    });
  }

  /** What clients and readers of a process see when it goes. */
  function hangUp(): void {
    life = {};
    for (const waiter of waiters) waiter.heard ??= "broken";
    for (const call of calls) if (call.heard === "none") call.heard = "broken";
    for (const connection of readers) if (connection.ended === "open") connection.ended = "cut";
  }

  return {
    clock,
    ids,
    waiters,
    perform,
    wait,
    watch,
    quiet,
    idOf,
    /** From now on `through` stands before every call of a store. */
    setGate(through: (call: string) => Promise<void> | undefined): void {
      gate = through;
    },

    /** What time it is for the gateway. */
    time: () => process.clock.now(),

    /** Sets the machine's clock so much forward or back. */
    setClock(offsetMs: number): void {
      now();
      clock.set(offsetMs);
      process.look(); // a jump is no event: whatever makes it look next finds what became due
    },

    /** The process dies where it stands, and another one starts. */
    async crash(): Promise<void> {
      now();
      process.kill();
      hangUp();
      gate = () => undefined;
      connection.exec("UPDATE threads SET ttl_strategy = NULL, ttl_minutes = NULL, expires_at = NULL"); // `expire` died
      process = await start();
      const at = process.clock.now(); // before what it puts right, as the next one sees it
      faults.push({ kind: "kill", at, until: at });
      adoptNames();
    },

    /** The process stops without grace, and another one starts. */
    async restart(): Promise<void> {
      const stopping = process;
      await stopping.stop();
      await quiet();
      hangUp();
      faults.push({ kind: "drain", at: now(), until: now() });
      process = await start();
    },

    async searchByStatus(): Promise<Readonly<Record<string, readonly string[]>>> {
      const page = { limit: 1_000, offset: 0, maxBytes: 1e9, sortBy: "thread_id", sortOrder: "asc" } as const;
      const found = await Promise.all(
        THREAD_STATUSES.map(async (status) => {
          const { rows } = await process.threads.search({ status }, page, { withValues: false });
          return [status, rows.map(({ threadId }) => nameOf(threadId)).sort()] as const;
        }),
      );
      return Object.fromEntries(found);
    },

    async observe(): Promise<Observed> {
      const threads: Record<string, ObservedThread> = {};
      for (const [threadId, failed] of connection
        .prepare("SELECT thread_id, error IS NOT NULL FROM threads WHERE deleting = 0 ORDER BY 1")
        .raw()
        .all() as [string, number][]) {
        const thread = await process.threads.require(threadId);
        const { values, next } = await process.state.get(thread.threadId, null, { subgraphs: false });
        const { graph_id: _graph, assistant_id: _assistant, ...metadata } = thread.metadata;
        threads[nameOf(thread.threadId)] = {
          status: thread.status,
          failed: failed === 1,
          shown: toHeard(JSON.parse(thread.valuesJson ?? "{}") as Json),
          asked: Object.values(thread.interrupts).flat()[0]?.value ?? null,
          metadata,
          head: toHeard(values),
          open: next.length > 0,
        };
      }
      const rows = connection
        .prepare("SELECT thread_id, run_id, status FROM runs ORDER BY seq")
        .raw()
        .all() as string[][];
      return {
        threads,
        runs: rows.map(([threadId = "", runId = "", status = ""]) => ({
          thread: nameOf(threadId),
          run: nameOf(runId),
          status,
        })),
        executing: process.host.waiting().map(nameOf).sort(),
        keys: connection.prepare("SELECT key FROM idempotency_keys").pluck().all().map(String).sort(),
      };
    },

    /** Which attempt and fence the run has: the model cannot know what a crash in the middle of a start left. */
    claimsOf(
      run: string,
    ):
      | { readonly attempt: number; readonly fence: number; readonly seq: number; readonly updatedAt: number }
      | undefined {
      return connection
        .prepare("SELECT attempt, fence, seq, updated_at AS updatedAt FROM runs WHERE run_id = ?")
        .get(idOf(run)) as
        | { readonly attempt: number; readonly fence: number; readonly seq: number; readonly updatedAt: number }
        | undefined; // the columns above
    },

    /** `answered`: by run, the question that its command was for. */
    history(answered: ReadonlyMap<string, string>): History {
      const { db } = checkpoints.saver(hostKit) as SqliteSaver; // heddle's saver is one
      return {
        calls: calls.map((call) => withAnswers(call, answered)),
        readers,
        faults,
        recoveryMs: Number.MAX_SAFE_INTEGER,
        ...records,
        ...dumpDatabase({ database: connection, checkpoints: db }, now()),
      };
    },

    async close(): Promise<void> {
      await process.stop();
      await quiet();
      checkpoints.close();
      connection.close();
      Date.now = systemNow;
    },
  };

  /** Of runs whose admission was committed and never answered, and of the copy. */
  function adoptNames(): void {
    const rows = connection.prepare("SELECT run_id, thread_id, metadata FROM runs").raw().all() as string[][];
    for (const [runId = "", threadId = "", metadata = "{}"] of rows) {
      const { name: run, thread } = JSON.parse(metadata) as { name?: string; thread?: string };
      if (run !== undefined && !names.has(runId)) name(runId, run);
      if (thread !== undefined && !names.has(threadId) && thread !== threadId) name(threadId, thread);
    }
    const threadIds = connection.prepare("SELECT thread_id FROM threads").pluck().all() as string[];
    const copy = threadIds.find((threadId) => !names.has(threadId) && isMadeUp(threadId));
    if (copy !== undefined && copying !== undefined) name(copy, copying);
  }
}

/** By the gateway: clients call a thread by its name. */
function isMadeUp(threadId: string): boolean {
  return threadId.length === 36;
}

function toRunRequest(request: CreateRun) {
  const { on, strategy, ifNotExists, afterSeconds, begin, key } = request;
  const wrong = { ["f".repeat(32)]: "x" };
  return runRequest({
    input: begin.kind === "input" ? begin.text : null,
    command: begin.kind === "input" ? null : { resume: begin.kind === "answer" ? begin.text : wrong },
    metadata: metadataOf(request),
    multitaskStrategy: strategy,
    ifNotExists,
    afterSeconds,
    onCompletion: on === "temporary" ? "delete" : "keep",
    idempotencyKey: key,
    webhook: "https://hooks.example/", // the process has nobody who sends it
  });
}

/** undefined for what no client asks. */
function callOf(
  request: Request,
  { at, idOf }: { readonly at: number; readonly idOf: (name: string) => string },
): Mutable<Call> | undefined {
  const asked = { at, heard: "none" } as const;
  switch (request.kind) {
    case "create thread":
      return { ...asked, ask: "create thread", threadId: request.thread };
    case "delete thread":
      return { ...asked, ask: "delete thread", threadId: idOf(request.thread) };
    case "copy thread":
      return undefined;
    case "expire thread":
      return request.strategy === "keep_latest"
        ? undefined
        : { ...asked, ask: "delete thread", threadId: idOf(request.thread) };
    case "create run":
      return {
        ...asked,
        ask: "create run",
        threadId: request.on === "thread" ? idOf(request.thread) : null,
        request: request.key ?? request.run,
        strategy: request.strategy,
        temporary: request.on === "temporary",
        webhook: true,
        ...(request.key === null ? {} : { idempotencyKey: request.key }),
      };
    case "cancel run":
      return { ...asked, ask: "cancel run", threadId: "", runId: idOf(request.run), action: request.action };
    case "delete run":
      return { ...asked, ask: "delete run", threadId: "", runId: idOf(request.run) };
    case "update state":
      return { ...asked, ask: "update state", threadId: idOf(request.thread), mark: request.text };
    default:
      return undefined;
  }
}

/** Only the model knows what a bare answer was for: it answers what waits when its run starts. */
function withAnswers(call: Call, answered: ReadonlyMap<string, string>): Call {
  if (call.ask !== "create run" || call.request === undefined) return call;
  const run = call.request.replace(/^key of /, "");
  const question = answered.get(run);
  return question === undefined ? call : { ...call, answers: { [question]: `answer of ${run}` } };
}

function toHeard(body: Json): Heard {
  if (!isObject(body)) return { log: [], asked: null };
  if (body.__error__ !== undefined) return { failed: true };
  const [interrupt] = (body.__interrupt__ ?? []) as readonly { readonly value: string }[];
  return { log: (body.log ?? []) as readonly string[], asked: interrupt?.value ?? null };
}

/** The model as `observe` would see it. */
export function expectedOf(model: Model): Observed {
  const threads = [...model.threads.values()].map((thread) => {
    const head = headOf(model, thread.name);
    return [
      thread.name,
      {
        status: statusOf(model, thread),
        failed: thread.failed,
        shown: { log: thread.shown?.log ?? [], asked: null },
        asked: thread.shown?.asked ?? null,
        metadata: thread.metadata,
        head: { log: head?.log ?? [], asked: null },
        open: head?.open ?? false,
      },
    ] as const;
  });
  const runs = [...model.runs.values()].sort((a, b) => a.seq - b.seq);
  return {
    threads: Object.fromEntries(threads),
    runs: runs.map(({ thread, name, status }) => ({ thread, run: name, status })),
    executing: runs
      .filter(({ status }) => status === "running")
      .map(({ name }) => name)
      .sort(),
    keys: [...model.keys.keys()].sort(),
  };
}
