/**
 * Runs in SQL. Every transition is one compare-and-set whose WHERE names the owner; no row updated means that ownership
 * was lost. Whatever changes which runs are in flight derives the thread's status in the same transaction.
 *
 * Admission is in `run-admission.ts`, what an end does to the thread in `run-outcome.ts`, cancelling in `run-cancel.ts`,
 * taking back in `run-undo.ts`.
 */
import { type Expression, type ExpressionBuilder, type RawBuilder, type SqlBool, sql } from "kysely";
import type { Clock } from "../core/clock.js";
import { type CancelAction, isInFlight, type Run, type RunStatus } from "../core/model.js";
import type { CommitGroup } from "./commit-group.js";
import { type Database, isUniqueViolation, locked, type Schema } from "./database.js";
import { admit } from "./run-admission.js";
import { cancelInFlightRun } from "./run-cancel.js";
import { saveOutcome } from "./run-outcome.js";
import { IN_FLIGHT, RUN_COLUMNS, toRun } from "./run-rows.js";
import { deleteRun } from "./run-undo.js";
import type { AdmitRequest, AdmitResult, Lease, Page, RunOutcome, RunStore } from "./storage.js";
import { refreshStatus } from "./thread-rows.js";

export interface SqlRunStoreDeps {
  readonly database: Database;
  /** Of the same database; shared by the stores, so that they share commits. */
  readonly commits: CommitGroup;
  readonly clock: Clock;
}

const CLAIM_TRIES = 5;

export class SqlRunStore implements RunStore {
  private readonly database: Database;
  private readonly commits: CommitGroup;
  private readonly clock: Clock;

  constructor({ database, commits, clock }: SqlRunStoreDeps) {
    this.database = database;
    this.commits = commits;
    this.clock = clock;
  }

  async admit(request: AdmitRequest): Promise<AdmitResult> {
    const now = this.clock.now();
    return this.commits.run((transaction) => admit(transaction, request, now));
  }

