/** What clients are told of a graph: schemas, drawing, subgraphs; the same of a binding as of the graph. */
import { Validator } from "@langchain/core/utils/json_schema";
import {
  Annotation,
  END,
  entrypoint,
  InMemoryStore,
  MemorySaver,
  MessagesAnnotation,
  MessagesValue,
  MessagesZodMeta,
  ReducedValue,
  START,
  StateGraph,
  StateSchema,
} from "@langchain/langgraph";
import { registry } from "@langchain/langgraph/zod";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { z as z3 } from "zod/v3";
import { bindGraph, type CompiledGraph } from "../../src/graphs/compiled-graph.js";
import { describeSubgraphs, drawGraph, graphSchemas } from "../../src/graphs/describe.js";

/** The binding of a graph with these definitions and one node. */
function toy(...definitions: unknown[]): CompiledGraph {
  const Builder = StateGraph as unknown as new (...definitions: unknown[]) => StateGraph<object>;
  return bind(
    new Builder(...definitions)
      .addNode("work", () => ({}))
      .addEdge(START, "work" as never)
      .compile(),
  );
}

function bind(graph: unknown): CompiledGraph {
  return bindGraph(graph as CompiledGraph, { checkpointer: new MemorySaver(), store: new InMemoryStore() });
}

function accepts(schema: unknown, value: unknown): boolean {
  return new Validator(schema as ConstructorParameters<typeof Validator>[0], "7").validate(value).valid;
}

describe("schemas of a zod state", () => {
  it.each([
    ["4", z.object({ topic: z.string(), pages: z.number().optional(), tone: z.string().default("dry") })],
    ["3", z3.object({ topic: z3.string(), pages: z3.number().optional(), tone: z3.string().default("dry") })],
  ])("of zod %s say what the graph accepts and what it holds", (version, state) => {
    const schemas = graphSchemas(toy(state));
    expect(accepts(schemas.input_schema, { topic: "x" })).toBe(true);
    expect(accepts(schemas.input_schema, {})).toBe(true);
    expect(accepts(schemas.input_schema, { topic: 1 })).toBe(false);
    expect(accepts(schemas.input_schema, { topic: "x", unknown: true })).toBe(true); // the graph ignores it
    expect(accepts(schemas.state_schema, { topic: "x", tone: "dry" })).toBe(true);
    expect(accepts(schemas.state_schema, { tone: "dry" })).toBe(false);
    if (version === "4") expect(accepts(schemas.state_schema, { topic: "x" })).toBe(false); // a default is always held
    expect(schemas.output_schema).toEqual(schemas.state_schema);
    expect([schemas.config_schema, schemas.context_schema]).toEqual([null, null]);
  });

  it("keep input, output and context apart", () => {
    const schemas = graphSchemas(
      toy({
        state: z.object({ question: z.string(), answer: z.string() }),
        input: z.object({ question: z.string() }),
        output: z.object({ answer: z.string() }),
        context: z.object({ model: z.string().default("small") }),
      }),
    );
    expect(schemas.input_schema).toMatchObject({
      properties: { question: { type: "string" } },
      required: ["question"],
    });
    expect(schemas.output_schema).toMatchObject({ properties: { answer: { type: "string" } }, required: ["answer"] });
    expect(Object.keys(schemas.state_schema?.properties ?? {})).toEqual(["question", "answer"]);
    expect(accepts(schemas.context_schema, {})).toBe(true);
    expect(accepts(schemas.context_schema, { model: 7 })).toBe(false);
    expect(schemas.config_schema).toEqual(schemas.context_schema);
  });

  it("carry LangGraph's extras, and leave open what JSON cannot say", () => {
    const messages = z.custom<unknown[]>().register(registry, MessagesZodMeta as never);
    const { input_schema } = graphSchemas(
      toy(z.object({ messages, since: z.date(), note: z.string().describe("lg: note") })),
    );
    expect(input_schema?.properties).toEqual({
      messages: { langgraph_type: "messages" },
      since: {},
      note: { type: "string", description: "lg: note" },
    });
  });
});

describe("schemas of a StateSchema", () => {
  it("tell a reduced field's input from its value", () => {
    const notes = new ReducedValue(
      z.array(z.string()).default(() => []),
      { inputSchema: z.string(), reducer: (all: string[], one: string) => [...all, one] },
    );
    const schemas = graphSchemas(
      toy(new StateSchema({ messages: MessagesValue, notes, topic: z.string().describe("what") })),
    );
    expect(schemas.input_schema?.properties).toMatchObject({
      messages: { langgraph_type: "messages" },
      notes: { type: "string" },
      topic: { type: "string", description: "what" },
    });
    expect(schemas.state_schema).toMatchObject({ properties: { notes: { type: "array" } }, required: ["topic"] });
  });

  it("are one document: a field that refers to itself is found", () => {
    const Tree = z.object({
      name: z.string(),
      get children() {
        return z.array(Tree);
      },
    });
    const { input_schema } = graphSchemas(toy(new StateSchema({ "a/b": Tree })));
    expect(accepts(input_schema, { "a/b": { name: "x", children: [{ name: "y", children: [] }] } })).toBe(true);
    expect(accepts(input_schema, { "a/b": { name: "x", children: [{ name: 7, children: [] }] } })).toBe(false);
  });

  it("take fields of any library of the standard", () => {
    const json = { type: "string", maxLength: 3 };
    const foreign = {
      "~standard": {
        version: 1,
        vendor: "toy",
        validate: (value: unknown) => (value === undefined ? { issues: [{ message: "required" }] } : { value }),
        jsonSchema: { input: () => json, output: () => json },
      },
    };
    expect(graphSchemas(toy(new StateSchema({ code: foreign as never }))).state_schema).toEqual({
      type: "object",
      properties: { code: json },
      required: ["code"],
    });
  });
});

