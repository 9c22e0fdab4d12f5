/**
 * The run ledger in SQL: the events of each run in a few rows, each of them consecutive events of one claim.
 *
 * A row hangs on its run's row and goes with it. Every insert asks for the run's row and for the end of what the run has
 * in the same statement: what comes too late, from a zombie or for a run that was deleted meanwhile, writes nothing. A
 * claim that another one has followed is a zombie's, whether that has said anything or not.
 */
import { CompiledQuery, type Selectable, sql } from "kysely";
import type { Clock } from "../core/clock.js";
import type { Log } from "../core/log.js";
import type { CommitGroup } from "./commit-group.js";
import { type Database, isPostgres, locked, type Schema } from "./database.js";
import type { KeptSegment, LedgerPosition, LedgerSegment, RunLedger } from "./ports/ledger.js";
import { type Sweeper, startSweeper } from "./sweeper.js";

export interface SqlRunLedgerDeps {
  readonly database: Database;
  /** Of the same database; shared by the stores, so that they share commits. */
  readonly commits: CommitGroup;
  readonly clock: Clock;
}

const SEGMENT_COLUMNS = ["fence", "first_seq", "last_seq", "segment", "events"] as const;

export class SqlRunLedger implements RunLedger {
  private readonly database: Database;
  private readonly commits: CommitGroup;
  private readonly clock: Clock;

  constructor({ database, commits, clock }: SqlRunLedgerDeps) {
    this.database = database;
    this.commits = commits;
    this.clock = clock;
  }

  async append(segments: readonly (LedgerSegment & { readonly runId: string })[]): Promise<void> {
    const now = this.clock.now();
    await this.commits.run(async (transaction) => {
      await takeRuns(transaction, [...new Set(segments.map(({ runId }) => runId))]);
      const text = isPostgres(transaction) ? NUMBERED_APPEND : APPEND;
      for (const segment of segments) await transaction.executeQuery(appendQuery(text, segment, now));
    });
  }

  async find(runId: string, { fence, seq }: LedgerPosition): Promise<KeptSegment | undefined> {
    const row = await this.database
      .selectFrom("run_events")
      .select(SEGMENT_COLUMNS)
      .where("run_id", "=", runId)
      .where(sql<boolean>`(fence, last_seq) >= (${fence}, ${seq})`)
      .orderBy("fence")
      .orderBy("last_seq")
      .limit(1)
      .executeTakeFirst();
    return row === undefined ? undefined : toSegment(row);
  }

  async newest(runId: string): Promise<KeptSegment | undefined> {
    const row = await this.database
      .selectFrom("run_events")
      .select(SEGMENT_COLUMNS)
      .where("run_id", "=", runId)
      .orderBy("fence", "desc")
      .orderBy("last_seq", "desc")
      .limit(1)
      .executeTakeFirst();
    return row === undefined ? undefined : toSegment(row);
  }

  async end(runId: string): Promise<LedgerPosition | undefined> {
    return this.database
      .selectFrom("run_events")
      .select(["fence", "last_seq as seq"])
      .where("run_id", "=", runId)
      .orderBy("fence", "desc")
      .orderBy("last_seq", "desc")
      .limit(1)
      .executeTakeFirst();
  }

  async replace(runId: string, numbers: readonly number[], merged: readonly LedgerSegment[]): Promise<boolean> {
    const [first = 0, last = first] = [numbers[0], numbers.at(-1)];
    if (merged.length === 0 || merged.length > numbers.length) {
      throw new RangeError(`${merged.length} segments cannot take the place of ${numbers.length}`);
    }
    const now = this.clock.now();
    return this.commits.run(async (transaction) => {
      await takeRuns(transaction, [runId]);
      const { kept } = await transaction
        .selectFrom("run_events")
        .select((eb) => eb.fn.countAll<number>().as("kept"))
        .where("run_id", "=", runId)
        .where((eb) => eb.between("segment", first, last))
        .executeTakeFirstOrThrow();
      if (kept !== numbers.length) return false;
      await transaction
        .deleteFrom("run_events")
        .where("run_id", "=", runId)
        .where((eb) => eb.between("segment", first, last))
        .execute();
      for (const [index, segment] of merged.entries()) {
        const row = toRow(segment, now);
        await transaction
          .insertInto("run_events")
          .values({ run_id: runId, segment: first + index, ...row })
          .execute();
      }
      return true;
    });
  }

