/** The rows of checkpoints as tests compare them, and small helpers around savers. */
import type { BaseCheckpointSaver } from "@langchain/langgraph-checkpoint";
import { hostKit } from "../../src/core/kit.js";
import type { Checkpoints, ClaimedRun, RunSaver, ThreadHold } from "../../src/storage/ports/checkpoints.js";
import { THREAD } from "./checkpoint-graphs.js";

type Row = Readonly<Record<string, unknown>>;

export interface Dump {
  readonly checkpoints: readonly Row[];
  readonly values: readonly Row[];
  readonly writes: readonly Row[];
}

export function claimOf(runId: string, threadId = "thread"): ClaimedRun {
  return { threadId, runId, fence: 1 };
}

/** For checkpoints on one's own. */
export const NOBODY: ThreadHold = { kind: "reservation", owner: "nobody" };

export function runOf(checkpoints: Checkpoints, runId: string, threadId = "thread"): RunSaver {
  return checkpoints.forRun(claimOf(runId, threadId), hostKit);
}

/** Without what one database has besides what all have. */
export function dumpOf(checkpoints: readonly unknown[], values: readonly unknown[], writes: readonly unknown[]): Dump {
  return { checkpoints: sorted(checkpoints), values: sorted(values), writes: sorted(writes) };
}

function sorted(rows: readonly unknown[]): readonly Row[] {
  return (rows as readonly Row[]) // of a table
    .map(({ seq, step, source, parents, delta_counters, bytes, ...row }) => (bytes ? { ...row, value: bytes } : row))
    .sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
}

/** The `log` channel at the head of the thread. */
export async function logOf(saver: BaseCheckpointSaver): Promise<unknown> {
  return (await saver.get(THREAD))?.channel_values.log;
}

export async function collect<Item>(items: AsyncIterable<Item>): Promise<Item[]> {
  const collected: Item[] = [];
  for await (const item of items) collected.push(item);
  return collected;
}
