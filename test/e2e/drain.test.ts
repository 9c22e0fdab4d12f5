/** SIGTERM (R18): nothing new begins, what runs gets its grace, the rest goes on after the next start as if nothing had been. */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import type { Client } from "@langchain/langgraph-sdk";
import { expect, it, vi } from "vitest";
import { dumpFolder } from "../support/history-dump.js";
import { violationsIn } from "../support/history-folder.js";
import { sender } from "../support/http.js";
import { type Served, type ServedFolder, serveFolder } from "../support/serve.js";
import { openSse } from "../support/sse-client.js";

vi.setConfig({ testTimeout: 60_000 });

const GATES = fileURLToPath(new URL("../support/gate-graph.ts", import.meta.url));
const TOYS = fileURLToPath(new URL("../support/graphs.ts", import.meta.url));

function folderWith(graceSeconds: number, server: Record<string, unknown> = {}): ServedFolder {
  return serveFolder({
    graphs: { gate: `${GATES}:gate`, deaf: `${GATES}:deaf`, chat: `${TOYS}:chat` },
    runs: { shutdown_grace_seconds: graceSeconds },
    log: { format: "json" },
    server,
  });
}

/** A run that waits at a gate of its own. */
async function startHeld({ folder }: ServedFolder, client: Client, graph = "gate") {
  const { thread_id: threadId } = await client.threads.create();
  const gate = join(folder, threadId);
  const { run_id: runId } = await client.runs.create(threadId, graph, { input: { gate } });
  await expect.poll(() => existsSync(`${gate}.wait`), { timeout: 30_000 }).toBe(true);
  return { threadId, runId, gate, open: () => writeFileSync(gate, "") };
}

/** Resolves when the program has said that it stops. */
async function terminate({ program }: Served): Promise<void> {
  program.kill("SIGTERM");
  await program.line("stderr", /"msg":"stopping"/);
}

const startsOf = (file: string): number => readFileSync(file, "utf8").length;

it("GET /ready fails at once, under every base path, while connections are still taken; no run begins any more", async () => {
  const folder = folderWith(0, { drain_delay_seconds: 1.5 });
  const served = await folder.serve();
  const { thread_id: threadId } = await served.client.threads.create();
  const send = sender(served.url);
  expect(await send("GET", "/ready")).toMatchObject({ status: 200, body: { ready: true } });

  await terminate(served);
  for (const base of ["", "/api"]) {
    const { status, headers, body } = await send("GET", `${base}/ready`);
    expect([status, body]).toEqual([503, { ready: false, code: "unavailable", detail: "the gateway is stopping" }]);
    expect([headers.get("retry-after"), headers.get("connection")]).toEqual(["1", "close"]);
    expect(await send("GET", `${base}/ok`)).toMatchObject({ status: 200 });
  }
  const run = { assistant_id: "gate", input: {} };
  for (const path of ["/runs", "/runs/stream", "/runs/wait"].flatMap((end) => [`/threads/${threadId}${end}`, end])) {
    const refused = await send("POST", path, run);
    expect([path, refused.status, refused.headers.get("retry-after")]).toEqual([path, 503, "1"]);
  }
  expect(await send("POST", "/runs/batch", [run, run])).toMatchObject({ status: 503 });
  expect(await send("GET", `/threads/${threadId}`)).toMatchObject({ status: 200, body: { status: "idle" } });
  expect(await served.program.ended).toMatchObject({ code: 0 });

  const { dump, audit } = dumpFolder(folder.dataDir);
  expect([dump.runs, audit, dump.threads.length]).toEqual([[], [], 1]);
  expect(violationsIn(folder.dataDir)).toEqual([]);
});

it("what ends within the grace ends; the rest is given back without spending an attempt, and nothing is claimed", async () => {
  const folder = folderWith(2);
  const first = await folder.serve();
  const short = await startHeld(folder, first.client);
  const long = await startHeld(folder, first.client);
  const queued = await first.client.runs.create(short.threadId, "gate", { input: { gate: short.gate } });
  const stream = await openSse(`${first.url}/threads/${long.threadId}/runs/${long.runId}/stream`);

  const stoppedAt = Date.now();
  await terminate(first);
  const drainedAt = Date.now();
  short.open();
  await expect(stream.rest()).rejects.toThrow(); // broken, not ended
  expect(stream.raw()).not.toContain("event: end");
  expect(await first.program.ended).toMatchObject({ code: 0 });
  expect(Date.now() - stoppedAt).toBeLessThan(2_000 + 5_000);

  const left = dumpFolder(folder.dataDir);
  const statusOf = (runId: string) => left.dump.runs.find((run) => run.runId === runId)?.status;
  expect([short.runId, long.runId, queued.run_id].map(statusOf)).toEqual(["success", "pending", "pending"]);
  expect(left.audit.filter(({ runId }) => runId === long.runId).at(-1)).toMatchObject({
    attempt: 0,
    newStatus: "pending",
  });

  const second = await folder.serve();
  long.open();
  expect(await second.client.runs.join(long.threadId, long.runId)).toMatchObject({ steps: ["first", "waited"] });
  await second.client.runs.join(short.threadId, queued.run_id);
  expect(await second.client.threads.get(short.threadId)).toMatchObject({
    status: "idle",
    values: { steps: ["first", "waited", "first", "waited"] },
  });
  expect([startsOf(`${long.gate}.first`), startsOf(`${long.gate}.wait`)]).toEqual([1, 2]); // at least once, from the checkpoint
  await second.stop("SIGTERM");
  const { audit } = dumpFolder(folder.dataDir);
  const faults = [{ kind: "drain", at: drainedAt, until: drainedAt + 2_000 }] as const;
  expect(violationsIn(folder.dataDir, { faults })).toEqual([]);
  expect(audit.filter(({ attempt }) => attempt > 1)).toEqual([]);
});

