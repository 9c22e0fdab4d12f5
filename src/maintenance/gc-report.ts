/** What `heddle gc` finds in the databases, and how it says so. Reads only. */
import type { Database } from "../storage/database.js";
import { type Garbage, measureGarbage } from "../storage/garbage.js";
import { listOver } from "../storage/thread-expiry.js";
import { rowSizesByThread } from "../storage/thread-sizes.js";

type Fate = "keep" | "delete" | "prune";

interface Found {
  /** The largest first. */
  readonly threads: readonly { readonly threadId: string; readonly bytes: number; readonly fate: Fate }[];
  /** State that was written under ids that are no threads, by graphs that name threads of their own. */
  readonly foreign: { readonly count: number; readonly bytes: number };
  readonly garbage: readonly Garbage[];
}

export async function look({
  database,
  stateSizes,
  ...moment
}: {
  readonly database: Database;
  /** What each thread takes among the checkpoints. */
  readonly stateSizes: ReadonlyMap<string, number>;
  readonly now: number;
  readonly ledgerMs: number;
}): Promise<Found> {
  const all = { now: moment.now, limit: Number.MAX_SAFE_INTEGER };
  const fates = new Map<string, Fate>();
  for (const row of await listOver(database, "delete", all).execute()) fates.set(row.thread_id, "delete");
  for (const row of await listOver(database, "keep_latest", all).execute()) fates.set(row.thread_id, "prune");
  const states = new Map(stateSizes);
  const threads = [...(await rowSizesByThread(database))].map(([threadId, bytes]) => {
    const thread = { threadId, bytes: bytes + (states.get(threadId) ?? 0), fate: fates.get(threadId) ?? "keep" };
    states.delete(threadId);
    return thread;
  });
  return {
    threads: threads.sort((a, b) => b.bytes - a.bytes || (a.threadId < b.threadId ? -1 : 1)),
    foreign: { count: states.size, bytes: sum([...states.values()]) },
    garbage: await measureGarbage(database, moment),
  };
}

/** A line for each thread, then the sums. */
export function* describe({ threads, foreign, garbage }: Found): Generator<string> {
  yield line("bytes", "gc", "thread");
  for (const { bytes, fate, threadId } of threads) yield line(number(bytes), fate === "keep" ? "" : fate, threadId);
  const of = (fate: Fate) => threads.filter((thread) => thread.fate === fate);
  const bytesOf = (some: Found["threads"]) => number(sum(some.map(({ bytes }) => bytes)));
  const [gone, outgrown] = [of("delete"), of("prune")];
  yield `${number(threads.length)} threads, ${bytesOf(threads)} bytes`;
  yield `to delete: ${number(gone.length)} threads, ${bytesOf(gone)} bytes; to prune: ${number(outgrown.length)} threads, ${bytesOf(outgrown)} bytes now`;
  const kinds = garbage.map(({ what, count, bytes }) => `${number(count)} ${what} (${number(bytes)} bytes)`);
  yield `to delete: ${kinds.join(", ")}`;
  if (foreign.count > 0) {
    yield `not touched: state under ${number(foreign.count)} ids that are no threads, ${number(foreign.bytes)} bytes`;
  }
}

function line(bytes: string, fate: string, thread: string): string {
  return `${bytes.padStart(15)}  ${fate.padEnd(6)}  ${thread}`;
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, n) => total + n, 0);
}

export function number(n: number): string {
  return n.toLocaleString("en");
}
