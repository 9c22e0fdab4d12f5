/** What is still there, and what goes on, when the process that served it has gone: politely or by SIGKILL. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Client } from "@langchain/langgraph-sdk";
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from "vitest";
import { openSqlite } from "../../src/storage/sqlite.js";
import { HEDDLE, type Program, startProgram } from "../support/process.js";
import { serveGateway } from "../support/served-gateway.js";

const STEPS = fileURLToPath(new URL("../support/graphs.ts", import.meta.url));
const GRAPHS = fileURLToPath(new URL("../support/gate-graph.ts", import.meta.url));

let folder: string;
let programs: Program[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "heddle-restart-"));
  programs = [];
  const config = {
    graphs: { gate: `${GRAPHS}:gate`, ask: `${GRAPHS}:ask` },
    runs: { shutdown_grace_seconds: 0.2 },
    log: { format: "json" },
  };
  writeFileSync(join(folder, "config.yaml"), JSON.stringify(config));
});

afterEach(async () => {
  for (const program of programs) await program[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
});

async function serve(port = 0): Promise<{ program: Program; client: Client; port: number }> {
  const program = startProgram(process.execPath, [HEDDLE, "serve", "--port", String(port)], { cwd: folder });
  programs.push(program);
  const line = await program.line("stdout", /^heddle listening on /);
  const apiUrl = line.slice("heddle listening on ".length);
  return { program, client: new Client({ apiUrl }), port: Number(new URL(apiUrl).port) };
}

async function stop(program: Program, signal: "SIGTERM" | "SIGKILL"): Promise<void> {
  program.kill(signal);
  await program.ended;
}

/** A run that is held at its second node. */
async function startHeld({ client }: { client: Client }) {
  const gate = join(folder, "gate");
  const { thread_id: threadId } = await client.threads.create();
  const { run_id: runId } = await client.runs.create(threadId, "gate", { input: { gate } });
  for await (const { event, data } of client.runs.joinStream(threadId, runId)) {
    if (event === "values" && (data as { steps: string[] }).steps.includes("first")) break;
  }
  await expect.poll(() => existsSync(`${gate}.wait`)).toBe(true);
  return { gate, threadId, runId };
}

function startsOf(file: string): number {
  return readFileSync(file, "utf8").length;
}

describe.each(["SIGTERM", "SIGKILL"] as const)("after %s and a new start", (signal) => {
  it("threads, runs, state and a pending approval are there, and the approval can be answered", async () => {
    const first = await serve();
    const { thread_id: threadId } = await first.client.threads.create({ metadata: { owner: "ada" } });
    const asked = await first.client.runs.wait(threadId, "ask", { input: { steps: ["before"] } });
    const before = {
      thread: await first.client.threads.get(threadId),
      runs: await first.client.runs.list(threadId),
      history: await first.client.threads.getHistory(threadId),
    };
    expect(asked).toMatchObject({ steps: ["before"], __interrupt__: [{ value: "go on?" }] });
    expect(before.thread.status).toBe("interrupted");
    await stop(first.program, signal);

    const { client } = await serve();
    expect(await client.threads.get(threadId)).toEqual(before.thread);
    expect(await client.runs.list(threadId)).toEqual(before.runs);
    expect(await client.threads.getHistory(threadId)).toEqual(before.history);
    expect(await client.runs.wait(threadId, "ask", { command: { resume: "yes" } })).toEqual(
      expect.objectContaining({ steps: ["before", "yes"] }),
    );
    expect((await client.threads.get(threadId)).status).toBe("idle");
  });

  it("a run that was under way goes on from its checkpoint and ends", async () => {
    const first = await serve();
    const { gate, threadId, runId } = await startHeld(first);
    await stop(first.program, signal);

    const { client } = await serve();
    expect((await client.threads.get(threadId)).status).toBe("busy");
    writeFileSync(gate, "");
    expect(await client.runs.join(threadId, runId)).toMatchObject({ steps: ["first", "waited"] });
    expect((await client.runs.get(threadId, runId)).status).toBe("success");
    expect((await client.threads.get(threadId)).status).toBe("idle");
    expect(startsOf(`${gate}.first`)).toBe(1); // its result was kept
    expect(startsOf(`${gate}.wait`)).toBe(2); // it had no result: at least once
  });

  it("a stream of the SDK that was cut goes on by itself, with greater ids and no end in between", async () => {
    const first = await serve();
    const { gate, threadId, runId } = await startHeld(first);
    const seen: { id: string | undefined; event: string }[] = [];
    const reading = (async () => {
      const events = first.client.runs.joinStream(threadId, runId, { lastEventId: "-1" });
      for await (const { id, event } of events) seen.push({ id, event });
    })();
    await expect.poll(() => seen.length).toBeGreaterThan(1);
    await stop(first.program, signal);

    await serve(first.port);
    writeFileSync(gate, "");
    await reading;
    expect(seen.filter(({ event }) => event === "end")).toHaveLength(1);
    expect(seen.at(-1)?.event).toBe("end");
    const fences = seen.flatMap(({ id }) => (id ? [Number(id.split("-")[0])] : []));
    expect(fences).toEqual([...fences].sort((a, b) => a - b));
    expect(new Set(fences).size).toBeGreaterThan(1);
  });
});

it("a run that takes its process down three times ends as an error; what waited for it runs, and the thread is free", async () => {
  let gateway = await serve();
  const { gate, threadId, runId } = await startHeld(gateway);
  const waiting = await gateway.client.runs.create(threadId, "gate", { input: { gate } });
  for (let crash = 1; crash <= 3; crash++) {
    await stop(gateway.program, "SIGKILL");
    gateway = await serve();
    await expect.poll(async () => (await gateway.client.runs.get(threadId, runId)).status).not.toBe("pending");
  }
  expect(await gateway.client.runs.join(threadId, runId)).toMatchObject({
    __error__: { error: "MaxAttemptsExceeded", message: expect.stringContaining("3") },
  });
  expect((await gateway.client.runs.get(threadId, runId)).status).toBe("error");
  writeFileSync(gate, "");
  await gateway.client.runs.join(threadId, waiting.run_id);
  expect(await gateway.client.threads.get(threadId)).toMatchObject({
    status: "idle",
    values: { steps: ["first", "first", "waited"] },
  });
});

it("a start that asks its only graph thread what a crash left waits for the answer", async () => {
  const graphs = { breakpoints: `${STEPS}:breakpoints`, isolation: "thread", threads: 1 };
  const gateway = await serveGateway({ graphs });
  onTestFinished(() => gateway[Symbol.asyncDispose]());
  const { client, folder: served } = gateway;
  const { thread_id: threadId } = await client.threads.create();
  await client.runs.wait(threadId, "breakpoints", { input: {} });
  await client.threads.updateState(threadId, { values: { steps: ["mine"] }, asNode: "one" });
  const { values } = await client.threads.get(threadId);

  await gateway.restart("SIGKILL", async () => {
    const database = openSqlite(join(served, ".heddle", "heddle.db"), "FULL");
    database.exec("UPDATE threads SET reserved_by = 'dead'; DELETE FROM thread_values");
    database.close();
  });
  expect((await client.threads.get(threadId)).values).toEqual(values);
});
