/**
 * Storage as graph threads reach it where checkpoints are on PostgreSQL, which has room for many writers and looks who may
 * write: a thread reads and writes them on connections of its own, and asks the main thread for items only.
 */
import { createPostgresSavers } from "./checkpoints-postgres.js";
import type { IndexFields } from "./item-operation.js";
import { CONNECTIONS_PER_THREAD, openPool } from "./postgres-connection.js";
import { type AskStorage, type ThreadStorage, ThreadStore } from "./thread-storage.js";

/** `url`: the database, whose tables the main thread has brought up to date before; `fields`: those of its store. */
export function openPostgresThreadStorage(url: string, ask: AskStorage, fields: IndexFields): ThreadStorage {
  const checkpoints = createPostgresSavers(openPool(url, CONNECTIONS_PER_THREAD));
  return { checkpoints, store: new ThreadStore(ask, fields) };
}
