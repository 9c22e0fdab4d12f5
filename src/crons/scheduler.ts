/**
 * Fires crons when they are due.
 *
 * 1. It sleeps until the next cron is due, and is woken when one changes. It looks again every half minute all the same:
 *    another process may have changed one, and a clock may have been set.
 * 2. One that cannot be fired keeps no other from being fired; it is tried again a moment later.
 * 3. When `stop` resolves nothing is being fired any more. What is due then is fired by the next start.
 *
 * Any number of them may work on one database: each tick becomes one run (`tick.ts`).
 */
import type { Signals } from "../bridge/bridge.js";
import type { Clock } from "../core/clock.js";
import { GatewayError } from "../core/errors.js";
import type { DueCron } from "../storage/ports/crons.js";
import { CRONS_CHANGED } from "./crons.js";
import { fireDue, type TickDeps } from "./tick.js";

export interface CronSchedulerDeps extends TickDeps {
  readonly signals: Pick<Signals, "on">;
  readonly clock: Clock;
}

export interface CronScheduler {
  start(): void;
  stop(): Promise<void>;
}

const LONGEST_SLEEP_MS = 30_000;
const TRY_AGAIN_MS = 5_000;
/** They are fired together, so that they share a commit. */
const AT_ONCE = 16;

export function createCronScheduler(deps: CronSchedulerDeps): CronScheduler {
  const { crons, signals, clock, log, metrics } = deps;
  let isWorking = false;
  let sweeping: Promise<void> | undefined;
  let sweepAgain = false;
  let forgetTimer = (): void => {};
  let stopListening = (): void => {};

  /** One sweep at a time; a wake-up during it makes it look once more. */
  function wake(): void {
    sweepAgain = true;
    sweeping ??= sweepAll().finally(() => {
      sweeping = undefined;
      if (sweepAgain && isWorking) wake();
    });
  }

  async function sweepAll(): Promise<void> {
    let sleepMs = 0;
    while (isWorking && sweepAgain) {
      sweepAgain = false;
      sleepMs = await sweep().catch((error: unknown) => {
        log.error({ err: error }, "looking for crons that are due failed; trying again");
        return TRY_AGAIN_MS;
      });
    }
    forgetTimer();
    if (isWorking) forgetTimer = clock.after(sleepMs, wake);
  }

  /** Fires everything that is due; returns how long there is nothing to do. */
  async function sweep(): Promise<number> {
    const now = clock.now();
    let isDone = true;
    let after: DueCron | null = null;
    do {
      const due: readonly DueCron[] = await crons.listDue(now, after, AT_ONCE);
      const fired = await Promise.all(due.map(({ cronId }) => tryToFire(cronId, now)));
      isDone &&= !fired.includes(false);
      after = due.length === AT_ONCE ? (due.at(-1) ?? null) : null;
    } while (isWorking && after !== null);
    if (!isDone) return TRY_AGAIN_MS; // 2
    const dueAt = await crons.nextDueAt();
    const waitMs = dueAt === undefined ? LONGEST_SLEEP_MS : dueAt - clock.now();
    return Math.min(Math.max(waitMs, 0), LONGEST_SLEEP_MS); // 1
  }

  /** false when it is to be tried again. */
  async function tryToFire(cronId: string, now: number): Promise<boolean> {
    try {
      const cron = await crons.get(cronId);
      if (cron !== undefined) await fireDue(deps, cron, now);
      return true;
    } catch (error) {
      const isStopping = error instanceof GatewayError && error.code === "unavailable";
      if (!isStopping) {
        metrics.cronTicks.inc({ outcome: "failed" });
        log.error({ err: error, cronId }, "a cron could not be fired; trying again");
      }
      return false;
    }
  }

  return {
    start() {
      isWorking = true;
      stopListening = signals.on(CRONS_CHANGED, wake);
      wake();
    },

    async stop() {
      isWorking = false;
      stopListening();
      await sweeping;
      forgetTimer();
    },
  };
}
