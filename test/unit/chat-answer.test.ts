/** What a run says, in the words of OpenAI's chat. */
import { describe, expect, it } from "vitest";
import { chatCompletion, createChatChunks, failureOf } from "../../src/faces/chat-answer.js";
import type { RunEnd } from "../../src/faces/run-answer.js";

const COMPLETION = {
  runId: "r1",
  threadId: "t1",
  isThreadShown: false,
  model: "agent",
  createdAt: 1_700_000_000_900,
  includeUsage: false,
};
const END: RunEnd = {
  kind: "finished",
  questions: [],
  error: null,
  values: {},
  usage: { input: 3, output: 4 },
  isCutShort: false,
};
const PAUSED: RunEnd = { ...END, kind: "paused", questions: [{ id: "q1", value: { ask: 1 } }] };
const CALL = { id: "intr_q1.t1", type: "function", function: { name: "human_input", arguments: '{"ask":1}' } };
const HEAD = { id: "chatcmpl-r1", object: "chat.completion.chunk", created: 1_700_000_000, model: "agent" };
const chunk = (delta: object, finish_reason: string | null = null) => ({
  ...HEAD,
  choices: [{ index: 0, delta, logprobs: null, finish_reason }],
});

describe("chunks", () => {
  it("are the role, the words, and why they end", () => {
    const chunks = createChatChunks(COMPLETION);
    expect(chunks.open()).toEqual(chunk({ role: "assistant", content: "" }));
    expect(chunks.of({ kind: "begin" })).toEqual([]);
    expect(chunks.of({ kind: "text", text: "Hi" })).toEqual([chunk({ content: "Hi" })]);
    expect(chunks.of({ kind: "reasoning", text: "Hm" })).toEqual([chunk({ reasoning_content: "Hm" })]);
    expect(chunks.of({ kind: "end", end: END })).toEqual([chunk({}, "stop")]);
    expect(chunks.of({ kind: "end", end: { ...END, isCutShort: true } })).toEqual([chunk({}, "length")]);
  });

  it("are calls for the questions of the graph", () => {
    expect(createChatChunks(COMPLETION).of({ kind: "end", end: PAUSED })).toEqual([
      chunk({ tool_calls: [{ index: 0, ...CALL }] }),
      chunk({}, "tool_calls"),
    ]);
  });

  it("end with what it cost when that is asked for, and say so before", () => {
    const [last, usage] = createChatChunks({ ...COMPLETION, includeUsage: true }).of({ kind: "end", end: END });
    expect(last).toEqual({ ...chunk({}, "stop"), usage: null });
    expect(usage).toEqual({
      ...HEAD,
      choices: [],
      usage: { prompt_tokens: 3, completion_tokens: 4, total_tokens: 7 },
    });
  });

  it("name the thread that the client named", () => {
    expect(createChatChunks({ ...COMPLETION, isThreadShown: true }).open()).toMatchObject({
      metadata: { thread_id: "t1" },
    });
  });

  it("end with the error of a run that failed, or was cancelled", () => {
    const error = { error: "RangeError", message: "out of range" };
    const failed: RunEnd = { ...END, kind: "failed", error };
    expect(createChatChunks(COMPLETION).of({ kind: "end", end: failed })).toEqual([
      { error: { message: "out of range", type: "run_error", code: "RangeError", param: null } },
    ]);
    expect(failureOf({ ...END, kind: "cancelled" })).toMatchObject({ code: "cancelled" });
    expect([failureOf(END), failureOf(PAUSED)]).toEqual([undefined, undefined]);
  });
});

describe("a completion", () => {
  it("is one choice, with thoughts where there are any", () => {
    expect(chatCompletion(COMPLETION, { text: "Hi", reasoning: "Hm", end: END })).toEqual({
      ...HEAD,
      object: "chat.completion",
      choices: [
        {
          index: 0,
          message: { role: "assistant", content: "Hi", refusal: null, reasoning_content: "Hm" },
          logprobs: null,
          finish_reason: "stop",
        },
      ],
      usage: { prompt_tokens: 3, completion_tokens: 4, total_tokens: 7 },
    });
  });

  it("has no content where it only asks", () => {
    expect(chatCompletion(COMPLETION, { text: "", reasoning: "", end: PAUSED })).toMatchObject({
      choices: [{ message: { content: null, tool_calls: [CALL] }, finish_reason: "tool_calls" }],
    });
  });
});
