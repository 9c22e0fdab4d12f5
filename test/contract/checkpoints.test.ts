import { join } from "node:path";
import { Annotation, Command, END, START, StateGraph } from "@langchain/langgraph";
import { type BaseCheckpointSaver, emptyCheckpoint, uuid6 } from "@langchain/langgraph-checkpoint";
import { PostgresSaver } from "@langchain/langgraph-checkpoint-postgres";
import { SqliteSaver } from "@langchain/langgraph-checkpoint-sqlite";
import { deltaChannelHistoryTests, validate } from "@langchain/langgraph-checkpoint-validation";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { hostKit } from "../../src/core/kit.js";
import { openCheckpoints } from "../../src/storage/checkpoints.js";
import type { Checkpoints } from "../../src/storage/ports/checkpoints.js";
import type { ThreadStorage } from "../../src/storage/thread-storage.js";
import { CHECKPOINT_DRIVERS, type OpenedCheckpoints } from "../support/checkpoint-drivers.js";
import { sequence, THREAD, withSubgraph } from "../support/checkpoint-graphs.js";
import { claimOf, logOf, runOf } from "../support/checkpoint-rows.js";
import { makeFolder } from "../support/crash-disk.js";
import { POSTGRES_MISSING } from "../support/postgres-server.js";
import { openAskingStorage } from "../support/thread-line.js";

// The validation package expects its test runner's functions as globals.
Object.assign(globalThis, { describe, it, expect, beforeAll, beforeEach, afterAll, afterEach });

const SIDES: Readonly<Record<string, () => Promise<Opened>>> = {
  "the main thread": openOwn,
  "a graph thread": openAsking,
  ...(POSTGRES_MISSING === undefined ? { PostgreSQL: openOnPostgres } : {}),
};

interface Opened {
  readonly savers: ThreadStorage["checkpoints"];
  close(): Promise<void>;
}

for (const kind of ["outside of runs", "of a run"] as const) {
  for (const [side, open] of Object.entries(SIDES)) {
    let validated: Opened;
    const initializer = {
      checkpointerName: `heddle, a saver ${kind} on ${side}`,
      async createCheckpointer() {
        validated = await open();
        const { savers } = validated;
        return kind === "outside of runs" ? savers.saver(hostKit) : savers.forRun(claimOf("run-1"), hostKit).saver;
      },
      destroyCheckpointer: () => validated.close(),
    };
    validate(initializer);
    deltaChannelHistoryTests(initializer);
  }
}

async function openOwn(): Promise<Opened> {
  const own = openCheckpoints(":memory:");
  return { savers: own, close: async () => own.close() };
}

async function openOnPostgres(): Promise<Opened> {
  const driver = CHECKPOINT_DRIVERS.find(({ name }) => name === "PostgreSQL");
  if (driver === undefined) throw new Error("no driver has this name");
  const { checkpoints, close } = await driver.open();
  return { savers: checkpoints, close };
}

const NO_ITEMS = {
  apply: async (): Promise<never> => {
    throw new Error("a saver asks for no items");
  },
};

/** What a saver of a graph thread reads is its own connection's, what it writes is the main thread's. */
async function openAsking(): Promise<Opened> {
  const folder = makeFolder();
  const file = join(folder.path, "checkpoints.db");
  const own = openCheckpoints(file);
  const asking = openAskingStorage(file, { checkpoints: own, store: NO_ITEMS });
  return {
    savers: asking.checkpoints,
    async close() {
      asking.close();
      own.close();
      folder.remove();
    },
  };
}