it("a graph that gives no schema at run time has none", () => {
  const none = {
    input_schema: null,
    output_schema: null,
    state_schema: null,
    config_schema: null,
    context_schema: null,
  };
  expect(graphSchemas(toy(MessagesAnnotation))).toEqual(none);
  expect(graphSchemas(bind(entrypoint("main", async (value: string) => value)))).toEqual(none);
  expect(graphSchemas(toy(MessagesAnnotation, z.object({ user: z.string() }))).context_schema).toMatchObject({
    required: ["user"],
  });
});

const State = Annotation.Root({ log: Annotation<string> });

/** outer: inner and end; inner: leaf and plain; leaf: deep and deeper. */
function nested(): CompiledGraph {
  const leaf = new StateGraph(z.object({ log: z.string() }))
    .addNode("deep", () => ({}))
    .addNode("deeper", () => ({}))
    .addEdge(START, "deep")
    .addEdge("deep", "deeper")
    .compile();
  const inner = new StateGraph(State)
    .addNode("leaf", leaf)
    .addNode("plain", () => ({}))
    .addEdge(START, "leaf")
    .addEdge("leaf", "plain")
    .compile();
  return bind(
    new StateGraph(State)
      .addNode("inner", inner, { metadata: { team: "blue" } })
      .addNode("end", () => ({}))
      .addEdge(START, "inner")
      .addConditionalEdges("inner", () => "end", { onwards: "end" })
      .addEdge("end", END)
      .compile(),
  );
}

describe("a drawing", () => {
  const draw = async (xray: boolean | number) => {
    const { nodes, edges } = (await drawGraph(nested(), {}, xray)) as unknown as {
      nodes: { id: string; type?: string; data?: { name?: string }; metadata?: object }[];
      edges: { source: string; target: string; data?: string; conditional?: boolean }[];
    };
    return { nodes, edges, ids: nodes.map((node) => node.id) };
  };

  it("has the Platform's nodes and edges", async () => {
    const { nodes, edges } = await draw(false);
    expect(nodes.map(({ id, type }) => [id, type])).toEqual([
      ["__start__", "schema"],
      ["inner", "runnable"],
      ["end", "runnable"],
      ["__end__", "schema"],
    ]);
    expect(nodes[1]).toMatchObject({ data: { name: "LangGraph" }, metadata: { team: "blue" } });
    expect(nodes[2]).not.toHaveProperty("metadata");
    expect(edges).toContainEqual({ source: "__start__", target: "inner", conditional: false });
    expect(edges).toContainEqual({ source: "inner", target: "end", data: "onwards", conditional: true });
  });

  it("opens as many levels of subgraphs as asked", async () => {
    expect((await draw(0)).ids).toContain("inner");
    expect((await draw(1)).ids).toEqual(expect.arrayContaining(["inner:leaf", "inner:plain"]));
    expect((await draw(1)).ids).not.toContain("inner:leaf:deep");
    expect((await draw(2)).ids).toEqual(expect.arrayContaining(["inner:leaf:deep", "inner:leaf:deeper"]));
    expect((await draw(true)).ids).toEqual((await draw(2)).ids);
    expect((await draw(2)).edges).toContainEqual({
      source: "inner:leaf:deeper",
      target: "inner:plain",
      conditional: false,
    });
  });
});

describe("subgraphs", () => {
  const find = (namespace: string | null, recurse: boolean) => describeSubgraphs(nested(), { namespace, recurse });

  it.each([
    [null, false, ["inner"]],
    [null, true, ["inner", "inner|leaf"]],
    ["inner", false, ["inner"]],
    ["inner", true, ["inner", "inner|leaf"]],
    ["inner|leaf", false, ["inner|leaf"]],
    ["inn", true, []],
  ])("of namespace %s (recurse %s) are %j", async (namespace, recurse, names) => {
    expect(Object.keys(await find(namespace, recurse))).toEqual(names);
  });

  it("come with their schemas", async () => {
    const { inner, "inner|leaf": leaf } = await find(null, true);
    expect(inner?.state_schema).toBeNull();
    expect(leaf?.state_schema).toMatchObject({ properties: { log: { type: "string" } } });
  });
});
