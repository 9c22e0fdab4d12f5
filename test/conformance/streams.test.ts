/** Event streams of every mode: their order, their names, their data. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startTestGateway, type TestGateway } from "../support/gateway.js";
import { names, openSse, type SsePart } from "../support/sse-client.js";

let gateway: TestGateway;

beforeAll(async () => {
  gateway = await startTestGateway();
});
afterAll(() => gateway.stop());

/** Runs to the end on a thread of its own; every stream is held to what all of them promise. */
async function streamOf(
  assistantId: string,
  payload: Record<string, unknown> = {},
): Promise<{ readonly threadId: string; readonly runId: string; readonly parts: readonly SsePart[] }> {
  const { thread_id: threadId } = await gateway.client.threads.create();
  const stream = await openSse(`${gateway.url}/threads/${threadId}/runs/stream`, {
    json: { assistant_id: assistantId, input: { input: 1 }, ...payload },
  });
  const parts = await stream.rest();
  expect(parts[0]).toMatchObject({ event: "metadata", data: { attempt: 1, thread_id: threadId } });
  expect(["end", "error"]).toContain(parts.at(-1)?.event);
  expect(parts.filter(({ event }) => event === "end" || event === "error")).toHaveLength(1);
  expectGrowingIds(parts);
  return { threadId, runId: (parts.at(0)?.data as { run_id: string } | undefined)?.run_id ?? "", parts };
}

function expectGrowingIds(parts: readonly SsePart[]): void {
  const seqs = parts.map(({ id }) => Number(/^1-(\d+)$/.exec(id ?? "")?.[1]));
  expect(seqs).toEqual([...new Set(seqs)].sort((a, b) => a - b));
  expect(seqs).not.toContain(Number.NaN);
}

/** Event names without the ids of tasks. */
function shapes(parts: readonly SsePart[]): string[] {
  return names(parts).map((name) => name.replaceAll(/:[0-9a-f-]{36}/g, ""));
}

function dataOf<T>(parts: readonly SsePart[], event: string): T[] {
  return parts.filter((part) => part.event === event).map(({ data }) => data as T);
}

interface WireMessage {
  readonly id: string;
  readonly type: string;
  readonly content: string;
}

const human = (content: string) => ({ messages: [{ type: "human", content }] });

