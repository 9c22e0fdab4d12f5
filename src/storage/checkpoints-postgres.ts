/**
 * Checkpoints on PostgreSQL, in the database of the threads and runs.
 *
 * P1. Whoever writes still has the right to when it is committed: the row that says so is locked `FOR SHARE` by the
 *     transaction that writes. The claim of a run, the reservation of a thread, the mark of a deletion.
 * P2. What a saver writes reaches the database in the order of the calls; what follows a write that failed is not written.
 * P3. No connection is held while a graph runs: a saver's write is one statement.
 * P4. A write may be tried again when a connection breaks, because it says the same the second time. What may not, such as
 *     a step back, is not.
 *
 * Every commit is as durable as the server makes commits, and what is committed later is never more durable: a run's row
 * that says how it ended has all its checkpoints before it.
 */
import { createHash, randomBytes } from "node:crypto";
import { PostgresSaver } from "@langchain/langgraph-checkpoint-postgres";
import { CompiledQuery } from "kysely";
import type { Pool } from "pg";
import { isPromise } from "../core/async.js";
import { conflict } from "../core/errors.js";
import type { Channels } from "./checkpoint-channels.js";
import { requireCheckpointTables } from "./checkpoint-postgres-schema.js";
import {
  createPostgresReads,
  heldBy,
  isStorable,
  requireRight,
  rightIsGone,
  writeOnPostgres,
} from "./checkpoint-postgres-tables.js";
import type { Args, Dialect, Program, Sql } from "./checkpoint-program.js";
import { leftBy, stepBack } from "./checkpoint-recovery.js";
import type { CheckpointKey, CheckpointReads, CheckpointRow, CheckpointWrite } from "./checkpoint-rows.js";
import { ownedCopy } from "./checkpoint-saver.js";
import { createSavers, type SaverRows, savingWith, type WriteRight } from "./checkpoint-savers.js";
import { sizesByThread, sizesOf } from "./checkpoint-sizes.js";
import { copyThread, deleteRun, deleteThread, has, isHeadOutsideRuns, pruneToLatest } from "./checkpoint-upkeep.js";
import type { Database } from "./database.js";
import type { Checkpoints, ThreadHold } from "./ports/checkpoints.js";
import type { StoreTransaction } from "./ports/page.js";
import {
  type AskPostgres,
  asking,
  explainingPostgres,
  inPostgresTransaction,
  PATIENT_RETRY_MS,
  retrying,
  type Statement,
} from "./postgres-connection.js";

/** Opens the tables, and throws where these are not as this heddle needs them. The pool stays the caller's. */
export async function openPostgresCheckpoints(pool: Pool): Promise<Checkpoints> {
  await requireCheckpointTables(pool);
  const ask = asking(pool);
  const read = <T>(program: Program<T>): Promise<T> => explainingPostgres(() => retrying(() => runOn(ask, program)));

  /** `program` in one transaction with what `guard` locks; nothing where the guard says so. */
  function change(guard: Guard, program: () => Program<void>): Promise<void> {
    return inPostgresTransaction(pool, async (inside) => {
      if (await guard(inside)) await runOn(inside, program());
    });
  }
  const changeOnce = (guard: Guard, program: () => Program<void>) => explainingPostgres(() => change(guard, program));
  const changeAgain = (guard: Guard, program: () => Program<void>) =>
    explainingPostgres(() => retrying(() => change(guard, program)));

  return {
    ...createPostgresSavers(pool),
    has: async (threadId, checkpointNs, checkpointId) =>
      [threadId, checkpointNs, checkpointId].every(isStorable) && read(has({ threadId, checkpointNs, checkpointId })),
    isHeadOutsideRuns: (threadId) => read(isHeadOutsideRuns(threadId)),
    leftBy: (threadId, runId) => read(leftBy(threadId, runId)),
    stepBack: (run, options) =>
      changeOnce(guardOf({ kind: "run", ...run }, run.threadId), () => stepBack(run, options)), // P4
    deleteRun: (run) => changeAgain(whileClaimedOrRolledBack(run), () => deleteRun(run)),
    deleteThread: (threadId) => changeAgain(whileDeleting(threadId), () => deleteThread(threadId)),
    copyThread: ({ from, to, hold, preparedBy }) =>
      held(hold, from, {
        alone: (guard) => changeOnce(both(guard, whilePrepared(to, preparedBy)), () => copyThread(from, to)),
        within: (inside) => runOn(inside, copyThread(from, to)),
      }),
    pruneToLatest: (threadId, hold) =>
      held(hold, threadId, {
        alone: (guard) => changeAgain(guard, () => pruneToLatest(threadId)),
        within: (inside) => runOn(inside, pruneToLatest(threadId)),
      }),
    sizesOf: (threadId) => sizesOf(threadId, read),
    sync() {}, // a commit is what it says
    requireWritable: () =>
      explainingPostgres(async () => void (await ask({ name: "heddle probe", text: PROBE, values: [PROBE_BYTES] }))),
    close() {},
  };
}

