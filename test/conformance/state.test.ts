/** Reading a thread's state and history through the unmodified SDK client (T9, T12–T15). */
import { randomUUID } from "node:crypto";
import type { Checkpoint, Client, ThreadState } from "@langchain/langgraph-sdk";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { arrivedAt } from "../support/gates.js";
import { startTestGateway, type TestGateway } from "../support/gateway.js";
import { type Send, sender } from "../support/http.js";

let gateway: TestGateway;
let client: Client;
let send: Send;
/** Ran the graph `breakpoints` to its end. */
let walked: string;
/** Waits inside a subgraph of a subgraph. */
let nested: string;

beforeAll(async () => {
  gateway = await startTestGateway();
  client = gateway.client;
  send = sender(gateway.url);
  walked = (await client.threads.create()).thread_id;
  await client.runs.wait(walked, "breakpoints", { input: { input: "go" } });
  nested = (await client.threads.create()).thread_id;
  await client.runs.wait(nested, "nested", { input: { input: "ask" } });
});
afterAll(() => gateway?.stop());

const ISO = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;
const HEX = /^[0-9a-f]{32}$/;

type Interrupts = { interrupts: { id: string; value: unknown }[] };
type State = ThreadState<{ steps: string[] }> & Interrupts;

const stateOf = (threadId: string, ...rest: [checkpoint?: Checkpoint | string, options?: { subgraphs?: boolean }]) =>
  client.threads.getState(threadId, ...rest) as Promise<State>;
const historyOf = (threadId: string, options?: Parameters<Client["threads"]["getHistory"]>[1]) =>
  client.threads.getHistory(threadId, options) as Promise<State[]>;
const stepsOf = (states: readonly State[]) => states.map(({ metadata }) => metadata?.step);

describe("client.threads.getState", () => {
  it("answers with the state at the head", async () => {
    const [, before] = await historyOf(walked);
    expect(await stateOf(walked)).toEqual({
      values: { input: "go", steps: ["one", "two", "three"] },
      next: [],
      tasks: [],
      checkpoint: {
        thread_id: walked,
        checkpoint_ns: "",
        checkpoint_id: expect.any(String),
        checkpoint_map: null,
      },
      metadata: expect.objectContaining({ source: "loop", step: 3, parents: {} }),
      created_at: expect.stringMatching(ISO),
      parent_checkpoint: before?.checkpoint,
      interrupts: [],
    });
  });

  it("says that something is next while a run executes, also before its first checkpoint is there", async () => {
    const { thread_id: threadId } = await client.threads.create();
    const gate = randomUUID();
    const config = { configurable: { gate } };
    await client.runs.create(threadId, "gated", { input: {}, config, durability: "exit" });
    await arrivedAt(gate);
    expect(await stateOf(threadId)).toMatchObject({ next: ["__start__"], checkpoint: null });
    await client.threads.delete(threadId);
  });

  it("says that nothing is next when the run that waits does so for its time", async () => {
    const { thread_id: threadId } = await client.threads.create();
    await client.runs.create(threadId, "gated", { input: {}, afterSeconds: 3_600 });
    expect((await stateOf(threadId)).next).toEqual([]);
  });

  it("shows a pause as a task with its question", async () => {
    const { thread_id: threadId } = await client.threads.create();
    await client.runs.wait(threadId, "approval", { input: { question: "Sure?" } });
    const question = { id: expect.stringMatching(HEX), value: { question: "Sure?" } };
    expect(await stateOf(threadId)).toMatchObject({
      next: ["ask"],
      tasks: [
        {
          id: expect.any(String),
          name: "ask",
          path: ["__pregel_pull", "ask"],
          error: null,
          interrupts: [question],
          checkpoint: null,
          state: null,
          result: null,
        },
      ],
      interrupts: [question],
    });
  });

  it("shows how a task failed", async () => {
    const { thread_id: threadId } = await client.threads.create();
    await client.runs.wait(threadId, "failing", { input: {}, raiseError: false });
    const { tasks, next } = await stateOf(threadId);
    expect(next).toEqual(["fail"]);
    expect(JSON.parse(tasks[0]?.error ?? "")).toMatchObject({ name: "RangeError", message: "out of range" });
  });

  it("answers for a thread that no graph has touched without a checkpoint", async () => {
    const nothing = {
      values: {},
      next: [],
      tasks: [],
      checkpoint: null,
      metadata: {},
      created_at: null,
      parent_checkpoint: null,
      interrupts: [],
    };
    const { thread_id: bare } = await client.threads.create();
    const { thread_id: withGraph } = await client.threads.create({ graphId: "echo" });
    for (const threadId of [bare, withGraph]) {
      expect(await stateOf(threadId)).toEqual(nothing);
      expect(await historyOf(threadId)).toEqual([]);
    }
  });

  it("answers at a checkpoint, by its id and by a pointer", async () => {
    const states = await historyOf(walked);
    for (const state of states) {
      const { checkpoint_id: id } = state.checkpoint;
      expect(await stateOf(walked, id ?? "")).toEqual(state);
      expect(await stateOf(walked, state.checkpoint)).toEqual(state);
    }
    expect(await stateOf(walked, { checkpoint_ns: "" } as Checkpoint)).toEqual(states[0]);
  });

  it("answers 404 for a thread and for a checkpoint that is not there", async () => {
    const id = "1ef00000-0000-6000-8000-000000000000";
    const { thread_id: bare } = await client.threads.create();
    for (const [method, path, body] of [
      ["GET", "/threads/missing/state"],
      ["GET", "/threads/missing/history"],
      ["GET", `/threads/missing/state/${id}`],
      ["GET", `/threads/${walked}/state/${id}`],
      ["GET", `/threads/${bare}/state/${id}`],
      ["POST", `/threads/${walked}/state/checkpoint`, { checkpoint: { checkpoint_id: id } }],
      ["POST", "/threads/missing/history", {}],
    ] as const) {
      expect(await send(method, path, body)).toMatchObject({ status: 404, body: { code: "not_found" } });
    }
  });
});

