/**
 * Runs in SQL. Whatever changes which runs are in flight derives the thread's status in the same transaction.
 *
 * Admission is in `run-admission.ts`, the ticks of crons in `cron-ticks.ts`, claiming in `run-claim.ts`, what an owner does in `run-lease.ts`, what an end does
 * to the thread in `run-outcome.ts`, cancelling in `run-cancel.ts`, what an owner leaves behind in `run-takeover.ts`, taking back in `run-undo.ts`.
 */
import { type ExpressionBuilder, type ExpressionWrapper, type RawBuilder, type SqlBool, sql } from "kysely";
import type { Clock } from "../core/clock.js";
import { type CancelAction, isInFlight, type Run, type RunStatus } from "../core/model.js";
import { inOrder, requirePageFits } from "../core/page.js";
import { EVERYTHING, type Scope } from "../core/scope.js";
import type { CommitGroup } from "./commit-group.js";
import { nameRun, takeTick } from "./cron-ticks.js";
import { bytesOf, type Database, isUniqueViolation, locked, type Schema, takeThread } from "./database.js";
import type { CronTick } from "./ports/crons.js";
import type { Page, PageLimits } from "./ports/page.js";
import type { AdmitRequest, AdmitResult, BriefRun, Lease, ListedRun, RunOutcome, RunStore } from "./ports/runs.js";
import { admit } from "./run-admission.js";
import { cancelInFlightRun } from "./run-cancel.js";
import { claimNext, nextDueAt } from "./run-claim.js";
import { endLease, giveBack, markRollingBack, renewLease } from "./run-lease.js";
import { BRIEF_COLUMNS, IN_FLIGHT, LISTED_COLUMNS, RUN_COLUMNS, toBriefRun, toListedRun, toRun } from "./run-rows.js";
import { listRollingBack, recoverExpired, recoverOrphans, takeRollbacks } from "./run-takeover.js";
import { deleteRun, forgetRun } from "./run-undo.js";
import { runInScope } from "./scope-sql.js";
import { refreshStatus } from "./thread-rows.js";

export interface SqlRunStoreDeps {
  readonly database: Database;
  /** The same database by connections of its own: a lease is not lost because readers have all the others. */
  readonly renewals?: Database;
  /** Of the same database; shared by the stores, so that they share commits. */
  readonly commits: CommitGroup;
  readonly clock: Clock;
  readonly scope?: Scope;
}

const CLAIM_TRIES = 5;

export class SqlRunStore implements RunStore {
  private readonly database: Database;
  private readonly renewals: Database;
  private readonly commits: CommitGroup;
  private readonly clock: Clock;
  private readonly scope: Scope;

  constructor({ database, renewals = database, commits, clock, scope = EVERYTHING }: SqlRunStoreDeps) {
    this.database = database;
    this.renewals = renewals;
    this.commits = commits;
    this.clock = clock;
    this.scope = scope;
  }

  within(scope: Scope): RunStore {
    if (scope.length === 0) return this;
    const { database, renewals, commits, clock } = this;
    return new SqlRunStore({ database, renewals, commits, clock, scope: [...this.scope, ...scope] });
  }

  /** A run, of the thread if one is given, that is there for whoever asks. */
  private isThere(
    eb: ExpressionBuilder<Schema, "runs">,
    { threadId, runId }: { readonly threadId?: string | null; readonly runId?: string },
  ): ExpressionWrapper<Schema, "runs", SqlBool> {
    return eb.and([
      ...(runId === undefined ? [] : [eb("runs.run_id", "=", runId)]),
      ...(threadId === undefined || threadId === null ? [] : [eb("runs.thread_id", "=", threadId)]),
      ...(this.scope.length === 0 ? [] : [runInScope(eb, this.scope)]),
    ]);
  }

  async admit(request: AdmitRequest): Promise<AdmitResult> {
    const now = this.clock.now();
    return this.commits.run((transaction) => admit(transaction, request, { now, scope: this.scope }));
  }

  async fire(tick: CronTick, request: AdmitRequest): Promise<AdmitResult | undefined> {
    const now = this.clock.now();
    return this.commits.run(async (transaction) => {
      await takeThread(transaction, request.threadId);
      if ((await takeTick(transaction, tick)) !== "taken") return undefined;
      const admitted = await admit(transaction, request, { now, scope: this.scope });
      await nameRun(transaction, tick, admitted.run.runId);
      return admitted;
    });
  }

