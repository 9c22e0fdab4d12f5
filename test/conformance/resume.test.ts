/** Questions and answers: commands, several questions at once, forks. */
import type { Client } from "@langchain/langgraph-sdk";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startTestGateway, type TestGateway } from "../support/gateway.js";
import { type Send, sender } from "../support/http.js";
import { names, openSse } from "../support/sse-client.js";

let gateway: TestGateway;
let client: Client;
let send: Send;

beforeAll(async () => {
  gateway = await startTestGateway();
  client = gateway.client;
  send = sender(gateway.url);
});
afterAll(() => gateway.stop());

async function newThread(): Promise<string> {
  return (await client.threads.create()).thread_id;
}

/** What the thread waits for: ids by question. It must say the same everywhere. */
async function pending(threadId: string): Promise<Record<string, string>> {
  const [thread, state] = await Promise.all([client.threads.get(threadId), client.threads.getState(threadId)]);
  const onThread = Object.values(thread.interrupts).flat();
  const onTasks = state.tasks.flatMap(({ interrupts }) => interrupts);
  expect(onTasks).toEqual(onThread);
  expect(thread.status).toBe(onThread.length > 0 || state.next.length > 0 ? "interrupted" : "idle");
  for (const task of state.tasks) if (task.interrupts.length > 0) expect(state.next).toContain(task.name);
  return Object.fromEntries(onThread.map(({ id, value }) => [JSON.stringify(value), id ?? ""]));
}

/** Resumes and answers with the values. */
const resume = (threadId: string, graph: string, answer: unknown) =>
  client.runs.wait(threadId, graph, { command: { resume: answer } }) as Promise<{ answers: unknown[] }>;

describe("one question", () => {
  it.each<[string, unknown]>([
    ["a word", "yes"],
    ["false", false],
    ["zero", 0],
    ["an empty string", ""],
    ["an object", { approved: true, edits: [{ a: 1 }] }],
    ["a list", ["a", "b"]],
  ])("is answered by %s", async (_title, answer) => {
    const threadId = await newThread();
    await client.runs.wait(threadId, "approval", { input: { question: "?" } });
    expect(await resume(threadId, "approval", answer)).toEqual({ question: "?", answers: [answer] });
    expect(await pending(threadId)).toEqual({});
  });

  it("is answered by its id, null included", async () => {
    const threadId = await newThread();
    await client.runs.wait(threadId, "approval", { input: { question: "?" } });
    const [id = ""] = Object.values(await pending(threadId));
    expect(await resume(threadId, "approval", { [id]: null })).toMatchObject({ answers: [null] });
  });

  it("is not answered by the answer to another", async () => {
    const threadId = await newThread();
    await client.runs.wait(threadId, "approval", { input: { question: "?" } });
    const [first = ""] = Object.values(await pending(threadId));
    await resume(threadId, "approval", { [first]: "once" });
    await client.runs.wait(threadId, "approval", { input: { question: "??" } });
    const stale = await send("POST", `/threads/${threadId}/runs`, {
      assistant_id: "approval",
      command: { resume: { [first]: "again" } },
    });
    const [second] = Object.values(await pending(threadId));
    expect(second).not.toBe(first);
    expect(stale).toMatchObject({ status: 422, body: { interrupt_ids: [second] } });
    expect(await client.runs.list(threadId)).toHaveLength(3);
  });

  it("is answered while the hook shows the thread's checkpoint", async () => {
    const threadId = await newThread();
    await client.runs.wait(threadId, "approval", { input: { question: "?" } });
    const { checkpoint } = await client.threads.getState(threadId);
    const values = await client.runs.wait(threadId, "approval", { command: { resume: "yes" }, checkpoint });
    expect(values).toMatchObject({ answers: ["yes"] });
  });

  it("pressed twice is answered once", async () => {
    const threadId = await newThread();
    await client.runs.wait(threadId, "approval", { input: { question: "?" } });
    const [id = ""] = Object.values(await pending(threadId));
    const press = () => client.runs.create(threadId, "approval", { command: { resume: { [id]: "yes" } } });
    const runs = await Promise.all([press(), press()]);
    for (const run of runs) await client.runs.join(threadId, run.run_id);
    expect((await client.threads.getState(threadId)).values).toEqual({ question: "?", answers: ["yes"] });
  });

  it("streams what the answer leads to", async () => {
    const threadId = await newThread();
    await client.runs.wait(threadId, "approval", { input: { question: "?" } });
    const stream = await openSse(`${gateway.url}/threads/${threadId}/runs/stream`, {
      json: { assistant_id: "approval", input: null, command: { resume: "yes" }, stream_mode: ["updates", "values"] },
    });
    const parts = await stream.rest();
    expect(names(parts)).toEqual(["metadata", "values", "updates", "values", "end"]);
    expect(parts.at(-2)?.data).toEqual({ question: "?", answers: ["yes"] });
  });
});

