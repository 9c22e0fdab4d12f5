/**
 * The stores over a throw-away database, and builders for what goes into them. The project `postgres` of vitest runs the
 * same tests on PostgreSQL.
 */
import { CompiledQuery } from "kysely";
import { onTestFinished } from "vitest";
import { lonelyLease } from "../../src/core/lease.js";
import type { CronPayload, Run, RunPayload, ThreadProjection } from "../../src/core/model.js";
import { SqlAssistantStore } from "../../src/storage/assistants.js";
import { createCommitGroup } from "../../src/storage/commit-group.js";
import { SqlCronStore } from "../../src/storage/crons.js";
import type { NewAssistant } from "../../src/storage/ports/assistants.js";
import type { NewCron } from "../../src/storage/ports/crons.js";
import type { AdmitRequest, Lease, NewRun, RunOutcome } from "../../src/storage/ports/runs.js";
import type { NewThread, Reservation } from "../../src/storage/ports/threads.js";
import { SqlRunLedger } from "../../src/storage/run-ledger.js";
import { SqlRunStore } from "../../src/storage/runs.js";
import type { SqliteDatabase } from "../../src/storage/sqlite.js";
import { SqlThreadStore } from "../../src/storage/threads.js";
import { createFakeClock } from "./fake-clock.js";
import { ON_POSTGRES, openDatabase } from "./test-database.js";

/** Closed when the test is over. */
export async function openSqlStores() {
  const stores = await createSqlStores();
  onTestFinished(() => stores.close());
  return stores;
}

export type SqlStores = Awaited<ReturnType<typeof createSqlStores>>;

/** For a test that needs many: the caller closes them. */
export async function createSqlStores() {
  const clock = createFakeClock();
  const { database, changes, connection, statementsOf, execute, refuse, close } = await openDatabase(clock);
  const commits = createCommitGroup(database);
  const deps = { database, commits, clock };

  /** What a statement finds; its values stand where `?` is. Values that no store keeps apart are none: 1 and true are 1. */
  async function rows<Row = Readonly<Record<string, unknown>>>(text: string, ...values: readonly unknown[]) {
    let count = 0;
    const asked = ON_POSTGRES ? text.replaceAll("?", () => `$${++count}`) : text;
    return (await database.executeQuery<Row>(CompiledQuery.raw(asked, [...values]))).rows;
  }

  return {
    clock,
    commits,
    database,
    changes,
    rows,
    execute,
    refuse,
    /** SQLite's own, for what only SQLite has: a test that uses it is one of `onSqlite`. */
    connection: connection as SqliteDatabase,
    threads: new SqlThreadStore(deps),
    runs: new SqlRunStore(deps),
    assistants: new SqlAssistantStore(deps),
    crons: new SqlCronStore(deps),
    ledger: new SqlRunLedger(deps),
    close,
    /** The first column of what a statement finds. */
    async column(text: string, ...values: readonly unknown[]): Promise<unknown[]> {
      return (await rows(text, ...values)).map((row) => Object.values(row)[0]);
    },
    /**
     * Every byte that the database holds about a thread but its runs and how often they were claimed, to compare before
     * and after.
     */
    async dumpThread(threadId: string): Promise<string> {
      const all = (table: string, order: string) =>
        rows(`SELECT * FROM ${table} WHERE thread_id = ? ORDER BY ${order}`, threadId);
      const found = [await all("threads", "1"), await all("thread_values", "1"), await all("thread_terms", "term")];
      return JSON.stringify(found).replace(/,"claims":\d+/, "");
    },
    /** The SQL that `action` is the first to send, but for inserts and the ends of transactions. */
    async statementsOf(action: () => Promise<void>): Promise<readonly string[]> {
      const statements = new Set(await statementsOf(action));
      return [...statements].filter((sql) => /^(select|update|delete)/i.test(sql));
    },
    /** How SQLite would run a statement, one line per step. */
    plan(sql: string): string {
      if (connection === undefined) throw new Error("this test is about SQLite: see onSqlite");
      const parameters = [...sql.matchAll(/\?/g)].map(() => null);
      const steps = connection.prepare(`EXPLAIN QUERY PLAN ${sql}`).all(parameters) as { readonly detail: string }[];
      return steps.map((step) => step.detail).join("\n");
    },
  };
}

export function newThread(thread: Partial<NewThread> = {}): NewThread {
  return { threadId: "t1", metadata: {}, ttl: null, ...thread };
}

/** Bare rows `t0`, `t1` and so on, made and changed at 0, 1 and so on. */
export async function insertThreads({ rows }: Pick<SqlStores, "rows">, count: number): Promise<void> {
  await rows(`WITH RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n < ${count - 1})
    INSERT INTO threads (thread_id, created_at, updated_at, metadata, config, status, interrupts, next)
    SELECT 't' || n, n, n, '{}', '{}', 'idle', '{}', '[]' FROM numbers`);
}

