/** Finding and counting threads through the unmodified SDK client (T2, T3). */
import type { Client, Thread } from "@langchain/langgraph-sdk";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startTestGateway, type TestGateway } from "../support/gateway.js";
import { type Send, sender } from "../support/http.js";

let gateway: TestGateway;
let client: Client;
let send: Send;

/** In order of creation: a chat, a paused approval, a failed run, an untouched thread. */
const CHAT = "chat";
const PAUSED = "paused";
const FAILED = "failed";
const FRESH = "fresh";

beforeAll(async () => {
  gateway = await startTestGateway();
  client = gateway.client;
  send = sender(gateway.url);
  await create(CHAT, { team: "blue", tags: ["a", "b"], deep: { level: { one: 1, two: 2 } } });
  await create(PAUSED, { team: "red", tags: ["b"], score: 1 });
  await create(FAILED, { team: "blue", score: 1.5, note: null });
  await create(FRESH, { team: "green", flag: true });
  await client.runs.wait(FAILED, "failing", { input: { input: { kind: "x" } }, raiseError: false });
  await client.runs.wait(PAUSED, "approval", { input: { question: "Sure?" } });
  await client.runs.wait(CHAT, "echo", { input: { messages: [{ role: "user", content: "hi", id: "h1" }] } });
});
afterAll(() => gateway?.stop());

const create = (threadId: string, metadata: Record<string, unknown>) => client.threads.create({ threadId, metadata });
const idsOf = (threads: readonly Thread[]): string[] => threads.map(({ thread_id: id }) => id);
const found = async (query: Parameters<Client["threads"]["search"]>[0]): Promise<string[]> =>
  idsOf(await client.threads.search(query)).sort();

