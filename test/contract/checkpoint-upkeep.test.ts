import { Annotation, Command, END, START, StateGraph } from "@langchain/langgraph";
import type { BaseCheckpointSaver } from "@langchain/langgraph-checkpoint";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { hostKit } from "../../src/core/kit.js";
import { NULL_TASK } from "../../src/storage/checkpoint-rows.js";
import type { Checkpoints } from "../../src/storage/ports/checkpoints.js";
import { CHECKPOINT_DRIVERS, type OpenedCheckpoints } from "../support/checkpoint-drivers.js";
import {
  type BuildGraph,
  deltaLog,
  parallel,
  parallelQuestions,
  sequence,
  THREAD,
  twoApprovals,
  twoQuestions,
  withSubgraph,
} from "../support/checkpoint-graphs.js";
import { claimOf, collect, logOf, NOBODY, runOf } from "../support/checkpoint-rows.js";

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

    const INPUT = { log: ["in"] };

    describe("taking a run back", () => {
      const graphs: Record<string, BuildGraph> = {
        sequence,
        twoApprovals,
        twoQuestions,
        parallel,
        parallelQuestions,
        withSubgraph,
      };
      for (const durability of ["sync", "async", "exit"] as const) {
        for (const [name, graph] of Object.entries(graphs)) {
          it(`leaves the rows as they were: ${name}, durability ${durability}`, async () => {
            const config = { ...THREAD, durability };
            const first = graph(runOf(checkpoints, "r1").saver);
            await first.invoke(INPUT, config);
            const waiting = (await first.getState(THREAD)).tasks.flatMap((task) => task.interrupts);
            expect(waiting.length > 0).toBe(graph !== sequence);
            const before = await dump();
            const answers = Object.fromEntries(waiting.slice(0, 1).map(({ id }) => [id, "yes"]));
            const second = graph(runOf(checkpoints, "r2").saver);
            if (waiting.length > 0) await second.invoke(new Command({ resume: answers }), config);
            else await second.invoke({ log: ["more"] }, config);
            expect(await dump()).not.toEqual(before);
            await checkpoints.deleteRun(claimOf("r2"));
            expect(await dump()).toEqual(before);
          });
        }
      }

      it("brings back the question that it had answered", async () => {
        await twoQuestions(runOf(checkpoints, "r1").saver).invoke(INPUT, THREAD);
        await twoQuestions(runOf(checkpoints, "r2").saver).invoke(new Command({ resume: "wrong" }), THREAD);
        await checkpoints.deleteRun(claimOf("r2"));
        const third = runOf(checkpoints, "r3");
        await twoQuestions(third.saver).invoke(new Command({ resume: "right" }), THREAD);
        await twoQuestions(third.saver).invoke(new Command({ resume: "end" }), THREAD);
        expect(await logOf(third.saver)).toEqual(["in", "right/end"]);
      });

      it("touches no other thread and nothing that was written outside of runs", async () => {
        await sequence(runOf(checkpoints, "r1").saver).invoke(INPUT, THREAD);
        await sequence(runOf(checkpoints, "r1", "other").saver).invoke(INPUT, { configurable: { thread_id: "other" } });
        await sequence(checkpoints.saver(hostKit)).updateState(THREAD, { log: ["edited"] }, "b");
        await checkpoints.deleteRun(claimOf("r1"));
        expect(await logOf(checkpoints.saver(hostKit))).toEqual(["in", "a", "b", "edited"]);
        expect((await checkpoints.leftBy("other", "r1")).checkpoint).toBe(true);
        await checkpoints.deleteRun(claimOf(""));
        expect(await logOf(checkpoints.saver(hostKit))).toEqual(["in", "a", "b", "edited"]);
      });
    });

    it("knows whether the head was written outside of runs", async () => {
      expect(await checkpoints.isHeadOutsideRuns("thread")).toBe(false);
      await withSubgraph(runOf(checkpoints, "r1").saver).invoke(INPUT, THREAD);
      expect(await checkpoints.isHeadOutsideRuns("thread")).toBe(false);
      await withSubgraph(checkpoints.saver(hostKit)).updateState(THREAD, { log: ["edited"] });
      expect(await checkpoints.isHeadOutsideRuns("thread")).toBe(true);
      await withSubgraph(runOf(checkpoints, "r2").saver).invoke(INPUT, THREAD);
      expect(await checkpoints.isHeadOutsideRuns("thread")).toBe(false);
    });

    describe("copying, pruning and deleting threads", () => {
      const COPY = { configurable: { thread_id: "copy" } };

      it("gives a copy the whole history, from which both go on apart", async () => {
        const long = { log: ["long ".repeat(1_000)] };
        await withSubgraph(runOf(checkpoints, "r1").saver).invoke(long, THREAD);
        await checkpoints.copyThread({ from: "thread", to: "copy", hold: NOBODY, preparedBy: "nobody" });
        const graph = withSubgraph(checkpoints.saver(hostKit));
        const ids = async (config: typeof THREAD) =>
          (await collect(graph.getStateHistory(config))).map((state) => [
            state.config.configurable?.checkpoint_id,
            state.values,
          ]);
        expect(await ids(COPY)).toEqual(await ids(THREAD));

        await withSubgraph(runOf(checkpoints, "r2", "copy").saver).invoke(new Command({ resume: "yes" }), COPY);
        await checkpoints.deleteThread("thread");
        const { values, tasks } = await graph.getState(COPY);
        expect(values.log.slice(-1)).toEqual(["inner question=yes"]);
        expect(tasks[0]?.interrupts[0]?.value).toBe("outer question");
        expect((await dump()).checkpoints.every((row) => row.thread_id === "copy")).toBe(true);
      });

      it("leaves nothing of a deleted thread", async () => {
        await withSubgraph(runOf(checkpoints, "r1").saver).invoke({ log: ["long ".repeat(1_000)] }, THREAD);
        await checkpoints.saver(hostKit).deleteThread("thread");
        expect(await dump()).toEqual({ checkpoints: [], values: [], writes: [] });
      });

      it("prunes to a head that can be shown and resumed", async () => {
        const graph = (runId: string) => withSubgraph(runOf(checkpoints, runId).saver);
        await graph("r1").invoke({ log: ["long ".repeat(1_000)] }, THREAD);
        const before = await graph("r").getState(THREAD, { subgraphs: true });
        await checkpoints.pruneToLatest("thread", NOBODY);
        const after = await graph("r").getState(THREAD, { subgraphs: true });
        expect(after.values).toEqual(before.values);
        expect(after.tasks[0]?.interrupts).toEqual(before.tasks[0]?.interrupts);
        expect(after.parentConfig).toBeUndefined();
        expect((await dump()).checkpoints).toHaveLength(2);

        await graph("r2").invoke(new Command({ resume: "yes" }), THREAD);
        await graph("r3").invoke(new Command({ resume: "no" }), THREAD);
        await checkpoints.pruneToLatest("thread", NOBODY);
        expect((await graph("r").getState(THREAD)).values.log.slice(-2)).toEqual([
          "inner question=yes",
          "outer question=no",
        ]);
        expect((await dump()).checkpoints).toHaveLength(1);
        expect((await dump()).values).toHaveLength(1);
        expect((await dump()).writes).toHaveLength(0);
      });

      it("prunes the long value of a channel that is short now", async () => {
        const State = Annotation.Root({ text: Annotation<string>() });
        const graph = (checkpointer: BaseCheckpointSaver) =>
          new StateGraph(State)
            .addNode("shorten", () => ({ text: "short" }))
            .addEdge(START, "shorten")
            .addEdge("shorten", END)
            .compile({ checkpointer });
        await graph(runOf(checkpoints, "r1").saver).invoke({ text: "long ".repeat(1_000) }, THREAD);
        expect((await dump()).values.length).toBeGreaterThan(0);
        await checkpoints.pruneToLatest("thread", NOBODY);
        expect((await dump()).values).toEqual([]);
        expect((await graph(checkpoints.saver(hostKit)).getState(THREAD)).values).toEqual({ text: "short" });
      });

      it("prunes no ancestor that a delta channel is made from", async () => {
        for (let run = 0; run < 9; run++)
          await deltaLog(runOf(checkpoints, `r${run}`).saver).invoke({ log: [`in ${run}`] }, THREAD);
        const graph = deltaLog(checkpoints.saver(hostKit));
        const { values } = await graph.getState(THREAD);
        expect(values.log).toHaveLength(18);
        const rows = (await dump()).checkpoints.length;
        await checkpoints.pruneToLatest("thread", NOBODY);
        expect((await dump()).checkpoints.length).toBeLessThan(rows);
        expect((await graph.getState(THREAD)).values).toEqual(values);
      });
    });

    it("of commands that found the same checkpoint the newest counts, until it is taken back", async () => {
      await twoApprovals(runOf(checkpoints, "r1").saver).invoke(INPUT, THREAD);
      const { config = {} } = (await checkpoints.saver(hostKit).getTuple(THREAD)) ?? {};
      const left = async () =>
        (await checkpoints.saver(hostKit).getTuple(config))?.pendingWrites
          ?.filter(([task]) => task === NULL_TASK)
          .map(([, channel, value]) => [channel, value]);

      const earlier = [
        ["log", ["one"]],
        ["turn", 1],
      ] satisfies [string, unknown][];
      await runOf(checkpoints, "r2").saver.putWrites(config, earlier, NULL_TASK);
      await runOf(checkpoints, "r3").saver.putWrites(config, [["log", ["two"]]], NULL_TASK);

      expect(await left()).toEqual([["log", ["two"]]]);
      await checkpoints.deleteRun(claimOf("r3"));
      expect(await left()).toEqual(earlier);
    });
  });
}
