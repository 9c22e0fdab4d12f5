/** What a graph host reads for one page of a thread's history. */
import { Annotation, END, START, StateGraph } from "@langchain/langgraph";
import { InMemoryStore } from "@langchain/langgraph-checkpoint";
import { expect, it, onTestFinished } from "vitest";
import { systemClock } from "../../src/core/clock.js";
import { silentLog } from "../../src/core/log.js";
import { createBlame } from "../../src/graphs/blame.js";
import { createInlineHost } from "../../src/graphs/inline-host.js";
import { GraphRegistry } from "../../src/graphs/registry.js";
import { openCheckpoints } from "../../src/storage/checkpoints.js";
import type { Checkpoints } from "../../src/storage/ports/checkpoints.js";

const State = Annotation.Root({ text: Annotation<string>() });
const graph = new StateGraph(State)
  .addNode("node", () => ({}))
  .addEdge(START, "node")
  .addEdge("node", END)
  .compile();

/** A host whose thread has as many states as texts, and the ids of the checkpoints that are loaded from now on. */
async function openHistory(texts: readonly string[]) {
  const checkpoints = openCheckpoints(":memory:");
  onTestFinished(() => checkpoints.close());
  const loaded: string[] = [];
  const watched: Pick<Checkpoints, "forRun" | "saver"> = {
    forRun: checkpoints.forRun,
    saver(kit) {
      const saver = checkpoints.saver(kit);
      const list = saver.list.bind(saver);
      saver.list = async function* (...args) {
        for await (const tuple of list(...args)) {
          loaded.push(tuple.checkpoint.id);
          yield tuple;
        }
      };
      return saver;
    },
  };
  const registry = new GraphRegistry({ graphs: { g: { graph } }, baseDir: import.meta.dirname });
  await registry.load();
  const deps = {
    registry,
    checkpoints: watched,
    store: new InMemoryStore(),
    blame: createBlame(),
    answerMs: 30_000,
    embed: null,
  };
  const host = createInlineHost({ ...deps, clock: systemClock, log: silentLog });
  const ref = { graphId: "g", threadId: "t1", checkpoint: null, config: {} };
  for (const text of texts) await host.updateState(ref, [[{ values: { text }, asNode: "node" }]]);
  loaded.length = 0;
  const page = (maxBytes: number, before: string | null = null) =>
    host.getHistory(ref, { limit: 100, before, metadata: {}, maxBytes });
  return { page, loaded };
}

const LARGE = "x".repeat(10_000);
const textsOf = ({ states }: { readonly states: readonly { readonly values: unknown }[] }) =>
  states.map(({ values }) => (values as { readonly text: string }).text.at(-1));

it("a page whose bytes are used ends there, and no state is read but the one that did not fit", async () => {
  const { page, loaded } = await openHistory(["1", "2", "3", "4", "5"].map((name) => LARGE + name));
  const first = await page(25_000);
  expect(textsOf(first)).toEqual(["5", "4"]);
  expect(loaded).toHaveLength(3);
  const second = await page(25_000, first.next);
  expect(textsOf(second)).toEqual(["3", "2"]);
  const third = await page(25_000, second.next);
  expect([textsOf(third), third.next]).toEqual([["1"], null]);
});

it("a state that is larger than a page is a page", async () => {
  const { page } = await openHistory([`${LARGE}1`, `${LARGE}2`]);
  const first = await page(1);
  expect(textsOf(first)).toEqual(["2"]);
  expect(textsOf(await page(1, first.next))).toEqual(["1"]);
});