export const PAYLOAD: RunPayload = {
  input: { messages: [] },
  command: null,
  config: {},
  context: null,
  streamModes: ["values"],
  subgraphs: false,
  resumable: false,
  interruptBefore: null,
  interruptAfter: null,
  durability: "async",
  checkpoint: null,
  temporary: false,
  onDisconnect: "continue",
};

/** A run of thread `t1` that is due at once. */
export function newRun(run: Partial<NewRun> & Pick<NewRun, "runId">): NewRun {
  return {
    threadId: "t1",
    assistantId: "a1",
    graphId: "g1",
    metadata: {},
    multitaskStrategy: "enqueue",
    payload: PAYLOAD,
    runAfter: 0,
    ...run,
  };
}

/** A run that its first worker has just claimed, without a database. */
export function claimedRun(run: Partial<Run> = {}): Run {
  return {
    ...newRun({ runId: "r1" }),
    createdAt: 0,
    updatedAt: 0,
    status: "running",
    attempt: 1,
    fence: 1,
    firstClaim: 1,
    cancelAction: null,
    error: null,
    ...run,
  };
}

/** Admits the run whatever is in flight, and makes its thread when there is none. */
export function admission(
  run: Partial<NewRun> & Pick<NewRun, "runId">,
  request: Partial<AdmitRequest> & { readonly cancelInFlight?: "interrupt" | "rollback" } = {},
): AdmitRequest {
  const { cancelInFlight = null, ...rest } = request;
  const draft = newRun(run);
  return {
    threadId: draft.threadId,
    createThread: newThread({ threadId: draft.threadId }),
    idempotency: null,
    ownerLimits: null,
    claim: null,
    decide: () => ({ kind: "insert", run: draft, cancelInFlight }),
    ...rest,
  };
}

export const LEASE_MS = 15_000;

/** Fails when nothing can be claimed. */
export async function claim(stores: SqlStores, workerId = "w1"): Promise<Run> {
  const run = await stores.runs.claim(workerId, LEASE_MS);
  if (run === undefined) throw new Error("expected a claimable run");
  return run;
}

export async function admitAndClaim(stores: SqlStores, runId: string): Promise<Run> {
  await stores.runs.admit(admission({ runId }));
  return claim(stores);
}

export function leaseOf(run: Pick<Run, "runId" | "threadId" | "fence">, workerId = "w1"): Lease {
  return { runId: run.runId, threadId: run.threadId, fence: run.fence, workerId };
}

/** The times of a process that has its database to itself. */
export const ALONE = lonelyLease({ leaseMs: LEASE_MS, heartbeatMs: 5_000 });

export function reservation(owner: string): Reservation {
  return { owner, leaseMs: LEASE_MS };
}

export function projection(state: Partial<ThreadProjection> = {}): ThreadProjection {
  return { valuesJson: '{"messages":[]}', interrupts: {}, next: [], ...state };
}

export function outcome(end: Partial<RunOutcome> = {}): RunOutcome {
  return { status: "success", error: null, projection: projection(), deleteThread: false, ...end };
}

export function newAssistant(assistant: Partial<NewAssistant> = {}): NewAssistant {
  return {
    assistantId: "a1",
    graphId: "g1",
    name: "Assistant",
    description: null,
    config: {},
    context: {},
    metadata: {},
    ...assistant,
  };
}

const CRON_PAYLOAD: CronPayload = {
  input: { messages: [] },
  config: {},
  context: null,
  streamModes: ["values"],
  subgraphs: false,
  resumable: false,
  interruptBefore: null,
  interruptAfter: null,
  durability: "async",
  multitaskStrategy: "enqueue",
};

/** Every minute, each run on a thread of its own, and never due unless told so. Needs the assistant of `newAssistant`. */
export function newCron(cron: Partial<NewCron> = {}): NewCron {
  return {
    cronId: "c1",
    assistantId: "a1",
    threadId: null,
    schedule: "* * * * *",
    timezone: null,
    endAt: null,
    enabled: true,
    onRunCompleted: "delete",
    payload: CRON_PAYLOAD,
    metadata: {},
    userId: null,
    identity: null,
    nextRunAt: null,
    ...cron,
  };
}

/** Strings that have broken databases, patterns and merges before. */
export const HOSTILE_STRINGS = [
  "a\u0000b",
  "\ud800 lone",
  "lone \udc00",
  `q'"\\%_`,
  "__proto__",
  "constructor",
  "$.a[0]",
  "'; DROP TABLE threads; --",
  "\r\n",
  "😀",
  "",
] as const;
