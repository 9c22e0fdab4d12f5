/** What thread search does beyond the Platform's: filters, words, cursors, and a search that goes on. */
import type { Client, Thread } from "@langchain/langgraph-sdk";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startTestGateway, type TestGateway } from "../support/gateway.js";
import { type Send, sender } from "../support/http.js";
import { openSse, type SsePart, type SseStream } from "../support/sse-client.js";

let gateway: TestGateway;
let client: Client;
let send: Send;

beforeAll(async () => {
  gateway = await startTestGateway({ config: { graphs: { echo: "./test/support/graphs.ts:echo" } } });
  client = gateway.client;
  send = sender(gateway.url);
  await client.threads.create({ threadId: "travel", metadata: { team: "blue", title: "Travel plans", n: 1 } });
  await client.threads.create({ threadId: "budget", metadata: { team: "red", title: "Budget", n: 2 } });
  await client.threads.create({ threadId: "empty", metadata: { archived: true } });
  await client.runs.wait("travel", "echo", { input: { messages: [{ role: "user", content: "Is Zürich far?" }] } });
});
afterAll(() => gateway?.stop());

async function find(body: Record<string, unknown>) {
  const { status, headers, body: found } = await send("POST", "/threads/search", body);
  if (status !== 200) return { status, ...(found as object) };
  const { status: counted, body: total } = await send("POST", "/threads/count", { ...body, ids: undefined });
  expect(counted).toBe(200);
  const ids = (found as Thread[]).map(({ thread_id: id }) => id);
  if (body.ids === undefined && body.cursor === undefined)
    expect(headers.get("x-pagination-total")).toBe(String(total));
  return { ids: ids.sort(), next: headers.get("x-pagination-next") };
}

describe("POST /threads/search", () => {
  it.each<[string, Record<string, unknown>, string[]]>([
    [
      "alternatives",
      { filter: { $or: [{ "metadata.team": "red" }, { "metadata.archived": true }] } },
      ["budget", "empty"],
    ],
    ["what is missing", { filter: { "metadata.archived": { $exists: false } } }, ["budget", "travel"]],
    ["an opposite", { filter: { $not: { "metadata.team": "blue" } } }, ["budget", "empty"]],
    ["a comparison", { filter: { "metadata.n": { $gt: 1 } } }, ["budget"]],
    ["a date", { filter: { created_at: { $gte: "2020-01-01T00:00:00Z" } } }, ["budget", "empty", "travel"]],
    ["beside containment", { metadata: { team: "blue" }, filter: { "metadata.n": { $in: [1, 2] } } }, ["travel"]],
    ["words of the title", { query: "plans trav" }, ["travel"]],
    ["words parted by NUL", { query: "plans\0trav" }, ["travel"]],
    ["words of the last messages", { query: "zurich" }, ["travel"]],
    ["words beside a filter", { query: "budget", filter: { "metadata.team": "blue" } }, []],
    ["no words", { query: "  " }, ["budget", "empty", "travel"]],
    ["an empty filter", { filter: {} }, ["budget", "empty", "travel"]],
  ])("finds by %s", async (_, body, expected) => {
    expect(await find(body)).toEqual({ ids: expected, next: null });
  });

  it("goes on by cursor, which tells where the next page begins", async () => {
    const first = await find({ cursor: "", limit: 2, sort_by: "thread_id", sort_order: "asc" });
    expect(first).toMatchObject({ ids: ["budget", "empty"], next: expect.stringMatching(/^[\w-]+$/) });
    const { next: cursor } = first as { next: string };
    await client.threads.create({ threadId: "before", metadata: {} });
    expect(await find({ cursor, limit: 2, sort_by: "thread_id", sort_order: "asc" })).toEqual({
      ids: ["travel"],
      next: null,
    });
    const answer = await send("POST", "/threads/search", { cursor, limit: 2, sort_by: "thread_id", sort_order: "asc" });
    expect(answer.headers.get("x-pagination-total")).toBeNull();
    await client.threads.delete("before");
  });

  it.each<[string, Record<string, unknown>, number, string]>([
    ["a filter that is not understood", { filter: { "metadata.a": { $like: "%" } } }, 422, "$like"],
    ["a field that threads do not have", { filter: { team: 1 } }, 422, "filter.team"],
    ["a filter that is a list", { filter: [] }, 422, "filter"],
    ["more words than 32", { query: "a ".repeat(33) }, 422, "query"],
    ["more words than 32, whatever parts them", { query: "a\0".repeat(33) }, 422, "query"],
    [
      "a cursor with a date in words",
      { cursor: Buffer.from('["updated_at","desc","now","a"]').toString("base64url") },
      400,
      "cursor",
    ],
    ["a query that is too long", { query: "a".repeat(1_001) }, 422, "query"],
    ["a cursor that is none", { cursor: "nonsense" }, 400, "cursor"],
    [
      "a cursor of another order",
      { cursor: Buffer.from('["thread_id","asc","a","a"]').toString("base64url") },
      400,
      "sort_by",
    ],
    [
      "a cursor of another kind",
      { cursor: Buffer.from('["updated_at","desc",{},"a"]').toString("base64url") },
      400,
      "cursor",
    ],
    ["a cursor with an offset", { cursor: "", offset: 5 }, 422, "offset"],
  ])("refuses %s", async (_, body, status, named) => {
    expect(await send("POST", "/threads/search", body)).toMatchObject({
      status,
      body: { detail: expect.stringContaining(named), code: expect.any(String) },
    });
  });

  it("answers a client that knows nothing of all this as ever", async () => {
    const threads = await client.threads.search({ metadata: { team: "blue" }, limit: 1 });
    expect(threads).toEqual([await client.threads.get("travel")]);
    const { headers } = await send("POST", "/threads/search", { limit: 2 });
    expect([headers.get("x-pagination-total"), headers.get("x-pagination-next")]).toEqual(["3", "2"]);
  });
});