describe("state of subgraphs", () => {
  it("points at the subgraph's state, and holds it when asked to", async () => {
    const { tasks: pointing, interrupts } = await stateOf(nested);
    expect(pointing).toMatchObject([
      {
        name: "sub",
        interrupts: [{ id: expect.stringMatching(HEX), value: "inner?" }],
        checkpoint: { thread_id: nested, checkpoint_ns: expect.stringMatching(/^sub:[0-9a-f-]{36}$/) },
        state: null,
      },
    ]);
    expect(interrupts.map(({ value }) => value)).toEqual(["inner?"]);
    for (const state of [
      await stateOf(nested, undefined, { subgraphs: true }),
      await stateOf(nested, (await stateOf(nested)).checkpoint, { subgraphs: true }),
      await stateOf(nested, (await stateOf(nested)).checkpoint.checkpoint_id ?? "", { subgraphs: true }),
    ]) {
      expect(state.tasks[0]?.state).toMatchObject({
        values: { input: "ask", steps: expect.any(Array) },
        next: ["middle"],
        tasks: [{ name: "middle", state: { next: ["inner"], tasks: [{ name: "inner" }] } }],
      });
    }
  });

  it.each(["true", "True", "1", "TRUE"])("reads subgraphs=%s as yes", async (word) => {
    const { body } = await send("GET", `/api/threads/${nested}/state?subgraphs=${word}`);
    expect((body as State).tasks[0]?.state).not.toBeNull();
  });

  it.each(["false", "False", "0", ""])('reads subgraphs="%s" as no', async (word) => {
    const { body } = await send("GET", `/threads/${nested}/state?subgraphs=${word}`);
    expect((body as State).tasks[0]?.state).toBeNull();
  });

  it("answers for a namespace, however its parts are joined", async () => {
    const sub = (await stateOf(nested)).tasks[0]?.checkpoint as Checkpoint;
    const inSub = await stateOf(nested, sub);
    expect(inSub).toMatchObject({ next: ["middle"], checkpoint: { checkpoint_ns: sub.checkpoint_ns } });
    const middle = inSub.tasks[0]?.checkpoint as Checkpoint;
    expect(middle.checkpoint_ns.split("|")).toHaveLength(2);
    const expected = await historyOf(nested, { checkpoint: { checkpoint_ns: middle.checkpoint_ns } });
    expect(expected[0]).toMatchObject({ next: ["inner"], checkpoint: { checkpoint_ns: middle.checkpoint_ns } });
    const joinedByNul = middle.checkpoint_ns.replace("|", "\u0000");
    expect(await historyOf(nested, { checkpoint: { checkpoint_ns: joinedByNul } })).toEqual(expected);
    expect(await stateOf(nested, { ...middle, checkpoint_ns: joinedByNul })).toEqual(await stateOf(nested, middle));
  });

  it("answers for a namespace that is not there without a checkpoint", async () => {
    for (const threadId of [walked, nested]) {
      for (const namespace of ["nope", "sub:nope", "sub:1|middle:2|inner:3"]) {
        const pointer = { checkpoint_ns: namespace } as Checkpoint;
        expect(await stateOf(threadId, pointer)).toMatchObject({ checkpoint: null, next: [], tasks: [] });
        expect(await historyOf(threadId, { checkpoint: pointer })).toEqual([]);
      }
    }
  });
});