describe("annex A.1", () => {
  const modes = ["values", "updates", "messages-tuple", "custom", "tasks", "checkpoints"];
  const asked = [{ id: expect.stringMatching(/^[0-9a-f]{32}$/), value: { q: "Go on?" } }];

  it("is the order of all modes together", async () => {
    const { parts } = await streamOf("story", { input: human("hi"), stream_mode: modes, stream_subgraphs: true });
    expect(shapes(parts)).toEqual([
      "metadata",
      ...["checkpoints", "values", "checkpoints"],
      ...["tasks", ...Array(5).fill("messages|llm"), "updates", "tasks", "values", "checkpoints"],
      ...["tasks", "checkpoints|sub", "values|sub", "checkpoints|sub"],
      ...["tasks|sub", "updates|sub", "tasks|sub", "values|sub", "checkpoints|sub"],
      ...["updates", "tasks", "values", "checkpoints"],
      ...["tasks", "custom", "updates", "values", "tasks"],
      "end",
    ]);
  });

  it("has the data of the reference", async () => {
    const { parts, threadId } = await streamOf("story", {
      input: human("hi"),
      stream_mode: modes,
      stream_subgraphs: true,
    });
    const [first, ...later] = dataOf<Record<string, unknown>>(parts, "checkpoints");
    expect(first).toMatchObject({ metadata: { source: "input", step: -1 }, next: ["__start__"], parent_config: null });
    expect(later.map(({ metadata, next }) => [(metadata as { step: number }).step, next])).toEqual([
      [0, ["llm"]],
      [1, ["sub"]],
      [2, ["ask"]],
    ]);
    const inner = parts.filter(({ event }) => event.startsWith("checkpoints|sub:"));
    const entered = later[1]?.checkpoint as { checkpoint_id: string };
    expect(inner[0]?.data).toMatchObject({ metadata: { step: -1, parents: { "": entered.checkpoint_id } } });
    expect(inner[2]?.data).toMatchObject({ metadata: { step: 1 }, next: [] });
    expect(dataOf(parts, "tasks").slice(-2)).toEqual([
      expect.objectContaining({ name: "ask", triggers: ["branch:to:ask"], interrupts: [] }),
      { id: expect.any(String), name: "ask", result: {}, interrupts: asked },
    ]);
    expect(dataOf(parts, "custom")).toEqual([{ progress: 1 }]);
    expect(dataOf(parts, "updates").at(-1)).toEqual({ __interrupt__: asked });
    expect(dataOf(parts, "values").slice(-2)).toEqual([
      expect.objectContaining({ n: 1, answer: null }),
      { __interrupt__: asked },
    ]);
    expect(parts.at(-1)?.data).toEqual({ run_id: expect.any(String), status: "success" });
    expect(JSON.stringify(parts)).not.toContain("__pregel_read");

    const thread = await gateway.client.threads.get(threadId);
    const state = await gateway.client.threads.getState(threadId);
    const [task] = state.tasks;
    expect(thread).toMatchObject({ status: "interrupted", interrupts: { [task?.id ?? ""]: asked }, values: { n: 1 } });
    expect(state.next).toEqual(["ask"]);
    expect(state.tasks).toEqual([
      {
        id: expect.any(String),
        name: "ask",
        path: ["__pregel_pull", "ask"],
        error: null,
        interrupts: asked,
        checkpoint: null,
        state: null,
        result: null,
      },
    ]);
  });

  it("has accumulated messages in the messages mode", async () => {
    const { parts } = await streamOf("story", { input: human("hi"), stream_mode: "messages" });
    expect(shapes(parts)).toEqual([
      "metadata",
      "messages/complete",
      "messages/metadata",
      ...Array(5).fill("messages/partial"),
      "messages/complete",
      "end",
    ]);
    const partial = dataOf<WireMessage[]>(parts, "messages/partial");
    expect(partial.map(([message]) => message?.content)).toEqual(["h", "h e", "h e l", "h e l l", "h e l l o"]);
    const id = partial[0]?.[0]?.id ?? "";
    expect(dataOf(parts, "messages/metadata")).toEqual([
      { [id]: { metadata: expect.objectContaining({ langgraph_node: "llm", langgraph_step: 1 }) } },
    ]);
    expect(dataOf<WireMessage[]>(parts, "messages/complete").flat()).toMatchObject([
      { type: "human", content: "hi" },
      { type: "ai", content: "h e l l o", id },
    ]);
  });
});

describe("messages-tuple", () => {
  it("streams chunks whose ids are those of the state", async () => {
    const { parts, threadId, runId } = await streamOf("talk", {
      input: human("one two three"),
      stream_mode: ["messages-tuple", "values"],
    });
    const tuples = dataOf<[WireMessage, Record<string, unknown>]>(parts, "messages");
    expect(tuples.map(([{ type, content }]) => [type, content])).toEqual([
      ["AIMessageChunk", "one"],
      ["AIMessageChunk", " two"],
      ["AIMessageChunk", " three"],
    ]);
    const { values } = await gateway.client.threads.getState<{ messages: WireMessage[] }>(threadId);
    const answer = values.messages.at(-1);
    expect(answer).toMatchObject({ type: "ai", content: "one two three" });
    expect(new Set(tuples.map(([{ id }]) => id))).toEqual(new Set([answer?.id]));
    expect(tuples[0]?.[1]).toMatchObject({
      langgraph_node: "llm",
      langgraph_step: 1,
      langgraph_triggers: ["branch:to:llm"],
      langgraph_checkpoint_ns: expect.stringMatching(/^llm:[0-9a-f-]{36}$/),
      run_id: runId,
      thread_id: threadId,
    });
  });

  it("shows a message that was not streamed whole", async () => {
    const { parts } = await streamOf("echo", { input: human("hi"), stream_mode: ["messages-tuple", "messages"] });
    expect(dataOf<[WireMessage]>(parts, "messages").map(([{ type, content }]) => [type, content])).toEqual([
      ["ai", "echo: hi"],
    ]);
    expect(
      dataOf<WireMessage[]>(parts, "messages/complete")
        .flat()
        .map(({ content }) => content),
    ).toEqual(["hi", "echo: hi"]);
  });
});

