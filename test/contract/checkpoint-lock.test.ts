/** A backup, or gc, takes the write lock of the checkpoints for a moment: a write that meets it waits, as it does for a row. */
import { once } from "node:events";
import { createRequire } from "node:module";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { emptyCheckpoint } from "@langchain/langgraph-checkpoint";
import { expect, it } from "vitest";
import { openCheckpoints } from "../../src/storage/checkpoints.js";
import { runOf } from "../support/checkpoint-rows.js";
import { temporaryFolder } from "../support/data-folder.js";

/** Locks the file, says so, and lets go when whoever heard of it has begun to write. */
const HOLDER = `
  const { parentPort, workerData } = require("node:worker_threads");
  const database = new (require(workerData.driver))(workerData.file);
  database.exec("BEGIN IMMEDIATE");
  parentPort.postMessage("locked");
  Atomics.wait(workerData.begun, 0, 0);
  setTimeout(() => database.close(), 100);
`;

async function lockedByAnother(file: string): Promise<() => void> {
  const name = Number(process.versions.node.split(".")[0]) < 22 ? "better-sqlite3" : "better-sqlite3-napi";
  const driver = createRequire(import.meta.url).resolve(name);
  const begun = new Int32Array(new SharedArrayBuffer(4));
  const holder = new Worker(HOLDER, { eval: true, workerData: { driver, file, begun } });
  await once(holder, "message");
  return () => {
    Atomics.store(begun, 0, 1);
    Atomics.notify(begun, 0);
  };
}

it.each([
  ["a checkpoint", "put"],
  ["a task's writes", "putWrites"],
  ["the deletion of a thread", "deleteThread"],
  ["a pruning", "prune"],
] as const)("%s waits for the lock and is stored", async (_, write) => {
  const file = join(temporaryFolder(), "checkpoints.db");
  const checkpoints = openCheckpoints(file);
  const { saver } = runOf(checkpoints, "r1");
  const metadata = { source: "loop", step: 0, parents: {} } as const;
  const config = await saver.put({ configurable: { thread_id: "thread" } }, emptyCheckpoint(), metadata, {});
  const begin = await lockedByAnother(file);
  try {
    begin();
    if (write === "put") await saver.put(config, emptyCheckpoint(), metadata, {});
    if (write === "putWrites") await saver.putWrites(config, [["log", ["x"]]], "7a4b3f0e-5f1c-4c55-9d8e-0d5f2b1c6a77");
    if (write === "deleteThread") checkpoints.deleteThread("thread");
    if (write === "prune") checkpoints.pruneToLatest("thread");
    const { checkpoints: rows, writes } = await checkpoints.sizesOf("thread");
    expect([rows.count, writes.count]).toEqual(
      { put: [2, 0], putWrites: [1, 1], deleteThread: [0, 0], prune: [1, 0] }[write],
    );
  } finally {
    checkpoints.close();
  }
});