describe("client.threads.search", () => {
  it("answers with whole threads, the last changed first", async () => {
    const threads = await client.threads.search();
    expect(idsOf(threads)).toEqual([CHAT, PAUSED, FAILED, FRESH]);
    for (const thread of threads) expect(thread).toEqual(await client.threads.get(thread.thread_id));
    expect(await found({})).toEqual([CHAT, FAILED, FRESH, PAUSED]);
  });

  it.each<[string, Record<string, unknown>, string[]]>([
    ["one member", { team: "blue" }, [CHAT, FAILED]],
    ["two members", { team: "blue", score: 1.5 }, [FAILED]],
    ["a number", { score: 1 }, [PAUSED]],
    ["null", { note: null }, [FAILED]],
    ["a boolean", { flag: true }, [FRESH]],
    ["an item of a list", { tags: ["b"] }, [CHAT, PAUSED]],
    ["items of a list in any order", { tags: ["b", "a"] }, [CHAT]],
    ["a nested member", { deep: { level: { two: 2 } } }, [CHAT]],
    ["a member that nobody has", { other: 1 }, []],
    ["a number where a text is", { team: 1 }, []],
    ["nothing", {}, [CHAT, FAILED, FRESH, PAUSED]],
    ["the graph that ran", { graph_id: "echo" }, [CHAT]],
  ])("finds by metadata: %s", async (_, metadata, expected) => {
    expect(await found({ metadata })).toEqual(expected);
    expect(await client.threads.count({ metadata })).toBe(expected.length);
  });

  it.each<[string, Record<string, unknown>, string[]]>([
    ["a member", { question: "Sure?" }, [PAUSED]],
    ["a nested member", { input: { kind: "x" } }, [FAILED]],
    ["an item of a list", { messages: [{ id: "h1" }] }, [CHAT]],
    ["what no state holds", { question: "no" }, []],
  ])("finds by values: %s", async (_, values, expected) => {
    expect(await found({ values })).toEqual(expected);
    expect(await client.threads.count({ values })).toBe(expected.length);
  });

  it.each([
    ["idle", [CHAT, FRESH]],
    ["interrupted", [PAUSED]],
    ["error", [FAILED]],
    ["busy", []],
  ] as const)("finds by status: %s", async (status, expected) => {
    expect(await found({ status })).toEqual(expected);
    expect(await client.threads.count({ status })).toBe(expected.length);
  });

  it("finds by ids, together with other filters", async () => {
    expect(await found({ ids: [CHAT, FRESH, "missing"] })).toEqual([CHAT, FRESH]);
    expect(await found({ ids: [CHAT, FAILED, PAUSED], metadata: { team: "blue" }, status: "error" })).toEqual([FAILED]);
    expect(await found({ ids: [] })).toEqual([]);
  });

  it.each([
    ["thread_id", [CHAT, FAILED, FRESH, PAUSED]],
    ["created_at", [CHAT, PAUSED, FAILED, FRESH]],
    ["updated_at", [FRESH, FAILED, PAUSED, CHAT]],
    ["state_updated_at", [FRESH, FAILED, PAUSED, CHAT]],
  ] as const)("sorts by %s", async (sortBy, ascending) => {
    expect(idsOf(await client.threads.search({ sortBy, sortOrder: "asc" }))).toEqual(ascending);
    expect(idsOf(await client.threads.search({ sortBy, sortOrder: "desc" }))).toEqual(ascending.toReversed());
  });

  it("sorts by status", async () => {
    const statuses = (await client.threads.search({ sortBy: "status", sortOrder: "asc" })).map(({ status }) => status);
    expect(statuses).toEqual(["error", "idle", "idle", "interrupted"]);
  });

  it("answers only the selected members", async () => {
    const [thread] = await client.threads.search({ ids: [PAUSED], select: ["thread_id", "status", "interrupts"] });
    expect(thread).toEqual({
      thread_id: PAUSED,
      status: "interrupted",
      interrupts: {
        [Object.keys(thread?.interrupts ?? {})[0] ?? ""]: [{ id: expect.any(String), value: { question: "Sure?" } }],
      },
    });
    expect(await client.threads.search({ ids: [PAUSED], select: ["values"] })).toEqual([
      { values: { question: "Sure?", answers: [] } },
    ]);
  });

  it("extracts what paths point at, also without the whole values", async () => {
    const [thread] = await client.threads.search({
      ids: [CHAT],
      select: ["thread_id"],
      extract: {
        last: "values.messages[-1].content",
        first_id: "values.messages[0].id",
        team: "metadata.team",
        level: "metadata.deep.level",
        beyond: "values.messages[7].content",
        nowhere: "config.configurable.none",
      },
    });
    expect(thread).toEqual({
      thread_id: CHAT,
      extracted: {
        last: "echo: hi",
        first_id: "h1",
        team: "blue",
        level: { one: 1, two: 2 },
        beyond: null,
        nowhere: null,
      },
    });
    const [fresh] = await client.threads.search({ ids: [FRESH], extract: { last: "values.messages[-1]" } });
    expect(fresh).toMatchObject({ thread_id: FRESH, values: null, extracted: { last: null } });
  });

  it("tells how much there is and where the next page starts", async () => {
    const page = async (body: Record<string, unknown>) => {
      const { headers, body: threads } = await send("POST", "/threads/search", { sort_by: "thread_id", ...body });
      return {
        ids: idsOf(threads as Thread[]),
        total: headers.get("x-pagination-total"),
        next: headers.get("x-pagination-next"),
      };
    };
    const first = await page({ limit: 3 });
    expect(first).toEqual({ ids: [PAUSED, FRESH, FAILED], total: "4", next: "3" });
    expect(await page({ limit: 3, offset: 3 })).toEqual({ ids: [CHAT], total: "4", next: null });
    expect(await page({ limit: 4 })).toEqual({ ids: [PAUSED, FRESH, FAILED, CHAT], total: "4", next: null });
    expect(await page({ offset: 9 })).toEqual({ ids: [], total: "4", next: null });
    expect(await page({ metadata: { team: "blue" }, limit: 1 })).toEqual({ ids: [FAILED], total: "2", next: "1" });
  });
});

describe("client.threads.count", () => {
  it("counts what matches all filters", async () => {
    expect(await client.threads.count()).toBe(4);
    expect(await client.threads.count({ metadata: { team: "blue" }, status: "idle" })).toBe(1);
    expect(await send("POST", "/api/threads/count", {})).toMatchObject({ status: 200, body: 4 });
  });
});