describe("subgraphs", () => {
  const all = ["values", "updates", "messages-tuple", "messages", "custom", "tasks", "checkpoints", "debug"];

  it("are named by their namespace, and by nothing else", async () => {
    const { parts } = await streamOf("nested", { stream_mode: all, stream_subgraphs: true });
    const depths = new Set(shapes(parts).map((name) => name.split("|").slice(1).join("|")));
    expect(depths).toEqual(new Set(["", "sub", "sub|middle"]));
    for (const { event, data } of parts.filter(({ event }) => event.startsWith("updates"))) {
      expect(Object.keys(data as object)).not.toContain(event.includes("|") ? "outer" : "inner");
    }
  });

  it("are silent without the flag", async () => {
    const { parts, threadId } = await streamOf("choir", { input: human("a b"), stream_mode: all });
    expect(names(parts).filter((name) => name.includes("|"))).toEqual([]);
    expect(dataOf(parts, "updates").map((update) => Object.keys(update as object))).toEqual([["open"], ["sub"]]);
    expect(dataOf(parts, "custom")).toEqual([{ from: "root" }]);
    expect(dataOf(parts, "values")).toHaveLength(2);
    // What the subgraph said token by token is shown whole, as the message of the root's own node that it became.
    const { values } = await gateway.client.threads.getState<{ messages: WireMessage[] }>(threadId);
    const answer = values.messages.at(-1);
    expect(answer).toMatchObject({ type: "ai", content: "a b" });
    expect(dataOf(parts, "messages")).toEqual([
      [
        answer,
        expect.objectContaining({
          langgraph_node: "sub",
          langgraph_checkpoint_ns: expect.stringMatching(/^sub:[^|]*$/),
        }),
      ],
    ]);
    expect(
      dataOf<WireMessage[]>(parts, "messages/complete")
        .flat()
        .map(({ content }) => content),
    ).toEqual(["a b", "a b"]);
    expect(names(parts)).not.toContain("messages/partial");
  });

  it("speak, report and call tools under their own names with it", async () => {
    const { parts } = await streamOf("choir", {
      input: human("a b"),
      stream_mode: ["messages-tuple", "custom"],
      stream_subgraphs: true,
    });
    expect(shapes(parts).slice(1, -1)).toEqual(["custom", "custom|sub", "messages|sub|speak", "messages|sub|speak"]);
  });
});

describe("tools", () => {
  const call = { event: "on_tool_start", name: "wait", toolCallId: "call-1" };

  it("tells when a tool starts and ends", async () => {
    const { parts } = await streamOf("toolbox", { stream_mode: "tools" });
    expect(dataOf(parts, "tools")).toEqual([
      expect.objectContaining(call),
      expect.objectContaining({ event: "on_tool_end", name: "wait", toolCallId: "call-1" }),
    ]);
  });

  it("tells when a tool fails", async () => {
    const config = { configurable: { mood: "bad" } };
    const { parts } = await streamOf("toolbox", { stream_mode: "tools", config });
    expect(dataOf(parts, "tools")).toEqual([
      expect.objectContaining(call),
      expect.objectContaining({
        event: "on_tool_error",
        error: { error: "RangeError", message: "the tool is in a bad mood" },
      }),
    ]);
  });

  it("keeps those of subgraphs apart", async () => {
    const config = { configurable: { nested: true } };
    expect(names((await streamOf("toolbox", { stream_mode: "tools", config })).parts)).toEqual(["metadata", "end"]);
    const { parts } = await streamOf("toolbox", { stream_mode: "tools", stream_subgraphs: true, config });
    expect(shapes(parts)).toEqual(["metadata", "tools|nested|tools", "tools|nested|tools", "end"]);
  });
});

describe("events", () => {
  it("are LangChain's, hidden ones left out", async () => {
    const { parts, runId } = await streamOf("talk", { input: human("a b"), stream_mode: "events" });
    expect(new Set(names(parts))).toEqual(new Set(["metadata", "events", "end"]));
    const events = dataOf<{ event: string; name: string; tags?: string[]; data: { chunk?: WireMessage } }>(
      parts,
      "events",
    );
    expect(events[0]).toMatchObject({ event: "on_chain_start", run_id: runId });
    const tokens = events.filter(({ event }) => event === "on_chat_model_stream");
    expect(tokens.map(({ data }) => data.chunk?.content)).toEqual(["a", " b"]);
    expect(events.flatMap(({ tags }) => tags ?? [])).not.toContain("langsmith:hidden");
  });

  it("come beside the other modes, and the run ends as without them", async () => {
    const plain = await streamOf("talk", { input: human("a b"), stream_mode: ["values", "messages-tuple", "updates"] });
    const { parts, threadId } = await streamOf("talk", {
      input: human("a b"),
      stream_mode: ["events", "values", "messages-tuple", "updates"],
    });
    expect(names(parts).filter((name) => name !== "events")).toEqual(names(plain.parts));
    const { values } = await gateway.client.threads.get(threadId);
    expect((values as { messages: WireMessage[] }).messages.map(({ content }) => content)).toEqual(["a b", "a b"]);
  });

  it("keep subgraphs' values under their names", async () => {
    const { parts } = await streamOf("nested", { stream_mode: ["events", "values"], stream_subgraphs: true });
    const values = shapes(parts).filter((name) => name.startsWith("values"));
    expect(new Set(values)).toEqual(new Set(["values", "values|sub", "values|sub|middle"]));
    const plain = await streamOf("nested", { stream_mode: ["events", "values"] });
    expect(dataOf(plain.parts, "values")).toHaveLength(3);
  });
});