  async claim(workerId: string, leaseMs: number): Promise<Run | undefined> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.claimNext(workerId, leaseMs);
      } catch (error) {
        // Another process took a run of the same thread at this moment: `one_running` is the wall.
        if (!isUniqueViolation(error) || attempt === CLAIM_TRIES) throw error;
      }
    }
  }

  private async claimNext(workerId: string, leaseMs: number): Promise<Run | undefined> {
    const now = this.clock.now();
    const row = await this.database
      .updateTable("runs")
      .set((eb) => ({
        status: "running",
        attempt: eb("attempt", "+", 1),
        fence: eb("fence", "+", 1),
        worker_id: workerId,
        lease_until: now + leaseMs,
        updated_at: now,
      }))
      .where("seq", "=", ({ selectFrom }) =>
        selectFrom("runs as r")
          .select("r.seq")
          .where("r.run_after", "<=", now)
          .where(NEXT_OF_FREE_THREAD)
          .orderBy("r.run_after")
          .orderBy("r.seq")
          .limit(1),
      )
      .returning(RUN_COLUMNS)
      .executeTakeFirst();
    return row === undefined ? undefined : toRun(row);
  }

  async renew(
    lease: Lease,
    leaseMs: number,
  ): Promise<{ readonly held: boolean; readonly cancel: CancelAction | null }> {
    const renewed = await this.database
      .updateTable("runs")
      .set({ lease_until: this.clock.now() + leaseMs })
      .where((eb) => isHeld(eb, lease))
      .returning("cancel_action")
      .executeTakeFirst();
    return { held: renewed !== undefined, cancel: renewed?.cancel_action ?? null };
  }

  async finish(lease: Lease, outcome: RunOutcome): Promise<boolean> {
    const now = this.clock.now();
    return this.commits.run(async (transaction) => {
      const ended = await transaction
        .updateTable("runs")
        .set({
          status: outcome.status,
          error: outcome.error === null ? null : JSON.stringify(outcome.error),
          updated_at: now,
          lease_until: null,
        })
        .where((eb) => isHeld(eb, lease))
        .where("rolling_back", "=", 0)
        // Whoever asked for a cancel was told that it will happen.
        .$if(outcome.status !== "interrupted", (query) => query.where("cancel_action", "is", null))
        .executeTakeFirst();
      if (ended.numUpdatedRows === 0n) return false;
      await saveOutcome(transaction, { threadId: lease.threadId, outcome, now });
      return true;
    });
  }

  async release(lease: Lease): Promise<boolean> {
    const released = await this.database
      .updateTable("runs")
      .set((eb) => ({
        status: "pending", // still in flight: the thread stays as it is
        attempt: eb("attempt", "-", 1),
        worker_id: null,
        lease_until: null,
        updated_at: this.clock.now(),
      }))
      .where((eb) => isHeld(eb, lease))
      .where("rolling_back", "=", 0)
      .executeTakeFirst();
    return released.numUpdatedRows > 0n;
  }

  async requestCancel(
    threadId: string | null,
    runId: string,
    action: CancelAction,
  ): Promise<"ended" | "requested" | "already" | "finished" | "missing"> {
    const now = this.clock.now();
    return this.commits.run(async (transaction) => {
      const run = await locked(
        transaction
          .selectFrom("runs")
          .select(["run_id as runId", "thread_id as threadId", "status", "fence"])
          .where("run_id", "=", runId)
          .$if(threadId !== null, (query) => query.where("thread_id", "=", threadId)),
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
      .where("run_id", "=", runId)
      .$if(threadId !== null, (query) => query.where("thread_id", "=", threadId))
      .executeTakeFirst();
    return row === undefined ? undefined : toRun(row);
  }

  async list(
    threadId: string,
    query: { readonly limit: number; readonly offset: number; readonly status?: RunStatus | undefined },
  ): Promise<Page<Run>> {
    const { status } = query;
    const found = this.database
      .selectFrom("runs")
      .where("thread_id", "=", threadId)
      .$if(status !== undefined, (runs) => runs.where("status", "=", status as RunStatus)); // just checked
    const { total } = await found.select((eb) => eb.fn.countAll<number>().as("total")).executeTakeFirstOrThrow();
    const rows = await found
      .select(RUN_COLUMNS)
      .orderBy("seq", "desc")
      .limit(query.limit)
      .offset(query.offset)
      .execute();
    return { rows: rows.map(toRun), total };
  }

  async listInFlight(filter: { readonly threadId?: string; readonly status?: RunStatus }): Promise<readonly Run[]> {
    let inFlight = this.database.selectFrom("runs").select("seq").where(IN_FLIGHT); // from the index alone
    if (filter.threadId !== undefined) inFlight = inFlight.where("thread_id", "=", filter.threadId);
    if (filter.status !== undefined) inFlight = inFlight.where("status", "=", filter.status);
    const rows = await this.database
      .selectFrom("runs")
      .select(RUN_COLUMNS)
      .where("seq", "in", inFlight)
      .orderBy("seq", "desc")
      .execute();
    return rows.map(toRun);
  }

  async listRollingBack(): Promise<readonly Run[]> {
    const rows = await this.database
      .selectFrom("runs")
      .select(RUN_COLUMNS)
      .where(RUNNING)
      .where("rolling_back", "=", 1)
      .orderBy("seq")
      .execute();
    return rows.map(toRun);
  }

  async markRollingBack(lease: Lease): Promise<boolean> {
    const marked = await this.database
      .updateTable("runs")
      .set({ rolling_back: 1, updated_at: this.clock.now() })
      .where((eb) => isHeld(eb, lease))
      .executeTakeFirst();
    return marked.numUpdatedRows > 0n;
  }

  async removeRolledBack(run: { readonly runId: string; readonly threadId: string }): Promise<void> {
    await this.commits.run(async (transaction) => {
      const marked = await locked(
        transaction
          .selectFrom("runs")
          .select("run_id")
          .where("run_id", "=", run.runId)
          .where("thread_id", "=", run.threadId)
          .where("rolling_back", "=", 1),
      ).executeTakeFirst();
      if (marked !== undefined) await deleteRun(transaction, run.runId); // undefined: done before
    });
  }

  async remove(threadId: string, runId: string): Promise<boolean> {
    const removed = await this.database
      .deleteFrom("runs")
      .where("run_id", "=", runId)
      .where("thread_id", "=", threadId)
      .where("status", "not in", ["pending", "running"])
      .executeTakeFirst();
    return removed.numDeletedRows > 0n;
  }

  async nextDueAt(): Promise<number | undefined> {
    const next = await this.database
      .selectFrom("runs as r")
      .select("r.run_after")
      .where(NEXT_OF_FREE_THREAD)
      .orderBy("r.run_after")
      .orderBy("r.seq")
      .limit(1)
      .executeTakeFirst();
    return next?.run_after;
  }

  async recoverOrphans(): Promise<readonly Run[]> {
    return this.commits.run(async (transaction) => {
      // Whoever held a reservation died with the process.
      await transaction
        .updateTable("threads")
        .set({ reserved_by: null })
        .where("reserved_by", "is not", null)
        .execute();
      const rows = await transaction
        .updateTable("runs")
        .set({ status: "pending", worker_id: null, lease_until: null, updated_at: this.clock.now() })
        .where(RUNNING)
        .where("rolling_back", "=", 0) // they keep their thread until `removeRolledBack`
        .returning(RUN_COLUMNS)
        .execute();
      return rows.map(toRun);
    });
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

/** Literals, as in the partial indexes `one_running` and `runs_claimable`. */
const RUNNING: RawBuilder<SqlBool> = sql<SqlBool>`status = 'running'`;
const PENDING: RawBuilder<SqlBool> = sql<SqlBool>`status = 'pending'`;

/**
 * Run `r` waits, nothing of its thread runs or comes before it, and the thread is neither reserved nor being deleted.
 * The order is due time, then creation. Proven without overlap or double claim with `one_running` behind it.
 */
const NEXT_OF_FREE_THREAD: RawBuilder<SqlBool> = sql<SqlBool>`r.status = 'pending'
  and not exists (select 1 from runs o where o.thread_id = r.thread_id and o.status = 'running')
  and not exists (select 1 from runs o where o.thread_id = r.thread_id and o.status in ('pending', 'running')
    and (o.run_after, o.seq) < (r.run_after, r.seq))
  and exists (select 1 from threads t where t.thread_id = r.thread_id and t.reserved_by is null and t.deleting = 0)`;

function isHeld(eb: ExpressionBuilder<Schema, "runs">, lease: Lease): Expression<SqlBool> {
  return eb.and([
    eb("run_id", "=", lease.runId),
    eb("thread_id", "=", lease.threadId),
    eb("fence", "=", lease.fence),
    eb("worker_id", "=", lease.workerId),
    eb("status", "=", "running"),
  ]);
}
