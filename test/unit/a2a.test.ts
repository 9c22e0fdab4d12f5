/** A2A's messages and tasks in the words of both families. */
import { describe, expect, it } from "vitest";
import { type Assistant, type Json, type JsonObject, RUN_STATUSES } from "../../src/core/model.js";
import { agentCard, takesType } from "../../src/faces/a2a-card.js";
import {
  answersOf,
  partJson,
  readSentMessage,
  shownMessages,
  toGraphContent,
  wordsOf,
} from "../../src/faces/a2a-message.js";
import { requireMethod } from "../../src/faces/a2a-methods.js";
import { eventJson, questionParts, readState, stateOfRun, statusAfter, taskJson } from "../../src/faces/a2a-task.js";

const message = (parts: Json, more: object = {}): Json => ({ messageId: "m", role: "user", parts, ...more });

describe("a message", () => {
  it("has the same parts in either family", () => {
    const old: JsonObject[] = [
      { kind: "text", text: "Look" },
      { kind: "data", data: { a: 1 } },
      { kind: "file", file: { bytes: "QUJD", mimeType: "image/png", name: "a.png" } },
      { kind: "file", file: { uri: "https://example.com/a.pdf", mimeType: "application/pdf" } },
    ];
    const modern: JsonObject[] = [
      { text: "Look" },
      { data: { a: 1 } },
      { raw: "QUJD", mediaType: "image/png", filename: "a.png" },
      { url: "https://example.com/a.pdf", mediaType: "application/pdf" },
    ];
    const { parts } = readSentMessage(message(old, { taskId: "t", contextId: "" }));
    expect(readSentMessage(message(modern, { role: "ROLE_USER" })).parts).toEqual(parts);
    expect(parts.map((part) => partJson(part, "0.3"))).toEqual(old);
    expect(parts.map((part) => partJson(part, "1.0"))).toEqual(modern);
    expect(toGraphContent(parts)).toEqual([
      { type: "text", text: "Look" },
      { type: "text", text: '{"a":1}' },
      { type: "image_url", image_url: { url: "data:image/png;base64,QUJD" } },
      { type: "file", mimeType: "application/pdf", url: "https://example.com/a.pdf" },
    ]);
    expect(toGraphContent(parts.slice(0, 1))).toBe("Look");
    expect([wordsOf(parts), wordsOf(parts.slice(0, 1))]).toEqual([undefined, "Look"]);
  });

  it("has data of any kind in version 1.0, and objects before", () => {
    expect(partJson({ kind: "data", data: [1] }, "1.0")).toEqual({ data: [1] });
    expect(partJson({ kind: "data", data: [1] }, "0.3")).toEqual({ kind: "data", data: { value: [1] } });
  });

  it.each<Json>([
    null,
    "text",
    { role: "user", parts: [{ text: "x" }] },
    message([]),
    message("text"),
    message([1]),
    message([{ kind: "text" }]),
    message([{ kind: "file", file: {} }]),
    message([{ text: "x" }], { role: "agent" }),
    message([{ text: "x" }], { taskId: 1 }),
    message([{ text: "x" }], { contextId: ".." }),
  ])("is not %j", (value) => {
    expect(() => readSentMessage(value)).toThrow(expect.objectContaining({ code: -32602 }));
  });

  it("of a graph is shown when people or the agent said it, under the name that its client gave it", () => {
    expect(
      shownMessages([
        { type: "system", id: "s", content: "Be brief" },
        { type: "human", id: "1", content: "hi", additional_kwargs: { a2a_message_id: "mine" } },
        { type: "ai", id: "2", content: "" },
        { type: "tool", id: "3", content: "42" },
        { type: "ai", id: "4", content: [{ type: "text", text: "Hello" }] },
      ]),
    ).toEqual([
      { id: "1", messageId: "mine", role: "user", parts: [{ kind: "text", text: "hi" }] },
      { id: "4", messageId: "4", role: "agent", parts: [{ kind: "text", text: "Hello" }] },
    ]);
  });

  it("answers questions by their ids, wholly or not at all", () => {
    const data = (resume: Json) => [{ kind: "data" as const, data: { resume } }];
    expect(answersOf(data([{ id: "a", value: null }]))).toEqual({ a: null });
    expect(answersOf([{ kind: "text", text: "yes" }])).toBeUndefined();
    for (const resume of [[], [{ id: "a" }], [{ value: 1 }], [{ id: "a", value: 1 }, 2]] as Json[]) {
      expect(() => answersOf(data(resume))).toThrow("resume");
    }
  });
});

