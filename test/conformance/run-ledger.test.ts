/** What readers see of runs when memory has forgotten them: after a restart, after a death, page by page. */
import { randomUUID } from "node:crypto";
import { join } from "node:path";
import type { Client } from "@langchain/langgraph-sdk";
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from "vitest";
import { openSqlite } from "../../src/storage/sqlite.js";
import { createFakeClock } from "../support/fake-clock.js";
import { arrivedAt, openGate } from "../support/gates.js";
import { startTestGateway, type TestGateway } from "../support/gateway.js";
import { sender } from "../support/http.js";
import { names, openSse, type SsePart } from "../support/sse-client.js";

const AT_ONCE = { storage: "sqlite", config: { runs: { shutdown_grace_seconds: 0 } } } as const;

let gateway: TestGateway;

beforeEach(async () => {
  gateway = await startTestGateway(AT_ONCE);
});
afterEach(() => gateway.stop());

interface RunEvents {
  readonly run_id: string;
  readonly status: string;
  readonly events: readonly { id: string; event: string; namespace: string[]; data: unknown; created_at: string }[];
  readonly next_cursor: string | null;
  readonly done: boolean;
}

/** A run of `talk` that has ended. */
async function finishedTalk(client: Client, words: string) {
  const { thread_id: threadId } = await client.threads.create();
  const run = await client.runs.create(threadId, "talk", {
    input: { messages: [{ type: "human", content: words }] },
    streamMode: ["values", "messages-tuple", "updates"],
  });
  const result = await client.runs.join(threadId, run.run_id);
  return { threadId, runId: run.run_id, path: `/threads/${threadId}/runs/${run.run_id}`, result };
}

/** A run of `gated` that waits at its gate, what it said written down. */
async function startGated() {
  const [{ thread_id: threadId }, gate] = [await gateway.client.threads.create(), randomUUID()];
  const run = await gateway.client.runs.create(threadId, "gated", {
    input: { input: 1 },
    config: { configurable: { gate } },
    streamMode: ["updates"],
  });
  await arrivedAt(gate);
  await vi.waitFor(() => expect(ledgerRows(run.run_id)).not.toEqual([]));
  return { threadId, runId: run.run_id, gate, path: `/threads/${threadId}/runs/${run.run_id}` };
}

async function follow(path: string, lastEventId?: string): Promise<readonly SsePart[]> {
  const init = lastEventId === undefined ? {} : { headers: { "last-event-id": lastEventId } };
  return (await openSse(`${gateway.url}${path}/stream`, init)).rest();
}

function ledgerRows(runId?: string): unknown[] {
  const database = openSqlite(join(gateway.dataDir, "heddle.db"), "FULL");
  try {
    const rows = database.prepare("SELECT run_id, segment FROM run_events").all() as { run_id: string }[];
    return rows.filter((row) => runId === undefined || row.run_id === runId);
  } finally {
    database.close();
  }
}

describe("after a restart", () => {
  it("a finished run is replayed as before, from every cursor, and joined with the same result", async () => {
    const { threadId, runId, path, result } = await finishedTalk(gateway.client, "one two three four");
    const before = await follow(path);
    const cursors = Array.from({ length: Number(before.at(-1)?.id?.split("-")[1]) }, (_, index) => `1-${index + 1}`);
    const rests = await Promise.all(cursors.map((cursor) => follow(path, cursor)));
    gateway = await gateway.restart();
    expect(await follow(path)).toEqual(before);
    expect(await follow(path, "-1")).toEqual(before);
    for (const [index, cursor] of cursors.entries()) expect(await follow(path, cursor)).toEqual(rests[index]);
    expect(await gateway.client.runs.join(threadId, runId)).toEqual(result);
  });

  it("results are those of their runs, whatever came after", async () => {
    const { thread_id: threadId } = await gateway.client.threads.create();
    const runIds: string[] = [];
    for (let count = 0; count < 3; count++) {
      const run = await gateway.client.runs.create(threadId, "counter", { input: {} });
      await gateway.client.runs.join(threadId, run.run_id);
      runIds.push(run.run_id);
    }
    const joined = () => Promise.all(runIds.map((runId) => gateway.client.runs.join(threadId, runId)));
    const before = await joined();
    expect(before).toMatchObject([{ count: 1 }, { count: 2 }, { count: 3 }]);
    gateway = await gateway.restart();
    expect(await joined()).toEqual(before);
  });

  it("a failed run still ends with its error", async () => {
    const { thread_id: threadId } = await gateway.client.threads.create();
    const run = await gateway.client.runs.create(threadId, "failing", { input: {} });
    const before = await gateway.client.runs.join(threadId, run.run_id);
    const path = `/threads/${threadId}/runs/${run.run_id}`;
    const parts = await follow(path);
    gateway = await gateway.restart();
    expect(await follow(path)).toEqual(parts);
    expect(await gateway.client.runs.join(threadId, run.run_id)).toEqual(before);
  });
});

