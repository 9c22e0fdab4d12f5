/** From a request to the row of a run: what wins over what, and what nobody may set. */
import { describe, expect, it } from "vitest";
import type { Assistant } from "../../src/core/model.js";
import { draftRun } from "../../src/runs/draft.js";
import { requestHash } from "../../src/runs/idempotency.js";
import { runRequest } from "../support/run-request.js";

const assistant: Assistant = {
  assistantId: "a1",
  version: 1,
  graphId: "g1",
  name: "A",
  description: null,
  config: { tags: ["assistant"], recursion_limit: 7, configurable: { who: "assistant", from: "assistant" } },
  context: { tone: "formal", length: 1 },
  metadata: { level: "assistant", a: 1 },
  createdAt: 0,
  updatedAt: 0,
};

const thread = {
  threadId: "t1",
  metadata: { level: "thread", t: 1 },
  config: { configurable: { who: "thread", thread: true } },
  interrupts: {},
};

const context = {
  runId: "r1",
  user: null,
  assistant,
  thread,
  inFlight: [],
  strategy: "enqueue",
  temporary: false,
  recordAll: true,
  cronId: null,
  now: 1_000,
} as const;

describe("draftRun", () => {
  it("merges metadata and configurable: the run over the thread over the assistant", () => {
    const run = draftRun(
      runRequest({
        metadata: { level: "run" },
        config: { configurable: { who: "run" } },
        headerConfigurable: { who: "header", "x-tenant": "acme" },
      }),
      context,
    );
    expect(run.metadata).toEqual({ level: "run", a: 1, t: 1 });
    expect(run.payload.config).toEqual({
      tags: ["assistant"],
      recursion_limit: 7,
      configurable: {
        who: "run",
        from: "assistant",
        thread: true,
        "x-tenant": "acme",
        run_id: run.runId,
        thread_id: "t1",
        graph_id: "g1",
        assistant_id: "a1",
      },
    });
  });

  it("lets nobody set what only the server knows", () => {
    const forged = {
      thread_id: "other",
      run_id: "other",
      graph_id: "other",
      assistant_id: "other",
      __pregel_resuming: true,
      langgraph_auth_user: { identity: "root" },
      langgraph_auth_user_id: "root",
      checkpoint_id: "c9",
      checkpoint_ns: "x",
      checkpoint_map: {},
      checkpointer_hint: "kept",
    };
    const { runId, payload } = draftRun(runRequest({ config: { configurable: forged } }), {
      ...context,
      assistant: { ...assistant, config: { configurable: { __pregel_read: 1, langgraph_auth_permissions: ["*"] } } },
      thread: { ...thread, config: {} },
    });
    expect(payload.config.configurable).toEqual({
      thread_id: "t1",
      run_id: runId,
      graph_id: "g1",
      assistant_id: "a1",
      checkpointer_hint: "kept",
    });
  });

  it.each([
    [{ tone: "casual" }, { tone: "casual", length: 1 }],
    [null, { tone: "formal", length: 1 }],
    ["text", "text"],
    [[1], [1]],
  ])("merges the context %j over the assistant's", (own, expected) => {
    expect(draftRun(runRequest({ context: own }), context).payload.context).toEqual(expected);
  });

  it("refuses more metadata than a graph can carry, wherever it comes from", () => {
    const keys = (count: number, of: string) =>
      Object.fromEntries(Array.from({ length: count }, (_, n) => [`${of}${n}`, n]));
    const draft = (inConfig: number) =>
      draftRun(runRequest({ metadata: keys(90, "run"), config: { metadata: keys(inConfig, "config") } }), {
        ...context,
        assistant: { ...assistant, metadata: keys(80, "assistant") },
        thread: { ...thread, metadata: { ...keys(90, "run"), ...keys(80, "thread") } },
      });
    expect(Object.keys(draft(6).metadata)).toHaveLength(250);
    expect(() => draft(7)).toThrow("have 257 keys together, of at most 256");
  });

  it("is due after its delay", () => {
    expect(draftRun(runRequest({ afterSeconds: 1.5 }), context).runAfter).toBe(2_500);
  });

  it("answers what waits now, but leaves that to the worker while other runs are in flight", () => {
    const waiting = { ...thread, interrupts: { task: [{ id: "i".repeat(32), value: 1 }] } };
    const command = { resume: "yes" };
    const alone = draftRun(runRequest({ command }), { ...context, thread: waiting });
    expect(alone.payload.command).toEqual({ resume: { ["i".repeat(32)]: "yes" } });
    const inFlight = [{ runId: "r0", status: "running", createdAt: 0 }] as const;
    const behind = draftRun(runRequest({ command }), { ...context, thread: waiting, inFlight });
    expect(behind.payload.command).toEqual(command);
  });
});

describe("requestHash", () => {
  const base = runRequest({ input: { a: 1, b: { c: [1, 2], d: null } } });

  it("is the same for the same request in another order, with other headers and another key", () => {
    const same = runRequest({
      input: { b: { d: null, c: [1, 2] }, a: 1 },
      headerConfigurable: { "x-request-id": "2" },
      idempotencyKey: "k",
    });
    expect(requestHash("t1", same)).toBe(requestHash("t1", base));
  });

  it.each([
    ["another input", "t1", runRequest({ input: { a: 1, b: { c: [2, 1], d: null } } })],
    ["another thread", "t2", base],
    ["no thread", null, base],
    ["another assistant", "t1", { ...base, assistantId: "other" }],
    ["another mode", "t1", { ...base, streamModes: ["updates"] as const }],
  ])("differs for %s", (_title, threadId, request) => {
    expect(requestHash(threadId, request)).not.toBe(requestHash("t1", base));
  });
});
