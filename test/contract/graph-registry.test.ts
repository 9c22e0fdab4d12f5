/** One contract for graphs wherever they come from: heddle's LangChain, the project's own copy, CommonJS, ready objects. */
import { realpathSync } from "node:fs";
import { InMemoryStore, MemorySaver, Command as OwnCommand } from "@langchain/langgraph";
import type { ServerRuntime } from "@langchain/langgraph-sdk";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { hostKit } from "../../src/core/kit.js";
import { GraphRegistry, type GraphSpec } from "../../src/graphs/registry.js";
import { type TempProject, tempProject } from "../support/temp-project.js";
import { replyBuilder } from "../support/toy-graphs.js";

const IMPORT = `import { HumanMessage } from "@langchain/core/messages";
import { Annotation, Command, interrupt, isCommand, messagesStateReducer, Send, START, StateGraph } from "@langchain/langgraph";
`;
const REQUIRE = IMPORT.replace(/import (.*) from (".*");/g, "const $1 = require($2);");

/** Asks the human, notes of which class its messages are, and goes on by `Command`. */
const GRAPH = `
const State = Annotation.Root({
  messages: Annotation({ reducer: messagesStateReducer, default: () => [] }),
  notes: Annotation({ reducer: (a, b) => a.concat(b), default: () => [] }),
});
const builder = new StateGraph(State)
  .addNode("look", (state) => {
    const last = state.messages.at(-1);
    return { notes: ["human: " + (last instanceof HumanMessage), "same class: " + (last.constructor === HumanMessage)] };
  })
  .addNode("ask", (state) => {
    const answer = interrupt({ question: "go on?" });
    const human = state.messages.at(-1) instanceof HumanMessage;
    return new Command({ update: { notes: ["answer: " + answer, "human after resume: " + human] }, goto: "done" });
  }, { ends: ["done"] })
  .addNode("done", () => ({ notes: ["done"] }))
  .addEdge(START, "look")
  .addEdge("look", "ask");
const graph = builder.compile();
const factory = (config) => builder.compile({ name: config.configurable.name });
`;

const ESM_FILE = `${IMPORT}${GRAPH}export { graph, factory };\n`;
const FILES = {
  "package.json": `{ "type": "module" }`,
  "graph.ts": `// @ts-nocheck\n${ESM_FILE}`,
  "graph.mjs": ESM_FILE,
  "graph.cjs": `${REQUIRE}${GRAPH}module.exports = { graph, factory };\n`,
};

const RUNTIME: ServerRuntime = { accessContext: "threads.create_run", executionRuntime: { context: undefined } };

let linked: TempProject;
let own: TempProject;
beforeAll(async () => {
  linked = await tempProject(FILES);
  own = await tempProject(FILES, "own");
  await own.copyPackages(["@langchain/core", "@langchain/langgraph"]);
});
afterAll(() => Promise.all([linked.remove(), own.remove()]));

async function registryOf(project: TempProject, graphs: { readonly [graphId: string]: GraphSpec }) {
  const registry = new GraphRegistry({ graphs, baseDir: project.folder });
  await registry.load();
  return registry;
}

const persistence = () => ({ checkpointer: new MemorySaver(), store: new InMemoryStore() });

