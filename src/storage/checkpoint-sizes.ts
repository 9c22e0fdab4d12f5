/**
 * What threads take in the checkpoint file, in bytes of what was stored. Lengths come from the headers of the rows; of
 * values nothing is read but the short ones, which checkpoints carry themselves (`checkpoint-channels.ts`).
 */
import { createBreather } from "../core/async.js";
import type { Channels } from "./checkpoint-channels.js";
import type { SqliteDatabase } from "./sqlite.js";
import type { CheckpointSizes, Size } from "./storage.js";

/** Bounds how long one look keeps others from the event loop. */
const SLICE_ROWS = 500;
const BREATHE_MS = 10;

const BYTES = "octet_length(checkpoint) + octet_length(metadata) + octet_length(channels)";

interface Slice {
  readonly ns: string;
  readonly id: string;
  readonly bytes: number;
  readonly channels: string;
}

export function prepareSizes(connection: SqliteDatabase): (threadId: string) => Promise<CheckpointSizes> {
  const selectSlice = connection.prepare<unknown[], Slice>(
    `SELECT checkpoint_ns AS ns, checkpoint_id AS id, ${BYTES} AS bytes, channels FROM checkpoints
     WHERE thread_id = ? AND (checkpoint_ns, checkpoint_id) > (?, ?) ORDER BY checkpoint_ns, checkpoint_id LIMIT ${SLICE_ROWS}`,
  );
  const selectValues = connection.prepare<unknown[], Size & { readonly channel: string }>(
    `SELECT channel, count(*) AS count, sum(octet_length(value)) AS bytes FROM channel_values WHERE thread_id = ? GROUP BY channel`,
  );
  const selectWrites = connection.prepare<unknown[], Size>(
    "SELECT count(*) AS count, coalesce(sum(octet_length(value)), 0) AS bytes FROM writes WHERE thread_id = ?",
  );

  return async (threadId) => {
    const breathe = createBreather(BREATHE_MS);
    const carried = createShortValues();
    let checkpoints: Size = NOTHING;
    for (let last = { ns: "", id: "" }; ; ) {
      const slice = selectSlice.all(threadId, last.ns, last.id);
      for (const row of slice) {
        const bytes = row.bytes - carried.add(row.ns, JSON.parse(row.channels) as Channels); // as the saver wrote them
        checkpoints = plus(checkpoints, { count: 1, bytes });
      }
      const end = slice.at(-1);
      if (end === undefined || slice.length < SLICE_ROWS) break;
      last = end;
      await breathe();
    }
    const valuesByChannel = carried.sizes();
    for (const { channel, ...stored } of selectValues.all(threadId)) {
      valuesByChannel.set(channel, plus(valuesByChannel.get(channel) ?? NOTHING, stored));
    }
    return {
      checkpoints,
      values: [...valuesByChannel.values()].reduce(plus, NOTHING),
      valuesByChannel,
      writes: selectWrites.get(threadId) ?? NOTHING,
    };
  };
}

/** What each thread takes, for all that have something there. */
export function sizesByThread(connection: SqliteDatabase): ReadonlyMap<string, number> {
  return new Map(
    connection
      .prepare<unknown[], [string, number]>(
        `SELECT thread_id, sum(bytes) FROM (
           SELECT thread_id, sum(${BYTES}) AS bytes FROM checkpoints GROUP BY thread_id
           UNION ALL SELECT thread_id, sum(octet_length(value)) FROM channel_values GROUP BY thread_id
           UNION ALL SELECT thread_id, sum(octet_length(value)) FROM writes GROUP BY thread_id
         ) GROUP BY thread_id`,
      )
      .raw()
      .all(),
  );
}

const NOTHING: Size = { count: 0, bytes: 0 };

function plus(one: Size, other: Size): Size {
  return { count: one.count + other.count, bytes: one.bytes + other.bytes };
}

/** Values that checkpoints carry: one version stands in as many of them as came before the next. */
function createShortValues() {
  const found = new Map<string, { readonly versions: Set<string>; bytes: number }>();
  return {
    /** Returns what they take in this checkpoint. */
    add(ns: string, channels: Channels): number {
      let total = 0;
      for (const [channel, ref] of Object.entries(channels)) {
        if (ref[1] !== null) continue;
        const [version, , , data] = ref;
        const known = found.get(channel) ?? { versions: new Set(), bytes: 0 };
        const bytes = Buffer.byteLength(data);
        known.versions.add(JSON.stringify([ns, version]));
        known.bytes += bytes;
        found.set(channel, known);
        total += bytes;
      }
      return total;
    },
    sizes: () =>
      new Map(
        [...found].map(([channel, { versions, bytes }]): [string, Size] => [channel, { count: versions.size, bytes }]),
      ),
  };
}
