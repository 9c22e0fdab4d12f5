/**
 * What becomes of a cron that is due.
 *
 * 1. The run is admitted, the cron moves on and the tick is written down in one transaction (`RunStore.fire`): one who
 *    dies before it has done nothing, one who dies after it has done everything, and of several at once one does it.
 * 2. A run that is refused leaves its tick out, and says so: a thread with too many runs, or a strategy that wants none
 *    beside another. A cron whose assistant, thread or creator is gone is disabled.
 * 3. What cannot be decided now (the database fails, the gateway stops) leaves the cron as it is, due.
 */
import type { PerCaller, RecallCaller } from "../core/caller.js";
import { GatewayError, RefusedError } from "../core/errors.js";
import type { Log } from "../core/log.js";
import type { Metrics } from "../core/metrics.js";
import type { Cron } from "../core/model.js";
import type { RunRequest } from "../runs/draft.js";
import type { RunManager } from "../runs/manager.js";
import type { CronStore, CronTick } from "../storage/ports/crons.js";
import { type DueTick, dueTick } from "./schedule.js";

export interface TickDeps {
  readonly crons: CronStore;
  readonly manager: PerCaller<Pick<RunManager, "fire">>;
  /** Whoever created a cron, authorised again; throws for somebody who is known no more. */
  readonly recall: RecallCaller;
  readonly log: Log;
  readonly metrics: Pick<Metrics, "cronTicks" | "cronsMissed">;
}

/** Refusals that the next tick would meet as well. */
const GONE: ReadonlySet<string> = new Set(["not_found", "forbidden", "unauthenticated"]);

/** Fires what is due of a cron at `now`, if anything. Throws what is to be tried again (3). */
export async function fireDue(deps: TickDeps, cron: Cron, now: number): Promise<void> {
  if (cron.nextRunAt === null || cron.nextRunAt > now) return; // somebody else has seen to it
  const dueAt = cron.nextRunAt;
  const due = readTimetable(cron, { dueAt, now });
  const tick = { cronId: cron.cronId, at: due.at ?? dueAt, dueAt, nextRunAt: due.nextAt };
  if (due.refused !== undefined) return refuse(deps, tick, due.refused, { disable: true });
  if (due.at === null) return retire(deps, tick);
  try {
    await fire(deps, cron, { tick, missed: due.missed });
  } catch (error) {
    const refusal = error instanceof RefusedError ? toldBy(error) : error;
    if (!(refusal instanceof GatewayError) || refusal.code === "unavailable") throw error;
    await refuse(deps, tick, refusal, { disable: GONE.has(refusal.code) });
  }
}

/** What the application's own authorisation refuses with, in the gateway's words. */
function toldBy({ status, message }: RefusedError): GatewayError {
  const code = status >= 500 ? "unavailable" : status === 429 ? "too_many_requests" : "forbidden";
  return new GatewayError(code, message);
}

/** A schedule that was fine when it was stored may not be to a later version of what reads it. */
function readTimetable(
  cron: Cron,
  time: { readonly dueAt: number; readonly now: number },
): DueTick & { readonly refused?: GatewayError } {
  try {
    return dueTick(cron, time);
  } catch (error) {
    if (!(error instanceof GatewayError)) throw error;
    return { at: time.dueAt, missed: false, nextAt: null, refused: error };
  }
}

async function fire(
  { manager, recall, log, metrics }: TickDeps,
  cron: Cron,
  { tick, missed }: { readonly tick: CronTick; readonly missed: boolean },
): Promise<void> {
  const caller = await recall(cron.identity);
  const run = await manager.as(caller).fire(tick, cron.threadId, runRequestOf(cron));
  if (run === undefined) return; // somebody else was first
  const { cronId } = cron;
  if (missed) {
    metrics.cronsMissed.inc();
    log.warn({ cronId, since: iso(tick.dueAt), tick: iso(tick.at) }, "a cron's earlier ticks were missed");
  }
  metrics.cronTicks.inc({ outcome: "fired" });
  log.info({ cronId, tick: iso(tick.at), runId: run.runId, threadId: run.threadId }, "cron fired");
}

/** The request that a cron stands for: what it was created with, and nothing of whoever happens to fire it. */
function runRequestOf(cron: Cron): RunRequest {
  return {
    ...cron.payload,
    assistantId: cron.assistantId,
    metadata: { ...cron.metadata, cron_id: cron.cronId },
    command: null,
    checkpoint: null,
    ifNotExists: "reject",
    afterSeconds: 0,
    onDisconnect: "continue",
    onCompletion: cron.onRunCompleted ?? "keep",
    idempotencyKey: null, // the tick is its own
    headerConfigurable: {},
  };
}

async function refuse(
  { crons, log, metrics }: TickDeps,
  tick: CronTick,
  { code, message }: GatewayError,
  { disable }: { readonly disable: boolean },
): Promise<void> {
  if (!(await crons.pass(tick, { disable }))) return;
  metrics.cronTicks.inc({ outcome: "skipped" });
  const ids = { cronId: tick.cronId, tick: iso(tick.at), code, reason: message };
  log.warn(ids, disable ? "cron disabled: its run is refused for good" : "cron skipped: its run was refused");
}

/** Its last ticks were missed, and its end is past. */
async function retire({ crons, log, metrics }: TickDeps, tick: CronTick): Promise<void> {
  if (!(await crons.pass(tick, { disable: false }))) return;
  metrics.cronsMissed.inc();
  log.warn({ cronId: tick.cronId, since: iso(tick.dueAt) }, "a cron's last ticks were missed: it has ended");
}

function iso(time: number): string {
  return new Date(time).toISOString();
}