/** What each thread takes; as long as it takes to look at all of them. */
export function stateSizes(pool: Pool): Promise<ReadonlyMap<string, number>> {
  return runOn(asking(pool), sizesByThread());
}

/**
 * Throws unless `pool` leads to the database of the runs, by whatever address: what a run writes is compared with its row.
 * A lock that one of them takes keeps the other from it only there.
 */
export async function requireDatabaseOfRuns(pool: Pool, database: Database): Promise<void> {
  const key = randomBytes(6).readUIntBE(0, 6);
  const table = "to_regclass('runs')::oid::text AS runs";
  await inPostgresTransaction(pool, async (ask) => {
    const text = `SELECT pg_advisory_xact_lock($1), ${table}`;
    const [here] = (await ask({ name: "heddle lock", text, values: [key] })).rows as readonly SeenRuns[];
    const { rows } = await database.executeQuery<SeenRuns & { readonly free: boolean }>(
      CompiledQuery.raw(`SELECT pg_try_advisory_xact_lock($1) AS free, ${table}`, [key]),
    );
    const [there] = rows;
    if (here !== undefined && there?.free === false && there.runs === here.runs) return;
    throw new Error(
      "checkpointer.url leads to another database than database.url, and checkpoints belong beside their runs",
    );
  });
}

interface SeenRuns {
  /** Which table it is, within its database. */
  readonly runs: string | null;
}

const PROBE_BYTES = Buffer.alloc(8_192);
const PROBE =
  "INSERT INTO state_probe (id, payload) VALUES (1, $1) ON CONFLICT (id) DO UPDATE SET payload = excluded.payload";

/** Savers for whoever has a pool: the main thread, and every graph thread with its own. The tables are there. */
export function createPostgresSavers(pool: Pool): Pick<Checkpoints, "forRun" | "saver"> {
  const ask = asking(pool);
  const readsFor = (limitMs?: number) =>
    createPostgresReads((statement) => explainingPostgres(() => retrying(() => ask(statement), limitMs)));
  const [reads, patientReads] = [readsFor(), readsFor(PATIENT_RETRY_MS)];
  return createSavers({
    open: (right) => openRows(ask, right.kind === "run" ? patientReads : reads, right),
    wrap: (body, serde) => savingWith(body, new PreparedSaver(pool, serde)),
  });
}

/** The tables exist, LangGraph's own would be others, and the pool is not the saver's. */
class PreparedSaver extends PostgresSaver {
  override async setup(): Promise<void> {}

  override async end(): Promise<void> {}
}

