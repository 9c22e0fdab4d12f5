import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { HumanMessage } from "@langchain/core/messages";
import { emptyCheckpoint, uuid6 } from "@langchain/langgraph-checkpoint";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { hostKit } from "../../src/core/kit.js";
import { openCheckpoints } from "../../src/storage/checkpoints.js";
import { DataFolderError, openSqlite } from "../../src/storage/sqlite.js";
import { sequence, THREAD } from "../support/checkpoint-graphs.js";
import { collect, logOf, runOf } from "../support/checkpoint-rows.js";

const WRITER = fileURLToPath(new URL("../support/checkpoint-writer.ts", import.meta.url));

let folder: string;
let file: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "heddle-checkpoints-"));
  file = join(folder, "checkpoints.db");
});

afterEach(() => rmSync(folder, { recursive: true }));

describe("a checkpoint file", () => {
  it("keeps everything over a restart, messages as messages", async () => {
    const before = openCheckpoints(file);
    await sequence(runOf(before, "r1").saver).invoke({ log: ["in"] }, THREAD);
    const message = new HumanMessage({ content: "hi", id: "m1" });
    const head = await before.saver(hostKit).getTuple(THREAD);
    await before.saver(hostKit).putWrites(head?.config ?? {}, [["messages", [message]]], "task");
    before.close();

    const after = openCheckpoints(file);
    expect(await logOf(after.saver(hostKit))).toEqual(["in", "a", "b"]);
    const pending = (await after.saver(hostKit).getTuple(THREAD))?.pendingWrites;
    expect(pending).toEqual([["task", "messages", [message]]]);
    expect(pending?.[0]?.[2]).toEqual([expect.any(HumanMessage)]);
    expect(after.leftBy("thread", "r1").checkpoint).toBe(true);
    after.close();
  });

  it("has, after the process was killed, every checkpoint that was acknowledged", async () => {
    const writer = spawn(process.execPath, ["--import", "jiti/register", WRITER, file], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const acknowledged: string[] = [];
    for await (const line of createInterface({ input: writer.stdout })) {
      acknowledged.push(line);
      if (acknowledged.length === 50) writer.kill("SIGKILL");
    }
    expect(acknowledged.length).toBeGreaterThanOrEqual(50);

    const checkpoints = openCheckpoints(file);
    const kept = (await collect(checkpoints.saver(hostKit).list(THREAD))).reverse();
    expect(kept.map((tuple) => tuple.checkpoint.id)).toEqual(expect.arrayContaining(acknowledged));
    for (const tuple of kept) {
      expect(tuple.checkpoint.channel_values.step).toBe(`${tuple.metadata?.step} `.repeat(1_000));
    }
    checkpoints.close();
  });

  it("is refused when it is damaged, and stays as it is", () => {
    writeFileSync(file, "this is no database, whatever its name says".repeat(100));
    const before = readFileSync(file);
    expect(() => openCheckpoints(file)).toThrow(DataFolderError);
    expect(() => openCheckpoints(file)).toThrow(/checkpoints\.db .*kept as it is.*not a database/);
    expect(readFileSync(file)).toEqual(before);
  });

  it("is refused when something else or a later heddle made it", () => {
    const other = openSqlite(file, "NORMAL");
    other.exec("CREATE TABLE checkpoints (thread_id TEXT)");
    other.close();
    expect(() => openCheckpoints(file)).toThrow("it is a database of something else");
    const later = openSqlite(file, "NORMAL");
    later.pragma("user_version = 99");
    later.close();
    expect(() => openCheckpoints(file)).toThrow("it has version 99");
  });

  it("is flushed by sync() only when something was written since the last one", async () => {
    const checkpoints = openCheckpoints(file);
    const run = runOf(checkpoints, "r1");
    await run.saver.put(THREAD, { ...emptyCheckpoint(), id: uuid6(1) }, { source: "input", step: -1, parents: {} }, {});
    const log = () => statSync(`${file}-wal`).size;
    const written = log();
    checkpoints.sync();
    const flushed = log();
    expect(flushed).toBeGreaterThan(written); // its own small commit
    checkpoints.sync();
    await run.saver.getTuple(THREAD);
    checkpoints.sync();
    expect(log()).toBe(flushed);
    checkpoints.deleteThread("thread");
    const deleted = log();
    checkpoints.sync();
    expect(log()).toBeGreaterThan(deleted);
    checkpoints.close();
  });
});
