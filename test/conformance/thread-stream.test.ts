/** `GET /threads/{thread_id}/stream`: what runs on a thread, over runs, as the SDK reads it and as it stands on the wire. */
import { randomUUID } from "node:crypto";
import type { Client } from "@langchain/langgraph-sdk";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { arrivedAt, openGate } from "../support/gates.js";
import { startTestGateway, type TestGateway } from "../support/gateway.js";
import { names, openSse, type SsePart, type SseStream } from "../support/sse-client.js";

let gateway: TestGateway;
beforeAll(async () => {
  gateway = await startTestGateway({ storage: "sqlite" });
});
afterAll(() => gateway.stop());

interface Open {
  readonly query?: string;
  readonly lastEventId?: string;
}

function open(threadId: string, { query = "", lastEventId }: Open = {}, url = gateway.url): Promise<SseStream> {
  const headers: Record<string, string> = lastEventId === undefined ? {} : { "last-event-id": lastEventId };
  return openSse(`${url}/threads/${threadId}/stream${query}`, { headers });
}

const newThread = async () => (await gateway.client.threads.create()).thread_id;
const say = (text: string) => ({ input: { messages: [{ type: "human", content: text }] } });
const isDone = ({ event, data }: SsePart) =>
  event === "metadata" && (data as { status?: string }).status === "run_done";
const isState = ({ event }: SsePart) => event === "state_update";

/** To its end; `wait` streams nothing but states. */
async function run(threadId: string, assistantId: string, payload: Parameters<Client["runs"]["create"]>[2]) {
  const { run_id: runId } = await gateway.client.runs.create(threadId, assistantId, payload);
  await gateway.client.runs.join(threadId, runId);
}

/** What a state write tells: what is on the thread now. */
function expectState(part: SsePart | undefined, threadId: string, values: unknown): void {
  expect(part).toMatchObject({ event: "state_update", data: { thread_id: threadId, state: { values } } });
}

describe("without a cursor", () => {
  it("headers come at once, nothing of what was, and every run to come with its end", async () => {
    const threadId = await newThread();
    await run(threadId, "custom", { input: {} });
    const stream = await open(threadId);
    expect(stream.status).toBe(200);
    expect(stream.headers.get("content-type")).toBe("text/event-stream");
    expect(stream.headers.get("location")).toBe(`/threads/${threadId}/stream`);
    for (const streamMode of ["custom", "updates"] as const) {
      const run = await gateway.client.runs.create(threadId, "custom", { input: {}, streamMode });
      const parts = await stream.until(isDone);
      const own = streamMode === "custom" ? ["custom", "custom", "custom"] : ["updates"];
      expect(names(parts)).toEqual(["metadata", ...own, "end", "metadata"]);
      expect(parts[0]?.data).toEqual({ run_id: run.run_id, attempt: 1, thread_id: threadId });
      expect(parts.at(-1)?.data).toEqual({ status: "run_done", run_id: run.run_id });
    }
    await stream.close();
  });

  it("a run that is in flight is told from now on", async () => {
    const [threadId, gate] = [await newThread(), randomUUID()];
    const config = { configurable: { gate } };
    await gateway.client.runs.create(threadId, "gated", { input: {}, config, streamMode: "updates" });
    await arrivedAt(gate);
    const stream = await open(threadId);
    openGate(gate);
    const parts = await stream.until(isDone);
    expect(parts.map(({ event, data }) => (event === "updates" ? Object.keys(data as object)[0] : event))).toEqual([
      "gate",
      "after",
      "end",
      "metadata",
    ]);
    await stream.close();
  });
});

describe("the mode", () => {
  it.each(["stream_mode", "stream_modes"])("lifecycle, as %s, tells begins and ends", async (name) => {
    const threadId = await newThread();
    const stream = await open(threadId, { query: `?${name}=lifecycle` });
    const run = await gateway.client.runs.create(threadId, "failing", { input: {} });
    const parts = await stream.until(isDone);
    expect(parts.map(({ event, data }) => [event, data])).toEqual([
      ["metadata", { run_id: run.run_id, attempt: 1, thread_id: threadId }],
      ["metadata", { status: "run_done", run_id: run.run_id }],
    ]);
    await stream.close();
  });

  it("state_update tells the state that each run leaves, and each that is written", async () => {
    const threadId = await newThread();
    const stream = await open(threadId, { query: "?stream_modes=state_update" });
    const next = async () => (await stream.until(isState)).at(-1);
    await run(threadId, "custom", { input: {} });
    expectState(await next(), threadId, { steps: ["worked"] });
    await gateway.client.threads.updateState(threadId, { values: { steps: ["by hand"] } });
    const written = await next();
    expectState(written, threadId, { steps: ["worked", "by hand"] });
    expect(written?.id).toBeUndefined();
    await run(threadId, "custom", { input: {} });
    expectState(await next(), threadId, { steps: ["worked", "by hand", "worked"] });
    await stream.close();
  });

  it("lists tell all that is in them", async () => {
    const threadId = await newThread();
    const stream = await open(threadId, { query: "?stream_mode=lifecycle,state_update" });
    await run(threadId, "custom", { input: {}, streamMode: "custom" });
    expect(names(await stream.until(isState))).toEqual(["metadata", "metadata", "state_update"]);
    await stream.close();
  });
});