/** What one saver reads and writes with. */
function openRows(ask: AskPostgres, reads: CheckpointReads, right: WriteRight): SaverRows {
  const recent = createRecentChannels();
  let last: Promise<void> = Promise.resolve();
  /** No run fails because the database was away for a moment. */
  const limitMs = right.kind === "run" ? PATIENT_RETRY_MS : undefined;

  /** P2 */
  function enqueue(work: () => Promise<void>): Promise<void> {
    last = last.then(work);
    last.catch(() => {}); // whoever asked for it hears of it
    return last;
  }

  async function apply(write: CheckpointWrite): Promise<void> {
    const isWritten = await retrying(() => writeOnPostgres(ask, right, write), limitMs); // P4
    const { threadId } = write.kind === "checkpoint" ? write.row : write.key;
    if (!isWritten) throw rightIsGone(right, threadId); // P1
  }

  return {
    reads: {
      ...reads,
      async load(...place) {
        const loaded = await reads.load(...place);
        if (loaded !== undefined) recent.add(loaded.row);
        return loaded;
      },
      channels: (key) => recent.get(key) ?? last.then(() => recent.get(key) ?? reads.channels(key)),
    },
    write(asked) {
      requireRight(right);
      if (!isPromise(asked) && asked?.kind === "checkpoint") recent.add(asked.row);
      const owned = isPromise(asked) ? asked : asked && owning(asked);
      return enqueue(() =>
        explainingPostgres(async () => {
          const write = await owned;
          if (write?.kind === "checkpoint") recent.add(write.row);
          if (write !== undefined) await apply(write);
        }),
      );
    },
    deleteThread(threadId) {
      requireRight(right);
      recent.clear();
      return enqueue(() =>
        explainingPostgres(async () => {
          const { text, values } = heldBy(right, threadId);
          const statement = { name: `heddle delete thread ${right.kind}`, text: deleteText(text), values };
          const { rows } = await retrying(() => ask({ ...statement, values: [...values, threadId] }), limitMs);
          if (rows.length === 0) throw rightIsGone(right, threadId);
        }),
      );
    },
  };
}

const deleteText = (held: string): string => `
  WITH held AS MATERIALIZED (${held}),
  c AS (DELETE FROM state_checkpoints USING held WHERE thread_id = $3),
  v AS (DELETE FROM state_values USING held WHERE thread_id = $3),
  w AS (DELETE FROM state_writes USING held WHERE thread_id = $3)
  SELECT 1 FROM held`;

/** What is on its way is what it is now, whoever changes it meanwhile. */
function owning(write: CheckpointWrite): CheckpointWrite {
  if (write.kind === "checkpoint") {
    return { ...write, values: write.values.map((value) => ({ ...value, stored: ownedCopy(value.stored) })) };
  }
  return { ...write, writes: write.writes.map((row) => ({ ...row, stored: ownedCopy(row.stored) })) };
}

/** How many namespaces of a run are followed: the parent of most checkpoints is the one that the saver saw last. */
const MAX_RECENT = 64;

function createRecentChannels() {
  const byPlace = new Map<string, { readonly checkpointId: string; readonly channels: Channels }>();
  const placeOf = ({ threadId, checkpointNs }: CheckpointKey): string => JSON.stringify([threadId, checkpointNs]);
  return {
    add(row: Pick<CheckpointRow, "threadId" | "checkpointNs" | "checkpointId" | "channels">): void {
      const place = placeOf(row);
      byPlace.delete(place);
      byPlace.set(place, row);
      const [oldest] = byPlace.keys();
      if (byPlace.size > MAX_RECENT && oldest !== undefined) byPlace.delete(oldest);
    },
    clear: () => byPlace.clear(),
    get(key: CheckpointKey): Channels | undefined {
      const row = byPlace.get(placeOf(key));
      return row?.checkpointId === key.checkpointId ? row.channels : undefined;
    },
  };
}

// ---- guards

/** Locks what gives the right to change something (P1). False: there is nothing left to change. */
type Guard = (ask: AskPostgres) => Promise<boolean>;

function guardOf(right: WriteRight, threadId: string): Guard {
  const { text, values } = heldBy(right, threadId);
  return async (ask) => {
    const { rows } = await ask({ name: `heddle held ${right.kind}`, text, values });
    if (rows.length === 0) throw rightIsGone(right, threadId);
    return true;
  };
}

function whileClaimedOrRolledBack(run: {
  readonly threadId: string;
  readonly runId: string;
  readonly fence: number;
}): Guard {
  return async (ask) => {
    const { rows } = await ask({ name: "heddle run", text: RUN, values: [run.runId, run.fence] });
    const [row] = rows as readonly { readonly ok: boolean }[]; // as the statement names its columns
    if (row?.ok === false) throw rightIsGone({ kind: "run", ...run }, run.threadId);
    return row !== undefined; // who took its row away had deleted this before
  };
}

