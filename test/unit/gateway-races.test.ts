/** What T1 takes for an explanation of a race: whatever the gateway may do, and nothing else. */
import { describe, expect, it } from "vitest";
import { ask, type CreateRun, createModel, type Model, type Request } from "../support/gateway-model.js";
import { explain } from "../support/gateway-races.js";
import { settle } from "../support/gateway-workers.js";
import { expectedOf } from "../support/gateway-world.js";

const ROOM_FOR_ONE = { concurrency: 1, timeoutMs: 60_000, maxAttempts: 3, maxPendingPerThread: 2 };

function creation(run: string): CreateRun {
  return {
    kind: "create run",
    run,
    thread: `thread of ${run}`,
    on: "thread",
    strategy: "enqueue",
    ifNotExists: "create",
    afterSeconds: 0,
    begin: { kind: "input", text: `input of ${run}` },
    key: null,
  };
}

function empty(): Model {
  return createModel(ROOM_FOR_ONE, 0);
}

/** The runs in the order of their admission with their status, and whether they have begun. */
function seen(model: Model): readonly string[] {
  const { runs, threads } = expectedOf(model);
  return runs.map(({ run, thread, status }) => {
    const head = threads[thread]?.head ?? { log: [] };
    return `${run} ${status}${"log" in head && head.log.length > 0 ? ", has begun" : ""}`;
  });
}

interface Observation {
  readonly model?: Model;
  readonly requests: readonly Request[];
  /** 200 where none is given. */
  readonly statuses?: readonly number[];
  readonly crashed?: boolean;
  readonly observed: readonly string[];
}

function isExplained({ model = empty(), requests, statuses = [], crashed = false, observed }: Observation) {
  const answers = requests.map((request, index) => ({
    status: statuses[index] ?? 200,
    ...(request.kind === "create run" ? { run: request.run } : {}),
  }));
  const matches = (candidate: Model) => JSON.stringify(seen(candidate)) === JSON.stringify(observed);
  return explain(model, { requests, answers, crashed, time: model.time, matches }) !== undefined;
}

describe("two runs that are created at once, with room for one", () => {
  const requests = [creation("a"), creation("b")];

  it.each([
    [["a running, has begun", "b pending"]],
    [["b running, has begun", "a pending"]],
    // Room was reserved for the one, the other was written first.
    [["a pending", "b running, has begun"]],
    [["b pending", "a running, has begun"]],
  ])("may be %j", (observed) => {
    expect(isExplained({ requests, observed })).toBe(true);
  });

  it.each([
    [["a running, has begun", "b running, has begun"]],
    [["a running, has begun", "b pending, has begun"]],
    [["a pending", "b pending"]],
  ])("are never %j", (observed) => {
    expect(isExplained({ requests, observed })).toBe(false);
  });

  it("start in the order of their admission after a crash, whoever had room before", () => {
    const overtaken = ["b running, has begun", "a pending, has begun"];
    expect(isExplained({ requests, crashed: true, observed: overtaken })).toBe(true);
    const skipped = ["b pending", "a running, has begun"];
    expect(isExplained({ requests, crashed: true, observed: skipped })).toBe(false);
  });
});

describe("two runs that are created at once, without room", () => {
  it("start in the order of their admission when there is some", () => {
    const model = empty();
    ask(model, creation("x"));
    settle(model);
    const end: Request = { kind: "instruct", run: "x", instruction: { kind: "end", text: "end" } };
    const requests = [creation("a"), creation("b"), end];
    const inOrder = ["x success, has begun", "a running, has begun", "b pending"];
    expect(isExplained({ model, requests, observed: inOrder })).toBe(true);
    const overtaken = ["x success, has begun", "a pending", "b running, has begun"];
    expect(isExplained({ model, requests, observed: overtaken })).toBe(false);
  });
});

describe("two cancels at once", () => {
  const rollback: Request = { kind: "cancel run", run: "a", action: "rollback" };
  const interrupt: Request = { kind: "cancel run", run: "a", action: "interrupt" };

  it("may both find a run whose thread goes with it", () => {
    const model = empty();
    ask(model, { ...creation("a"), on: "temporary", afterSeconds: 5 });
    for (const statuses of [
      [202, 202],
      [202, 404],
      [404, 202],
    ]) {
      expect(isExplained({ model, requests: [rollback, interrupt], statuses, observed: [] })).toBe(true);
    }
    expect(isExplained({ model, requests: [rollback, interrupt], statuses: [404, 404], observed: [] })).toBe(false);
    expect(isExplained({ model, requests: [rollback, interrupt], statuses: [202, 409], observed: [] })).toBe(false);
  });

  it("may both find a run that is being rolled back, and no run that never ran and was", () => {
    const running = empty();
    ask(running, creation("a"));
    settle(running);
    const delayed = empty();
    ask(delayed, { ...creation("a"), afterSeconds: 5 });
    const race = { requests: [rollback, rollback], statuses: [202, 202], observed: [] };
    expect(isExplained({ ...race, model: running })).toBe(true);
    expect(isExplained({ ...race, model: delayed })).toBe(false);
  });
});
