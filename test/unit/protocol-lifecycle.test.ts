/** The lives of graphs below the root. */
import { describe, expect, it } from "vitest";
import { createLifecycles, type LifecycleEvent } from "../../src/protocol/lifecycle.js";

const shown = (events: readonly LifecycleEvent[]) =>
  events.map(({ namespace, data }) => `${namespace.join("|")} ${data.event}`);
const task = (id: string, name = "agent") => ({ id, name });

describe("a graph", () => {
  it("starts with what is said in it first, those above it first, and once", () => {
    const lives = createLifecycles();
    expect(lives.reach([])).toEqual([]);
    expect(shown(lives.reach(["a:1", "b:2"]))).toEqual(["a:1 started", "a:1|b:2 started"]);
    expect(lives.reach(["a:1"])).toEqual([]);
    expect(shown(lives.reach(["a:1", "c:3"]))).toEqual(["a:1|c:3 started"]);
  });

  it("ends with its task, those below it first, and once", () => {
    const lives = createLifecycles();
    lives.reach(["agent:1", "b:2"]);
    lives.reach(["other:1"]);
    const end = lives.taskEnds([], { ...task("1"), ended: "result" });
    expect(shown(end)).toEqual(["agent:1|b:2 completed", "agent:1 completed"]);
    expect(lives.taskEnds([], { ...task("1"), ended: "result" })).toEqual([]);
    expect(lives.reach(["agent:1"])).toEqual([]);
    expect(shown(lives.end("failed"))).toEqual(["other:1 failed"]);
  });

  it("that pauses is interrupted", () => {
    const lives = createLifecycles();
    lives.reach(["agent:1"]);
    expect(shown(lives.taskEnds([], { ...task("1"), ended: "interrupts" }))).toEqual(["agent:1 interrupted"]);
  });

  it("whose end is unclear ends as what is above it", () => {
    const lives = createLifecycles();
    lives.reach(["agent:1", "b:2"]);
    expect(lives.taskEnds(["agent:1"], { ...task("2", "b"), ended: "unclear" })).toEqual([]);
    expect(shown(lives.taskEnds([], { ...task("1"), ended: "result" }))).toEqual([
      "agent:1|b:2 completed",
      "agent:1 completed",
    ]);
    const failing = createLifecycles();
    failing.reach(["agent:1"]);
    failing.taskEnds([], { ...task("1"), ended: "unclear" });
    expect(shown(failing.end("failed"))).toEqual(["agent:1 failed"]);
  });

  it("that never spoke has no end either", () => {
    const lives = createLifecycles();
    lives.taskBegins([], task("1"));
    expect(lives.taskEnds([], { ...task("1"), ended: "result" })).toEqual([]);
    expect(lives.end("completed")).toEqual([]);
  });

  it("goes by its agent's name, and says which call it is for", () => {
    const lives = createLifecycles();
    lives.taskBegins([], { ...task("1", "tools"), tool_call_id: "call-1" });
    lives.taskBegins(["tools:1"], { ...task("2", "model"), agent: "researcher" });
    const [started] = lives.reach(["tools:1"]);
    const cause = { type: "toolCall", tool_call_id: "call-1" };
    expect(started?.data).toEqual({ event: "started", graph_name: "researcher", cause });
    const [ended] = lives.taskEnds([], { ...task("1", "tools"), ended: "result" });
    expect(ended?.data).toEqual({ event: "completed", graph_name: "researcher" });
    expect(lives.tree()).toEqual([{ namespace: ["tools:1"], graphName: "researcher", status: "completed" }]);
  });
});