const RUN = `SELECT rolling_back = 1 OR (fence = $2 AND status = 'running') AS ok FROM runs WHERE run_id = $1 FOR SHARE`;

function whileDeleting(threadId: string): Guard {
  return async (ask) => {
    const { rows } = await ask({ name: "heddle deleting", text: DELETING, values: [threadId] });
    const [row] = rows as readonly { readonly ok: boolean }[]; // as the statement names its columns
    if (row?.ok === false) throw conflict(`thread ${threadId} is not being deleted`);
    return row !== undefined; // the checkpoints went before the row did
  };
}

const DELETING = "SELECT deleting = 1 AS ok FROM threads WHERE thread_id = $1 FOR SHARE";

function whilePrepared(threadId: string, owner: string): Guard {
  return async (ask) => {
    const { rows } = await ask({ name: "heddle prepared", text: PREPARED, values: [threadId, owner] });
    if (rows.length === 0) throw conflict(`thread ${threadId} is no longer being prepared`);
    return true;
  };
}

const PREPARED = "SELECT 1 FROM threads WHERE thread_id = $1 AND reserved_by = $2 AND deleting = 1 FOR SHARE";

function both(first: Guard, second: Guard): Guard {
  return async (ask) => (await first(ask)) && second(ask);
}

interface Held<T> {
  readonly alone: (guard: Guard) => Promise<T>;
  readonly within: (ask: AskPostgres) => Promise<T>;
}

/** In the transaction that holds the thread, if there is one; otherwise in one that looks for the reservation. */
function held<T>(hold: ThreadHold, threadId: string, { alone, within }: Held<T>): Promise<T> {
  if (hold.kind === "transaction") return within(askingWithin(hold.transaction));
  return alone(guardOf({ kind: "reservation", owner: hold.owner }, threadId));
}

function askingWithin(transaction: StoreTransaction): AskPostgres {
  const database = transaction as Database; // the thread store of the same database began it
  return async ({ text, values }) => {
    const { rows, numAffectedRows } = await database.executeQuery(CompiledQuery.raw(text, [...values]));
    return { rows, changes: Number(numAffectedRows ?? 0) };
  };
}

// ---- programs

const POSTGRES: Dialect = {
  checkpoints: "state_checkpoints",
  values: "state_values",
  writes: "state_writes",
  order: "seq",
  step: "step",
  source: "source",
  parents: "parents::text",
  rootId: "parents ->> ''",
  isUnderParent: "parents ->> @ns = @id",
  deltaChannels: "jsonb_each(c.delta_counters)",
  channelRefs: "json_each(c.channels::json)",
  channelNames: "(SELECT coalesce(json_agg(key), '[]')::text FROM json_each(channels::json))",
  kept: "(SELECT value FROM json_array_elements(@kept::json) AS element (value))",
  valueBytes: "coalesce(octet_length(value), octet_length(bytes))",
  columns: {
    checkpoints: `checkpoint_ns, checkpoint_id, parent_checkpoint_id, run_id, type, checkpoint, metadata_type, metadata,
      channels, step, source, parents, delta_counters`,
    values: "checkpoint_ns, channel, checkpoint_id, type, value, bytes",
    writes: "checkpoint_ns, checkpoint_id, task_id, idx, run_id, channel, type, value, bytes",
  },
};

async function runOn<T>(ask: AskPostgres, program: Program<T>): Promise<T> {
  let step = program.next();
  while (step.done !== true) step = program.next(await ask(statementOf(step.value)));
  return step.value;
}

/** `@name` becomes the number of its place. */
function statementOf({ sql, args }: { readonly sql: Sql; readonly args: Args }): Statement {
  const names: string[] = [];
  const text = sql(POSTGRES).replaceAll(/@(\w+)/g, (_, name: string) => {
    if (!names.includes(name)) names.push(name);
    return `$${names.indexOf(name) + 1}`;
  });
  const name = `heddle ${createHash("sha1").update(text).digest("base64url")}`;
  return { name, text, values: names.map((argument) => args[argument]) };
}