describe("nothing to answer", () => {
  it("leaves a thread as it is", async () => {
    const threadId = await newThread();
    await client.runs.wait(threadId, "approval", { input: { question: "?" } });
    await resume(threadId, "approval", "yes");
    expect(await resume(threadId, "approval", "again")).toEqual({ question: "?", answers: ["yes"] });
    expect(await client.runs.wait(threadId, "approval", { input: { question: "new" } })).toMatchObject({
      answers: ["yes"],
      __interrupt__: [{ value: { question: "new" } }],
    });
  });

  it("on an empty thread is an error of the run", async () => {
    const values = await client.runs.wait(await newThread(), "approval", {
      command: { resume: "yes" },
      raiseError: false,
    });
    expect(values).toMatchObject({ __error__: { error: "EmptyInputError" } });
  });

  it("does not swallow the input that came with it", async () => {
    const threadId = await newThread();
    const values = await client.runs.wait(threadId, "custom", { input: { input: 7 }, command: { resume: "yes" } });
    expect(values).toEqual({ input: 7, steps: ["worked"] });
    expect(await client.runs.wait(threadId, "custom", { input: { input: 8 }, command: {} })).toMatchObject({
      input: 8,
    });
  });
});

describe("several questions", () => {
  const a1 = '"a1"';
  const a2 = '"a2"';
  const b1 = '"b1"';

  async function ask(): Promise<string> {
    const threadId = await newThread();
    const values = await client.runs.wait(threadId, "twoApprovals", { input: { question: "?" } });
    const asked = (values as { __interrupt__: { value: string }[] }).__interrupt__;
    expect(asked.map(({ value }) => value).sort()).toEqual(["a1", "b1"]);
    return threadId;
  }

  it("are not answered by one word", async () => {
    const threadId = await ask();
    const before = await pending(threadId);
    const answer = await send("POST", `/threads/${threadId}/runs/wait`, {
      assistant_id: "twoApprovals",
      command: { resume: "yes" },
    });
    expect(answer).toMatchObject({
      status: 422,
      body: { code: "validation", interrupt_ids: expect.arrayContaining(Object.values(before)) },
    });
    for (const id of Object.values(before)) expect((answer.body as { detail: string }).detail).toContain(id);
    expect(await client.runs.list(threadId)).toHaveLength(1);
    expect(await pending(threadId)).toEqual(before);
  });

  it("are answered together", async () => {
    const threadId = await ask();
    const ids = await pending(threadId);
    await resume(threadId, "twoApprovals", { [ids[a1] ?? ""]: 1, [ids[b1] ?? ""]: 2 });
    const second = await pending(threadId);
    expect(Object.keys(second)).toEqual([a2]);
    const { answers } = await resume(threadId, "twoApprovals", { [second[a2] ?? ""]: 3 });
    expect(answers).toEqual(["a:1", "a:3", "b:2", "joined"]);
    expect(await pending(threadId)).toEqual({});
  });

  it("are answered one by one, in any order, each only once", async () => {
    for (const order of [
      [a1, a2, b1],
      [a1, b1, a2],
      [b1, a1, a2],
    ]) {
      const threadId = await ask();
      const left = new Set([a1, b1]);
      for (const question of order) {
        const ids = await pending(threadId);
        expect(new Set(Object.keys(ids))).toEqual(left);
        await resume(threadId, "twoApprovals", { [ids[question] ?? ""]: `to ${question}` });
        left.delete(question);
        if (question === a1) left.add(a2);
      }
      expect(await pending(threadId)).toEqual({});
      const { values } = await client.threads.getState<{ answers: string[] }>(threadId);
      expect(values.answers).toEqual([`a:to ${a1}`, `a:to ${a2}`, `b:to ${b1}`, "joined"]);
    }
  });

  it("keep the thread interrupted when a node asks again", async () => {
    const threadId = await ask();
    const first = await pending(threadId);
    await resume(threadId, "twoApprovals", { [first[a1] ?? ""]: 1 });
    const second = await pending(threadId);
    // LangGraph books a question to its task: both of the node's have one id.
    expect(second).toEqual({ [a2]: first[a1], [b1]: first[b1] });
  });
});