for (const driver of CHECKPOINT_DRIVERS) {
  describe.skipIf(driver.missing !== undefined)(`on ${driver.name}`, () => {
    let opened: OpenedCheckpoints;
    let checkpoints: Checkpoints;

    beforeEach(async () => {
      opened = await driver.open();
      checkpoints = opened.checkpoints;
    });

    afterEach(() => opened.close());

    const dump = () => opened.dump();

    const INPUT = { log: ["in"] };

    describe("a run's saver", () => {
      it("is LangGraph's own for the database", () => {
        const own = driver.name === "SQLite" ? SqliteSaver : PostgresSaver;
        expect(runOf(checkpoints, "r1").saver).toBeInstanceOf(own);
      });

      it("stamps its run on every checkpoint and write, those of subgraphs included", async () => {
        const first = runOf(checkpoints, "r1");
        await withSubgraph(first.saver).invoke(INPUT, THREAD);
        expect((await dump()).checkpoints.length).toBeGreaterThan(4);
        expect(new Set((await dump()).checkpoints.map((row) => row.run_id))).toEqual(new Set(["r1"]));
        expect(new Set((await dump()).writes.map((row) => row.run_id))).toEqual(new Set(["r1"]));
        expect((await dump()).checkpoints.some((row) => row.checkpoint_ns !== "")).toBe(true);

        await withSubgraph(runOf(checkpoints, "r2").saver).invoke(new Command({ resume: "yes" }), THREAD);
        const added = (await dump()).checkpoints.filter((row) => row.run_id !== "r1");
        expect(added.length).toBeGreaterThan(0);
        expect(new Set(added.map((row) => row.run_id))).toEqual(new Set(["r2"]));
        // The subgraph hands back the whole log that it was given.
        expect(await logOf(checkpoints.saver(hostKit))).toEqual([
          ...["in", "before"],
          ...["in", "before", "inner", "inner question=yes"],
        ]);
      });

      it("refuses every write once it is closed, and still reads", async () => {
        const run = runOf(checkpoints, "r1");
        await sequence(run.saver).invoke(INPUT, THREAD);
        const before = await dump();
        run.close();
        const head = await run.saver.getTuple(THREAD);
        if (head === undefined) throw new Error("nothing was stored");
        const put = run.saver.put(
          head.config,
          { ...emptyCheckpoint(), id: uuid6(9) },
          { source: "loop", step: 9, parents: {} },
          {},
        );
        await expect(put).rejects.toThrow("run r1 is over");
        await expect(run.saver.putWrites(head.config, [["log", ["late"]]], "task")).rejects.toThrow("run r1 is over");
        await expect(sequence(run.saver).invoke(INPUT, THREAD)).rejects.toThrow("run r1 is over");
        expect(await dump()).toEqual(before);
      });

      it("outside of runs refuses every write once its signal is aborted, and still reads", async () => {
        const over = new AbortController();
        const saver = checkpoints.saver(hostKit, { signal: over.signal });
        const graph = sequence(saver);
        await graph.updateState(THREAD, INPUT, "b");
        const before = await dump();
        over.abort(new Error("the request is over"));
        await expect(graph.updateState(THREAD, { log: ["late"] }, "b")).rejects.toThrow("the request is over");
        const head = await saver.getTuple(THREAD);
        await expect(saver.putWrites(head?.config ?? {}, [["log", ["late"]]], "task")).rejects.toThrow("over");
        await expect(saver.deleteThread("thread")).rejects.toThrow("the request is over");
        expect(await dump()).toEqual(before);
      });

      it("keeps bytes in pending writes as bytes", async () => {
        const { saver } = runOf(checkpoints, "r1");
        const config = await saver.put(
          THREAD,
          { ...emptyCheckpoint(), id: uuid6(1) },
          { source: "input", step: -1, parents: {} },
          {},
        );
        const bytes = Uint8Array.from([0, 255, 254, 10, 0]);
        await saver.putWrites(
          config,
          [
            ["file", bytes],
            ["nested", { bytes }],
          ],
          "task",
        );
        const tuple = await saver.getTuple(config);
        expect(tuple?.pendingWrites).toStrictEqual([
          ["task", "file", bytes],
          ["task", "nested", { bytes }],
        ]);
      });

      it("fails the run whose state refers to itself, and no other", async () => {
        const circular: Record<string, unknown> = {};
        circular.self = circular;
        const State = Annotation.Root({ value: Annotation<unknown>() });
        const graph = (checkpointer: BaseCheckpointSaver, value: unknown) =>
          new StateGraph(State)
            .addNode("n", () => ({ value }))
            .addEdge(START, "n")
            .addEdge("n", END)
            .compile({ checkpointer });
        const broken = graph(runOf(checkpoints, "r1").saver, circular).invoke({ value: 1 }, THREAD);
        await expect(broken).rejects.toThrow(/channel "value": .*refers to itself/);
        await expect(graph(runOf(checkpoints, "r2").saver, "fine").invoke({ value: 1 }, THREAD)).resolves.toEqual({
          value: "fine",
        });
      });
    });
  });
}
