/** What the types of a graph's source say of its schemas: nothing of the project is run. */
import { createRequire } from "node:module";
import { join } from "node:path";
import { Validator } from "@langchain/core/utils/json_schema";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { JsonObject } from "../../src/core/model.js";
import { type Analysis, analyse } from "../../src/schemas/analysis.js";
import type { ParsedPackages } from "../../src/schemas/project-program.js";
import type { TypeScript } from "../../src/schemas/type-schema.js";
import { type TempProject, tempProject } from "../support/temp-project.js";

const ts = createRequire(import.meta.url)("typescript") as TypeScript;
const parsed: ParsedPackages = new Map();
let project: TempProject;

beforeAll(async () => {
  project = await tempProject({ "package.json": '{ "type": "module" }' });
});
afterAll(() => project?.remove());

const HEAD = `import { Annotation, Command, END, entrypoint, MessagesAnnotation, messagesStateReducer, START, StateGraph } from "@langchain/langgraph";
import type { AIMessage, BaseMessage, ToolMessage } from "@langchain/core/messages";
`;

/** The analysis of the export `graph` of a file with this text. */
async function analysed(text: string, file = "graph.ts", exportName = "graph"): Promise<Analysis> {
  await project.write({ [file]: HEAD + text });
  return analyse(ts, { file: join(project.folder, file), exportName }, parsed);
}

/** The schemas of the state that a graph has with these fields and declarations. */
async function ofState(fields: string, declarations = "") {
  const { schemas, reasons } = await analysed(`${declarations}
    const State = Annotation.Root({ ${fields} });
    export const graph = new StateGraph(State).addNode("work", () => ({})).addEdge(START, "work").compile();`);
  expect(reasons).toEqual([]);
  const graph = schemas[""];
  if (graph === undefined) throw new Error("no schemas");
  return { ...graph, property: (name: string) => member(graph.state_schema, name) };
}

function member(schema: JsonObject | null | undefined, name: string): unknown {
  return (schema?.properties as JsonObject | undefined)?.[name];
}

function accepts(schema: JsonObject | null, value: unknown): boolean {
  return new Validator(schema as ConstructorParameters<typeof Validator>[0], "7").validate(value).valid;
}

const SAID: readonly (readonly [type: string, schema: unknown])[] = [
  ["string", { type: "string" }],
  ["number", { type: "number" }],
  ["boolean", { type: "boolean" }],
  ["string | null", { anyOf: [{ type: "string" }, { type: "null" }] }],
  ['"low" | "high"', { enum: ["low", "high"] }],
  ['"low" | 3 | boolean', { anyOf: [{ enum: ["low", 3] }, { type: "boolean" }] }],
  ["true", { const: true }],
  ["Mood", { enum: ["good", "bad"] }],
  ["string[]", { type: "array", items: { type: "string" } }],
  ["readonly (string | number)[]", { type: "array", items: { anyOf: [{ type: "string" }, { type: "number" }] } }],
  ["[string, number?]", { type: "array", items: [{ type: "string" }, { type: "number" }], minItems: 1, maxItems: 2 }],
  ["Record<string, number>", { type: "object", additionalProperties: { type: "number" } }],
  ["Date", { type: "string", format: "date-time" }],
  ["unknown", {}],
  ["any", {}],
  ["Map<string, number>", {}],
  ["bigint", {}],
  ["object", { type: "object" }],
  ['string & { readonly brand: "id" }', { type: "string" }],
  ["`user-${string}`", { type: "string" }],
  [
    "{ a: string } & { b?: number }",
    { type: "object", properties: { a: { type: "string" }, b: { type: "number" } }, required: ["a"] },
  ],
  ["Account", { type: "object", properties: { owner: { type: "string" } }, required: ["owner"] }],
];

