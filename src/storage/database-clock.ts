/**
 * The time of a database that several processes share, told between questions by this process's own pace: whatever the wall
 * clock of its machine shows, it agrees with the others about what is due and what comes first.
 *
 * It is never ahead of the database's, but for what the paces of two machines differ within a few seconds; behind it only by
 * what an answer takes. What must be exact, as leases, is compared in SQL (`momentOf`).
 */
import { sql } from "kysely";
import type { SystemClock } from "../core/clock.js";
import type { Log } from "../core/log.js";
import type { Database } from "./database.js";

export interface DatabaseClock extends SystemClock {
  /** Asks no more; returns when nothing is being asked. */
  stop(): Promise<void>;
}

/** Machines drift apart by some microseconds in a second. */
const ASK_EVERY_MS = 10_000;
/** After that long an answer says little about the time when it comes. */
const MAX_ANSWER_MS = 1_000;

/** Rejects when the database does not answer. */
export async function openDatabaseClock(
  database: Database,
  { system, log }: { readonly system: SystemClock; readonly log: Pick<Log, "warn"> },
): Promise<DatabaseClock> {
  let ahead = 0; // what the database shows, less what has passed here
  let forget = (): void => {};
  let asking: Promise<void> | undefined;

  async function ask(isFirst: boolean): Promise<void> {
    const askedAt = system.elapsed();
    const { rows } = await sql<{ readonly now: number }>`select heddle_now() as now`.execute(database);
    const answeredAt = system.elapsed();
    const now = rows[0]?.now;
    if (now === undefined) throw new Error("heddle_now() has no answer"); // a function always has
    if (isFirst || answeredAt - askedAt <= MAX_ANSWER_MS) ahead = now - answeredAt;
  }

  function askLater(): void {
    forget = system.after(ASK_EVERY_MS, () => {
      asking = ask(false)
        .catch((error: unknown) => log.warn({ err: error }, "the database's clock could not be read; going on without"))
        .finally(() => {
          asking = undefined;
          askLater();
        });
    });
  }

  await ask(true);
  askLater();
  return {
    now: () => Math.floor(ahead + system.elapsed()),
    elapsed: () => system.elapsed(),
    after: (delayMs, callback) => system.after(delayMs, callback),
    async stop() {
      forget();
      await asking;
      forget(); // the one that was asking has asked for another
    },
  };
}
