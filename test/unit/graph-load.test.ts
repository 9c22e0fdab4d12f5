/** Graphs load from every kind of file and export, and what does not load says why and where. */
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { hostKit } from "../../src/core/kit.js";
import { loadGraphModule, locateGraph } from "../../src/graphs/load.js";
import { GraphLoadError } from "../../src/graphs/load-error.js";
import { type TempProject, tempProject } from "../support/temp-project.js";

const ESM = `import { MessagesAnnotation, START, StateGraph } from "@langchain/langgraph";
export const graph = new StateGraph(MessagesAnnotation).addNode("a", () => ({})).addEdge(START, "a").compile();
`;

const FILES = {
  "package.json": `{ "type": "module" }`,
  "tsconfig.json": `{ "compilerOptions": { "paths": { "@lib/*": ["./lib/*"] } } }`,
  "lib/colour.ts": `export enum Colour { Red = "red" }\n`,
  "graph.ts": `import { MessagesAnnotation, START, StateGraph } from "@langchain/langgraph";
import { Colour } from "@lib/colour";
import { reply } from "./reply.js";
export const builder = new StateGraph(MessagesAnnotation).addNode(Colour.Red, reply).addEdge(START, Colour.Red);
export const graph = builder.compile();
export const promised = Promise.resolve(graph);
export const factory = (config: object, runtime: object) => builder.compile({ name: JSON.stringify([config, runtime]) });
export const slowFactory = async () => builder;
export const agent = { invoke() {}, stream() {}, get graph() { return graph; } };
export const refusing = () => { throw new TypeError("no key"); };
export const text = "not a graph";
export default graph;
`,
  "reply.ts": `export const reply = (): object => ({ messages: [] });\n`,
  "graph.mts": ESM,
  "graph.js": ESM,
  "graph.mjs": ESM,
  "graph.cjs": `const { MessagesAnnotation, START, StateGraph } = require("@langchain/langgraph");
module.exports.graph = new StateGraph(MessagesAnnotation).addNode("a", () => ({})).addEdge(START, "a").compile();
`,
  "only.cjs": `module.exports = require("./graph.cjs").graph;\n`,
  "syntax.ts": "const a: number = 1;\nconst b = ;\n",
  "syntax.mjs": "const a = 1;\nconst b = ;\n",
  "throws.ts": `import { x } from "./helper.js";\nexport const graph = x;\n`,
  "helper.ts": "export type T = string;\n\nexport const x = missing.y;\n",
  "throws.mjs": `const a = 1;\nthrow new Error("first line\\nsecond line");\n`,
  "unresolved.ts": `import "./nowhere.js";\n`,
  "none.ts": "export {};\n",
  "agent.py": "",
};

let project: TempProject;
beforeAll(async () => {
  project = await tempProject(FILES);
});
afterAll(() => project.remove());

const load = (path: string, modules: "cached" | "fresh" = "cached") =>
  loadGraphModule(locateGraph("toy", path, project.folder), { modules });

