/** What an assistant's graph looks like, through the unmodified SDK client (A7–A10). */
import { Validator } from "@langchain/core/utils/json_schema";
import type { Client } from "@langchain/langgraph-sdk";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { startTestGateway, type TestGateway } from "../support/gateway.js";
import { type Send, sender } from "../support/http.js";

let gateway: TestGateway;
let client: Client;
let send: Send;

beforeAll(async () => {
  const graphs = {
    greeter: "./test/support/described-graphs.ts:greeter",
    shaped: "./test/support/described-graphs.ts:shaped",
    house: "./test/support/described-graphs.ts:house",
    desk: "./test/support/described-graphs.ts:desk",
    plain: "./test/support/plain-graph.mjs:plain",
  };
  gateway = await startTestGateway({ config: { graphs } });
  client = gateway.client;
  send = sender(gateway.url);
  for (const graphId of ["desk", "house", "shaped"]) await typesAreKnown(graphId);
});
afterAll(() => gateway?.stop());

/** On a busy machine a compiler may take longer than an answer: then the next one has what it found. */
async function typesAreKnown(graphId: string): Promise<void> {
  await vi.waitFor(async () => expect((await client.assistants.getSchemas(graphId)).state_schema).not.toBeNull(), {
    timeout: 30_000,
  });
}

const NO_SCHEMAS = {
  input_schema: null,
  output_schema: null,
  state_schema: null,
  config_schema: null,
  context_schema: null,
};

const steps = { type: "array", items: { type: "string" } };
const STEPS = {
  ...NO_SCHEMAS,
  input_schema: { type: "object", properties: { steps } },
  output_schema: { type: "object", properties: { steps }, required: ["steps"] },
  state_schema: { type: "object", properties: { steps }, required: ["steps"] },
};

describe("client.assistants.getSchemas", () => {
  it("answers with the JSON schemas that a graph gives", async () => {
    const schemas = await client.assistants.getSchemas("greeter");
    expect(schemas).toMatchObject({
      graph_id: "greeter",
      input_schema: { type: "object", properties: { name: { type: "string" } } },
      output_schema: { type: "object", properties: { greeting: { type: "string" } } },
      state_schema: { type: "object", properties: { name: { type: "string" }, age: { type: "number" } } },
      context_schema: { type: "object", properties: { language: { enum: ["en", "de"] } } },
    });
    expect(schemas.config_schema).toEqual((schemas as { context_schema?: unknown }).context_schema);
    const { assistant_id: id } = await client.assistants.get("greeter");
    expect(await client.assistants.getSchemas(id)).toEqual(schemas);
  });

  it("answers with what the types of a graph say that gives none itself", async () => {
    const { input_schema, output_schema, state_schema, ...others } = await client.assistants.getSchemas("desk");
    const { ticket, messages, notes } = (state_schema?.properties ?? {}) as Record<string, object>;
    expect(messages).toMatchObject({ type: "array", langgraph_type: "messages" });
    expect(notes).toEqual({ type: "array", items: { type: "string" } });
    expect(ticket).toEqual({ anyOf: [{ $ref: "#/definitions/Ticket" }, { type: "null" }] });
    expect(state_schema?.required).toEqual(expect.arrayContaining(["messages", "notes", "ticket"]));
    expect(state_schema?.required).not.toContain("owner");
    expect(output_schema).toEqual(state_schema);
    expect(Object.keys(input_schema?.properties as object).sort()).toEqual(["messages", "ticket"]);
    const context = { type: "object", properties: { tone: { enum: ["formal", "friendly"] } } };
    expect(others).toEqual({ graph_id: "desk", config_schema: context, context_schema: context });
    const accepts = (value: unknown) => new Validator(input_schema as object, "7").validate(value).valid;
    const ticketOf = (urgency: string) => ({ ticket: { title: "x", parts: [{ title: "y", urgency }] } });
    expect([{}, ticketOf("high"), ticketOf("highest"), { ticket: { urgency: "low" } }].map(accepts)).toEqual([
      true,
      true,
      false,
      false,
    ]);
  });

  it("answers null for what neither a graph nor its types tell", async () => {
    expect(await client.assistants.getSchemas("plain")).toEqual({ graph_id: "plain", ...NO_SCHEMAS });
  });

  it("answers to a GET whatever its content type says", async () => {
    const answer = await send("GET", "/assistants/house/schemas", undefined, { "content-type": "application/json" });
    expect(answer).toMatchObject({ status: 200 });
  });
});