describe("other modes", () => {
  it("debug wraps checkpoints, tasks and their results", async () => {
    const { parts } = await streamOf("custom", { stream_mode: "debug" });
    const debug = dataOf<{ type: string; step: number; timestamp: string; payload: object }>(parts, "debug");
    expect(debug.map(({ type, step }) => [type, step])).toEqual([
      ["checkpoint", -1],
      ["checkpoint", 0],
      ["task", 1],
      ["task_result", 1],
      ["checkpoint", 1],
    ]);
    expect(debug[0]?.timestamp).toMatch(/^\d{4}-\d\d-\d\dT.*Z$/);
    expect(Object.keys(debug.at(-1)?.payload ?? {}).sort()).toEqual(
      ["checkpoint", "config", "metadata", "next", "parent_checkpoint", "parent_config", "tasks", "values"].sort(),
    );
  });

  it("custom is what nodes write", async () => {
    const { parts } = await streamOf("custom", { stream_mode: "custom" });
    expect(dataOf(parts, "custom")).toEqual([{ progress: 0 }, { progress: 1 }, { progress: 2 }]);
  });

  it("updates of parallel tasks come one by one", async () => {
    const { parts } = await streamOf("parallel", { stream_mode: "updates" });
    expect(dataOf(parts, "updates").map((update) => Object.keys(update as object))).toEqual([
      ["plan"],
      ...Array(3).fill(["branch"]),
      ["join"],
    ]);
  });

  it.each([
    ["nothing", {}],
    ["null", { stream_mode: null }],
    ["an empty list", { stream_mode: [] }],
    ["its name", { stream_mode: "values" }],
    ["its name twice", { stream_mode: ["values", "values"] }],
  ])("values is what %s asks for", async (_title, payload) => {
    const { parts } = await streamOf("custom", payload);
    expect(names(parts)).toEqual(["metadata", "values", "values", "end"]);
  });

  it("one that does not exist is refused", async () => {
    const { thread_id: threadId } = await gateway.client.threads.create();
    const response = await fetch(`${gateway.url}/threads/${threadId}/runs/stream`, {
      method: "POST",
      body: JSON.stringify({ assistant_id: "custom", input: {}, stream_mode: ["values", "everything"] }),
    });
    expect(response.status).toBe(422);
    expect(await response.json()).toMatchObject({ detail: expect.stringContaining("body.stream_mode") });
    expect(await gateway.client.runs.list(threadId)).toEqual([]);
  });
});

describe("a failure", () => {
  it("is the last event, after everything that came before it", async () => {
    const { parts, threadId } = await streamOf("failing", { stream_mode: ["values", "updates"] });
    expect(names(parts)).toEqual(["metadata", "values", "updates", "values", "error"]);
    const error = { error: "RangeError", message: "out of range" };
    expect(parts.at(-1)?.data).toEqual(error);
    const [run] = await gateway.client.runs.list(threadId);
    expect(run?.status).toBe("error");
    const thread = await gateway.client.threads.get(threadId);
    expect(thread).toMatchObject({ status: "error", error, values: { steps: ["first"] } });
    expect((await gateway.client.threads.getState(threadId)).next).toEqual(["fail"]);
  });

  it("of the graph's limits has LangGraph's name", async () => {
    const { parts } = await streamOf("breakpoints", { config: { recursion_limit: 2 } });
    expect(parts.at(-1)).toMatchObject({ event: "error", data: { error: "GraphRecursionError" } });
  });

  it("does not outlive the next run", async () => {
    const { thread_id: threadId } = await gateway.client.threads.create();
    await gateway.client.runs.wait(threadId, "failing", { input: {}, raiseError: false });
    await gateway.client.runs.wait(threadId, "custom", { input: {} });
    expect(await gateway.client.threads.get(threadId)).toMatchObject({ status: "idle", error: null });
  });
});
