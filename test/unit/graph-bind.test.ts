/** Every use of a graph gets its own binding, and the registered graph stays as it was. */
import {
  Annotation,
  CompiledStateGraph,
  entrypoint,
  InMemoryStore,
  interrupt,
  MemorySaver,
  START,
  StateGraph,
} from "@langchain/langgraph";
import { Pregel } from "@langchain/langgraph/pregel";
import { describe, expect, it } from "vitest";
import { bindGraph, type CompiledGraph, hasOwnCheckpointer, hasOwnStore } from "../../src/graphs/compiled-graph.js";

const State = Annotation.Root({ log: Annotation<string[]>({ reducer: (a, b) => a.concat(b), default: () => [] }) });

function builder() {
  return new StateGraph(State)
    .addNode("first", () => ({ log: ["first"] }))
    .addNode("second", () => ({ log: ["second"] }))
    .addEdge(START, "first")
    .addEdge("first", "second");
}

const GRAPHS: { readonly [kind: string]: () => unknown } = {
  "a StateGraph": () => builder().compile({ name: "toy", description: "a toy" }),
  "a StateGraph with its own configuration": () =>
    builder()
      .compile()
      .withConfig({ recursionLimit: 7, tags: ["own"] }),
  "a functional entrypoint": () => entrypoint("main", async (log: string[]) => [...log, "done"]),
  "a subclass": () => {
    class Counted extends CompiledStateGraph<unknown, unknown> {
      readonly #secret = "kept";
      secret() {
        return this.#secret;
      }
    }
    const fields = { ...(builder().compile() as object) };
    return new Counted(fields as ConstructorParameters<typeof Counted>[0]);
  },
};

const persistence = () => ({ checkpointer: new MemorySaver(), store: new InMemoryStore() });

/** Everything that a binding could change in the original, down to its shared tables. */
function picture(graph: CompiledGraph) {
  const { channels, triggerToNodes, ...fields } = graph as CompiledGraph & Record<string, unknown>;
  return { fields: { ...fields }, channels: { ...channels }, triggers: structuredClone(triggerToNodes) };
}

describe.each(Object.entries(GRAPHS))("binding %s", (_, make) => {
  it("changes nothing in the registered graph, however often it is bound", () => {
    const graph = make() as CompiledGraph;
    const before = picture(graph);
    Object.freeze(graph);
    Object.freeze(graph.channels);
    for (const nodes of Object.values(graph.triggerToNodes ?? {})) Object.freeze(nodes);
    Object.freeze(graph.triggerToNodes);
    for (let i = 0; i < 3; i++) bindGraph(graph, persistence());
    const after = picture(graph);
    expect(after.triggers).toEqual(before.triggers);
    for (const [key, value] of Object.entries(before.fields)) expect(after.fields[key]).toBe(value);
    for (const [key, value] of Object.entries(before.channels)) expect(after.channels[key]).toBe(value);
  });

  it("keeps everything but the persistence", () => {
    const graph = make() as CompiledGraph & Record<string, unknown>;
    const bound = bindGraph(graph, persistence()) as CompiledGraph & Record<string, unknown>;
    expect(bound).toBeInstanceOf(Pregel);
    expect(bound.constructor).toBe(graph.constructor);
    expect(Object.keys(bound).sort()).toEqual(Object.keys(graph).sort());
    expect(bound.triggerToNodes).toEqual(graph.triggerToNodes);
    for (const key of ["nodes", "builder", "config", "name", "description", "streamMode", "streamChannels"]) {
      expect(bound[key]).toEqual(graph[key]);
    }
  });

  it("runs with its own saver, apart from a binding that runs at the same time", async () => {
    const graph = make() as CompiledGraph;
    const input = graph.builder === undefined ? ["in"] : { log: ["in"] };
    const uses = [persistence(), persistence()];
    const config = { configurable: { thread_id: "t" } };
    await Promise.all(uses.map(async (use) => drain(await bindGraph(graph, use).stream(input, config))));
    for (const [index, use] of uses.entries()) {
      const other = uses[1 - index]?.checkpointer;
      const mine = (await use.checkpointer.getTuple(config))?.checkpoint.id;
      expect(mine).toBeDefined();
      expect(mine).not.toBe((await other?.getTuple(config))?.checkpoint.id);
    }
  });
});

