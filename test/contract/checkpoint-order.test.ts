/** The order of checkpoints is the order in which they were written; their ids are made of what the clock says. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Command } from "@langchain/langgraph";
import { emptyCheckpoint, uuid6 } from "@langchain/langgraph-checkpoint";
import type { SqliteSaver } from "@langchain/langgraph-checkpoint-sqlite";
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from "vitest";
import { hostKit } from "../../src/core/kit.js";
import { openCheckpoints } from "../../src/storage/checkpoints.js";
import type { Checkpoints } from "../../src/storage/ports/checkpoints.js";
import { openSqlite } from "../../src/storage/sqlite.js";
import { CHECKPOINT_DRIVERS, type OpenedCheckpoints } from "../support/checkpoint-drivers.js";
import { sequence, THREAD, twoApprovals, withSubgraph } from "../support/checkpoint-graphs.js";
import { claimOf, collect, logOf, NOBODY, runOf } from "../support/checkpoint-rows.js";

const HOUR_MS = 3_600_000;
const realNow = Date.now;
const COPY = { configurable: { thread_id: "copy" } };
const INPUT = { log: ["in"] };

for (const driver of CHECKPOINT_DRIVERS) {
  describe.skipIf(driver.missing !== undefined)(`on ${driver.name}`, () => {
    /** For promises about its files and plans. */
    function onSqlite(name: string, test: () => Promise<void>): void {
      if (driver.name === "SQLite") it(name, test);
    }

    let opened: OpenedCheckpoints;
    let checkpoints: Checkpoints;

    beforeEach(async () => {
      opened = await driver.open();
      checkpoints = opened.checkpoints;
    });

    afterEach(async () => {
      vi.restoreAllMocks();
      await opened.close();
    });

    const dump = () => opened.dump();

    /** From now on the clock shows what it would show so much later. */
    function setClock(offsetMs: number): void {
      vi.spyOn(Date, "now").mockImplementation(() => realNow() + offsetMs);
    }

    async function history(config: typeof THREAD = THREAD, options = {}): Promise<readonly string[]> {
      const found = await collect(checkpoints.saver(hostKit).list(config, options));
      return found.map((tuple) => tuple.checkpoint.id);
    }

    describe("after the clock was set back", () => {
      it("a thread goes on from what was written last", async () => {
        await sequence(runOf(checkpoints, "r1").saver).invoke(INPUT, THREAD);
        setClock(-2 * HOUR_MS);
        await sequence(runOf(checkpoints, "r2").saver).invoke({ log: ["second"] }, THREAD);
        await sequence(runOf(checkpoints, "r3").saver).invoke({ log: ["third"] }, THREAD);
        expect(await logOf(checkpoints.saver(hostKit))).toEqual([
          "in",
          "a",
          "b",
          "second",
          "a",
          "b",
          "third",
          "a",
          "b",
        ]);
      });

      it("a history is newest first, and goes on where a page ended", async () => {
        const written: string[] = [];
        for (const offsetMs of [0, -2 * HOUR_MS, -HOUR_MS]) {
          setClock(offsetMs);
          await sequence(runOf(checkpoints, `r${offsetMs}`).saver).invoke(INPUT, THREAD);
          for (const id of (await history()).toReversed()) if (!written.includes(id)) written.push(id);
        }
        const newestFirst = written.toReversed();
        expect(newestFirst.toSorted().toReversed()).not.toEqual(newestFirst);
        const graph = sequence(checkpoints.saver(hostKit));
        const seen: string[] = [];
        for (;;) {
          const last = seen.at(-1);
          const before = last === undefined ? {} : { before: { configurable: { checkpoint_id: last } } };
          const page = await collect(graph.getStateHistory(THREAD, { limit: 4, ...before }));
          if (page.length === 0) break;
          seen.push(...page.map(({ config }) => String(config.configurable?.checkpoint_id)));
        }
        expect(seen).toEqual(newestFirst);
      });

      it("the questions of a subgraph are the ones that were asked last", async () => {
        await withSubgraph(runOf(checkpoints, "r1").saver).invoke(INPUT, THREAD);
        setClock(-2 * HOUR_MS);
        await withSubgraph(runOf(checkpoints, "r2").saver).invoke(new Command({ resume: "yes" }), THREAD);
        const { tasks } = await withSubgraph(checkpoints.saver(hostKit)).getState(THREAD, { subgraphs: true });
        expect(tasks.flatMap((task) => task.interrupts).map(({ value }) => value)).toEqual(["outer question"]);
      });

      it("it is known whether the head was written outside of runs", async () => {
        await sequence(runOf(checkpoints, "r1").saver).invoke(INPUT, THREAD);
        setClock(-2 * HOUR_MS);
        await sequence(checkpoints.saver(hostKit)).updateState(THREAD, { log: ["edited"] }, "b");
        expect(await checkpoints.isHeadOutsideRuns("thread")).toBe(true);
      });

      it("a run that is taken back leaves the thread at what was written before it", async () => {
        await sequence(runOf(checkpoints, "r1").saver).invoke(INPUT, THREAD);
        setClock(-2 * HOUR_MS);
        await sequence(runOf(checkpoints, "r2").saver).invoke({ log: ["second"] }, THREAD);
        setClock(-4 * HOUR_MS);
        await sequence(runOf(checkpoints, "r3").saver).invoke({ log: ["third"] }, THREAD);
        await checkpoints.deleteRun(claimOf("r3"));
        expect(await logOf(checkpoints.saver(hostKit))).toEqual(["in", "a", "b", "second", "a", "b"]);
      });

      it("pruning keeps what was written last", async () => {
        await withSubgraph(runOf(checkpoints, "r1").saver).invoke(INPUT, THREAD);
        setClock(-2 * HOUR_MS);
        await withSubgraph(runOf(checkpoints, "r2").saver).invoke({ log: ["again"] }, THREAD);
        const graph = withSubgraph(checkpoints.saver(hostKit));
        const before = await graph.getState(THREAD, { subgraphs: true });
        await checkpoints.pruneToLatest("thread", NOBODY);
        const after = await graph.getState(THREAD, { subgraphs: true });
        expect([after.values, after.tasks[0]?.interrupts]).toEqual([before.values, before.tasks[0]?.interrupts]);
        expect((await dump()).checkpoints).toHaveLength(2);
      });

      it("a copy has the order of its source", async () => {
        await sequence(runOf(checkpoints, "r1").saver).invoke(INPUT, THREAD);
        setClock(-2 * HOUR_MS);
        await sequence(runOf(checkpoints, "r2").saver).invoke({ log: ["second"] }, THREAD);
        await checkpoints.copyThread({ from: "thread", to: "copy", hold: NOBODY, preparedBy: "nobody" });
        expect(await history(COPY)).toEqual(await history());
      });

      it("the step back of a recovery takes the checkpoint that was written last", async () => {
        await twoApprovals(runOf(checkpoints, "r1").saver).invoke(INPUT, THREAD);
        setClock(-2 * HOUR_MS);
        const graph = twoApprovals(runOf(checkpoints, "r2").saver);
        await graph.invoke({ log: ["again"] }, { ...THREAD, interruptBefore: ["first"] });
        const [, ...older] = await history();
        await checkpoints.stepBack(claimOf("r2"), { root: true });
        expect(await history()).toEqual(older);
      });
    });

    it("a checkpoint that is put again keeps its place", async () => {
      const { saver } = runOf(checkpoints, "r1");
      const first = { ...emptyCheckpoint(), id: uuid6(1) };
      const second = { ...emptyCheckpoint(), id: uuid6(2) };
      const metadata = { source: "loop", step: 0, parents: {} } as const;
      for (const checkpoint of [first, second, first]) await saver.put(THREAD, checkpoint, metadata, {});
      expect(await history()).toEqual([second.id, first.id]);
    });

    it("a page that ended at a checkpoint which is gone is followed by older ones", async () => {
      const { saver } = runOf(checkpoints, "r1");
      const ids = [uuid6(1), uuid6(2), uuid6(3), uuid6(4)];
      for (const [step, id] of ids.entries()) {
        if (step !== 2)
          await saver.put(THREAD, { ...emptyCheckpoint(), id }, { source: "loop", step, parents: {} }, {});
      }
      const before = { configurable: { checkpoint_id: ids[2] } };
      expect(await history(THREAD, { before })).toEqual([ids[1], ids[0]]);
    });

    onSqlite("a file of an earlier heddle shows what was written last", async () => {
      const folder = mkdtempSync(join(tmpdir(), "heddle-checkpoints-"));
      onTestFinished(() => rmSync(folder, { recursive: true }));
      const file = join(folder, "checkpoints.db");
      const before = openCheckpoints(file);
      await sequence(runOf(before, "r1").saver).invoke(INPUT, THREAD);
      setClock(-2 * HOUR_MS);
      await sequence(runOf(before, "r2").saver).invoke({ log: ["second"] }, THREAD);
      before.close();
      const older = openSqlite(file, "NORMAL");
      older.exec("DROP INDEX IF EXISTS checkpoints_order");
      older.pragma("user_version = 2");
      older.close();

      const after = openCheckpoints(file);
      onTestFinished(() => after.close());
      expect(await logOf(after.saver(hostKit))).toEqual(["in", "a", "b", "second", "a", "b"]);
    });

    onSqlite("the head and a page of the history are found without looking at others", async () => {
      const saver = checkpoints.saver(hostKit) as SqliteSaver; // heddle's saver is one
      const prepared = vi.spyOn(saver.db, "prepare");
      await history({ configurable: { thread_id: "thread", checkpoint_ns: "" } } as typeof THREAD, {
        before: { configurable: { checkpoint_id: uuid6(1) } },
        limit: 1,
      });
      const [list = ""] = prepared.mock.calls.flat();
      const head =
        "SELECT checkpoint FROM checkpoints WHERE thread_id = ? AND checkpoint_ns = ? ORDER BY rowid DESC LIMIT 1";
      const plan = (sql: string) => {
        const steps = saver.db.prepare(`EXPLAIN QUERY PLAN ${sql}`).all(...sql.matchAll(/\?/g)) as {
          detail: string;
        }[];
        return steps.map(({ detail }) => detail);
      };
      expect(plan(head)).toEqual([
        "SEARCH checkpoints USING INDEX checkpoints_order (thread_id=? AND checkpoint_ns=?)",
      ]);
      const [page, ...steps] = plan(list);
      expect(page).toMatch(/USING INDEX checkpoints_order .*rowid<\?/);
      expect(steps.join()).not.toMatch(/SCAN checkpoints|TEMP B-TREE/);
    });
  });
}
