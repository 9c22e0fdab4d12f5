/** Graphs that do to their thread what graphs should not, once their test says so. */
import { Annotation, type LangGraphRunnableConfig, START, StateGraph } from "@langchain/langgraph";
import { passGate } from "./gates.js";

const State = Annotation.Root({
  /** Waited for before anything else. */
  gate: Annotation<string>,
  deed: Annotation<string>,
  log: Annotation<string[]>({ reducer: (a, b) => [...a, ...b], default: () => [] }),
});

const DEEDS: Readonly<Record<string, (config: LangGraphRunnableConfig) => unknown>> = {
  nothing: () => undefined,
  "loop for ever": () => {
    for (;;);
  },
  "match for ever": () => /^(a+)+$/.test(`${"a".repeat(60)}b`),
  exit: () => process.exit(3),
  "fill the memory": () => {
    const kept: unknown[] = [];
    for (;;) kept.push(new Array(10_000).fill(kept.length));
  },
  "throw late": () => new Promise(() => setTimeout(() => Promise.reject(new RangeError("nobody awaits me")), 5)),
  "throw in a timer": () =>
    new Promise(() =>
      setTimeout(() => {
        throw new RangeError("nobody catches me");
      }, 5),
    ),
  flood: async ({ writer }) => {
    for (let index = 0; index < 5_000; index++) {
      writer?.(`${index} ${"x".repeat(2_000)}`);
      if (index % 500 === 0) await new Promise(setImmediate);
    }
  },
  remember: async ({ store }) => {
    await store?.put(["thread"], "key", { value: 1 });
    return (await store?.get(["thread"], "key"))?.value;
  },
  "change directory": () => process.chdir("/"),
};

export const deeds = new StateGraph(State)
  .addNode("first", () => ({ log: ["first"] }))
  .addNode("second", async ({ gate, deed }, config) => {
    await passGate(gate, config.signal);
    const done = await DEEDS[deed ?? "nothing"]?.(config);
    return { log: [done === undefined ? "second" : JSON.stringify(done)] };
  })
  .addEdge(START, "first")
  .addEdge("first", "second")
  .compile();

/** A factory that never comes back when its configuration says so. */
export function endlessFactory({ configurable }: LangGraphRunnableConfig): typeof deeds {
  if (configurable?.endless === true) for (;;);
  return deeds;
}
