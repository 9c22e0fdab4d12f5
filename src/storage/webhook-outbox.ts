/**
 * The outbox of webhooks: what is to be said of runs that ended.
 *
 * 1. A row is written in the transaction that ends its run, however it ends, and holds all that the webhook tells: the run,
 *    its thread and its state may change or go before it is sent, and every try tells the same.
 * 2. Nothing is written of a thread that somebody is deleting, and what waits goes with a thread or a run that somebody
 *    deletes. A thread that was made for its run goes by itself: the row stays. `goes_with` tells the two apart.
 * 3. A claim counts as a try and hides its row for the lease. The number of tries is the claim's fence: whoever was late
 *    settles nothing.
 */
import { type RawBuilder, type Selectable, type SqlBool, sql } from "kysely";
import type { Clock } from "../core/clock.js";
import type { InterruptsByTask } from "../core/model.js";
import type { CommitGroup } from "./commit-group.js";
import { type Database, lockedUnlessHeld, momentAfter, momentOf, type Schema } from "./database.js";
import type { RunOutcome } from "./ports/runs.js";
import type { EndedRun, WebhookClaim, WebhookDelivery, WebhookOutbox } from "./ports/webhooks.js";
import { RUN_COLUMNS, toRun } from "./run-rows.js";

/** Literals, as in the partial index `outbox_due`. */
const WAITING: RawBuilder<SqlBool> = sql<SqlBool>`kind = 'webhook' and done_at is null`;

/** What the payload of a row holds: the state's values have a column of their own. */
type StoredEnd = Omit<EndedRun, "valuesJson">;

/**
 * Writes what the run's webhook will tell, if it has one. Before its row goes, and before a thread that was made for it is
 * marked for deletion. A `projection` of null: the state is what its thread shows.
 */
export async function enqueueWebhook(
  database: Database,
  run: Pick<Selectable<Schema["runs"]>, "run_id" | "thread_id" | "temporary" | "webhook">,
  end: Pick<EndedRun, "status"> & Pick<RunOutcome, "projection"> & { readonly now: number },
): Promise<void> {
  const { run_id: runId, thread_id: threadId, webhook: url } = run;
  if (url === null) return;
  const thread = await database
    .selectFrom("threads")
    .leftJoin("thread_states", "thread_states.thread_id", "threads.thread_id")
    .select(["threads.interrupts", "thread_states.values"])
    .where("threads.thread_id", "=", threadId)
    .where("threads.deleting", "=", 0)
    .executeTakeFirst();
  if (thread === undefined) return; // 2
  const row = await database
    .selectFrom("runs")
    .select([...RUN_COLUMNS, "started_at"])
    .where("run_id", "=", runId)
    .executeTakeFirstOrThrow();
  const stored: StoredEnd = {
    run: toRun(row),
    status: end.status,
    startedAt: row.started_at,
    endedAt: end.now,
    interrupts: end.projection?.interrupts ?? (JSON.parse(thread.interrupts) as InterruptsByTask), // what an end wrote
  };
  await database
    .insertInto("outbox")
    .values({
      run_id: runId,
      kind: "webhook",
      payload: JSON.stringify(stored),
      values: end.projection === null ? thread.values : end.projection.valuesJson,
      url,
      host: hostOf(url),
      goes_with: run.temporary === 1 ? null : threadId,
      next_at: end.now,
      updated_at: end.now,
      attempts: 0,
    })
    .execute();
}

/** Of a run that is deleted, or of all those of a thread that is. */
export async function dropWebhooks(
  database: Database,
  { threadId, runId }: { readonly threadId: string; readonly runId?: string },
): Promise<void> {
  let dropped = database.deleteFrom("outbox").where("goes_with", "=", threadId);
  if (runId !== undefined) dropped = dropped.where("run_id", "=", runId);
  await dropped.execute();
}

/** A path has none: it is the gateway's own. */
function hostOf(url: string): string {
  return URL.canParse(url) ? new URL(url).host : "";
}

export class SqlWebhookOutbox implements WebhookOutbox {
  private readonly database: Database;
  private readonly commits: CommitGroup;
  private readonly clock: Clock;

  constructor(deps: {
    readonly database: Database;
    /** Of the same database, so that claims share commits with whatever else is written. */
    readonly commits: CommitGroup;
    readonly clock: Clock;
  }) {
    this.database = deps.database;
    this.commits = deps.commits;
    this.clock = deps.clock;
  }