describe("GET /threads/search/stream", () => {
  async function open(query: Record<string, string>): Promise<SseStream> {
    const stream = await openSse(`${gateway.url}/threads/search/stream?${new URLSearchParams(query)}`);
    expect([stream.status, stream.headers.get("content-type")]).toEqual([200, "text/event-stream"]);
    return stream;
  }
  const isAbout = (event: string, id: string) => (part: SsePart) =>
    part.event === event && (part.data as { thread_id?: string }).thread_id === id;

  it("tells what matches, then what changes, live", async () => {
    const stream = await open({ filter: JSON.stringify({ "metadata.team": "live" }), limit: "5" });
    expect(await stream.next()).toMatchObject({ event: "ready", id: undefined });
    const { thread_id: id } = await client.threads.create({ metadata: { team: "live" } });
    const [created] = await stream.until(isAbout("upsert", id));
    expect(created?.data).toEqual(await client.threads.get(id));
    await client.runs.wait(id, "echo", { input: { messages: [{ role: "user", content: "hi" }] } });
    const told = await stream.until(({ data }) => (data as Thread).values !== null);
    expect(told.at(-1)?.data).toEqual(await client.threads.get(id));
    await client.threads.delete(id);
    await stream.until(isAbout("remove", id));
    await stream.close();
  });

  it("tells of a run that begins and ends, with the members that are selected", async () => {
    const stream = await open({ ids: "budget", select: "thread_id,status" });
    expect((await stream.until(({ event }) => event === "ready"))[0]).toMatchObject({
      event: "upsert",
      data: { thread_id: "budget", status: "idle" },
    });
    await client.runs.wait("budget", "echo", { input: { messages: [] } });
    const last = await stream.until(isAbout("upsert", "budget"));
    expect(Object.keys(last.at(-1)?.data as object).sort()).toEqual(["status", "thread_id"]);
    await stream.close();
  });

  it("is cut, never ended, when the gateway stops", async () => {
    const other = await startTestGateway({ config: { graphs: { echo: "./test/support/graphs.ts:echo" } } });
    const stream = await openSse(`${other.url}/threads/search/stream`);
    await stream.next();
    const rest = stream.rest();
    await Promise.all([expect(rest).rejects.toThrow(), other.stop()]);
  });

  it.each<[string, string, number]>([
    ["a filter that is no JSON", "filter={", 400],
    ["a filter that is not understood", `filter=${encodeURIComponent('{"a":1}')}`, 422],
    ["metadata that is no object", "metadata=1", 422],
    ["a status that there is not", "status=done", 422],
    ["a limit beyond the largest", "limit=1001", 422],
    ["a member that threads do not have", "select=secrets", 422],
  ])("refuses %s", async (_, query, status) => {
    expect(await send("GET", `/threads/search/stream?${query}`)).toMatchObject({
      status,
      body: { detail: expect.any(String) },
    });
  });
});
