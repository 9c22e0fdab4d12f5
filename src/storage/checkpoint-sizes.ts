/**
 * What threads take among the checkpoints, in bytes of what was stored. Lengths come from the headers of the rows; of
 * values nothing is read but the short ones, which checkpoints carry themselves (`checkpoint-channels.ts`).
 */
import { createBreather } from "../core/async.js";
import type { Channels } from "./checkpoint-channels.js";
import { type Dialect, type Program, rowsOf } from "./checkpoint-program.js";
import type { CheckpointSizes, Size } from "./ports/checkpoints.js";

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

const SLICE = (d: Dialect): string =>
  `SELECT checkpoint_ns AS ns, checkpoint_id AS id, ${BYTES} AS bytes, channels FROM ${d.checkpoints}
   WHERE thread_id = @thread AND (checkpoint_ns, checkpoint_id) > (@ns, @id)
   ORDER BY checkpoint_ns, checkpoint_id LIMIT ${SLICE_ROWS}`;

const VALUES = (d: Dialect): string =>
  `SELECT channel, count(*) AS count, sum(${d.valueBytes}) AS bytes FROM ${d.values} WHERE thread_id = @thread GROUP BY channel`;

const WRITES = (d: Dialect): string =>
  `SELECT count(*) AS count, sum(${d.valueBytes}) AS bytes FROM ${d.writes} WHERE thread_id = @thread`;

/** What the thread takes. `run` runs a program that reads. */
export async function sizesOf(threadId: string, run: <T>(program: Program<T>) => Promise<T>): Promise<CheckpointSizes> {
  const breathe = createBreather(BREATHE_MS);
  const carried = createShortValues();
  let checkpoints: Size = NOTHING;
  for (let last = { ns: "", id: "" }; ; ) {
    const slice = await run(rowsOf<Slice>(SLICE, { thread: threadId, ...last }));
    for (const row of slice) {
      const bytes = row.bytes - carried.add(row.ns, JSON.parse(row.channels) as Channels); // as the saver wrote them
      checkpoints = plus(checkpoints, { count: 1, bytes });
    }
    const end = slice.at(-1);
    if (end === undefined || slice.length < SLICE_ROWS) break;
    last = { ns: end.ns, id: end.id };
    await breathe();
  }
  const valuesByChannel = carried.sizes();
  for (const { channel, ...stored } of await run(
    rowsOf<Counted & { readonly channel: string }>(VALUES, { thread: threadId }),
  )) {
    valuesByChannel.set(channel, plus(valuesByChannel.get(channel) ?? NOTHING, toSize(stored)));
  }
  const [writes] = await run(rowsOf<Counted>(WRITES, { thread: threadId }));
  return {
    checkpoints,
    values: [...valuesByChannel.values()].reduce(plus, NOTHING),
    valuesByChannel,
    writes: writes === undefined ? NOTHING : toSize(writes),
  };
}

/** A server counts further than numbers do, and says so in text. */
interface Counted {
  readonly count: number | string;
  readonly bytes: number | string | null;
}

function toSize({ count, bytes }: Counted): Size {
  return { count: Number(count), bytes: Number(bytes ?? 0) };
}

const BY_THREAD = (d: Dialect): string =>
  `SELECT thread_id AS "threadId", sum(bytes) AS bytes FROM (
     SELECT thread_id, sum(${BYTES}) AS bytes FROM ${d.checkpoints} GROUP BY thread_id
     UNION ALL SELECT thread_id, sum(${d.valueBytes}) FROM ${d.values} GROUP BY thread_id
     UNION ALL SELECT thread_id, sum(${d.valueBytes}) FROM ${d.writes} GROUP BY thread_id
   ) AS parts GROUP BY thread_id`;

/** What each thread takes, for all that have something there. */
export function* sizesByThread(): Program<ReadonlyMap<string, number>> {
  const rows = yield* rowsOf<{ readonly threadId: string; readonly bytes: number | string }>(BY_THREAD, {});
  return new Map(rows.map(({ threadId, bytes }) => [threadId, Number(bytes)]));
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