describe("after the death of the process", () => {
  it("a run under way tells what it had said, then goes on", async () => {
    const { gate, path } = await startGated();
    const first = await openSse(`${gateway.url}${path}/stream`);
    const seen = await first.until(({ event }) => event === "updates");
    const revived = await gateway.revive();
    onTestFinished(() => revived.stop());
    const [whole, rest] = await Promise.all(
      [undefined, seen[0]?.id].map((id) =>
        openSse(`${revived.url}${path}/stream`, id === undefined ? {} : { headers: { "last-event-id": id } }),
      ),
    );
    openGate(gate);
    const parts = (await whole?.rest()) ?? [];
    expect(parts.slice(0, seen.length)).toEqual(seen);
    expect(parts[seen.length]).toMatchObject({ id: "2-1", event: "metadata", data: { attempt: 2 } });
    expect(names(parts.slice(seen.length + 1))).toEqual(["updates", "updates", "end"]);
    expect(await rest?.rest()).toEqual(parts.slice(1));
  });
});

describe("GET …/events", () => {
  async function page(path: string, query = ""): Promise<RunEvents> {
    const { status, body } = await sender(gateway.url)("GET", `${path}/events${query}`);
    expect(status).toBe(200);
    return body as RunEvents;
  }

  async function pages(path: string, limit: number): Promise<readonly RunEvents["events"][number][]> {
    const all: RunEvents["events"][number][] = [];
    for (let cursor = "", done = false; !done; ) {
      const read = await page(path, `?limit=${limit}${cursor}`);
      expect(read.events.length).toBeLessThanOrEqual(limit);
      all.push(...read.events);
      cursor = `&after=${read.next_cursor}`;
      done = read.done;
    }
    return all;
  }

  it("read page by page is the stream, byte by byte, before and after a restart", async () => {
    const { path } = await finishedTalk(gateway.client, 'ünï \u0000 "quoted" 😀 words');
    const stream = await openSse(`${gateway.url}${path}/stream`);
    const parts = await stream.rest();
    const dataLines = stream.raw().match(/(?<=^data: ).*$/gm) ?? [];
    for (const round of ["live", "restarted"]) {
      for (const limit of [1, 3, 500]) {
        const events = await pages(path, limit);
        expect([round, events.map(({ id, event, data }) => ({ id, event, data }))]).toEqual([round, parts]);
      }
      const text = await (await fetch(`${gateway.url}/api${path}/events`)).text();
      for (const line of dataLines) expect(text).toContain(`"data":${line},"created_at":"`);
      gateway = await gateway.restart();
    }
  });

  it("tells what it is asked: ids, times, namespaces, the run's status", async () => {
    const { thread_id: threadId } = await gateway.client.threads.create();
    const run = await gateway.client.runs.create(threadId, "nested", {
      input: { input: 1 },
      streamMode: ["updates"],
      streamSubgraphs: true,
    });
    await gateway.client.runs.join(threadId, run.run_id);
    const read = await page(`/threads/${threadId}/runs/${run.run_id}`);
    expect(read).toMatchObject({ run_id: run.run_id, status: "success", done: true });
    expect(read.next_cursor).toBe(read.events.at(-1)?.id);
    expect(read.events.some(({ namespace }) => namespace.length > 0)).toBe(true);
    expect(read.events.map(({ event }) => event)).not.toContain("__result__");
    const times = read.events.map(({ created_at: time }) => Date.parse(time));
    expect(times).toEqual([...times].sort());
    expect(times.at(0)).toBeGreaterThanOrEqual(Date.parse(run.created_at));
  });

  it("shows a run while it goes on, and waits for what comes next", async () => {
    const { path, gate } = await startGated();
    const first = await page(path);
    expect([first.status, first.done, names(first.events)]).toEqual(["running", false, ["metadata", "updates"]]);
    const again = `?after=${first.next_cursor}`;
    expect(await page(path, again)).toMatchObject({ events: [], next_cursor: first.next_cursor, done: false });
    const waiting = page(path, `${again}&wait_ms=20000`);
    openGate(gate);
    expect((await waiting).events.length).toBeGreaterThan(0);
    await vi.waitFor(async () => expect(await page(path, again)).toMatchObject({ status: "success", done: true }));
  });

  it("refuses what makes no sense", async () => {
    const { path, threadId } = await finishedTalk(gateway.client, "hi");
    const send = sender(gateway.url);
    for (const query of ["limit=0", "limit=501", "limit=x", "wait_ms=-1", "wait_ms=30001"])
      expect([query, (await send("GET", `${path}/events?${query}`)).status]).toEqual([query, 422]);
    for (const cursor of ["x", "1-", "1.5", "-2"])
      expect([cursor, (await send("GET", `${path}/events?after=${cursor}`)).status]).toEqual([cursor, 400]);
    const { status, body } = await send("GET", `${path}/events?after=1-9999`);
    expect([status, (body as { detail: string }).detail]).toEqual([400, expect.stringContaining("1-9999")]);
    expect((await send("GET", `/threads/${threadId}/runs/${randomUUID()}/events`)).status).toBe(404);
    for (const start of ["", "?after=", "?after=0", "?after=-1"])
      expect((await page(path, start)).events[0]?.event).toBe("metadata");
  });
});