describe("a subgraph's question", () => {
  it("is the thread's, and is answered by its id or a word", async () => {
    for (const byId of [false, true]) {
      const threadId = await newThread();
      const values = await client.runs.wait(threadId, "nested", { input: { input: "ask" } });
      expect(values).toMatchObject({ steps: ["outer"], __interrupt__: [{ value: "inner?" }] });
      const [id = ""] = Object.values(await pending(threadId));
      const answer = byId ? { [id]: "fine" } : "fine";
      expect(await client.runs.wait(threadId, "nested", { command: { resume: answer } })).toMatchObject({
        steps: expect.arrayContaining(["outer", "inner:fine"]),
      });
      expect(await pending(threadId)).toEqual({});
    }
  });

  it("is shown inside its own state", async () => {
    const threadId = await newThread();
    await client.runs.wait(threadId, "nested", { input: { input: "ask" } });
    const state = await client.threads.getState(threadId, undefined, { subgraphs: true });
    const inner = state.tasks[0]?.state?.tasks[0]?.state;
    expect(inner?.tasks[0]).toMatchObject({ name: "inner", interrupts: [{ value: "inner?" }] });
  });
});

describe("a question that nobody will answer", () => {
  it("is superseded by new input", async () => {
    const threadId = await newThread();
    await client.runs.wait(threadId, "approval", { input: { question: "old" } });
    const values = await client.runs.wait(threadId, "approval", { input: { question: "new" } });
    expect(values).toMatchObject({ __interrupt__: [{ value: { question: "new" } }] });
    expect(Object.keys(await pending(threadId))).toEqual(['{"question":"new"}']);
  });

  it("is dismissed by a state update", async () => {
    const threadId = await newThread();
    await client.runs.wait(threadId, "approval", { input: { question: "?" } });
    await client.threads.updateState(threadId, { values: { answers: ["dismissed"] }, asNode: "ask" });
    expect(await pending(threadId)).toEqual({});
  });

  it.each(["interrupt", "rollback"] as const)(
    "stays when a run that never began is stopped with %s",
    async (action) => {
      const threadId = await newThread();
      await client.runs.wait(threadId, "approval", { input: { question: "?" } });
      const before = await pending(threadId);
      const run = await client.runs.create(threadId, "approval", { input: { question: "new" }, afterSeconds: 3_600 });
      expect((await client.threads.get(threadId)).status).toBe("busy");
      await client.runs.cancel(threadId, run.run_id, true, action);
      expect(await pending(threadId)).toEqual(before);
      expect(await resume(threadId, "approval", "still")).toEqual({ question: "?", answers: ["still"] });
    },
  );
});

describe("breakpoints", () => {
  it.each([
    [{ interrupt_before: ["two"] }, ["one"], ["two"]],
    [{ interrupt_after: ["two"] }, ["one", "two"], ["three"]],
    [{ interrupt_before: "*" }, [], ["one"]],
    [{ interrupt_after: "*" }, ["one"], ["two"]],
    [{ interrupt_before: ["*"] }, [], ["one"]],
    [{ interrupt_before: ["three"], interrupt_after: ["one"] }, ["one"], ["two"]],
  ])("%j stops there", async (breakpoints, steps, next) => {
    const threadId = await newThread();
    const answer = await send("POST", `/threads/${threadId}/runs/wait`, {
      assistant_id: "breakpoints",
      input: { input: 1 },
      ...breakpoints,
    });
    expect(answer.body).toEqual({ input: 1, steps });
    const state = await client.threads.getState(threadId);
    expect([state.next, state.values]).toEqual([next, { input: 1, steps }]);
    expect(await client.threads.get(threadId)).toMatchObject({
      status: "interrupted",
      interrupts: {},
      values: { steps },
    });
    const [run] = await client.runs.list(threadId);
    expect(run?.status).toBe("success");
    expect(await client.runs.wait(threadId, "breakpoints", { input: null })).toEqual({
      input: 1,
      steps: ["one", "two", "three"],
    });
    expect((await client.threads.get(threadId)).status).toBe("idle");
  });

  it("at every node make a run of single steps", async () => {
    const threadId = await newThread();
    const seen: unknown[] = [];
    let input: Record<string, unknown> | null = { input: 1 };
    for (let step = 0; step < 3; step++) {
      const values = await client.runs.wait(threadId, "breakpoints", { input, interruptAfter: "*" });
      seen.push((values as { steps: string[] }).steps.length);
      input = null;
    }
    expect(seen).toEqual([1, 2, 3]);
    expect((await client.threads.get(threadId)).status).toBe("idle");
  });
});

