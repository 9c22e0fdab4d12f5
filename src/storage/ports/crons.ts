/** The port of crons. */
import type { Cron, JsonObject } from "../../core/model.js";
import type { Page, PageQuery, Scoped } from "./page.js";

export const CRON_SORT_COLUMNS = [
  "cron_id",
  "assistant_id",
  "thread_id",
  "next_run_date",
  "end_time",
  "created_at",
  "updated_at",
] as const;

export interface CronFilter {
  readonly assistantId?: string | undefined;
  readonly threadId?: string | undefined;
  readonly enabled?: boolean | undefined;
  /** JSON containment, as `@>` of PostgreSQL. */
  readonly metadata?: JsonObject | undefined;
}

export type NewCron = Omit<Cron, "createdAt" | "updatedAt">;

/** One moment at which a cron fires: by its id and this moment, which no two runs share. */
export interface CronTick {
  readonly cronId: string;
  readonly at: number;
  /** What the cron's `nextRunAt` says until the tick is fired or passed over, and what afterwards. */
  readonly dueAt: number;
  readonly nextRunAt: number | null;
}

export interface CronStore extends Scoped<CronStore> {
  /** `full`: there are `maxCrons` already. Otherwise what is missing. */
  create(cron: NewCron, maxCrons: number): Promise<Cron | "full" | "no assistant" | "no thread">;
  get(cronId: string): Promise<Cron | undefined>;
  /** Pure `change` sees the locked cron and returns what it becomes; what it throws leaves everything as it was. */
  patch(cronId: string, change: (cron: Cron) => Omit<Cron, "updatedAt">): Promise<Cron | undefined>;
  remove(cronId: string): Promise<boolean>;
  /** What a column has no value for comes last in either order. */
  search(filter: CronFilter, page: PageQuery<(typeof CRON_SORT_COLUMNS)[number]>): Promise<Page<Cron>>;
  count(filter: CronFilter): Promise<number>;
  /** Up to `limit` crons that are due at `now`, or by the clock of a database that several processes share, those that have waited longest first, going on behind `after`. */
  listDue(now: number, after: DueCron | null, limit: number): Promise<readonly DueCron[]>;
  /** When the next one is due. */
  nextDueAt(): Promise<number | undefined>;
  /** Moves a cron on without a run, and, if asked to, disables it; false when the tick is not due. */
  pass(tick: CronTick, options: { readonly disable: boolean }): Promise<boolean>;
}

export type DueCron = Pick<Cron, "cronId"> & { readonly nextRunAt: number };
