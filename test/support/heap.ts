/** What work takes of the heap, and what it does in a heap that is small. */
import { once } from "node:events";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { Worker } from "node:worker_threads";

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void; // what the flag provides

/** By how many bytes what `work` returns makes the heap larger. */
export function heapGrowthOf<T>(work: () => T): { readonly result: T; readonly grownBy: number } {
  collectGarbage();
  const before = process.memoryUsage().heapUsed;
  const result = work();
  collectGarbage();
  return { result, grownBy: process.memoryUsage().heapUsed - before };
}

/** Writes a text of so many characters, which is in pieces until then, as JSON in a thread with a heap of so many megabytes. */
export async function writeInHeapOf(megabytes: number, characters: number): Promise<unknown> {
  const worker = new Worker(new URL("./small-heap.mjs", import.meta.url), {
    workerData: { characters },
    resourceLimits: { maxOldGenerationSizeMb: megabytes },
  });
  const [outcome] = await once(worker, "message");
  await worker.terminate();
  return outcome;
}
