/** What a graph is driven with when its run is claimed, for the first time or again. */
import { describe, expect, it } from "vitest";
import { graphInputOf } from "../../src/runs/recovery.js";
import type { Checkpoints } from "../../src/storage/storage.js";
import { claimedRun, PAYLOAD } from "../support/sql-stores.js";

/** Checkpoints that know whether the run left something, and note that they were put right. */
function checkpointsWith(left: boolean) {
  const dropped: string[] = [];
  const unused = (): never => {
    throw new Error("not part of this test");
  };
  const checkpoints: Checkpoints = {
    has: unused,
    hasRun: () => left,
    dropTakenResume: (threadId) => void dropped.push(threadId),
    forRun: unused,
    saver: unused,
    deleteRun: unused,
    deleteThread: unused,
    copyThread: unused,
    pruneToLatest: unused,
    sync: unused,
    close: unused,
  };
  return { checkpoints, dropped };
}

const ID = "a".repeat(32);
const pending = { task: [{ id: ID, value: "?" }] };
const input = { kind: "input", value: PAYLOAD.input };

describe("graphInputOf", () => {
  it.each([
    ["first", 1, true, input],
    ["again, nothing was stored", 2, false, input],
    ["again, something was stored", 2, true, { kind: "continue" }],
  ] as const)("%s", (_title, fence, left, expected) => {
    const { checkpoints, dropped } = checkpointsWith(left);
    expect(graphInputOf(claimedRun({ fence }), {}, checkpoints)).toEqual(expected);
    expect(dropped).toEqual(expected.kind === "continue" ? ["t1"] : []);
  });

  it("answers what waits now", () => {
    const run = claimedRun({ payload: { ...PAYLOAD, command: { resume: "yes" } } });
    expect(graphInputOf(run, pending, checkpointsWith(false).checkpoints)).toEqual({
      kind: "command",
      command: { resume: { [ID]: "yes" } },
    });
  });

  it("takes the input when nothing is left of the command", () => {
    const run = claimedRun({ payload: { ...PAYLOAD, command: { resume: "yes" } } });
    expect(graphInputOf(run, {}, checkpointsWith(false).checkpoints)).toEqual(input);
  });

  it("keeps what a command says besides", () => {
    const command = { resume: "yes", goto: "n" };
    const run = claimedRun({ payload: { ...PAYLOAD, command } });
    expect(graphInputOf(run, {}, checkpointsWith(false).checkpoints)).toEqual({
      kind: "command",
      command: { goto: "n" },
    });
  });
});