describe("what is kept", () => {
  it("goes with a run that is deleted, one that is rolled back, and its thread", async () => {
    const { client } = gateway;
    const removed = await finishedTalk(client, "a");
    const deleted = await finishedTalk(client, "b");
    const rolledBack = await startGated();
    await vi.waitFor(() => expect(ledgerRows()).toHaveLength(3));
    await client.runs.delete(removed.threadId, removed.runId);
    await client.threads.delete(deleted.threadId);
    await client.runs.cancel(rolledBack.threadId, rolledBack.runId, true, "rollback");
    expect(ledgerRows()).toEqual([]);
    gateway = await gateway.restart(); // a flush that comes late writes nothing
    expect(ledgerRows()).toEqual([]);
  });

  it("is nothing of a run on a thread that was made for it", async () => {
    await gateway.client.runs.wait(null, "counter", { input: {} });
    const { runId } = await finishedTalk(gateway.client, "c");
    await vi.waitFor(() => expect(ledgerRows(runId)).toHaveLength(1));
    expect(ledgerRows()).toHaveLength(1);
  });
});

describe("when its days are over", () => {
  it("a run is told by its state and its end", async () => {
    const clock = createFakeClock();
    const early = await startTestGateway({ ...AT_ONCE, clock, config: { run_ledger: { retention_days: 1 } } });
    let later = early;
    onTestFinished(() => later.stop());
    const ticking = setInterval(() => clock.advance(50), 5);
    onTestFinished(() => clearInterval(ticking));
    const { path, threadId, runId, result } = await finishedTalk(early.client, "one two");
    later = await early.restart();
    const read = async () => (await openSse(`${later.url}${path}/stream`)).rest();
    expect((await read()).every(({ id }) => id !== undefined)).toBe(true);
    clock.advance(25 * 60 * 60_000);
    await vi.waitFor(async () => {
      clock.advance(10 * 60_000); // to the next sweep
      expect(names(await read())).toEqual(["metadata", "values", "end"]);
    });
    expect(await later.client.runs.join(threadId, runId)).toEqual(result);
    const { status, body } = await sender(later.url)("GET", `${path}/events`);
    expect([status, body]).toMatchObject([410, { code: "events_trimmed", oldest_cursor: null }]);
  });
});