describe("a task", () => {
  const at = Date.UTC(2026, 0, 1);
  const ids = { taskId: "t", contextId: "c" };
  const status = { state: "input-required", at, says: questionParts([{ id: "i", value: "Go on?" }]) } as const;

  it("is told in the words of its family", () => {
    const history = [{ messageId: "m", role: "user", parts: [{ kind: "text", text: "hi" }] }] as const;
    const task = { ...ids, status, answer: [{ kind: "text", text: "Well" }], history } as const;
    expect(taskJson(task, "0.3")).toEqual({
      kind: "task",
      id: "t",
      contextId: "c",
      status: {
        state: "input-required",
        timestamp: "2026-01-01T00:00:00.000Z",
        message: {
          kind: "message",
          messageId: "t-input-required",
          role: "agent",
          ...ids,
          parts: [
            { kind: "text", text: "Go on?" },
            { kind: "data", data: { interrupts: [{ id: "i", value: "Go on?" }] } },
          ],
        },
      },
      artifacts: [{ artifactId: "answer", name: "answer", parts: [{ kind: "text", text: "Well" }] }],
      history: [{ kind: "message", messageId: "m", role: "user", ...ids, parts: [{ kind: "text", text: "hi" }] }],
    });
    expect(taskJson(task, "1.0")).toEqual({
      id: "t",
      contextId: "c",
      status: {
        state: "TASK_STATE_INPUT_REQUIRED",
        timestamp: "2026-01-01T00:00:00.000Z",
        message: {
          messageId: "t-input-required",
          role: "ROLE_AGENT",
          ...ids,
          parts: [{ text: "Go on?" }, { data: { interrupts: [{ id: "i", value: "Go on?" }] } }],
        },
      },
      artifacts: [{ artifactId: "answer", name: "answer", parts: [{ text: "Well" }] }],
      history: [{ messageId: "m", role: "ROLE_USER", ...ids, parts: [{ text: "hi" }] }],
    });
  });

  it("tells what happens to it, and in version 0.3 whether that is all", () => {
    const working = { kind: "status", status: { state: "working", at, says: [] } } as const;
    const answer = { kind: "answer", parts: [{ kind: "text", text: "x" }], isFirst: false } as const;
    expect(eventJson(working, ids, "0.3")).toMatchObject({ kind: "status-update", final: false });
    expect(eventJson({ kind: "status", status }, ids, "0.3")).toMatchObject({ kind: "status-update", final: true });
    expect(eventJson(working, ids, "1.0")).toEqual({
      statusUpdate: { ...ids, status: { state: "TASK_STATE_WORKING", timestamp: "2026-01-01T00:00:00.000Z" } },
    });
    expect(eventJson(answer, ids, "0.3")).toMatchObject({ kind: "artifact-update", append: true });
    expect(eventJson(answer, ids, "1.0")).toMatchObject({ artifactUpdate: { append: true } });
  });

  it("stands as its run does", () => {
    expect(RUN_STATUSES.map(stateOfRun)).toEqual(["submitted", "working", "completed", "failed", "failed", "canceled"]);
    const view = { questions: [], error: null, values: {} };
    expect(statusAfter({ ...view, kind: "cancelled" }, at).state).toBe("canceled");
    const error = { error: "RangeError", message: "out of range" };
    expect(statusAfter({ ...view, kind: "failed", error }, at)).toMatchObject({
      state: "failed",
      says: [{ text: "RangeError: out of range" }],
    });
  });

  it("has states with names in either family", () => {
    expect(["input-required", "TASK_STATE_INPUT_REQUIRED", "canceled", "nonsense"].map(readState)).toEqual([
      "input-required",
      "input-required",
      "canceled",
      undefined,
    ]);
  });
});

describe("a method", () => {
  it("says by its name in whose words it is answered", () => {
    expect(requireMethod("message/send")).toEqual({ action: "send", family: "0.3" });
    expect(requireMethod("SendMessage")).toEqual({ action: "send", family: "1.0" });
    expect(() => requireMethod("tasks/pushNotificationConfig/list")).toThrow(expect.objectContaining({ code: -32003 }));
    expect(() => requireMethod("toString")).toThrow(expect.objectContaining({ code: -32601 }));
  });
});

describe("an agent card", () => {
  const assistant = (metadata: Assistant["metadata"]): Assistant => ({
    assistantId: "a1",
    graphId: "agent",
    name: "agent",
    version: 3,
    description: null,
    config: {},
    context: {},
    metadata,
    createdAt: 0,
    updatedAt: 0,
  });

  it("says what the assistant says about itself", () => {
    expect(agentCard(assistant({}), "https://x/a2a/a1")).toMatchObject({
      version: "3",
      description: "The agent agent",
      defaultInputModes: expect.arrayContaining(["text/plain"]),
      defaultOutputModes: ["text/plain", "application/json"],
    });
    const modes = { input_modes: ["text/plain"], output_modes: ["audio/wav"] };
    expect(agentCard(assistant({ a2a: modes }), "u")).toMatchObject({
      defaultInputModes: ["text/plain"],
      defaultOutputModes: ["audio/wav"],
    });
  });

  it("lists the types of files that the agent takes; without a list it takes all", () => {
    const picky = assistant({ a2a: { input_modes: ["text/plain", "image/*"] } });
    expect(takesType(picky, "image/PNG")).toBe(true);
    expect(takesType(picky, "text/plain; charset=utf-8")).toBe(true);
    expect(takesType(picky, "audio/wav")).toBe(false);
    expect(takesType(assistant({ a2a: "odd" }), "audio/wav")).toBe(true);
  });
});