describe("update and goto", () => {
  it("write to the state and go where they are told", async () => {
    const threadId = await newThread();
    await client.runs.wait(threadId, "breakpoints", { input: { input: 1 }, interruptBefore: ["two"] });
    const values = await client.runs.wait(threadId, "breakpoints", {
      command: { update: { steps: ["updated"] }, goto: "three" },
    });
    expect(values).toMatchObject({ steps: expect.arrayContaining(["one", "updated", "three"]) });
  });

  it("take pairs, and send input to a node", async () => {
    const threadId = await newThread();
    await client.runs.wait(threadId, "parallel", { input: { topics: [] } });
    const values = await client.runs.wait(threadId, "parallel", {
      command: { update: [["topics", ["sent"]]], goto: [{ node: "branch", input: { topic: "sent" } }] } as never,
    });
    expect((values as { reports: string[] }).reports).toContain("sent");
  });

  it("to a node that does not exist change nothing", async () => {
    const threadId = await newThread();
    await client.runs.wait(threadId, "breakpoints", { input: { input: 1 } });
    const values = await client.runs.wait(threadId, "breakpoints", { command: { goto: "nowhere" } });
    expect(values).toEqual({ input: 1, steps: ["one", "two", "three"] });
  });
});

describe("a fork", () => {
  async function past(): Promise<{ threadId: string; checkpointId: string }> {
    const threadId = await newThread();
    await client.runs.wait(threadId, "breakpoints", { input: { input: 1 } });
    const history = await client.threads.getHistory(threadId);
    const afterOne = history.find(({ next }) => next[0] === "two");
    return { threadId, checkpointId: afterOne?.checkpoint.checkpoint_id ?? "" };
  }

  it.each(["checkpoint", "checkpoint_id", "config"])("starts where %s says", async (how) => {
    const { threadId, checkpointId } = await past();
    const where = {
      checkpoint: { checkpoint: { checkpoint_id: checkpointId, checkpoint_ns: "", checkpoint_map: {} } },
      checkpoint_id: { checkpoint_id: checkpointId },
      config: { config: { configurable: { checkpoint_id: checkpointId } } },
    }[how];
    const answer = await send("POST", `/threads/${threadId}/runs/wait`, {
      assistant_id: "breakpoints",
      input: null,
      ...where,
    });
    expect(answer).toMatchObject({ status: 200, body: { steps: ["one", "two", "three"] } });
    const history = await client.threads.getHistory(threadId, { limit: 20 });
    const children = history.filter(({ parent_checkpoint }) => parent_checkpoint?.checkpoint_id === checkpointId);
    expect(children.length).toBeGreaterThan(1);
    expect((await client.threads.get(threadId)).values).toEqual((await client.threads.getState(threadId)).values);
  });

  it("edits the past with new input", async () => {
    const { threadId, checkpointId } = await past();
    const checkpoint = { checkpoint_id: checkpointId, checkpoint_ns: "", checkpoint_map: {} };
    const values = await client.runs.wait(threadId, "breakpoints", {
      input: { input: 2 },
      checkpoint: checkpoint as never,
    });
    expect(values).toEqual({ input: 2, steps: ["one", "one", "two", "three"] });
  });

  it.each(["checkpoint", "checkpoint_id", "config"])(
    "of a %s that does not exist is refused before there is a run",
    async (how) => {
      const { threadId } = await past();
      const nowhere = "1ef00000-0000-6000-8000-000000000000";
      const where = {
        checkpoint: { checkpoint: { checkpoint_id: nowhere } },
        checkpoint_id: { checkpoint_id: nowhere },
        config: { config: { configurable: { checkpoint_id: nowhere } } },
      }[how];
      const before = await client.threads.get(threadId);
      for (const path of ["runs", "runs/stream", "runs/wait"]) {
        const answer = await send("POST", `/threads/${threadId}/${path}`, {
          assistant_id: "breakpoints",
          input: null,
          ...where,
        });
        expect(answer).toMatchObject({ status: 404, body: { detail: expect.stringContaining(nowhere) } });
      }
      expect(await client.threads.get(threadId)).toEqual(before);
      expect(await client.runs.list(threadId)).toHaveLength(1);
    },
  );

  it("of another thread's checkpoint is refused", async () => {
    const [mine, other] = [await past(), await past()];
    const answer = await send("POST", `/threads/${mine.threadId}/runs`, {
      assistant_id: "breakpoints",
      input: null,
      checkpoint_id: other.checkpointId,
    });
    expect(answer.status).toBe(404);
  });

  it("of a pointer without an id starts at the head", async () => {
    const { threadId } = await past();
    const values = await client.runs.wait(threadId, "breakpoints", {
      input: { input: 3 },
      checkpoint: { checkpoint_ns: "", checkpoint_id: null, checkpoint_map: null } as never,
    });
    expect(values).toMatchObject({ input: 3, steps: ["one", "two", "three", "one", "two", "three"] });
  });
});