describe("the state of an Annotation", () => {
  let told: Awaited<ReturnType<typeof ofState>>;
  beforeAll(async () => {
    const fields = SAID.map(([type], index) => `field${index}: Annotation<${type}>`);
    told = await ofState(
      fields.join(", "),
      `enum Mood { Good = "good", Bad = "bad" }
       class Account { owner = ""; #secret = 1; private pin = 2; protected kept = 3; close(): void {} }`,
    );
  });

  it.each(SAID.map(([type, schema], index) => [type, schema, index] as const))("says %s", (_, schema, index) => {
    expect(told.property(`field${index}`)).toEqual(schema);
  });

  it("tells what must be there from what may be missing", async () => {
    const { state_schema, input_schema } = await ofState(
      "topic: Annotation<string>, note: Annotation<string | undefined>",
    );
    expect(state_schema).toEqual({
      type: "object",
      properties: { topic: { type: "string" }, note: { type: "string" } },
      required: ["topic"],
    });
    expect(accepts(input_schema, {})).toBe(true);
    expect(accepts(input_schema, { topic: 7 })).toBe(false);
    expect(accepts(input_schema, { other: true })).toBe(true);
  });

  it("tells a reduced field's update from its value", async () => {
    const reducer = "{ reducer: (all, one) => [...all, one], default: () => [] }";
    const { input_schema, state_schema, output_schema } = await ofState(
      `steps: Annotation<string[], string>(${reducer})`,
    );
    expect(member(input_schema, "steps")).toEqual({ type: "string" });
    expect(member(state_schema, "steps")).toEqual({ type: "array", items: { type: "string" } });
    expect(output_schema).toEqual(state_schema);
  });

  it("writes a shared type once, and a type that contains itself with an end", async () => {
    const tree = "interface Tree { name: string; children?: Tree[] } interface Place { city: string }";
    const { state_schema } = await ofState(
      "tree: Annotation<Tree>, from: Annotation<Place>, to: Annotation<Place>",
      tree,
    );
    expect(member(state_schema, "from")).toEqual({ $ref: "#/definitions/Place" });
    expect(Object.keys(state_schema?.definitions as object).sort()).toEqual(["Place", "Tree"]);
    const state = (name: unknown) => ({
      tree: { name: "x", children: [{ name }] },
      from: { city: "a" },
      to: { city: "b" },
    });
    expect(accepts(state_schema, state("y"))).toBe(true);
    expect(accepts(state_schema, state(7))).toBe(false);
  });

  it("writes what is short where it is used, however often", async () => {
    const { state_schema } = await ofState(
      "from: Annotation<Date>, to: Annotation<Date>, mood: Annotation<Mood>, was: Annotation<Mood>",
      'type Mood = "good" | "bad";',
    );
    const date = { type: "string", format: "date-time" };
    const mood = { enum: ["good", "bad"] };
    expect(state_schema?.properties).toEqual({ from: date, to: date, mood, was: mood });
    expect(state_schema).not.toHaveProperty("definitions");
  });

  it("is written out at the root, also where a part of it is the same again", async () => {
    const { schemas } = await analysed(`
      interface Tree { name: string; children?: Tree[] }
      export const graph = entrypoint("main", async (tree: Tree) => tree.name);`);
    const input = schemas[""]?.input_schema ?? null;
    expect(input).toMatchObject({ type: "object", properties: { name: { type: "string" } }, required: ["name"] });
    expect(accepts(input, { name: "x", children: [{ name: "y", children: [] }] })).toBe(true);
    expect(accepts(input, { name: "x", children: [{ children: [] }] })).toBe(false);
  });

  it("carries what authors write about a field", async () => {
    const { property } = await ofState(
      "place: Annotation<Place>",
      "interface Place {\n/** Where it is. */\ncity: string }",
    );
    expect(property("place")).toMatchObject({ properties: { city: { description: "Where it is." } } });
  });

  it("ends however deep and wide types are", async () => {
    const json = "type Json = string | number | null | Json[] | { [key: string]: Json };";
    const wide = "type Nest<T> = { left: Nest<[T]>; right: Nest<{ of: T }>; value: T };";
    const { state_schema } = await ofState("json: Annotation<Json>, nest: Annotation<Nest<string>>", json + wide);
    expect(accepts(state_schema, { json: { a: [1, null] }, nest: { left: {}, right: {}, value: "x" } })).toBe(false);
    expect(JSON.stringify(state_schema).length).toBeLessThan(200_000);
  });
});

