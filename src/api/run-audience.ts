/**
 * Who reads a run's events or waits for its result, and what becomes of a run whose client left and wanted it to stop.
 *
 * 1. A client that loses its connection comes back: its run is cancelled only when nobody, that client or any other, has
 *    read the run for the grace.
 * 2. The wish stays until the run ends: who came meanwhile keeps the run alive, and no longer than they read it.
 * 3. Connections that the gateway breaks itself, because it stops or because a client took nothing, are no wish (R18).
 */
import type { Clock } from "../core/clock.js";

/** `ended`: the run had ended, and with it the answer; `left`: the client went before; `cut`: the gateway broke it off. */
export type AnswerEnd = "ended" | "left" | "cut";

export interface RunAudienceDeps {
  readonly clock: Clock;
  /** 0: as soon as nobody reads the run. */
  readonly graceMs: number;
  readonly cancel: (runId: string) => void;
  /** Calls `listener` when the run ends; the returned function stops that. */
  readonly onRunEnd: (runId: string, listener: () => void) => () => void;
}

export interface RunAudience {
  /** Counts a reader; the returned function says, once, how its answer ended. */
  join(runId: string, reader: { readonly cancelOnDisconnect: boolean }): (end: AnswerEnd) => void;
  /** From now on whoever leaves does so because the gateway stops: no run is cancelled any more. */
  close(): void;
}

interface Audience {
  readers: number;
  /** Set while a client that left wants the run to stop; forgets its end. */
  forgetWish: (() => void) | undefined;
  forgetGrace: () => void;
}

export function createRunAudience({ clock, graceMs, cancel, onRunEnd }: RunAudienceDeps): RunAudience {
  const audiences = new Map<string, Audience>();
  let closed = false;

  function forget(runId: string, audience: Audience): void {
    audience.forgetGrace();
    audience.forgetWish?.();
    audience.forgetWish = undefined;
    if (audiences.get(runId) === audience && audience.readers === 0) audiences.delete(runId);
  }

  function leave(runId: string, audience: Audience, isWish: boolean): void {
    if (closed) return;
    if (isWish) audience.forgetWish ??= onRunEnd(runId, () => forget(runId, audience));
    if (audience.readers > 0) return;
    if (audience.forgetWish === undefined) {
      forget(runId, audience);
      return;
    }
    const giveUp = (): void => {
      forget(runId, audience);
      cancel(runId);
    };
    if (graceMs === 0) giveUp();
    else audience.forgetGrace = clock.after(graceMs, giveUp);
  }

  return {
    join(runId, { cancelOnDisconnect }) {
      const audience = audiences.get(runId) ?? { readers: 0, forgetWish: undefined, forgetGrace: () => {} };
      audiences.set(runId, audience);
      audience.forgetGrace();
      audience.readers++;
      return (end) => {
        audience.readers--;
        if (end === "ended") {
          forget(runId, audience);
        } else {
          leave(runId, audience, end === "left" && cancelOnDisconnect);
        }
      };
    },

    close() {
      closed = true;
      for (const [runId, audience] of audiences) forget(runId, audience);
    },
  };
}