async function drain(stream: AsyncIterable<unknown>): Promise<unknown[]> {
  const chunks: unknown[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return chunks;
}

it("private members and methods of a subclass work on its binding", () => {
  const bound = bindGraph(GRAPHS["a subclass"]?.() as CompiledGraph, persistence());
  expect((bound as unknown as { secret(): string }).secret()).toBe("kept");
});

it("a binding of a graph with private methods can stream them (v3 events)", async () => {
  const bound = bindGraph(builder().compile() as unknown as CompiledGraph, persistence());
  const run = (await (bound as unknown as Pregel<never, never>).streamEvents({ log: [] } as never, {
    version: "v3",
    configurable: { thread_id: "t" },
  })) as unknown as { readonly output: Promise<unknown> };
  expect(await run.output).toEqual({ log: ["first", "second"] });
});

describe("what a graph was compiled with", () => {
  const compiled = (options: object) => builder().compile(options) as unknown as CompiledGraph;

  it("its own saver and store are kept", () => {
    const own = persistence();
    const bound = bindGraph(compiled(own), persistence());
    expect(bound.checkpointer).toBe(own.checkpointer);
    expect(bound.store).toBe(own.store);
  });

  it("a graph without a saver, or with `true`, gets heddle's", () => {
    const ours = persistence();
    expect(bindGraph(compiled({}), ours).checkpointer).toBe(ours.checkpointer);
    expect(bindGraph(compiled({ checkpointer: true }), ours).checkpointer).toBe(ours.checkpointer);
    expect(bindGraph(compiled({}), ours).store).toBe(ours.store);
  });

  it("a graph that wants no saver gets none", () => {
    expect(bindGraph(compiled({ checkpointer: false }), persistence()).checkpointer).toBe(false);
  });

  it("is told apart", () => {
    expect(
      [{}, { checkpointer: true }, { checkpointer: false }, persistence()].map(compiled).map(hasOwnCheckpointer),
    ).toEqual([false, false, true, true]);
    expect([compiled({}), compiled(persistence())].map(hasOwnStore)).toEqual([false, true]);
  });
});

it("a subgraph compiled with `true` still keeps its own state under a binding", async () => {
  const child = new StateGraph(State)
    .addNode("ask", () => ({ log: [String(interrupt("well?"))] }))
    .addEdge(START, "ask")
    .compile({ checkpointer: true });
  const parent = new StateGraph(State).addNode("child", child).addEdge(START, "child").compile();
  const bound = bindGraph(parent as unknown as CompiledGraph, persistence());
  const config = { configurable: { thread_id: "t" } };
  await drain(await bound.stream({ log: [] }, config));
  const state = await bound.getState(config, { subgraphs: true });
  expect(state.tasks[0]?.interrupts).toMatchObject([{ value: "well?" }]);
});

describe("the store of a binding", () => {
  it("reaches nodes as it is, not wrapped into one that polls", async () => {
    const seen: unknown[] = [];
    const graph = new StateGraph(State)
      .addNode("look", (_state, config) => {
        seen.push(config.store);
        return { log: [] };
      })
      .addEdge(START, "look")
      .compile() as unknown as CompiledGraph;
    const store = new InMemoryStore();
    const bound = bindGraph(graph, { checkpointer: new MemorySaver(), store });
    const options = { configurable: { thread_id: "t" }, streamMode: ["values"] };
    for await (const _chunk of await bound.stream({ log: ["a"] }, options)) void _chunk;
    expect(seen).toHaveLength(1);
    expect(seen[0]).toBe(store);
  });
});
