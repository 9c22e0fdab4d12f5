import { Annotation, END, START, StateGraph } from "@langchain/langgraph";
import { type BaseCheckpointSaver, emptyCheckpoint, uuid6 } from "@langchain/langgraph-checkpoint";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { hostKit } from "../../src/core/kit.js";
import type { Checkpoints } from "../../src/storage/ports/checkpoints.js";
import { CHECKPOINT_DRIVERS, type OpenedCheckpoints } from "../support/checkpoint-drivers.js";
import { sequence, THREAD } from "../support/checkpoint-graphs.js";
import { collect, runOf } from "../support/checkpoint-rows.js";

for (const driver of CHECKPOINT_DRIVERS) {
  describe.skipIf(driver.missing !== undefined)(`on ${driver.name}`, () => {
    let opened: OpenedCheckpoints;
    let checkpoints: Checkpoints;

    beforeEach(async () => {
      opened = await driver.open();
      checkpoints = opened.checkpoints;
    });

    afterEach(async () => {
      await opened.close();
    });

    const dump = () => opened.dump();

    describe("channel values", () => {
      const State = Annotation.Root({ document: Annotation<string>(), step: Annotation<number>() });
      const counter = (checkpointer: BaseCheckpointSaver) =>
        new StateGraph(State)
          .addNode("count", (state) => ({ step: (state.step ?? 0) + 1 }))
          .addEdge(START, "count")
          .addConditionalEdges("count", (state) => (state.step < 10 ? "count" : END))
          .compile({ checkpointer });

      it("are stored once however many steps leave them as they are", async () => {
        const document = "x".repeat(10_000);
        await counter(runOf(checkpoints, "r1").saver).invoke({ document }, THREAD);
        expect((await dump()).values.filter((row) => row.channel === "document")).toHaveLength(1);
        expect((await dump()).checkpoints.length).toBeGreaterThan(10);
        for await (const state of counter(checkpoints.saver(hostKit)).getStateHistory(THREAD)) {
          if (state.metadata?.step !== -1) expect(state.values.document).toBe(document);
        }
      });

      it("belong to their branch although branches count the same versions", async () => {
        const long = (text: string) => text.repeat(1_000);
        const graph = (checkpointer: BaseCheckpointSaver) => sequence(checkpointer);
        await graph(runOf(checkpoints, "r1").saver).invoke({ log: [long("in")] }, THREAD);
        const fork = (await collect(graph(checkpoints.saver(hostKit)).getStateHistory(THREAD))).at(-2);
        if (fork === undefined) throw new Error("the history is too short");
        const left = await graph(checkpoints.saver(hostKit)).updateState(fork.config, { log: [long("left")] }, START);
        const right = await graph(checkpoints.saver(hostKit)).updateState(fork.config, { log: [long("right")] }, START);
        for (const [config, text] of [
          [left, "left"],
          [right, "right"],
        ] as const) {
          const { values } = await graph(checkpoints.saver(hostKit)).getState(config);
          expect(values.log.at(-1)).toBe(long(text));
        }
      });

      it("of a copied checkpoint are those of the original", async () => {
        const saver = checkpoints.saver(hostKit);
        await sequence(runOf(checkpoints, "r1").saver).invoke({ log: ["in".repeat(1_000)] }, THREAD);
        const history = await collect(sequence(saver).getStateHistory(THREAD));
        for (const state of history) {
          const copy = await sequence(saver).updateState(state.config, null, "__copy__");
          expect((await sequence(saver).getState(copy)).values).toEqual(state.values);
        }
      });

      it("that a state update took from finished tasks are kept, although their versions stay", async () => {
        const State = Annotation.Root({ x: Annotation<string>(), y: Annotation<string>() });
        const graph = (checkpointer: BaseCheckpointSaver) =>
          new StateGraph(State)
            .addNode("writeX", async () => {
              throw new Error("not yet");
            })
            .addNode("writeY", () => ({ y: "new ".repeat(1_000) }))
            .addEdge(START, "writeX")
            .addEdge(START, "writeY")
            .compile({ checkpointer });
        const run = graph(runOf(checkpoints, "r1").saver).invoke({ x: "old", y: "old ".repeat(1_000) }, THREAD);
        await expect(run).rejects.toThrow("not yet");
        await graph(checkpoints.saver(hostKit)).updateState(THREAD, { x: "edited" }, "writeX");
        const { values } = await graph(checkpoints.saver(hostKit)).getState(THREAD);
        expect(values).toEqual({ x: "edited", y: "new ".repeat(1_000) });
      });
    });

    describe("listing checkpoints", () => {
      const metadata = [
        { 'quo"ted': 1, "a.b": "dot", $: null },
        { a: { b: "dot" }, nested: { x: [1, { y: 2 }], z: "é" } },
        { "a.b": "other", "'; DROP TABLE checkpoints; --": true },
      ];

      beforeEach(async () => {
        const { saver } = runOf(checkpoints, "r1");
        let config: Awaited<ReturnType<typeof saver.put>> = THREAD;
        for (const [step, extra] of metadata.entries()) {
          const checkpoint = { ...emptyCheckpoint(), id: uuid6(step) };
          config = await saver.put(config, checkpoint, { source: "loop", step, parents: {}, ...extra }, {});
        }
      });

      async function steps(filter?: Record<string, unknown>, options: { limit?: number } = {}) {
        const found = await collect(checkpoints.saver(hostKit).list(THREAD, { ...options, ...(filter && { filter }) }));
        return found.map((tuple) => tuple.metadata?.step);
      }

      it("shows the newest first, up to the limit", async () => {
        expect(await steps()).toEqual([2, 1, 0]);
        expect(await steps({}, { limit: 2 })).toEqual([2, 1]);
        expect(await steps({}, { limit: 0 })).toEqual([]);
      });

      it("filters by exact keys, whatever characters they have", async () => {
        expect(await steps({ 'quo"ted': 1 })).toEqual([0]);
        expect(await steps({ "a.b": "dot" })).toEqual([0]);
        expect(await steps({ $: null })).toEqual([0]);
        expect(await steps({ "'; DROP TABLE checkpoints; --": true })).toEqual([2]);
        expect(await steps({ missing: null })).toEqual([]);
        expect(await steps({ step: "1" })).toEqual([]);
        expect(await steps({ __proto__: undefined, toString: "x" })).toEqual([]);
      });

      it("compares nested values as JSON, not by the order of their keys", async () => {
        expect(await steps({ nested: { z: "é", x: [1, { y: 2 }] } })).toEqual([1]);
        expect(await steps({ nested: { z: "é" } })).toEqual([]);
      });

      it("goes on before a checkpoint, and applies the limit after the filter", async () => {
        const [newest] = await collect(checkpoints.saver(hostKit).list(THREAD, { limit: 1 }));
        if (newest === undefined) throw new Error("nothing was listed");
        const older = await collect(checkpoints.saver(hostKit).list(THREAD, { before: newest.config, limit: 1 }));
        expect(older.map((tuple) => tuple.metadata?.step)).toEqual([1]);
        expect(await steps({ 'quo"ted': 1 }, { limit: 1 })).toEqual([0]);
      });
    });
  });
}
