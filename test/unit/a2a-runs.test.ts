/** Which runs of a thread make a task. */
import { describe, expect, it } from "vitest";
import type { JsonObject, RunStatus } from "../../src/core/model.js";
import { tasksIn } from "../../src/faces/a2a-runs.js";
import { claimedRun } from "../support/sql-stores.js";

const run = (runId: string, metadata: JsonObject = {}, status: RunStatus = "success") => ({
  ...claimedRun({ runId, metadata, status, threadId: "t" }),
  payload: null,
});
const outline = (tasks: ReturnType<typeof tasksIn>) =>
  tasks.map(({ taskId, newest, isLatest }) => `${taskId} ${newest.runId}${isLatest ? " latest" : ""}`);

describe("tasks", () => {
  it("are runs, and the runs that went on with them", () => {
    const runs = [run("r4"), run("r3", { a2a_task_id: "r1" }), run("r2", { a2a_task_id: "r1" }), run("r1")];
    expect(outline(tasksIn(runs))).toEqual(["r4 r4 latest", "r1 r3"]);
    expect(outline(tasksIn(runs.slice(1)))).toEqual(["r1 r3 latest"]);
    expect(tasksIn([])).toEqual([]);
  });

  it("are the latest until something else runs, not until it waits", () => {
    expect(outline(tasksIn([run("r2", {}, "pending"), run("r1")]))).toEqual(["r2 r2", "r1 r1 latest"]);
    expect(outline(tasksIn([run("r2", {}, "running"), run("r1")]))).toEqual(["r2 r2 latest", "r1 r1"]);
    expect(outline(tasksIn([run("r1", {}, "pending")]))).toEqual(["r1 r1 latest"]);
  });

  it("know the messages that later tasks began with", () => {
    const runs = ["3", "2", "1"].map((id) => run(`r${id}`, { a2a_message_id: `m${id}` }));
    const [, second] = tasksIn(runs);
    expect(["m1", "m2", "m3", "other"].map((id) => second?.isLater(id))).toEqual([false, false, true, false]);
  });
});