describe("with a cursor", () => {
  const QUERY = "?stream_mode=run_modes&stream_mode=state_update";
  let threadId: string;
  let live: readonly SsePart[];
  beforeAll(async () => {
    threadId = await newThread();
    const stream = await open(threadId, { query: QUERY });
    const modes = ["values", "updates", "messages-tuple"] as const;
    await run(threadId, "talk", { ...say("one two three"), streamMode: [...modes] });
    const first = await stream.until(isState);
    await run(threadId, "choir", {
      ...say("four five"),
      streamMode: [...modes],
      streamSubgraphs: true,
    });
    live = [...first, ...(await stream.until(isState))];
    await stream.close();
  });

  /** A state that was told before is told as it is now. */
  const comparable = (parts: readonly SsePart[]) =>
    parts.map((part) => (isState(part) ? { ...part, data: null } : part));
  const upTo = (last: SsePart | undefined) => (part: SsePart) => part.id === last?.id;

  it("every event has its own, and they grow", () => {
    const places = live.map(({ id }) => (id ?? "").split("-").map(Number));
    expect(places.every((place) => place.length === 2 && place.every(Number.isSafeInteger))).toBe(true);
    const isBehind = ([a = 0, b = 0]: number[], [c = 0, d = 0]: number[]) => a > c || (a === c && b > d);
    expect(places.every((place, index) => index === 0 || isBehind(place, places[index - 1] ?? []))).toBe(true);
  });

  it("all is told from the beginning, as it was told", async () => {
    const stream = await open(threadId, { query: QUERY, lastEventId: "-" });
    expect(comparable(await stream.until(upTo(live.at(-1))))).toEqual(comparable(live));
    await stream.close();
  });

  it("it goes on behind any event: nothing is lost, nothing comes again", async () => {
    for (const [index, { id }] of live.slice(0, -1).entries()) {
      const stream = await open(threadId, { query: QUERY, lastEventId: id ?? "" });
      expect(comparable(await stream.until(upTo(live.at(-1))))).toEqual(comparable(live.slice(index + 1)));
      await stream.close();
    }
  });

  it("behind the last event the next run comes", async () => {
    const stream = await open(threadId, { query: "?stream_mode=lifecycle", lastEventId: live.at(-1)?.id ?? "" });
    const run = await gateway.client.runs.create(threadId, "talk", say("six"));
    const [first] = await stream.until(isDone);
    expect(first?.data).toMatchObject({ run_id: run.run_id });
    await stream.close();
  });

  it.each(["x", "1", "1-2-3", "-2", "1-x"])("that is none (%s) is refused with 400", async (lastEventId) => {
    const response = await fetch(`${gateway.url}/threads/${threadId}/stream`, {
      headers: { "last-event-id": lastEventId },
    });
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({ code: "bad_request" });
  });
});

it("the SDK joins a thread, and goes on from where it was", async () => {
  const threadId = await newThread();
  const joined = async (options: { lastEventId: string; streamMode?: "lifecycle" }, count: number) => {
    const parts: { id?: string | undefined; event: string; data: unknown }[] = [];
    for await (const part of gateway.client.threads.joinStream(threadId, options)) {
      parts.push(part as (typeof parts)[number]);
      if (parts.length === count) break;
    }
    return parts;
  };
  await run(threadId, "custom", { input: {}, streamMode: "custom" });
  const all = await joined({ lastEventId: "-" }, 6);
  expect(all.map(({ event }) => event)).toEqual(["metadata", "custom", "custom", "custom", "end", "metadata"]);
  expect(await joined({ lastEventId: String(all[2]?.id) }, 3)).toEqual(all.slice(3));
  const lifecycle = await joined({ lastEventId: "-", streamMode: "lifecycle" }, 2);
  expect(lifecycle).toEqual([all[0], all[5]]);
});

describe("a thread stream is refused", () => {
  it("with 404 where there is no thread", async () => {
    const response = await fetch(`${gateway.url}/threads/${randomUUID()}/stream`);
    expect(response.status).toBe(404);
    expect(await response.json()).toMatchObject({ code: "not_found" });
  });

  it("with an error for a mode that there is not", async () => {
    const response = await fetch(`${gateway.url}/threads/${await newThread()}/stream?stream_mode=values`);
    expect(response.status).toBe(422);
    expect(await response.json()).toMatchObject({ detail: expect.stringContaining("stream_mode") });
  });
});

it("is cut, never ended, when the gateway stops, and goes on after its restart", async () => {
  const threadId = await newThread();
  const stream = await open(threadId);
  await run(threadId, "talk", { ...say("one two three"), streamMode: "messages-tuple" });
  const told = await stream.until(isDone);
  const rest = expect(stream.rest()).rejects.toThrow();
  gateway = await gateway.restart();
  await rest;
  const texts = (parts: readonly SsePart[]) =>
    parts
      .flatMap(({ event, data }) => (event === "messages" ? [(data as [{ content: string }])[0].content] : []))
      .join("");
  expect(texts(told)).toBe("one two three");
  for (const [index, { id }] of told.slice(0, -1).entries()) {
    const again = await open(threadId, { lastEventId: id ?? "" });
    const missing = await again.until(isDone);
    expect(texts(missing)).toBe(texts(told.slice(index + 1)));
    expect(missing.at(-1)).toEqual(told.at(-1));
    await again.close();
  }
});