describe("client.assistants.getGraph", () => {
  it("draws nodes and edges", async () => {
    const { nodes, edges } = await client.assistants.getGraph("house");
    expect(nodes).toContainEqual({ id: "roof", type: "runnable", data: expect.objectContaining({ name: "roof" }) });
    expect(nodes.map(({ id }) => id)).toEqual(["__start__", "ground", "roof", "__end__"]);
    expect(edges).toEqual([
      { source: "__start__", target: "ground", conditional: false },
      { source: "roof", target: "__end__", conditional: false },
      { source: "ground", target: "roof", conditional: true },
      { source: "ground", target: "__end__", conditional: true },
    ]);
  });

  it.each([
    [undefined, ["ground", "roof"]],
    [false, ["ground", "roof"]],
    [1, ["ground:cellar", "ground:walls", "roof"]],
    [2, ["ground:cellar:dig", "ground:cellar:pave", "ground:walls", "roof"]],
    [true, ["ground:cellar:dig", "ground:cellar:pave", "ground:walls", "roof"]],
  ])("opens as many levels of subgraphs as it is asked to: xray %s", async (xray, expected) => {
    const { nodes, edges } = await client.assistants.getGraph("house", xray === undefined ? {} : { xray });
    const ids = nodes.map(({ id }) => String(id));
    expect(ids.filter((id) => !id.startsWith("__")).sort()).toEqual(expected);
    for (const { source, target } of edges) expect(ids).toEqual(expect.arrayContaining([source, target]));
  });

  it.each([
    ["True", 200],
    ["0", 200],
    ["FALSE", 200],
    ["3", 200],
    ["-1", 422],
    ["1.5", 422],
    ["maybe", 422],
    ["constructor", 422],
  ])("reads xray=%s", async (word, status) => {
    expect(await send("GET", `/api/assistants/house/graph?xray=${word}`)).toMatchObject({ status });
  });
});

describe("client.assistants.getSubgraphs", () => {
  it("maps namespaces to schemas, those below with recurse", async () => {
    expect(await client.assistants.getSubgraphs("house")).toEqual({ ground: STEPS });
    expect(await client.assistants.getSubgraphs("house", { recurse: true })).toEqual({
      ground: STEPS,
      "ground|cellar": STEPS,
    });
    expect(await client.assistants.getSubgraphs("greeter")).toEqual({});
  });

  it("tells each subgraph's own types", async () => {
    expect(Object.keys(await client.assistants.getSubgraphs("desk"))).toEqual(["office"]);
    const { office, "office|review": review } = await client.assistants.getSubgraphs("desk", { recurse: true });
    expect(office?.state_schema).toMatchObject({ properties: { stamp: { type: "number" } } });
    expect(review?.state_schema).toMatchObject({ properties: { approved: { type: "boolean" } } });
    expect(await client.assistants.getSubgraphs("desk", { namespace: "office|review" })).toEqual({
      "office|review": review,
    });
  });

  it("answers for one namespace", async () => {
    expect(Object.keys(await client.assistants.getSubgraphs("house", { namespace: "ground|cellar" }))).toEqual([
      "ground|cellar",
    ]);
    const below = await client.assistants.getSubgraphs("house", { namespace: "ground", recurse: true });
    expect(Object.keys(below)).toEqual(["ground", "ground|cellar"]);
    expect(await client.assistants.getSubgraphs("house", { namespace: "nope" })).toEqual({});
    const { body } = await send("GET", "/assistants/house/subgraphs?namespace=ground&recurse=1");
    expect(Object.keys(body as object)).toEqual(["ground", "ground|cellar"]);
  });
});

describe("a graph that the assistant's configuration shapes", () => {
  it("is described in that shape", async () => {
    const { assistant_id: id } = await client.assistants.create({ graphId: "shaped", context: { node: "special" } });
    const { nodes } = await client.assistants.getGraph(id);
    expect(nodes.map((node) => node.id)).toContain("special");
    const schemas = await client.assistants.getSchemas(id);
    expect(schemas.input_schema).toMatchObject({ properties: { for_special: { type: "string" } } });
    expect(schemas.state_schema).toEqual(STEPS.state_schema); // that one is said by types alone
  });

  it("that cannot be built says why", async () => {
    const { assistant_id: id } = await client.assistants.create({ graphId: "shaped", context: { node: "impossible" } });
    for (const path of ["graph", "schemas", "subgraphs"]) {
      expect(await send("GET", `/assistants/${id}/${path}`)).toMatchObject({
        status: 422,
        body: { detail: "graph shaped could not be made: no such node can be" },
      });
    }
  });
});

describe("descriptions of what is not there", () => {
  it.each(["graph", "schemas", "subgraphs", "subgraphs/ground"])("are refused: %s", async (path) => {
    expect(await send("GET", `/assistants/missing/${path}`)).toMatchObject({
      status: 404,
      body: { detail: 'assistant "missing" not found', code: "not_found" },
    });
  });
});
