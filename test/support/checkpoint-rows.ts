/** What is in a checkpoint file, row by row, and small helpers around savers. */
import type { BaseCheckpointSaver } from "@langchain/langgraph-checkpoint";
import { SqliteSaver } from "@langchain/langgraph-checkpoint-sqlite";
import { hostKit } from "../../src/core/kit.js";
import type { Checkpoints, RunSaver } from "../../src/storage/storage.js";
import { THREAD } from "./checkpoint-graphs.js";

type Row = Readonly<Record<string, unknown>>;

export interface Dump {
  readonly checkpoints: readonly Row[];
  readonly values: readonly Row[];
  readonly writes: readonly Row[];
}

export function runOf(checkpoints: Checkpoints, runId: string, threadId = "thread"): RunSaver {
  return checkpoints.forRun({ threadId, runId }, hostKit);
}

/** Every row of every table, in an order that depends on nothing but the rows. */
export function dump(checkpoints: Checkpoints): Dump {
  const saver = checkpoints.saver(hostKit);
  if (!(saver instanceof SqliteSaver)) throw new Error("the saver is no SqliteSaver");
  const rows = (table: string): readonly Row[] =>
    (saver.db.prepare(`SELECT * FROM ${table}`).all() as Row[]).sort((a, b) =>
      JSON.stringify(a) < JSON.stringify(b) ? -1 : 1,
    );
  return { checkpoints: rows("checkpoints"), values: rows("channel_values"), writes: rows("writes") };
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