describe("messages", () => {
  it.each([
    ["the annotation", "...MessagesAnnotation.spec"],
    ["a reducer", "messages: Annotation<BaseMessage[]>({ reducer: messagesStateReducer, default: () => [] })"],
    ["one kind of them", "messages: Annotation<AIMessage[]>"],
    ["some kinds of them", "messages: Annotation<(AIMessage | ToolMessage)[]>"],
    ["a kind with more", 'messages: Annotation<(AIMessage & { mood: "good" })[]>'],
  ])("of %s are short and marked", async (_, fields) => {
    const { state_schema, input_schema } = await ofState(fields);
    for (const schema of [state_schema, input_schema]) {
      expect(member(schema, "messages")).toMatchObject({ type: "array", langgraph_type: "messages" });
      expect(accepts(schema, { messages: [{ type: "human", content: "hi" }] })).toBe(true);
      expect(accepts(schema, { messages: [{ role: "user", content: [{ type: "text", text: "hi" }] }] })).toBe(true);
      expect(accepts(schema, { messages: [{ type: "human" }] })).toBe(false);
      expect(JSON.stringify(schema).length).toBeLessThan(1_000);
    }
  });

  it("are one definition however many fields have them", async () => {
    const { state_schema, property } = await ofState(
      "messages: Annotation<BaseMessage[]>, last: Annotation<BaseMessage | null>, word: Annotation<string | BaseMessage>",
    );
    const message = { $ref: "#/definitions/Message" };
    expect(property("messages")).toEqual({ type: "array", items: message, langgraph_type: "messages" });
    expect(property("last")).toEqual({ anyOf: [message, { type: "null" }] });
    expect(property("word")).toEqual({ anyOf: [message, { type: "string" }] });
    expect(Object.keys(state_schema?.definitions as object)).toEqual(["Message"]);
  });
});

const STATES = `
  const Outer = Annotation.Root({ log: Annotation<string> });
  const Inner = Annotation.Root({ log: Annotation<string>, depth: Annotation<number> });
  const leaf = new StateGraph(Inner).addNode("a", () => ({})).addEdge(START, "a").compile();
`;

describe("a graph", () => {
  it("has an input, an output and a context of its own", async () => {
    const { schemas, reasons } = await analysed(`
      const State = Annotation.Root({ question: Annotation<string>, answer: Annotation<string> });
      const graph = new StateGraph(
        { stateSchema: State, input: Annotation.Root({ question: Annotation<string> }), output: Annotation.Root({ answer: Annotation<string> }) },
        Annotation.Root({ model: Annotation<"small" | "large"> }),
      ).addNode("work", () => ({})).addEdge(START, "work").compile();
      export { graph };`);
    expect(reasons).toEqual([]);
    const context = { type: "object", properties: { model: { enum: ["small", "large"] } } };
    expect(schemas[""]).toMatchObject({
      input_schema: { type: "object", properties: { question: { type: "string" } } },
      output_schema: { type: "object", properties: { answer: { type: "string" } }, required: ["answer"] },
      config_schema: context,
      context_schema: context,
    });
    expect(Object.keys(schemas[""]?.state_schema?.properties as object)).toEqual(["question", "answer"]);
    expect(schemas[""]?.context_schema).toEqual(context);
  });

  const BUILT = `new StateGraph(Outer).addNode("a", () => ({})).addEdge(START, "a")`;
  it.each([
    ["a compiled graph", `export const graph = ${BUILT}.compile();`],
    ["a builder", `export const graph = ${BUILT};`],
    ["a promise", `export const graph = Promise.resolve(${BUILT}.compile());`],
    ["a factory", `export function graph() { return ${BUILT}.compile(); }`],
    ["an asynchronous factory", `export const graph = async () => ${BUILT}.compile();`],
    ["an alias", `const other = ${BUILT}.compile(); export { other as graph };`],
    ["a configured graph", `export const graph = ${BUILT}.compile().withConfig({ recursionLimit: 3 });`],
    ["an agent that holds one", `export const graph = { graph: ${BUILT}.compile(), invoke() {} };`],
  ])("may be %s", async (_, text) => {
    const { schemas } = await analysed(STATES + text);
    expect(schemas[""]?.state_schema).toMatchObject({ properties: { log: { type: "string" } } });
  });

  it("may be what a file exports as default, or a CommonJS module is", async () => {
    for (const [file, text] of [
      ["default.ts", `export default ${BUILT}.compile();`],
      ["common.cts", `export = ${BUILT}.compile();`],
    ] as const) {
      const { schemas } = await analysed(STATES + text, file, "default");
      expect(schemas[""]?.state_schema).toMatchObject({ properties: { log: { type: "string" } } });
    }
  });

  it("of the functional API has an input and an output", async () => {
    const { schemas } = await analysed(
      `export const graph = entrypoint("main", async (input: { topic: string }) => input.topic.length);`,
    );
    expect(schemas[""]).toMatchObject({
      input_schema: { type: "object", properties: { topic: { type: "string" } } },
      output_schema: { type: "number" },
      state_schema: null,
      context_schema: null,
    });
  });

  it.each([
    ["export const graph = 7;", "its type is not a graph but 7"],
    ["export const graph: any = null;", "its type is not a graph but any"],
    ['export { graph } from "./missing.js";', "its type is not a graph but any"],
    ["export const other = 1;", 'no export "graph" is found in its types'],
    ["export const graph = ) broken (", "its type is not a graph but any"],
  ])("that cannot be told from %s says why", async (text, reason) => {
    expect(await analysed(text)).toMatchObject({ schemas: {}, reasons: [reason] });
  });
});

