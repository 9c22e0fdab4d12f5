/** Finding and counting assistants through the unmodified SDK client (A2, A3). */
import type { Client } from "@langchain/langgraph-sdk";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startTestGateway, type TestGateway } from "../support/gateway.js";
import { type Send, sender } from "../support/http.js";

let gateway: TestGateway;
let client: Client;
let send: Send;

beforeAll(async () => {
  gateway = await startTestGateway();
  client = gateway.client;
  send = sender(gateway.url);
  await create("a1", { name: "Support 100%", graphId: "echo", metadata: { team: "blue", tags: ["x", "y"] } });
  await create("a2", { name: "support_bot", graphId: "chat", metadata: { team: "red" } });
  await create("a3", { name: "ÜBERSETZER", graphId: "echo", metadata: { team: "blue", owner: "ada" } });
});
afterAll(() => gateway?.stop());

const create = (assistantId: string, settings: Omit<Parameters<Client["assistants"]["create"]>[0], "assistantId">) =>
  client.assistants.create({ assistantId, ...settings });

type Query = NonNullable<Parameters<Client["assistants"]["search"]>[0]>;
const OWN = { metadata: {}, limit: 1_000 };
const found = async (query: Partial<Query>): Promise<string[]> => {
  const assistants = await client.assistants.search({ ...OWN, ...query, includePagination: false });
  return assistants.flatMap(({ assistant_id: id }) => (/^a\d$/.test(id) ? [id] : [])).sort();
};

describe("client.assistants.search", () => {
  it("answers ten assistants unless asked for more, the newest first", async () => {
    expect(await client.assistants.search()).toHaveLength(10);
    const all = await client.assistants.search({ limit: 1_000 });
    expect(all.slice(0, 3).map(({ name }) => name)).toEqual(["ÜBERSETZER", "support_bot", "Support 100%"]);
    expect(all).toHaveLength(await client.assistants.count());
    expect(all[0]).toEqual(await client.assistants.get("a3"));
  });

  it.each<[string, Partial<Query>, string[]]>([
    ["graph", { graphId: "echo" }, ["a1", "a3"]],
    ["metadata", { metadata: { team: "blue" } }, ["a1", "a3"]],
    ["an item of a list", { metadata: { tags: ["y"] } }, ["a1"]],
    ["part of the name in any case", { name: "SUPPORT" }, ["a1", "a2"]],
    ["letters beyond ASCII in any case", { name: "übers" }, ["a3"]],
    ["a percent sign as it is", { name: "%" }, ["a1"]],
    ["an underscore as it is", { name: "t_b" }, ["a2"]],
    ["a backslash as it is", { name: "\\" }, []],
    ["an empty name", { name: "" }, ["a1", "a2", "a3"]],
    ["all at once", { name: "support", graphId: "echo", metadata: { team: "blue" } }, ["a1"]],
    ["an unknown graph", { graphId: "nope" }, []],
  ])("finds by %s", async (_, query, expected) => {
    expect(await found(query)).toEqual(expected);
  });

  it("sorts by every column, in both directions", async () => {
    for (const sortBy of ["assistant_id", "graph_id", "name", "created_at", "updated_at"] as const) {
      const columns = async (sortOrder: "asc" | "desc") =>
        (await client.assistants.search({ limit: 1_000, sortBy: sortBy as "name", sortOrder })).map((assistant) =>
          String(assistant[sortBy]),
        );
      const ascending = await columns("asc");
      expect(ascending).toEqual(ascending.toSorted((a, b) => (a < b ? -1 : a > b ? 1 : 0)));
      expect(await columns("desc")).toEqual(ascending.toReversed());
    }
  });

  it("answers only the selected members", async () => {
    expect(await client.assistants.search({ name: "_bot", select: ["assistant_id", "version", "context"] })).toEqual([
      { assistant_id: "a2", version: 1, context: {} },
    ]);
  });

  it("tells the next page", async () => {
    const total = await client.assistants.count();
    const first = await client.assistants.search({ limit: 2, includePagination: true });
    expect(first.assistants).toHaveLength(2);
    expect(first.next).toBe("2");
    const last = await client.assistants.search({ limit: 2, offset: total - 2, includePagination: true });
    expect(last.assistants).toHaveLength(2);
    expect(last.next).toBeNull();
    const { headers } = await send("POST", "/assistants/search", { name: "support", limit: 1 });
    expect([headers.get("x-pagination-total"), headers.get("x-pagination-next")]).toEqual(["2", "1"]);
  });
});

describe("client.assistants.count", () => {
  it("counts what matches all filters", async () => {
    expect(await client.assistants.count({ metadata: { team: "blue" } })).toBe(2);
    expect(await client.assistants.count({ metadata: { team: "blue" }, name: "sup", graphId: "echo" })).toBe(1);
    expect(await client.assistants.count({ graphId: "nope" })).toBe(0);
  });
});
