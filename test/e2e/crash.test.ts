/** The built program, killed in the middle of runs: nothing that it accepted is lost, and no thread stays busy. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Client } from "@langchain/langgraph-sdk";
import { afterEach, beforeEach, expect, it } from "vitest";
import { HEDDLE, type Program, startProgram } from "../support/process.js";
import { startSlowRun } from "../support/slow-run.js";
import { openSse } from "../support/sse-client.js";

const GRAPHS = fileURLToPath(new URL("../support/graphs.ts", import.meta.url));

let folder: string;
let program: Program;
let url: string;
let client: Client;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "heddle-crash-"));
  const names = ["slow", "custom", "approval"];
  const graphs = Object.fromEntries(names.map((name) => [name, `${GRAPHS}:${name}`]));
  writeFileSync(join(folder, "config.yaml"), JSON.stringify({ graphs, runs: { shutdown_grace_seconds: 0 } }));
});
afterEach(async () => {
  await program[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
});

async function start(): Promise<void> {
  program = startProgram(process.execPath, [HEDDLE, "serve", "--port", "0"], { cwd: folder });
  url = (await program.line("stdout", /^heddle listening on /)).slice("heddle listening on ".length);
  client = new Client({ apiUrl: url, callerOptions: { maxRetries: 0 } });
}

async function restartAfter(signal: "SIGKILL" | "SIGTERM"): Promise<void> {
  program.kill(signal);
  await program.ended;
  await start();
}

/** The first event of the run's newest attempt. */
async function attemptOf(threadId: string, runId: string): Promise<unknown> {
  const stream = await openSse(`${url}/threads/${threadId}/runs/${runId}/stream`);
  const first = await stream.next();
  await stream.close();
  return (first?.data as { attempt: number } | undefined)?.attempt;
}

it("a run that was killed is started again, three times at most; then its thread is free", async () => {
  await start();
  const { thread_id: threadId } = await client.threads.create();
  const runId = await startSlowRun(client, threadId);
  const waiting = await client.runs.create(threadId, "custom", { input: { input: 2 }, multitaskStrategy: "enqueue" });
  for (const attempt of [2, 3]) {
    await restartAfter("SIGKILL");
    expect(await attemptOf(threadId, runId)).toBe(attempt);
    expect((await client.runs.get(threadId, runId)).status).toBe("running");
    expect((await client.threads.getState(threadId)).values).toMatchObject({ steps: ["first"] });
  }
  await restartAfter("SIGKILL");
  expect(await client.runs.join(threadId, runId)).toMatchObject({ __error__: { error: "MaxAttemptsExceeded" } });
  expect(await client.runs.join(threadId, waiting.run_id)).toEqual({ input: 2, steps: ["first", "worked"] });
  expect((await client.threads.get(threadId)).status).toBe("idle");
}, 60_000);

it("a run that was given back at a stop spends no attempt, however often", async () => {
  await start();
  const { thread_id: threadId } = await client.threads.create();
  const runId = await startSlowRun(client, threadId);
  for (let stop = 0; stop < 4; stop++) {
    await restartAfter("SIGTERM");
    expect(await attemptOf(threadId, runId)).toBe(1);
  }
  await client.runs.cancel(threadId, runId, true);
  expect(await client.threads.get(threadId)).toMatchObject({ status: "interrupted", values: { steps: ["first"] } });
}, 60_000);

it("every run that was acknowledged is there, and ends", async () => {
  await start();
  const { thread_id: threadId } = await client.threads.create();
  const acknowledged: string[] = [];
  const kill = new Promise<void>((resolve) => {
    void (async () => {
      for (let input = 0; ; input++) {
        const run = await client.runs.create(threadId, "custom", { input: { input }, multitaskStrategy: "enqueue" });
        acknowledged.push(run.run_id);
        if (acknowledged.length === 20) resolve();
      }
    })().catch(() => {}); // the program was killed under it
  });
  await kill;
  await restartAfter("SIGKILL");
  for (const runId of acknowledged) await client.runs.join(threadId, runId);
  const runs = await client.runs.list(threadId, { limit: 1_000 });
  expect(runs.map(({ run_id }) => run_id)).toEqual(expect.arrayContaining(acknowledged));
  expect(new Set(runs.map(({ status }) => status))).toEqual(new Set(["success"]));
  const { values } = await client.threads.getState<{ steps: string[] }>(threadId);
  expect(values.steps).toHaveLength(runs.length);
}, 60_000);