  async trim(runId: string, maxBytes: number): Promise<void> {
    await this.commits.run(async (transaction) => {
      await takeRuns(transaction, [runId]); // what is being folded is all there, or folded
      const { rows } = await sql<{ readonly segment: number | null }>`
        select max(segment) as segment from (
          select segment, sum(bytes) over (order by segment desc) as total, max(segment) over () as newest
          from run_events where run_id = ${runId}
        ) as sized where total > ${maxBytes} and segment < newest`.execute(transaction);
      const tooOld = rows[0]?.segment ?? null;
      if (tooOld === null) return;
      await transaction.deleteFrom("run_events").where("run_id", "=", runId).where("segment", "<=", tooOld).execute();
    });
  }

  async expire(time: number, limit: number): Promise<number> {
    return this.commits.run(async (transaction) => {
      const expired = await sql`
        delete from run_events where (run_id, fence, last_seq) in (
          select e.run_id, e.fence, e.last_seq
          from run_events e join runs r on r.run_id = e.run_id
          where e.created_at <= ${time} and r.status not in ('pending', 'running')
            and not exists (select 1 from run_events n where n.run_id = e.run_id and n.created_at > ${time})
          order by e.created_at, e.run_id, e.segment
          limit ${limit}
        )`.execute(transaction);
      return Number(expired.numAffectedRows ?? 0n);
    });
  }
}

export interface LedgerSweeperDeps {
  readonly ledger: RunLedger;
  readonly clock: Clock;
  readonly log: Log;
  /** How long a run's events are kept after the last of them was written. */
  readonly retentionMs: number;
}

const SWEEP_INTERVAL_MS = 10 * 60_000;
/** Segments may be large, and nobody else writes meanwhile. */
export const SWEEP_SEGMENTS = 32;

/** Deletes now and then what has been kept for long enough. */
export function startLedgerSweeper({ ledger, clock, log, retentionMs }: LedgerSweeperDeps): Sweeper {
  return startSweeper({
    clock,
    log,
    intervalMs: SWEEP_INTERVAL_MS,
    what: "run events",
    async sweep() {
      const deleted = await ledger.expire(clock.now() - retentionMs, SWEEP_SEGMENTS);
      return { deleted, more: deleted === SWEEP_SEGMENTS };
    },
  });
}

/** Whoever else numbers the segments of these runs waits until theirs can be seen. */
async function takeRuns(transaction: Database, runIds: readonly string[]): Promise<void> {
  if (!isPostgres(transaction)) return;
  await locked(
    transaction.selectFrom("runs").select("run_id").where("run_id", "in", runIds).orderBy("run_id"),
  ).execute();
}

/** Ready text: building the statement for each row would take longer than running it. */
const APPEND = `insert into run_events (run_id, segment, fence, first_seq, last_seq, created_at, bytes, events)
  select r.run_id, coalesce(n.segment, 0) + 1, cast(? as bigint), cast(? as bigint), cast(? as bigint),
    cast(? as bigint), cast(? as bigint), cast(? as text)
  from runs r left join (
    select segment, fence, last_seq from run_events where run_id = ? order by fence desc, last_seq desc limit 1
  ) as n on true
  where r.run_id = ? and r.fence <= ? and (n.segment is null or (n.fence, n.last_seq) < (?, ?))`;
const NUMBERED_APPEND = numbered(APPEND);

/** With PostgreSQL's names for the values. */
function numbered(text: string): string {
  let count = 0;
  return text.replaceAll("?", () => `$${++count}`);
}

function appendQuery(text: string, segment: LedgerSegment & { readonly runId: string }, now: number): CompiledQuery {
  const { runId, fence, firstSeq } = segment;
  const { last_seq, created_at, bytes, events } = toRow(segment, now);
  const values = [fence, firstSeq, last_seq, created_at, bytes, events];
  return CompiledQuery.raw(text, [...values, runId, runId, fence, fence, firstSeq]);
}

function toRow({ fence, firstSeq, lastSeq, events }: LedgerSegment, now: number) {
  return {
    fence,
    first_seq: firstSeq,
    last_seq: lastSeq,
    created_at: now,
    bytes: Buffer.byteLength(events),
    events,
  };
}

function toSegment(row: Pick<Selectable<Schema["run_events"]>, (typeof SEGMENT_COLUMNS)[number]>): KeptSegment {
  return {
    fence: row.fence,
    firstSeq: row.first_seq,
    lastSeq: row.last_seq,
    number: row.segment,
    events: row.events,
  };
}