  async claim(workerId: string, leaseMs: number): Promise<Run | undefined> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await claimNext(this.database, { workerId, leaseMs, now: this.clock.now() });
      } catch (error) {
        // Another process took a run of the same thread at this moment: `one_running` is the wall.
        if (!isUniqueViolation(error) || attempt === CLAIM_TRIES) throw error;
      }
    }
  }

  async renew(
    lease: Lease,
    leaseMs: number,
  ): Promise<{ readonly held: boolean; readonly cancel: CancelAction | null }> {
    return renewLease(this.renewals, lease, { leaseMs, now: this.clock.now() });
  }

  async finish(lease: Lease, outcome: RunOutcome): Promise<boolean> {
    const { database, commits } = this;
    return endLease({ database, commits }, lease, { outcome, now: this.clock.now() });
  }

  async release(lease: Lease): Promise<boolean> {
    const now = this.clock.now();
    return this.commits.run((transaction) => giveBack(transaction, lease, now));
  }

  async requestCancel(
    threadId: string | null,
    runId: string,
    action: CancelAction,
  ): Promise<"ended" | "requested" | "already" | "finished" | "missing"> {
    const now = this.clock.now();
    return this.commits.run(async (transaction) => {
      const holder = threadId ?? (await threadOf(transaction, runId));
      if (holder === undefined) return "missing";
      await takeThread(transaction, holder);
      const run = await locked(
        transaction
          .selectFrom("runs")
          .select(["run_id as runId", "thread_id as threadId", "status", "fence"])
          .where((eb) => this.isThere(eb, { threadId, runId })),
      ).executeTakeFirst();
      if (run === undefined) return "missing";
      if (run.status === "interrupted") return "already";
      if (!isInFlight(run.status)) return "finished";
      const ended = await cancelInFlightRun(transaction, run, { action, now });
      if (!ended) return "requested";
      await refreshStatus(transaction, run.threadId);
      return "ended";
    });
  }

  async get(threadId: string | null, runId: string): Promise<Run | undefined> {
    const row = await this.database
      .selectFrom("runs")
      .select(RUN_COLUMNS)
      .where((eb) => this.isThere(eb, { threadId, runId }))
      .executeTakeFirst();
    return row === undefined ? undefined : toRun(row);
  }

  async getBrief(threadId: string | null, runId: string): Promise<BriefRun | undefined> {
    const row = await this.database
      .selectFrom("runs")
      .select(BRIEF_COLUMNS)
      .where((eb) => this.isThere(eb, { threadId, runId }))
      .executeTakeFirst();
    return row === undefined ? undefined : toBriefRun(row);
  }

  async list(
    threadId: string,
    query: PageLimits & { readonly status?: RunStatus | undefined; readonly withPayload: boolean },
  ): Promise<Page<ListedRun>> {
    const { status, withPayload } = query;
    const matching = this.database
      .selectFrom("runs")
      .where((eb) => this.isThere(eb, { threadId }))
      .$if(status !== undefined, (runs) => runs.where("status", "=", status as RunStatus)); // just checked
    const { total } = await matching.select((eb) => eb.fn.countAll<number>().as("total")).executeTakeFirstOrThrow();
    const found = await matching
      .select(["seq", bytesOf(["metadata", "error", ...(withPayload ? ["payload"] : [])]).as("bytes")])
      .orderBy("seq", "desc")
      .limit(query.limit)
      .offset(query.offset)
      .execute();
    requirePageFits(
      found.map(({ bytes }) => bytes),
      query.maxBytes,
    );
    const seqs = found.map(({ seq }) => seq);
    if (seqs.length === 0) return { rows: [], total };
    const rows = await this.database
      .selectFrom("runs")
      .select(["seq", ...LISTED_COLUMNS])
      .$if(withPayload, (runs) => runs.select("payload"))
      .where("seq", "in", seqs)
      .execute();
    return { rows: inOrder(seqs, rows, ({ seq }) => seq).map(toListedRun), total };
  }

  async nextStarted(threadId: string, after: number): Promise<Run | undefined> {
    const row = await this.database
      .selectFrom("runs")
      .select(RUN_COLUMNS)
      .where((eb) => this.isThere(eb, { threadId }))
      .where("first_claim", ">", after)
      .orderBy("first_claim")
      .limit(1)
      .executeTakeFirst();
    return row === undefined ? undefined : toRun(row);
  }

  async newestStarted(threadId: string, claim?: number): Promise<Run | undefined> {
    const row = await this.database
      .selectFrom("runs")
      .select(RUN_COLUMNS)
      .where((eb) => this.isThere(eb, { threadId }))
      .where("first_claim", "is not", null)
      .$if(claim !== undefined, (runs) => runs.where("first_claim", "<=", claim ?? 0))
      .orderBy("first_claim", "desc")
      .limit(1)
      .executeTakeFirst();
    return row === undefined ? undefined : toRun(row);
  }

  async listIds(threadId: string): Promise<readonly string[]> {
    const rows = await this.database.selectFrom("runs").select("run_id").where("thread_id", "=", threadId).execute();
    return rows.map((row) => row.run_id);
  }

  async listInFlight(filter: {
    readonly threadId?: string;
    readonly status?: RunStatus;
  }): Promise<readonly BriefRun[]> {
    let inFlight = this.database.selectFrom("runs").select("seq").where(IN_FLIGHT); // from the index alone
    inFlight = inFlight.where((eb) => this.isThere(eb, filter));
    if (filter.status !== undefined) inFlight = inFlight.where("status", "=", filter.status);
    const rows = await this.database
      .selectFrom("runs")
      .select(BRIEF_COLUMNS)
      .where("seq", "in", inFlight)
      .orderBy("seq", "desc")
      .execute();
    return rows.map(toBriefRun);
  }

  async listRollingBack(): Promise<readonly BriefRun[]> {
    return listRollingBack(this.database);
  }

  async markRollingBack(lease: Lease): Promise<boolean> {
    return markRollingBack(this.database, lease, this.clock.now());
  }

  async removeRolledBack(run: { readonly runId: string; readonly threadId: string }): Promise<void> {
    const now = this.clock.now();
    await this.commits.run(async (transaction) => {
      await takeThread(transaction, run.threadId);
      const marked = await locked(
        transaction
          .selectFrom("runs")
          .select("run_id")
          .where("run_id", "=", run.runId)
          .where("thread_id", "=", run.threadId)
          .where("rolling_back", "=", 1),
      ).executeTakeFirst();
      if (marked !== undefined) await deleteRun(transaction, run.runId, now); // undefined: done before
    });
  }

  async remove(threadId: string, runId: string): Promise<boolean> {
    return this.commits.run(async (transaction) => {
      await takeThread(transaction, threadId);
      const found = await transaction
        .selectFrom("runs")
        .select("run_id")
        .where((eb) => this.isThere(eb, { threadId, runId }))
        .executeTakeFirst();
      return found !== undefined && forgetRun(transaction, { threadId, runId });
    });
  }

  async nextDueAt(): Promise<number | undefined> {
    return nextDueAt(this.database);
  }

  async takeRollbacks(workerId: string, leaseMs: number): Promise<readonly BriefRun[]> {
    const now = this.clock.now();
    return this.commits.run((transaction) => takeRollbacks(transaction, { workerId, leaseMs, now }));
  }

  async recoverOrphans(): Promise<readonly BriefRun[]> {
    return recoverOrphans(this.database, this.clock.now());
  }

  async recoverExpired(): Promise<readonly BriefRun[]> {
    const now = this.clock.now();
    return this.commits.run((transaction) => recoverExpired(transaction, now));
  }

  async abandon(runId: string): Promise<void> {
    await this.database
      .updateTable("runs")
      .set({ abandoned_at: this.clock.now() })
      .where("run_id", "=", runId)
      .where(IN_FLIGHT)
      .execute();
  }

  async reclaimAbandoned(runIds: readonly string[]): Promise<readonly string[]> {
    if (runIds.length === 0) return [];
    return this.commits.run(async (transaction) => {
      const rows = await transaction
        .updateTable("runs")
        .set({ abandoned_at: null })
        .where("run_id", "in", runIds)
        .where("abandoned_at", "is not", null)
        .returning("run_id")
        .execute();
      return rows.map((row) => row.run_id);
    });
  }

  async listAbandoned(forMs: number): Promise<readonly string[]> {
    const rows = await this.database
      .selectFrom("runs")
      .select("run_id")
      .where(IN_FLIGHT)
      .where("abandoned_at", "<=", this.clock.now() - forMs)
      .execute();
    return rows.map((row) => row.run_id);
  }

  async countPending(): Promise<number> {
    const { pending } = await this.database
      .selectFrom("runs")
      .select((eb) => eb.fn.countAll<number>().as("pending"))
      .where(PENDING)
      .executeTakeFirstOrThrow();
    return pending;
  }
}

/**
 * When one of the runs in flight was last admitted, claimed or given back, 0 without any. Time that goes on from there finds
 * due what was due, and the transitions of each run stay in order, whatever the clock says.
 */
export async function latestTransition(database: Database): Promise<number> {
  const { at } = await database
    .selectFrom("runs")
    .select((eb) => eb.fn.max("updated_at").as("at"))
    .where(IN_FLIGHT)
    .executeTakeFirstOrThrow();
  return at ?? 0;
}

async function threadOf(database: Database, runId: string): Promise<string | undefined> {
  const run = await database.selectFrom("runs").select("thread_id").where("run_id", "=", runId).executeTakeFirst();
  return run?.thread_id;
}

/** A literal, as in the partial index `runs_claimable`. */
const PENDING: RawBuilder<SqlBool> = sql<SqlBool>`status = 'pending'`;