describe("client.threads.getHistory", () => {
  it("lists every checkpoint, newest first, each pointing at its parent", async () => {
    const states = await historyOf(walked);
    expect(stepsOf(states)).toEqual([3, 2, 1, 0, -1]);
    expect(states.map(({ next }) => next)).toEqual([[], ["three"], ["two"], ["one"], ["__start__"]]);
    for (const [index, state] of states.entries()) {
      expect(state.parent_checkpoint).toEqual(states[index + 1]?.checkpoint ?? null);
    }
    const ids = states.map(({ checkpoint }) => checkpoint.checkpoint_id ?? "");
    expect(ids.toSorted((a, b) => b.localeCompare(a))).toEqual(ids);
    expect(states[1]?.tasks).toMatchObject([{ name: "three", result: { steps: ["three"] } }]);
  });

  it("answers ten states unless asked for more", async () => {
    const { thread_id: threadId } = await client.threads.create();
    for (let run = 0; run < 4; run++) await client.runs.wait(threadId, "counter", { input: {} });
    expect(await historyOf(threadId)).toHaveLength(10);
    expect(await historyOf(threadId, { limit: 1_000 })).toHaveLength(12);
    expect((await send("POST", `/threads/${threadId}/history`, {})).body).toHaveLength(10);
    expect((await send("GET", `/threads/${threadId}/history`)).body).toHaveLength(10);
    expect((await send("GET", `/api/threads/${threadId}/history?limit=11`)).body).toHaveLength(11);
  });

  it("begins before a checkpoint, named in every way", async () => {
    const states = await historyOf(walked);
    const { checkpoint } = states[1] as State;
    const { checkpoint_id: id } = checkpoint;
    const older = states.slice(2);
    const forms = [id, checkpoint, { checkpoint_id: id }, { configurable: { thread_id: walked, checkpoint_id: id } }];
    for (const before of forms) {
      expect((await send("POST", `/threads/${walked}/history`, { before })).body).toEqual(older);
    }
    expect(await historyOf(walked, { before: { configurable: { checkpoint_id: id ?? "" } } })).toEqual(older);
    expect((await send("GET", `/threads/${walked}/history?before=${id}&limit=1`)).body).toEqual(older.slice(0, 1));
    expect(await historyOf(walked, { limit: 2 })).toEqual(states.slice(0, 2));
  });

  it("filters by metadata", async () => {
    expect(stepsOf(await historyOf(walked, { metadata: { source: "input" } }))).toEqual([-1]);
    expect(stepsOf(await historyOf(walked, { metadata: { source: "loop", step: 2 } }))).toEqual([2]);
    expect(await historyOf(walked, { metadata: { source: "none" } })).toEqual([]);
  });

  it("is that of a subgraph for its namespace", async () => {
    const sub = (await stateOf(nested)).tasks[0]?.checkpoint as Checkpoint;
    const states = await historyOf(nested, { checkpoint: { checkpoint_ns: sub.checkpoint_ns } });
    expect(stepsOf(states)).toEqual([0, -1]);
    expect(states.every(({ checkpoint }) => checkpoint.checkpoint_ns === sub.checkpoint_ns)).toBe(true);
    const limited = await historyOf(nested, { checkpoint: { checkpoint_ns: sub.checkpoint_ns }, limit: 1 });
    expect(limited).toEqual(states.slice(0, 1));
  });
});
