/** How callers are known: by their credentials, by what the gateway asks itself for them, and later by what they left behind. */
import { admitTickets } from "../auth/doctor-tickets.js";
import { limitCallers } from "../auth/limits.js";
import { openCallers } from "../auth/open.js";
import { knowOwnRequests } from "../auth/own-requests.js";
import type { Config } from "../config.js";
import type { SystemClock } from "../core/clock.js";
import type { Log } from "../core/log.js";
import { SqlApiKeyStore } from "../storage/api-keys.js";
import type { Storage } from "./storage.js";

interface AuthenticationDeps {
  readonly config: Config;
  readonly storage: Pick<Storage, "database" | "clock">;
  readonly shownClock: SystemClock;
  readonly log: Log;
}

export async function openAuthentication({ config, storage, shownClock, log }: AuthenticationDeps) {
  const { database, clock } = storage;
  const keys = new SqlApiKeyStore({ database, clock: shownClock }); // keys end by the wall clock
  const callers = await openCallers(config.auth, { baseDir: config.baseDir, keys, clock: shownClock, log });
  const ownRequests = knowOwnRequests(callers);
  const authenticate = limitCallers(ownRequests.authenticate, config.limits, clock);
  return { authenticate, recall: callers.recall, ownRequests, admitTicket: admitTickets(keys, shownClock) };
}
