/** What threads take in the database, beside their state in the checkpoint file. */

import { sql } from "kysely";
import type { Database } from "./database.js";

/** Bytes of what is stored of each thread, its runs and what they said; keys and indexes take more. */
export async function rowSizesByThread(database: Database): Promise<ReadonlyMap<string, number>> {
  const { rows } = await sql<{ readonly threadId: string; readonly bytes: number }>`
    select thread_id as "threadId", sum(bytes) as bytes from (
      select thread_id, octet_length(metadata) + octet_length(config) + octet_length(interrupts) + octet_length(next)
        + coalesce(octet_length(error), 0) as bytes from threads
      union all select thread_id, bytes from thread_states
      union all select thread_id, octet_length(term) from thread_terms
      union all select thread_id, octet_length(payload) + octet_length(metadata) + octet_length(thread_metadata_before)
        + coalesce(octet_length(error), 0) from runs
      union all select r.thread_id, e.bytes from run_events e join runs r on r.run_id = e.run_id
    ) as parts group by thread_id`.execute(database);
  return new Map(rows.map(({ threadId, bytes }) => [threadId, bytes]));
}
