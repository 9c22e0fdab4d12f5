/** Tasks in few words. */
import { describe, expect, it } from "vitest";
import { taskSummary } from "../../src/graphs/task-summary.js";

const TOLD = { isUpdateTold: true };
const UNTOLD = { isUpdateTold: false };
const task = { id: "t1", name: "agent", triggers: ["x"], interrupts: [] };

describe("a task that begins", () => {
  it("leaves out what it was given", () => {
    expect(taskSummary({ ...task, input: { messages: ["much"] } }, UNTOLD)).toEqual({ id: "t1", name: "agent" });
  });

  it.each<[string, unknown, string | undefined]>([
    ["a list of calls", [{ id: "call-1", name: "search", args: {} }], "call-1"],
    ["a call", { tool_call: { id: "call-1" } }, "call-1"],
    ["a list without ids", [{ name: "search" }, 7, null], undefined],
    ["a call without an id", { tool_call: null }, undefined],
    ["an id that is no text", [{ id: 7 }], undefined],
    ["a text", "input", undefined],
    ["nothing", undefined, undefined],
  ])("names the tool call that it is for: %s", (_, input, expected) => {
    const summary = taskSummary({ ...task, input }, UNTOLD);
    expect("tool_call_id" in summary ? summary.tool_call_id : undefined).toBe(expected);
  });

  it.each<[unknown, object]>([
    [{ lc_agent_name: "researcher" }, { agent: "researcher" }],
    [{ lc_agent_name: "" }, {}],
    [{ lc_agent_name: 7 }, {}],
    [{}, {}],
    [undefined, {}],
  ])("names its agent: %j", (metadata, expected) => {
    expect(taskSummary({ ...task, metadata }, UNTOLD)).toEqual({ id: "t1", name: "agent", ...expected });
  });
});

it.each([
  ["result", { result: { a: 1 }, interrupts: [] }, TOLD],
  ["result", { result: {} }, TOLD],
  ["interrupts", { result: {}, interrupts: [{ id: "i" }] }, UNTOLD],
  ["interrupts", { result: {}, interrupts: [{ id: "i" }] }, TOLD],
  ["unclear", { result: {}, interrupts: [] }, UNTOLD],
] as const)("a task that ends, ends as %s: %j, %j", (ended, payload, context) => {
  expect(taskSummary({ id: "t1", name: "agent", ...payload }, context)).toEqual({ id: "t1", name: "agent", ended });
});