describe("subgraphs", () => {
  it.each([
    [
      "in a chain",
      `export const graph = new StateGraph(Outer).addNode("leaf", leaf).addEdge(START, "leaf").compile();`,
    ],
    ["on a variable", `const b = new StateGraph(Outer); b.addNode("leaf", leaf); export const graph = b.compile();`],
    ["in an object", `export const graph = new StateGraph(Outer).addNode({ leaf, b: () => ({}) }).compile();`],
    ["in a list", `export const graph = new StateGraph(Outer).addNode([["leaf", leaf]]).compile();`],
    ["in a sequence", `export const graph = new StateGraph(Outer).addSequence({ leaf: leaf }).compile();`],
    [
      "by a name of a constant",
      `const NAME = "leaf" as const; export const graph = new StateGraph(Outer).addNode(NAME, leaf).compile();`,
    ],
    [
      "among options",
      `export const graph = new StateGraph(Outer).addNode("leaf", async (s) => leaf.invoke(s as never), { subgraphs: [leaf] }).compile();`,
    ],
    [
      "in a factory",
      `export const graph = () => { const g = new StateGraph(Outer).addNode("leaf", leaf); return g.compile(); };`,
    ],
    [
      "made by a function",
      `const make = () => leaf; export const graph = new StateGraph(Outer).addNode("leaf", make()).compile();`,
    ],
  ])("are found %s", async (_, text) => {
    const { schemas } = await analysed(STATES + text);
    expect(Object.keys(schemas)).toEqual(["", "leaf"]);
    expect(schemas.leaf?.state_schema).toMatchObject({ properties: { depth: { type: "number" } } });
  });

  it("are found on every level, across files", async () => {
    await project.write({
      "parts/leaf.ts": `${HEAD}${STATES} export default leaf;`,
      "parts/middle.ts": `${HEAD} import bottom from "./leaf.js";
        const Middle = Annotation.Root({ side: Annotation<boolean> });
        export const middle = new StateGraph(Middle).addNode("bottom", bottom as any as typeof bottom).compile();`,
    });
    const { schemas, files } = await analysed(`${STATES} import { middle as inner } from "./parts/middle";
      export const graph = new StateGraph(Outer).addNode("middle", inner).addNode("plain", () => ({})).compile();`);
    expect(Object.keys(schemas)).toEqual(["", "middle", "middle|bottom"]);
    expect(schemas["middle|bottom"]?.state_schema).toMatchObject({ properties: { depth: { type: "number" } } });
    const hashed = Object.keys(files).filter((path) => typeof files[path] === "string");
    for (const part of ["graph.ts", "parts/middle.ts", "parts/leaf.ts", "package.json"]) {
      expect(hashed).toContain(join(project.folder, part));
    }
    expect(hashed.some((path) => path.endsWith("@langchain/langgraph/package.json"))).toBe(true);
  });
});

it("a project's own paths are followed, and it need not be strict", async () => {
  const own = await tempProject({
    "tsconfig.json": '{ "compilerOptions": { "strict": false, "paths": { "@/*": ["./src/*"] } } }',
    "src/state.ts": `import { Annotation } from "@langchain/langgraph";
      export const State = Annotation.Root({ topic: Annotation<string | null> });`,
    "src/graph.ts": `import { StateGraph } from "@langchain/langgraph"; import { State } from "@/state";
      export const graph = new StateGraph(State).addNode("work", () => ({})).addEdge("__start__", "work").compile();`,
  });
  try {
    const { schemas } = analyse(ts, { file: join(own.folder, "src/graph.ts"), exportName: "graph" }, parsed);
    expect(member(schemas[""]?.state_schema, "topic")).toEqual({ anyOf: [{ type: "string" }, { type: "null" }] });
  } finally {
    await own.remove();
  }
});
