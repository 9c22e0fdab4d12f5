/** Executions of graphs that do not answer once they were stopped: each comes to its end. */
import { randomUUID } from "node:crypto";
import { END, InMemoryStore, MemorySaver, MessagesAnnotation, START, StateGraph } from "@langchain/langgraph";
import { expect, it, onTestFinished } from "vitest";
import { silentLog } from "../../src/core/log.js";
import { createBlame } from "../../src/graphs/blame.js";
import type { ExecuteRequest, ExecuteResult } from "../../src/graphs/host.js";
import { createInlineHost } from "../../src/graphs/inline-host.js";
import { GraphRegistry } from "../../src/graphs/registry.js";
import { openCheckpoints } from "../../src/storage/checkpoints.js";
import { createFakeClock } from "../support/fake-clock.js";
import { arrivedAt } from "../support/gates.js";
import { lostTalk } from "../support/run-graphs.js";
import { claimedRun } from "../support/sql-stores.js";

const CANCELLED = new Error("cancelled");

async function openHost(graph: unknown) {
  const clock = createFakeClock();
  const checkpoints = openCheckpoints(":memory:");
  onTestFinished(() => checkpoints.close());
  const registry = new GraphRegistry({ graphs: { g1: { graph } }, baseDir: "." });
  await registry.load();
  const store = new InMemoryStore();
  const deps = {
    registry,
    checkpoints,
    store,
    clock,
    log: silentLog,
    blame: createBlame(),
    answerMs: 30_000,
    embed: null,
  };
  return { clock, host: createInlineHost(deps) };
}

function request(configurable: Record<string, string | number>): ExecuteRequest {
  const { payload, ...run } = claimedRun();
  const value = { messages: [{ type: "human", content: "one two three" }] };
  const config = { configurable: { thread_id: run.threadId, ...configurable } };
  return {
    ...run,
    payload: { ...payload, config, streamModes: ["messages-tuple", "values"] },
    input: { kind: "input", value },
    pendingBefore: {},
    keepPartialOn: CANCELLED,
  };
}

function customOnly(): ExecuteRequest {
  const { payload, ...run } = request({});
  return { ...run, payload: { ...payload, streamModes: ["custom"] } };
}

/** Until `result` is there, ten seconds pass every so many turns of the event loop. */
async function passTime(clock: ReturnType<typeof createFakeClock>, result: Promise<ExecuteResult>, turns = 100) {
  let isOver = false;
  void result.finally(() => {
    isOver = true;
  });
  for (let turn = 0; !isOver && turn < 10 * turns; turn++) {
    await new Promise(setImmediate);
    if (turn % turns === turns - 1) clock.advance(10_000);
  }
  expect(isOver).toBe(true);
}

async function drain(events: AsyncGenerator<unknown, ExecuteResult>): Promise<ExecuteResult> {
  for (;;) {
    const step = await events.next();
    if (step.done === true) return step.value;
  }
}

it("a graph that never stops talking is stopped all the same", async () => {
  const endless = new StateGraph(MessagesAnnotation)
    .addNode("talk", async (_state, { writer }) => {
      for (let index = 0; ; index++) {
        writer?.({ index });
        if (index % 2_000 === 0) await new Promise(setImmediate); // faster than anybody reads
      }
    })
    .addEdge(START, "talk")
    .compile();
  const { clock, host } = await openHost(endless);
  const stop = new AbortController();
  const events = host.execute(customOnly(), stop.signal);
  await events.next();
  const result = drain(events);
  stop.abort(CANCELLED);
  await passTime(clock, result, 10);
  expect(await result).toMatchObject({ kind: "aborted" });
});

it("a graph that never takes what is left of a stopped answer ends without it", async () => {
  const { clock, host } = await openHost(lostTalk);
  const stop = new AbortController();
  const gate = randomUUID();
  const result = drain(host.execute(request({ gate, hold_at: 2 }), stop.signal));
  await arrivedAt(gate);
  stop.abort(CANCELLED);
  await passTime(clock, result);
  expect(await result).toMatchObject({ kind: "aborted", projection: { next: ["llm"] } });
});

it("a graph whose own checkpointer never answers ends with what its stream said", async () => {
  class StuckSaver extends MemorySaver {
    isStuck = false;
    override getTuple(config: Parameters<MemorySaver["getTuple"]>[0]): ReturnType<MemorySaver["getTuple"]> {
      return this.isStuck ? new Promise(() => {}) : super.getTuple(config);
    }
  }
  const checkpointer = new StuckSaver();
  const failing = new StateGraph(MessagesAnnotation)
    .addNode("fail", () => {
      checkpointer.isStuck = true;
      throw new RangeError("it failed");
    })
    .addEdge(START, "fail")
    .addEdge("fail", END)
    .compile({ checkpointer });
  const { clock, host } = await openHost(failing);
  const result = drain(host.execute(request({}), new AbortController().signal));
  await passTime(clock, result);
  expect(await result).toMatchObject({ kind: "failed", error: { error: "RangeError", message: "it failed" } });
});

it("what a graph had said at once before it failed is passed on, all of it", async () => {
  const COUNT = 5_000;
  const failing = new StateGraph(MessagesAnnotation)
    .addNode("talk", async (_state, { writer }) => {
      for (let index = 0; index < COUNT; index++) writer?.({ index });
      await new Promise(setImmediate);
      throw new RangeError("it failed");
    })
    .addEdge(START, "talk")
    .compile();
  const { host } = await openHost(failing);
  const events = host.execute(customOnly(), new AbortController().signal);
  let count = 0;
  let step = await events.next();
  for (; step.done !== true; step = await events.next()) count++;
  expect(step.value).toMatchObject({ kind: "failed", error: { message: "it failed" } });
  expect(count).toBe(COUNT);
});

it("what a graph had said when it was stopped is passed on, however long that takes to read", async () => {
  const COUNT = 5_000;
  const talker = new StateGraph(MessagesAnnotation)
    .addNode("talk", (_state, { writer }) => {
      for (let index = 0; index < COUNT; index++) writer?.({ index });
      return new Promise<never>(() => {});
    })
    .addEdge(START, "talk")
    .addEdge("talk", END)
    .compile();
  const { clock, host } = await openHost(talker);
  const stop = new AbortController();
  const events = host.execute(customOnly(), stop.signal);
  const said = [(await events.next()).value];
  stop.abort(CANCELLED);
  clock.advance(1_000); // the machine is busy with other things
  let step = await events.next();
  for (; step.done !== true; step = await events.next()) said.push(step.value);
  expect(step.value.kind).toBe("aborted");
  expect(said).toHaveLength(COUNT);
});
