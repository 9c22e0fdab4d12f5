/**
 * Who reads a run's events or waits for its result, and what becomes of a run whose client left and wanted it to stop.
 *
 * 1. A client that loses its connection comes back: its run is cancelled only when nobody, that client or any other, has
 *    read the run for the grace.
 * 2. The wish stays until the run ends: who came meanwhile keeps the run alive, and no longer than they read it.
 * 3. Connections that the gateway breaks itself, because it stops or because a client took nothing, are no wish (R18).
 * 4. Among replicas the wish is written down when the last reader here has left. A replica that has readers takes it over
 *    when it hears of it, or looks, which it does more often than the grace is over; nobody cancels before.
 */
import type { Clock } from "../core/clock.js";
import type { Log } from "../core/log.js";

/** `ended`: the run had ended, and with it the answer; `left`: the client went before; `cut`: the gateway broke it off. */
export type AnswerEnd = "ended" | "left" | "cut";

/** Readers on other replicas (4). */
export interface OtherReaders {
  /** Writes the wish down, and tells others of it. */
  abandon(runId: string): Promise<void>;
  /** Takes wishes back; returns the runs that had one. */
  reclaim(runIds: readonly string[]): Promise<readonly string[]>;
  /** Calls `listener` when the run may have been abandoned; the returned function stops that. */
  onAbandoned(runId: string, listener: () => void): () => void;
  /** How often a replica looks. */
  readonly lookMs: number;
  readonly log: Log;
}

export interface RunAudienceDeps {
  readonly clock: Clock;
  /** 0: as soon as nobody reads the run. */
  readonly graceMs: number;
  readonly cancel: (runId: string) => void;
  /** Calls `listener` when the run ends; the returned function stops that. */
  readonly onRunEnd: (runId: string, listener: () => void) => () => void;
  /** Absent where nobody else can have readers. */
  readonly others?: OtherReaders | undefined;
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
  /** Listens for what others abandon while somebody reads it here. */
  stopListening: () => void;
}

export function createRunAudience({ clock, graceMs, cancel, onRunEnd, others }: RunAudienceDeps): RunAudience {
  const audiences = new Map<string, Audience>();
  let closed = false;
  let forgetLook = others === undefined ? (): void => {} : lookLater(others);

  /** 4 */
  function lookLater(among: OtherReaders): () => void {
    return clock.after(among.lookMs, () => {
      reclaim(
        among,
        [...audiences].filter(([, { readers }]) => readers > 0).map(([runId]) => runId),
      );
      if (!closed) forgetLook = lookLater(among);
    });
  }

  function reclaim(among: OtherReaders, runIds: readonly string[]): void {
    if (runIds.length === 0) return;
    among.reclaim(runIds).then(
      (reclaimed) => {
        for (const runId of reclaimed) inherit(among, runId);
      },
      (err: unknown) => among.log.error({ err, runIds }, "runs that are read could not be kept alive; trying again"),
    );
  }

  /** 2: the wish is this replica's now, and so is the reader that stands against it. */
  function inherit(among: OtherReaders, runId: string): void {
    const audience = audiences.get(runId);
    if (audience === undefined || audience.readers === 0)
      abandon(among, runId); // they left meanwhile
    else audience.forgetWish ??= onRunEnd(runId, () => forget(runId, audience));
  }

  function abandon(among: OtherReaders, runId: string): void {
    among.abandon(runId).catch((err: unknown) => {
      among.log.error({ err, runId }, "it could not be written down that nobody reads a run: it goes on");
    });
  }

  function forget(runId: string, audience: Audience): void {
    audience.forgetGrace();
    audience.forgetWish?.();
    audience.forgetWish = undefined;
    if (audience.readers === 0) audience.stopListening();
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
    audience.stopListening();
    if (others !== undefined) abandon(others, runId);
    const giveUp = (): void => {
      forget(runId, audience);
      cancel(runId);
    };
    if (graceMs === 0) giveUp();
    else audience.forgetGrace = clock.after(graceMs, giveUp);
  }

  return {
    join(runId, { cancelOnDisconnect }) {
      const audience = audiences.get(runId) ?? newAudience();
      audiences.set(runId, audience);
      audience.forgetGrace();
      if (audience.readers === 0 && others !== undefined) {
        audience.stopListening = others.onAbandoned(runId, () => reclaim(others, [runId]));
        reclaim(others, [runId]);
      }
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
      forgetLook();
      for (const [runId, audience] of audiences) forget(runId, audience);
    },
  };
}

function newAudience(): Audience {
  return { readers: 0, forgetWish: undefined, forgetGrace: () => {}, stopListening: () => {} };
}