describe.each(["cached", "fresh"] as const)("%s modules", (modules) => {
  it.each([".ts", ".mts", ".js", ".mjs", ".cjs"])("a %s file gives its graph", async (extension) => {
    const { sample } = await load(`./graph${extension}:graph`, modules);
    expect(sample.lg_is_pregel).toBe(true);
  });

  it.each(["graph", "promised", "builder", "agent", "default", "factory", "slowFactory"])(
    "the export `%s` gives a compiled graph",
    async (name) => {
      const { create } = await load(`./graph.ts:${name}`, modules);
      const graph = await create({}, { accessContext: "threads.read", executionRuntime: null });
      expect(graph.lg_is_pregel).toBe(true);
      expect(graph.channels).toHaveProperty("messages");
    },
  );

  it("a path without an export means the default one", async () => {
    expect((await load("./graph.ts", modules)).sample.lg_is_pregel).toBe(true);
  });

  it("a CommonJS module may be the graph itself", async () => {
    expect((await load("./only.cjs", modules)).sample.lg_is_pregel).toBe(true);
  });

  it.each([
    ["./syntax.ts:graph", "./syntax.ts:2:10", "SyntaxError: Unexpected token"],
    ["./syntax.mjs:graph", "./syntax.mjs:2:10", "SyntaxError: Unexpected token"],
    ["./throws.ts:graph", "./helper.ts:3:", "ReferenceError: missing is not defined"],
    ["./throws.mjs:graph", "./throws.mjs:2:", "Error: first line"],
    ["./unresolved.ts:graph", "./unresolved.ts:1:", "Cannot find module './nowhere.js'"],
    ["./graph.ts:refusing", "./graph.ts:10:", "TypeError: no key"],
    ["./graph.ts:text", "./graph.ts ", "the export is of type string; expected a compiled graph, a builder"],
    ["./graph.ts:nope", "./graph.ts ", `no such export; it exports "agent", "builder", "default", "factory"`],
    ["./graph.cjs:nope", "./graph.cjs ", `no such export; it exports`],
    ["./none.ts:graph", "./none.ts ", "no such export; it exports nothing"],
    ["./none.ts", "./none.ts ", "no such export; it exports nothing"],
    ["./absent.ts:graph", "./absent.ts ", "there is no such file"],
    ["./agent.py:graph", "./agent.py ", ".py is not one of .ts"],
  ])("%s fails in one line that names the place and the reason", async (path, place, reason) => {
    const error = await load(path, modules).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(GraphLoadError);
    const { message } = error as GraphLoadError;
    expect(message).toContain(`graph "toy" did not load: ${place}`);
    expect(message).toContain(reason);
    expect(message).not.toContain("\n");
  });
});

it("a load error carries its parts for programs", async () => {
  const error = await load("./throws.ts:graph").catch((thrown: unknown) => thrown);
  expect(error).toMatchObject({
    failure: { graphId: "toy", exportName: "graph", file: join(project.folder, "helper.ts"), line: 3 },
    cause: { name: "ReferenceError" },
  });
});

it("a factory is called with its own copy of the configuration and with what it is wanted for", async () => {
  const { create } = await load("./graph.ts:factory");
  const config = { configurable: { model: "small" } };
  const graph = await create(config, { accessContext: "threads.create_run", executionRuntime: { context: { a: 1 } } });
  expect(JSON.parse(String((graph as { name?: unknown }).name))).toEqual([
    { configurable: { model: "small" } },
    { accessContext: "threads.create_run", executionRuntime: { context: { a: 1 } } },
  ]);
});

it("fresh modules see what was saved since, in the graph's file and in what it imports", async () => {
  const reply = (word: string) => `exports.word = "${word}";\n`;
  const changing = await tempProject({
    "package.json": `{ "type": "module" }`,
    "graph.mjs": `import words from "./words.cjs";
import data from "./data.json" with { type: "json" };
import { Annotation, START, StateGraph } from "@langchain/langgraph";
export const graph = new StateGraph(Annotation.Root({ x: Annotation() }))
  .addNode("a", () => ({})).addEdge(START, "a").compile({ name: words.word + data.n });
`,
    "words.cjs": reply("one"),
    "data.json": `{ "n": 1 }`,
  });
  try {
    const location = locateGraph("toy", "./graph.mjs:graph", changing.folder);
    const name = async () => (await loadGraphModule(location, { modules: "fresh" })).sample as { name?: string };
    expect((await name()).name).toBe("one1");
    await changing.write({ "words.cjs": reply("two"), "data.json": `{ "n": 2 }` });
    expect((await name()).name).toBe("two2");
  } finally {
    await changing.remove();
  }
});

it("a graph that uses heddle's own LangChain gets heddle's own kit", async () => {
  expect((await load("./graph.ts:graph")).kit).toBe(hostKit);
  expect((await load("./graph.mjs:graph", "fresh")).kit).toBe(hostKit);
});

it("a CommonJS graph gets the kit of the CommonJS build that it requires", async () => {
  const { sample, kit } = await load("./graph.cjs:graph");
  expect(kit.Command).not.toBe(hostKit.Command);
  expect(sample.channels.__start__).toBeDefined();
});