  async claim(
    leaseMs: number,
    { limit, roomOf }: { readonly limit: number; readonly roomOf: (host: string) => number },
  ): Promise<readonly WebhookDelivery[]> {
    const now = this.clock.now();
    return this.commits.run(async (transaction) => {
      const claimed: WebhookDelivery[] = [];
      const full: string[] = [];
      while (claimed.length < limit) {
        const due = await longestDue(transaction, now, full);
        if (due === undefined) break;
        const taken = claimed.filter(({ host }) => host === due.host).length;
        if (taken >= roomOf(due.host)) {
          full.push(due.host);
          continue;
        }
        const row = await take(transaction, due.id, { now, leaseMs });
        if (row !== undefined) claimed.push(toDelivery(row)); // undefined: somebody wrote it in between
      }
      return claimed;
    });
  }

  async remove({ id, tries }: WebhookClaim): Promise<boolean> {
    return this.commits.run(async (transaction) => {
      const removed = await transaction
        .deleteFrom("outbox")
        .where("id", "=", id)
        .where("attempts", "=", tries)
        .executeTakeFirst();
      return removed.numDeletedRows > 0n;
    });
  }

  async retryAt(claim: WebhookClaim, time: number): Promise<boolean> {
    return this.settle(claim, { tries: claim.tries, dueAt: time });
  }

  async release(claim: WebhookClaim): Promise<boolean> {
    return this.settle(claim, { tries: claim.tries - 1, dueAt: this.clock.now() });
  }

  async nextDueAt(exceptHosts: readonly string[]): Promise<number | undefined> {
    const next = await this.database
      .selectFrom("outbox")
      .select("next_at")
      .where(WAITING)
      .$if(exceptHosts.length > 0, (query) => query.where("host", "not in", exceptHosts))
      .orderBy("next_at")
      .orderBy("id")
      .limit(1)
      .executeTakeFirst();
    return next?.next_at;
  }

  async rebase(): Promise<void> {
    const now = this.clock.now();
    await this.commits.run(async (transaction) => {
      await transaction
        .updateTable("outbox")
        .set({ next_at: now, updated_at: now })
        .where(WAITING)
        .where("updated_at", ">", now)
        .execute();
    });
  }

  private async settle(
    { id, tries: fence }: WebhookClaim,
    { tries, dueAt }: { readonly tries: number; readonly dueAt: number },
  ): Promise<boolean> {
    const now = this.clock.now();
    return this.commits.run(async (transaction) => {
      const settled = await transaction
        .updateTable("outbox")
        .set({ attempts: tries, next_at: dueAt, updated_at: now })
        .where("id", "=", id)
        .where("attempts", "=", fence)
        .executeTakeFirst();
      return settled.numUpdatedRows > 0n;
    });
  }
}

async function longestDue(
  database: Database,
  now: number,
  exceptHosts: readonly string[],
): Promise<{ readonly id: number; readonly host: string } | undefined> {
  const due = database
    .selectFrom("outbox")
    .select(["id", "host"])
    .where(WAITING)
    .where("next_at", "<=", momentOf(database, now))
    .$if(exceptHosts.length > 0, (query) => query.where("host", "not in", exceptHosts))
    .orderBy("next_at")
    .orderBy("id")
    .limit(1);
  return lockedUnlessHeld(due).executeTakeFirst();
}

type OutboxRow = Pick<Selectable<Schema["outbox"]>, "id" | "url" | "host" | "attempts" | "payload" | "values">;

async function take(
  database: Database,
  id: number,
  { now, leaseMs }: { readonly now: number; readonly leaseMs: number },
): Promise<OutboxRow | undefined> {
  const moment = momentOf(database, now);
  return database
    .updateTable("outbox")
    .set((eb) => ({ attempts: eb("attempts", "+", 1), next_at: momentAfter(moment, leaseMs), updated_at: now }))
    .where("id", "=", id)
    .where("next_at", "<=", moment)
    .returning(["id", "url", "host", "attempts", "payload", "values"])
    .executeTakeFirst();
}

function toDelivery(row: OutboxRow): WebhookDelivery {
  const stored = JSON.parse(row.payload) as StoredEnd; // as `enqueueWebhook` wrote it
  return {
    id: row.id,
    url: row.url,
    host: row.host,
    tries: row.attempts,
    ended: { ...stored, valuesJson: row.values },
  };
}