describe.each([
  ["heddle's own LangChain", () => linked, "./graph.ts", "same"],
  ["heddle's own LangChain, from plain JavaScript", () => linked, "./graph.mjs", "same"],
  ["its CommonJS build", () => linked, "./graph.cjs", "other"],
  ["the project's own copy", () => own, "./graph.ts", "other"],
  ["the project's own copy, from plain JavaScript", () => own, "./graph.mjs", "other"],
  ["the CommonJS build of the project's own copy", () => own, "./graph.cjs", "other"],
] as const)("a graph on %s", (_, project, path, copy) => {
  it.each(["graph", "factory"])(
    "shares its classes with heddle, asks, and resumes from its checkpoint (%s)",
    async (name) => {
      const registry = await registryOf(project(), {
        toy: { path: `${path}:${name}`, config: { configurable: { name: "x" } } },
      });
      const kit = registry.kit("toy");
      expect(kit === hostKit).toBe(copy === "same");
      expect(kit.Command === OwnCommand).toBe(copy === "same");

      const config = { configurable: { thread_id: "t" } };
      const uses = persistence();
      const bind = () => registry.bind("toy", { config, runtime: RUNTIME, ...uses });
      const question = { messages: [new kit.messages.HumanMessage({ content: "hi", id: "1" })] };
      await drain(await (await bind()).stream(question, config));
      const paused = await (await bind()).getState(config);
      expect(paused.tasks[0]?.interrupts).toMatchObject([{ value: { question: "go on?" } }]);

      await drain(await (await bind()).stream(new kit.Command({ resume: "yes" }), config));
      const finished = await (await bind()).getState(config);
      expect(finished.next).toEqual([]);
      expect(finished.values).toMatchObject({
        notes: ["human: true", "same class: true", "answer: yes", "human after resume: true", "done"],
      });
    },
  );
});

async function drain(stream: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of stream);
}

it("an agent of `langchain` brings the copy that is packed inside that package", async () => {
  const project = await tempProject(
    {
      "agent.mjs": `import { createAgent } from "langchain";\nexport const agent = createAgent();\n`,
      "node_modules/langchain/package.json": `{ "name": "langchain", "type": "module", "main": "./index.js" }`,
      "node_modules/langchain/index.js": `${IMPORT}${GRAPH}
export { HumanMessage };
export const createAgent = () => ({ invoke() {}, stream() {}, get graph() { return graph; } });\n`,
    },
    "own",
  );
  try {
    await project.copyPackages(["@langchain/core", "@langchain/langgraph"], "node_modules/langchain/node_modules");
    const registry = await registryOf(project, { toy: { path: "./agent.mjs:agent" } });
    const kit = registry.kit("toy");
    expect(kit.Command).not.toBe(OwnCommand);
    const config = { configurable: { thread_id: "t" } };
    const graph = await registry.bind("toy", { config, runtime: RUNTIME, ...persistence() });
    await drain(await graph.stream({ messages: [new kit.messages.HumanMessage("hi")] }, config));
    expect((await graph.getState(config)).values).toMatchObject({ notes: ["human: true", "same class: true"] });
  } finally {
    await project.remove();
  }
});

it("two projects with different copies are served side by side", async () => {
  const registry = new GraphRegistry({
    baseDir: linked.folder,
    graphs: { ours: { path: "./graph.ts:graph" }, theirs: { path: `${own.folder}/graph.ts:graph` } },
  });
  await registry.load();
  expect(registry.kit("ours")).toBe(hostKit);
  expect(registry.kit("theirs").messages.HumanMessage).not.toBe(hostKit.messages.HumanMessage);
  expect(registry.file("theirs")).toBe(`${own.folder}/graph.ts`);
  expect(realpathSync(own.folder)).not.toBe(realpathSync(linked.folder));
});

