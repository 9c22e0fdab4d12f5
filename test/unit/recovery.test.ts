/** What a graph is driven with when its run is claimed, for the first time or again. */
import { describe, expect, it } from "vitest";
import type { Run } from "../../src/core/model.js";
import { graphInputOf, type RecoveryContext } from "../../src/runs/recovery.js";
import type { Leftover } from "../../src/storage/ports/checkpoints.js";
import { claimedRun, PAYLOAD } from "../support/sql-stores.js";

const NOTHING: Leftover = { checkpoint: false, work: false, taken: [], memory: false };
const A = "a".repeat(32);
const B = "b".repeat(32);
const PENDING = { task: [{ id: A, value: "a?" }], other: [{ id: B, value: "b?" }] };

/** A context in which the run has left something, and a list of what was done to the checkpoints. */
function contextWith(left: Partial<Leftover>, context: Partial<RecoveryContext> = {}) {
  const done: string[] = [];
  const checkpoints: RecoveryContext["checkpoints"] = {
    leftBy: () => ({ ...NOTHING, ...left }),
    stepBack: (_run, { root }) => void done.push(root ? "step back" : "step back in subgraphs"),
    deleteRun: () => void done.push("delete"),
  };
  return { done, context: { pending: {}, checkpoints, hasBreakpoints: false, ...context } };
}

function runWith(payload: Partial<Run["payload"]>, run: Partial<Run> = {}): Run {
  return claimedRun({ fence: 2, payload: { ...PAYLOAD, ...payload }, ...run });
}

const input = { kind: "input", value: PAYLOAD.input };
const checkpoint = { checkpointNs: "", checkpointId: "older" };

describe("what a run is driven with", () => {
  it("is its input at its first claim, whatever is stored", async () => {
    const { context, done } = contextWith({ checkpoint: true, work: true });
    expect(await graphInputOf(claimedRun({ fence: 1 }), context)).toEqual(input);
    expect(done).toEqual([]);
  });

  it.each<[string, Partial<Leftover>, Partial<Run["payload"]>, boolean]>([
    ["nothing was stored", {}, {}, true],
    ["only its command was stored", { taken: [] }, { durability: "sync" }, true],
    ["a task has written", { work: true }, {}, false],
    ["it is beyond its first superstep", { checkpoint: true, work: true }, {}, false],
    ["a part was stored at the end of a run that stores then", { work: true }, { durability: "exit" }, true],
    ["the end was stored of a run that stores then", { checkpoint: true }, { durability: "exit" }, false],
    ["it replays an older state", { checkpoint: true }, { checkpoint }, false],
    [
      "it replays an older state with subgraphs that remember",
      { checkpoint: true, memory: true },
      { checkpoint },
      true,
    ],
  ])("starts over or goes on when %s", async (_title, left, payload, startsOver) => {
    const { context, done } = contextWith(left);
    expect(await graphInputOf(runWith(payload), context)).toEqual(startsOver ? input : { kind: "continue" });
    expect(done).toEqual(["step back in subgraphs", ...(startsOver ? ["delete"] : [])]);
  });

  it.each<[string, Partial<Run["payload"]>, boolean]>([
    ["its graph was compiled with breakpoints", {}, true],
    ["it stops before nodes", { interruptBefore: ["n"] }, false],
    ["it stops after nodes", { interruptAfter: "*" }, false],
  ])("makes the head again when %s", async (_title, payload, hasBreakpoints) => {
    const { context, done } = contextWith({ checkpoint: true }, { hasBreakpoints });
    await graphInputOf(runWith(payload), context);
    expect(done).toEqual(["step back"]);
  });
});

describe("the answers of a command", () => {
  const resume = { [A]: "a", [B]: "b" };
  const command = { resume, update: { x: 1 } };

  it.each<[string, Partial<Leftover>, object]>([
    ["are given whole when nothing was done", {}, { kind: "command", command }],
    ["are given again when no task has taken one", { work: true }, { kind: "continue", resume }],
    ["are given but for those that were taken", { work: true, taken: [A] }, { kind: "continue", resume: { [B]: "b" } }],
    ["are not given again when all were taken", { work: true, taken: [B, A] }, { kind: "continue" }],
    ["are not given again beyond the superstep that they were for", { checkpoint: true }, { kind: "continue" }],
  ])("%s", async (_title, left, expected) => {
    const { context } = contextWith(left, { pending: PENDING });
    expect(await graphInputOf(runWith({ command }), context)).toEqual(expected);
  });

  it("are matched to what waits now", async () => {
    const { context } = contextWith({}, { pending: { task: PENDING.task } });
    expect(await graphInputOf(runWith({ command: { resume: "yes" } }), context)).toEqual({
      kind: "command",
      command: { resume: { [A]: "yes" } },
    });
  });

  it("leave the rest of the command when nothing waits, and the input when there is no rest", async () => {
    const { context } = contextWith({});
    expect(await graphInputOf(runWith({ command: { resume: "yes" } }), context)).toEqual(input);
    expect(await graphInputOf(runWith({ command: { resume: "yes", goto: "n" } }), context)).toEqual({
      kind: "command",
      command: { goto: "n" },
    });
  });
});
