/**
 * Writes to a thread outside of its runs. While one lasts no run of the thread starts; runs that were admitted meanwhile
 * start when it is over.
 *
 * 1. A reservation has an end, which is put off for as long as the work lasts: one that outlives its process is over soon,
 *    and whoever takes it finds what was being written to (`takeover.ts`).
 * 2. Whoever worked on although its reservation was taken changes nothing more of the thread's row.
 */
import { randomUUID } from "node:crypto";
import type { Clock } from "../core/clock.js";
import { conflict, type GatewayError, notFound, threadBusy } from "../core/errors.js";
import type { Log } from "../core/log.js";
import type { Run } from "../core/model.js";
import type { NewThread, ThreadStore } from "../storage/ports/threads.js";

/** Does `work` while the thread is taken; throws `not_found`, `thread_busy` with the active run, or `conflict`. */
export type WhileReserved = <T>(threadId: string, work: (owner: string) => Promise<T>) => Promise<T>;

export interface Reservations {
  readonly whileReserved: WhileReserved;
  /** Prepares a thread, which is the caller's to reveal or to delete, and does `work` while it is taken. */
  readonly whilePrepared: <T>(thread: NewThread, work: (owner: string) => Promise<T>) => Promise<T>;
  /** Does `work` while a thread that is `owner`'s stays so. */
  readonly whileHeld: <T>(threadId: string, owner: string, work: () => Promise<T>) => Promise<T>;
}

export interface ReservationsDeps {
  readonly threads: Pick<ThreadStore, "reserve" | "renewReservation" | "release" | "prepare">;
  readonly activeRun: (threadId: string) => Promise<Run | undefined>;
  /** Called when a thread became free for its next run. */
  readonly onFree: (threadId: string) => void;
  readonly clock: Clock;
  readonly log: Log;
  readonly lease: { readonly leaseMs: number; readonly heartbeatMs: number };
}

export function createReservations(deps: ReservationsDeps): Reservations {
  const { threads, clock, log } = deps;
  const { leaseMs, heartbeatMs } = deps.lease;

  async function refusal(threadId: string): Promise<Error> {
    const active = await deps.activeRun(threadId);
    return active === undefined
      ? conflict(`thread ${threadId} is being written to by another request; try again`)
      : threadBusy("Thread is busy: wait for its runs to end, or cancel them", active);
  }

  /** 1 */
  async function whileHeld<T>(threadId: string, owner: string, work: () => Promise<T>): Promise<T> {
    let isOver = false;
    let forget = renewLater();
    function renewLater(): () => void {
      return clock.after(heartbeatMs, async () => {
        try {
          if (!(await threads.renewReservation(threadId, { owner, leaseMs }))) return; // 2
        } catch (err) {
          log.warn({ err, threadId }, "a reservation could not be renewed");
        }
        if (!isOver) forget = renewLater();
      });
    }
    try {
      return await work();
    } finally {
      isOver = true;
      forget();
    }
  }

  return {
    whileHeld,

    async whileReserved(threadId, work) {
      const owner = randomUUID();
      const answer = await threads.reserve(threadId, { owner, leaseMs });
      if (answer === "missing") throw notFound("thread", threadId);
      if (answer === "busy") throw await refusal(threadId);
      try {
        return await whileHeld(threadId, owner, () => work(owner));
      } finally {
        await threads.release(threadId, owner);
        deps.onFree(threadId);
      }
    },

    async whilePrepared(thread, work) {
      const owner = randomUUID();
      await threads.prepare(thread, { owner, leaseMs });
      return whileHeld(thread.threadId, owner, () => work(owner));
    },
  };
}

/** The thread was taken while it was being worked on: this process stood still for too long. */
export function reservationLost(threadId: string): GatewayError {
  const message = `thread ${threadId} was taken from this request, which took too long; look at it before you try again`;
  return conflict(message);
}