describe("the registry", () => {
  it("lists what it serves, with the defaults of the system assistants", async () => {
    const registry = await registryOf(linked, {
      plain: { path: "./graph.ts:graph" },
      kept: {
        graph: replyBuilder().compile({ checkpointer: new MemorySaver(), store: new InMemoryStore() }),
        description: "Replies",
        config: { configurable: { model: "small" } },
        context: { tone: "dry" },
      },
    });
    expect(registry.graphs()).toEqual([
      {
        graphId: "plain",
        description: null,
        config: {},
        context: {},
        checkpointer: "injected",
        store: "injected",
        hasBreakpoints: false,
      },
      {
        graphId: "kept",
        description: "Replies",
        config: { configurable: { model: "small" } },
        context: { tone: "dry" },
        checkpointer: "own",
        store: "own",
        hasBreakpoints: false,
      },
    ]);
    expect([registry.has("plain"), registry.has("absent")]).toEqual([true, false]);
    expect(() => registry.kit("absent")).toThrow(`graph "absent" not found`);
  });

  it("takes ready graphs, builders and factories", async () => {
    const builder = replyBuilder();
    const registry = await registryOf(linked, {
      graph: { graph: builder.compile() },
      builder: { graph: builder },
      factory: { graph: () => builder.compile() },
    });
    for (const graphId of ["graph", "builder", "factory"]) {
      const graph = await registry.bind(graphId, { config: {}, runtime: RUNTIME, ...persistence() });
      expect(graph.lg_is_pregel).toBe(true);
      expect(registry.kit(graphId)).toBe(hostKit);
    }
  });

  it("compiles a builder once and calls a factory for every use", async () => {
    const builder = replyBuilder();
    const graph = builder.compile();
    const compile = vi.fn(() => builder.compile());
    const factory = vi.fn(() => graph);
    const registry = await registryOf(linked, { builder: { graph: { compile } }, factory: { graph: factory } });
    for (let i = 0; i < 3; i++) {
      await registry.bind("builder", { config: {}, runtime: RUNTIME, ...persistence() });
      await registry.bind("factory", { config: {}, runtime: RUNTIME, ...persistence() });
    }
    expect(compile).toHaveBeenCalledTimes(1);
    expect(factory).toHaveBeenCalledTimes(1 + 3); // once at load, to see that it gives a graph
  });

  it("passes on what a factory throws in use, as it was thrown", async () => {
    const failure = new RangeError("no such model");
    let uses = 0;
    const registry = await registryOf(linked, {
      picky: {
        graph: () => {
          if (uses++ > 0) throw failure;
          return replyBuilder();
        },
      },
    });
    await expect(registry.bind("picky", { config: {}, runtime: RUNTIME, ...persistence() })).rejects.toBe(failure);
  });

  it("does not load with a graph that is none", async () => {
    await expect(registryOf(linked, { odd: { graph: 7 } })).rejects.toThrow(
      'graph "odd" cannot be used: the export is of type number',
    );
  });
});

describe("a reload", () => {
  const files = (word: string) => ({
    "graph.ts": `import { word } from "./word.js";
import { Annotation, START, StateGraph } from "@langchain/langgraph";
export const graph = new StateGraph(Annotation.Root({ said: Annotation<string> }))
  .addNode("say", () => ({ said: word })).addEdge(START, "say").compile();\n`,
    "word.ts": `export const word = ${word};\n`,
  });

  it("serves what was saved, keeps the last good graph when it cannot, and recovers", async () => {
    const project = await tempProject(files(`"one"`));
    try {
      const registry = await registryOf(project, { toy: { path: "./graph.ts:graph" } });
      const said = async () => {
        const graph = await registry.bind("toy", { config: {}, runtime: RUNTIME, ...persistence() });
        const config = { configurable: { thread_id: "t" } };
        await drain(await graph.stream({}, config));
        return (await graph.getState(config)).values;
      };
      expect(await said()).toEqual({ said: "one" });

      await project.write(files(`"two"`));
      const inUse = await registry.bind("toy", { config: {}, runtime: RUNTIME, ...persistence() });
      await registry.reload("toy");
      expect(await said()).toEqual({ said: "two" });

      await project.write(files("oops"));
      await expect(registry.reload("toy")).rejects.toThrow("./word.ts:1:");
      expect(await said()).toEqual({ said: "two" });

      await project.write(files(`"three"`));
      await registry.reload("toy");
      expect(await said()).toEqual({ said: "three" });

      const config = { configurable: { thread_id: "t" } };
      await drain(await inUse.stream({}, config));
      expect((await inUse.getState(config)).values).toEqual({ said: "one" });
    } finally {
      await project.remove();
    }
  });

  it("of an unknown graph is refused", async () => {
    const registry = await registryOf(linked, { toy: { path: "./graph.ts:graph" } });
    await expect(registry.reload("absent")).rejects.toThrow(`graph "absent" not found`);
  });
});