it("a run can be given back any number of times and spends no attempt", async () => {
  const folder = folderWith(0);
  let served = await folder.serve();
  const { threadId, runId, gate, open } = await startHeld(folder, served.client);
  for (let stop = 1; stop <= 4; stop++) {
    expect(await served.stop("SIGTERM")).toMatchObject({ code: 0 });
    served = await folder.serve();
    await expect.poll(() => startsOf(`${gate}.wait`), { timeout: 30_000 }).toBe(stop + 1);
    const stream = await openSse(`${served.url}/threads/${threadId}/runs/${runId}/stream`);
    expect(await stream.until(({ event }) => event === "metadata")).toMatchObject([{ data: { attempt: 1 } }]);
    await stream.close();
  }
  open();
  expect(await served.client.runs.join(threadId, runId)).toMatchObject({ steps: ["first", "waited"] });
  await served.stop("SIGTERM");
  expect(violationsIn(folder.dataDir)).toEqual([]);
});

it("a graph that does not listen keeps the program no longer than five seconds after the grace, and goes on afterwards", async () => {
  const folder = folderWith(0.5);
  const first = await folder.serve();
  const { threadId, runId, open } = await startHeld(folder, first.client, "deaf");
  const stoppedAt = Date.now();
  expect(await first.stop("SIGTERM")).toMatchObject({ code: 0 });
  expect(Date.now() - stoppedAt).toBeLessThan(500 + 5_000);

  open();
  const second = await folder.serve();
  expect(await second.client.runs.join(threadId, runId)).toMatchObject({ steps: ["heard"] });
  await second.stop("SIGTERM");
  expect(violationsIn(folder.dataDir)).toEqual([]);
});

it("a second SIGTERM ends it now; what ran is recovered by the next start", async () => {
  const folder = folderWith(60);
  const first = await folder.serve();
  const { threadId, runId, open } = await startHeld(folder, first.client);
  await terminate(first);
  await pause(300); // sooner, it would be taken for the same signal, which process managers send twice
  expect(await first.stop("SIGTERM")).toMatchObject({ code: 143 });

  open();
  const second = await folder.serve();
  expect(await second.client.runs.join(threadId, runId)).toMatchObject({ steps: ["first", "waited"] });
  await second.stop("SIGTERM");
  expect(violationsIn(folder.dataDir)).toEqual([]);
});

const WORDS = Array.from({ length: 60 }, (_, index) => `word${index}`);
const QUESTION = {
  input: { messages: [{ role: "user", content: WORDS.join(" ") }] },
  config: { configurable: { delay_ms: 25 } },
  streamMode: ["messages-tuple", "values"] as ("messages-tuple" | "values")[],
};

type Chunk = { readonly event: string; readonly data: unknown };

/** What a client that adds chunks of one message together shows of the answer: its text as streamed, and as the state has it. */
function answerIn(chunks: readonly Chunk[]): { readonly streamed: string; readonly state: readonly string[] } {
  const texts = new Map<string, string>();
  let state: readonly string[] = [];
  for (const { event, data } of chunks) {
    if (event === "messages") {
      const [{ id = "", content, type }] = data as [{ id?: string; content: string; type: string }];
      if (type.startsWith("AI") || type === "ai") texts.set(id, (texts.get(id) ?? "") + content);
    } else if (event === "values") {
      const { messages } = data as { messages: { type: string; content: string }[] };
      state = messages.filter(({ type }) => type === "ai").map(({ content }) => content);
    }
  }
  return { streamed: [...texts.values()].at(-1) ?? "", state };
}

it.each([
  ["is given back and answered by the next", 0],
  ["ends in the grace", 20],
] as const)(
  "a rolling restart during a streamed answer shows no error in the SDK client: the run %s",
  async (_, grace) => {
    const folder = folderWith(grace);
    const first = await folder.serve();
    const { client } = first; // unmodified, its retries included
    const { thread_id: threadId } = await client.threads.create();
    const chunks: Chunk[] = [];
    let runId = "";
    const streamed = (async () => {
      const created = (run: { run_id: string }): void => {
        runId = run.run_id;
      };
      for await (const chunk of client.runs.stream(threadId, "chat", { ...QUESTION, onRunCreated: created }))
        chunks.push(chunk);
    })();
    await expect
      .poll(() => chunks.filter(({ event }) => event === "messages").length, { timeout: 30_000 })
      .toBeGreaterThan(5);
    const joinedChunks: Chunk[] = [];
    const joined = (async () => {
      const stream = client.runs.joinStream(threadId, runId, { lastEventId: "-1", streamMode: QUESTION.streamMode });
      for await (const chunk of stream) joinedChunks.push(chunk);
    })();
    await expect.poll(() => joinedChunks.length, { timeout: 30_000 }).toBeGreaterThan(5);

    expect(await first.stop("SIGTERM")).toMatchObject({ code: 0 });
    const second = await folder.serve({ port: first.port });
    await Promise.all([streamed, joined]);

    const text = WORDS.join(" ");
    for (const seen of [chunks, joinedChunks]) {
      expect(answerIn(seen)).toEqual({ streamed: text, state: [text] });
      expect(seen.filter(({ event }) => event === "error")).toEqual([]);
      expect(seen.filter(({ event }) => event === "end")).toHaveLength(1);
    }
    expect(await second.client.runs.get(threadId, runId)).toMatchObject({ status: "success" });
    expect(await second.client.runs.list(threadId)).toHaveLength(1); // and no retry made a second one
    await second.stop("SIGTERM");
    expect(violationsIn(folder.dataDir)).toEqual([]);
  },
  60_000,
);
