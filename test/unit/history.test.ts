/** The history checker: a bad history is caught by the rule that it breaks, and by no other; a good one by none. */
import { describe, expect, it } from "vitest";
import { RUN_STATUSES, type RunStatus } from "../../src/core/model.js";
import { ALL_RULES, checkHistory, judgedRules, type Rule } from "../support/history.js";
import type {
  Answer,
  AuditRow,
  Call,
  Connection,
  DatabaseDump,
  DumpedRun,
  DumpedThread,
  History,
  SeenEvent,
} from "../support/history-data.js";

// ---- builders: everything happens on thread t1, one run is R and the next S

const CHECKPOINT_AT_5000 = "1b21dd21-67c3-6080-8000-000000000000";

type Step = readonly [run: string, status: RunStatus | null, more?: Partial<AuditRow>];

/** One row per step, a second apart. Statuses, fences and attempts follow from the steps unless a step says otherwise. */
function audit(...steps: readonly Step[]): readonly AuditRow[] {
  const last = new Map<string, AuditRow>();
  return steps.map(([runId, newStatus, more], index) => {
    const before = last.get(runId);
    const claimed = newStatus === "running" ? 1 : 0;
    const row: AuditRow = {
      seq: index + 1,
      runId,
      threadId: "t1",
      at: (index + 1) * 1_000,
      oldStatus: before?.newStatus ?? null,
      newStatus,
      fence: (before?.fence ?? 0) + claimed,
      attempt: (before?.attempt ?? 0) + claimed,
      workerId: newStatus === "running" ? "w" : null,
      ...more,
    };
    last.set(runId, row);
    return row;
  });
}

function thread(more: Partial<DumpedThread> = {}): DumpedThread {
  return { threadId: "t1", status: "idle", metadata: {}, values: null, deleting: false, ...more };
}

function run(runId: string, status: RunStatus = "success", more: Partial<DumpedRun> = {}): DumpedRun {
  const seq = runId.charCodeAt(0);
  return { seq, runId, threadId: "t1", status, runAfter: 0, temporary: false, metadata: {}, ...more };
}

function dump(more: Partial<DatabaseDump> = {}): DatabaseDump {
  return {
    takenAt: 100_000,
    threads: [thread()],
    runs: [],
    rowsByThread: {},
    rowsByRun: {},
    checkpoints: [],
    items: [],
    ...more,
  };
}

function answer(status: number, at: number, more: Partial<Answer> = {}): Answer {
  return { at, status, ...more };
}

function creates(runId: string, at: number, more: Partial<Extract<Call, { ask: "create run" }>> = {}): Call {
  return { ask: "create run", threadId: "t1", at, heard: answer(200, at + 10, { runId, threadId: "t1" }), ...more };
}

function cancels(runId: string, at: number, action: "interrupt" | "rollback" = "interrupt"): Call {
  return { ask: "cancel run", threadId: "t1", runId, action, at, heard: answer(202, at + 10) };
}

function deletesThread(at: number): Call {
  return { ask: "delete thread", threadId: "t1", at, heard: answer(204, at + 10) };
}

function waits(runId: string, at: number, heard: Call["heard"]): Call {
  return { ask: "wait run", runId, at, heard };
}

function updates(at: number, status: number, mark?: string): Call {
  return { ask: "update state", threadId: "t1", mark, at, heard: answer(status, at + 10) };
}

/** `2-3 values {"a":1}`; without data, the data are the id. */
function seen(...frames: readonly string[]): readonly SeenEvent[] {
  return frames.map((frame) => {
    const [id = "", event = "", ...data] = frame.split(" ");
    return { id: id === "-" ? null : id, event, data: data.length === 0 ? id : JSON.parse(data.join(" ")) };
  });
}

/** A token of message m. */
function token(id: string, text: string): string {
  return `${id} messages [{"id":"m","type":"AIMessageChunk","content":"${text}"},{}]`;
}

function reads(
  reader: string,
  cursor: string | null,
  events: readonly SeenEvent[],
  ended: Connection["ended"] = "end",
): Connection {
  return { reader, runId: "R", cursor, events, ended };
}

const WHOLE = seen(
  "1-1 metadata",
  token("1-2", "a"),
  token("1-3", "b"),
  "1-4 custom",
  "1-5 values",
  token("1-6", "c"),
  "1-7 values",
  "1-8 end",
);

// ---- histories

interface Example {
  readonly name: string;
  readonly history: History;
}

const BAD: Readonly<Record<Rule, readonly Example[]>> = {
  R1: [
    {
      name: "two runs of a thread between claim and end",
      history: {
        audit: audit(["R", "running"], ["S", "pending"], ["S", "running"], ["R", "success"], ["S", "success"]),
      },
    },
    {
      name: "a second run claimed by its admission",
      history: { audit: audit(["R", "pending"], ["R", "running"], ["S", "running"], ["S", "success"], ["R", "error"]) },
    },
    {
      name: "two running rows in what is left",
      history: {
        dump: dump({
          takenAt: -1,
          threads: [thread({ status: "busy" })],
          runs: [run("R", "running"), run("S", "running")],
        }),
      },
    },
  ],
  R2: [
    { name: "an acknowledged run is gone", history: { calls: [creates("R", 1)], dump: dump() } },
    {
      name: "it is gone, and the deletion of its thread was refused",
      history: {
        calls: [creates("R", 1), { ask: "delete thread", threadId: "t1", at: 20, heard: answer(404, 30) }],
        dump: dump(),
      },
    },
    {
      name: "a rollback was answered before the run was asked for",
      history: {
        calls: [creates("S", 1), creates("Q", 5, { strategy: "rollback" }), creates("R", 50)],
        dump: dump({ runs: [run("Q")] }),
      },
    },
    {
      name: "an acknowledged run is on another thread",
      history: {
        calls: [creates("R", 1)],
        dump: dump({
          threads: [thread(), thread({ threadId: "t2" })],
          runs: [run("R", "success", { threadId: "t2" })],
        }),
      },
    },
    {
      name: "an acknowledged thread is gone",
      history: { calls: [{ ask: "create thread", threadId: "t2", at: 1, heard: answer(200, 2) }], dump: dump() },
    },
    {
      name: "an acknowledged item is gone",
      history: {
        calls: [{ ask: "put item", namespace: ["a"], key: "k", value: { v: 1 }, at: 1, heard: answer(204, 2) }],
        dump: dump(),
      },
    },
    {
      name: "an item fell back to an older value",
      history: {
        calls: [1, 2].map(
          (v): Call => ({
            ask: "put item",
            namespace: ["a"],
            key: "k",
            value: { v },
            at: v * 10,
            heard: answer(204, v * 10 + 1),
          }),
        ),
        dump: dump({ items: [{ namespace: ["a"], key: "k", value: { v: 1 } }] }),
      },
    },
  ],
  R3: [
    { name: "an end that changes", history: { audit: audit(["R", "running"], ["R", "success"], ["R", "error"]) } },
    {
      name: "a run that starts again after its end",
      history: { audit: audit(["R", "running"], ["R", "timeout"], ["R", "running"]) },
    },
    {
      name: "a step from a status that the run did not have",
      history: { audit: audit(["R", "pending"], ["R", "success", { oldStatus: "running" }]) },
    },
    {
      name: "a run that comes back after its row was deleted",
      history: { audit: audit(["R", "running"], ["R", null], ["R", "pending"]) },
    },
    {
      name: "a row that nobody brought there",
      history: { audit: audit(["R", "running"], ["R", "success"]), dump: dump({ runs: [run("R", "error")] }) },
    },
  ],
  R4: [
    {
      name: "a run that still waits",
      history: { dump: dump({ threads: [thread({ status: "busy" })], runs: [run("R", "pending")] }) },
    },
    {
      name: "a run that still runs",
      history: { dump: dump({ threads: [thread({ status: "busy" })], runs: [run("R", "running")] }) },
    },
    {
      name: "a run that took too long after the last fault",
      history: {
        audit: audit(["R", "running"], ["R", "pending"], ["R", "running"], ["R", "success", { at: 30_000 }]),
        dump: dump({ runs: [run("R")] }),
        faults: [{ kind: "kill", at: 1_500, until: 1_500 }],
        recoveryMs: 20_000,
      },
    },
  ],
  R5: [
    {
      name: "values that differ from those without a crash",
      history: {
        expected: [{ threadId: "t1", values: { sum: 3 } }],
        dump: dump({ threads: [thread({ values: { sum: 2 } })] }),
      },
    },
    {
      name: "a state that differs although the row is right",
      history: {
        expected: [{ threadId: "t1", values: { sum: 3 }, found: null }],
        dump: dump({ threads: [thread({ values: { sum: 3 } })] }),
      },
    },
  ],
  R6: [
    {
      name: "the second question answered with the answer to the first",
      history: {
        calls: [creates("R", 1), creates("S", 50, { answers: { first: "yes" } })],
        approvals: [
          { threadId: "t1", question: "first", answer: "yes" },
          { threadId: "t1", question: "second", answer: "yes" },
        ],
      },
    },
    {
      name: "an answer from a request that was refused",
      history: {
        calls: [creates("R", 1, { answers: { first: "yes" }, heard: answer(409, 2) })],
        approvals: [{ threadId: "t1", question: "first", answer: "yes" }],
      },
    },
  ],
  R7: [
    {
      name: "an audit row of an older claim",
      history: { audit: audit(["R", "running"], ["R", "pending"], ["R", "running"], ["R", "success", { fence: 1 }]) },
    },
    {
      name: "a claim without a new fence",
      history: { audit: audit(["R", "running"], ["R", "pending"], ["R", "running", { fence: 1 }], ["R", "success"]) },
    },
    {
      name: "an event of an older claim",
      history: { readers: [reads("a", null, seen("1-1 metadata", "2-1 metadata", "1-2 custom", "2-2 end"))] },
    },
    {
      name: "an event of a claim that never was",
      history: {
        audit: audit(["R", "running"], ["R", "success"]),
        readers: [reads("a", null, seen("1-1 metadata", "2-1 custom", "2-2 end"))],
      },
    },
    {
      name: "a checkpoint from after the end",
      history: {
        clock: "system",
        audit: audit(["R", "running"], ["R", "success"]),
        dump: dump({
          runs: [run("R")],
          checkpoints: [{ threadId: "t1", runId: "R", checkpointId: CHECKPOINT_AT_5000, kind: "checkpoint" }],
        }),
      },
    },
  ],
  R8: [
    {
      name: "a later run starts first",
      history: {
        audit: audit(
          ["R", "pending"],
          ["S", "pending"],
          ["S", "running"],
          ["S", "success"],
          ["R", "running"],
          ["R", "success"],
        ),
        dump: dump({ runs: [run("R"), run("S")] }),
      },
    },
    {
      name: "a delayed run starts before one that was due earlier",
      history: {
        audit: audit(
          ["R", "pending"],
          ["S", "pending"],
          ["R", "running"],
          ["R", "success"],
          ["S", "running"],
          ["S", "success"],
        ),
        dump: dump({ runs: [run("R", "success", { runAfter: 2_500 }), run("S", "success", { runAfter: 2_000 })] }),
      },
    },
    {
      name: "another run overtakes one that has started, though it was due before it",
      history: {
        audit: audit(
          ["R", "running"],
          ["R", "pending"],
          ["S", "pending"],
          ["S", "running"],
          ["S", "success"],
          ["R", "running"],
          ["R", "success"],
        ),
        dump: dump({ runs: [run("R", "success", { runAfter: 900 }), run("S", "success", { runAfter: 800 })] }),
      },
    },
    {
      name: "a delayed run starts before it is due",
      history: {
        audit: audit(["R", "pending"], ["R", "running"], ["R", "success"]),
        dump: dump({ runs: [run("R", "success", { runAfter: 5_000 })] }),
      },
    },
  ],
  R9: [
    {
      name: "a refused request left a run",
      history: {
        calls: [creates("R", 1, { request: "q1", strategy: "reject", heard: answer(409, 2) })],
        dump: dump({ runs: [run("R", "success", { metadata: { request: "q1" } })] }),
      },
    },
    {
      name: "a queued run was interrupted by nobody",
      history: {
        calls: [creates("R", 1), creates("S", 50, { strategy: "enqueue" })],
        dump: dump({ runs: [run("R"), run("S", "interrupted")] }),
      },
    },
    { name: "a rollback left a trace", history: { rollbacks: [{ threadId: "t1", before: "[1]", after: "[1,2]" }] } },
    {
      name: "checkpoints of a run that was rolled back",
      history: {
        audit: audit(["R", "running"], ["R", null]),
        dump: dump({ checkpoints: [{ threadId: "t1", runId: "R", checkpointId: "c", kind: "write" }] }),
      },
    },
  ],
  R10: [
    {
      name: "busy without a run",
      history: { dump: dump({ threads: [thread({ status: "busy" })], runs: [run("R")] }) },
    },
    {
      name: "idle with a run that waits for its time",
      history: { dump: dump({ runs: [run("R", "pending", { runAfter: 200_000 })] }) },
    },
  ],
  R11: [
    { name: "a deleted thread is still there", history: { calls: [creates("R", 1), deletesThread(50)], dump: dump() } },
    {
      name: "checkpoints of a thread that does not exist",
      history: { dump: dump({ rowsByThread: { checkpoints: { t2: 3 } } }) },
    },
    {
      name: "a deletion that did not come to its end",
      history: { dump: dump({ threads: [thread({ deleting: true })] }) },
    },
    {
      name: "an open outbox row of a deleted thread's run",
      history: {
        calls: [creates("R", 1), deletesThread(50)],
        dump: dump({ threads: [], rowsByRun: { outbox: { R: 1 } } }),
      },
    },
  ],
  R12: [
    {
      name: "a cancelled run succeeded",
      history: { calls: [creates("R", 1), cancels("R", 50)], dump: dump({ runs: [run("R")] }) },
    },
    {
      name: "a rolled-back run is still there",
      history: {
        calls: [creates("R", 1), cancels("R", 50, "rollback")],
        dump: dump({ runs: [run("R", "interrupted")] }),
      },
    },
  ],
  R13: [
    {
      name: "a node of a run that was cancelled while it waited",
      history: { audit: audit(["R", "pending"], ["R", "interrupted"]), executions: [{ runId: "R", node: "agent" }] },
    },
    {
      name: "an event of a run that was rolled back while it waited",
      history: {
        audit: audit(["R", "pending"], ["R", null]),
        readers: [reads("a", null, seen("0-1 metadata", "0-2 custom", "0-3 end"))],
      },
    },
  ],
  R14: [
    { name: "a wait without an answer", history: { calls: [waits("R", 1, "none")] } },
    {
      name: "a wait that does not hear of the error",
      history: {
        calls: [creates("R", 1), waits("R", 2, answer(200, 50, { body: { a: 1 } }))],
        dump: dump({ runs: [run("R", "error")] }),
      },
    },
    {
      name: "a wait that hears of an error that never was",
      history: {
        calls: [creates("R", 1), waits("R", 2, answer(200, 50, { body: { __error__: {} } }))],
        dump: dump({ runs: [run("R")] }),
      },
    },
    {
      name: "a wait that was answered before the end",
      history: {
        calls: [waits("R", 1, answer(200, 1_500, { body: {} }))],
        audit: audit(["R", "running"], ["R", "success"]),
      },
    },
  ],
  R15: [
    { name: "a temporary run's rows", history: { dump: dump({ runs: [run("R", "success", { temporary: true })] }) } },
    {
      name: "a temporary thread without its run",
      history: { calls: [creates("R", 1, { threadId: null, temporary: true })], dump: dump() },
    },
    {
      name: "checkpoints of a temporary thread",
      history: {
        calls: [creates("R", 1, { threadId: null, temporary: true })],
        dump: dump({ threads: [], rowsByThread: { checkpoints: { t1: 2 } } }),
      },
    },
  ],
  R16: [
    {
      name: "one key, two runs",
      history: {
        calls: [
          creates("R", 1, { idempotencyKey: "k", request: "q" }),
          creates("S", 20, { idempotencyKey: "k", request: "q" }),
        ],
      },
    },
    {
      name: "one key, two requests",
      history: {
        calls: [
          creates("R", 1, { idempotencyKey: "k", request: "q" }),
          creates("R", 20, { idempotencyKey: "k", request: "p" }),
        ],
      },
    },
    {
      name: "two rows of a request whose first answer was lost",
      history: {
        calls: [
          creates("R", 1, { idempotencyKey: "k", request: "q", heard: "broken" }),
          creates("S", 20, { idempotencyKey: "k", request: "q" }),
        ],
        dump: dump({
          runs: [
            run("R", "success", { metadata: { request: "q" } }),
            run("S", "success", { metadata: { request: "q" } }),
          ],
        }),
      },
    },
  ],
  R17: [
    {
      name: "an update in the middle of a run",
      history: { calls: [creates("R", 990), updates(1_500, 200)], audit: audit(["R", "running"], ["R", "success"]) },
    },
    {
      name: "an update while a run waits",
      history: {
        calls: [creates("R", 990), updates(2_500, 200)],
        audit: audit(["R", "pending"], ["R", "running"], ["R", "success"]),
      },
    },
    {
      name: "a refused update that wrote",
      history: {
        calls: [updates(1, 409, "mark 7")],
        dump: dump({ threads: [thread({ values: { notes: ["mark 7"] } })] }),
      },
    },
  ],
  R18: [
    {
      name: "a drain that spends an attempt",
      history: {
        audit: audit(["R", "running"], ["R", "pending"], ["R", "running"], ["R", "success"]),
        faults: [{ kind: "drain", at: 1_500, until: 2_500 }],
      },
    },
    {
      name: "a kill before the claim that spent the attempt",
      history: {
        audit: audit(["R", "running"], ["R", "pending"], ["R", "running"], ["R", "success"]),
        faults: [{ kind: "kill", at: 500 }],
      },
    },
    {
      name: "a freeze that was over before the claim that spent the attempt",
      history: {
        audit: audit(["R", "running"], ["R", "pending"], ["R", "running"], ["R", "success"]),
        faults: [{ kind: "loss", at: 100, until: 500 }],
      },
    },
    {
      name: "a broken connection that cost nobody his lease",
      history: {
        audit: audit(["R", "running"], ["R", "pending"], ["R", "running"], ["R", "success"]),
        faults: [{ kind: "other", at: 1_500, until: 1_600 }],
      },
    },
    {
      name: "a claim after the drain began",
      history: {
        audit: audit(["R", "pending"], ["R", "running"], ["R", "success"]),
        faults: [{ kind: "drain", at: 1_500, until: 3_500 }],
      },
    },
    {
      name: "a claim that counts twice",
      history: { audit: audit(["R", "pending"], ["R", "running", { attempt: 2 }], ["R", "success"]) },
    },
  ],
  S7: [
    {
      name: "an end that was not written to the outbox",
      history: { calls: [creates("R", 1, { webhook: true })], dump: dump({ runs: [run("R")] }) },
    },
    {
      name: "an end that was written twice",
      history: {
        calls: [creates("R", 1, { webhook: true })],
        dump: dump({ runs: [run("R")], rowsByRun: { outbox: { R: 2 } } }),
      },
    },
    {
      name: "a webhook of a run that has not ended",
      history: {
        calls: [creates("R", 1, { webhook: true })],
        dump: dump({
          threads: [thread({ status: "busy" })],
          runs: [run("R", "pending", { runAfter: 200_000 })],
          rowsByRun: { outbox: { R: 1 } },
        }),
      },
    },
    {
      name: "a rollback that nobody is told of",
      history: { calls: [creates("R", 1, { webhook: true }), cancels("R", 50, "rollback")], dump: dump() },
    },
    {
      name: "a temporary run whose webhook went with its thread",
      history: {
        calls: [creates("R", 1, { threadId: null, temporary: true, webhook: true })],
        dump: dump({ threads: [] }),
      },
    },
  ],
  S1: [
    {
      name: "an event twice",
      history: { readers: [reads("a", null, seen("1-1 metadata", "1-2 custom", "1-2 custom", "1-3 end"))] },
    },
    {
      name: "an event again after a reconnect",
      history: {
        readers: [
          reads("a", null, seen("1-1 metadata", "1-2 custom"), "cut"),
          reads("a", "1-2", seen("1-2 custom", "1-3 end")),
        ],
      },
    },
    {
      name: "an event lost over a reconnect",
      history: {
        readers: [
          reads("a", null, seen("1-1 metadata", "1-2 custom"), "cut"),
          reads("a", "1-2", seen("1-4 custom", "1-5 end")),
          reads("b", null, seen("1-1 metadata", "1-2 custom", "1-3 custom", "1-4 custom", "1-5 end")),
        ],
      },
    },
    {
      name: "a token lost",
      history: {
        readers: [
          reads("a", null, WHOLE),
          reads(
            "b",
            null,
            WHOLE.filter(({ id }) => id !== "1-3"),
          ),
        ],
      },
    },
    {
      name: "a folded message that repeats what the cursor had",
      history: {
        readers: [
          reads("a", null, WHOLE),
          reads("b", "1-2", seen(token("1-3", "ab"), "1-4 custom", token("1-6", "c"), "1-7 values", "1-8 end")),
        ],
      },
    },
    {
      name: "the last state lost",
      history: {
        readers: [
          reads("a", null, WHOLE),
          reads(
            "b",
            null,
            WHOLE.filter(({ id }) => id !== "1-7"),
          ),
        ],
      },
    },
    {
      name: "one id, two events",
      history: {
        readers: [
          reads("a", null, seen("1-1 metadata", '1-2 custom {"a":1}', "1-3 end")),
          reads("b", null, seen("1-1 metadata", '1-2 custom {"a":2}', "1-3 end")),
        ],
      },
    },
    {
      name: "a stream that ends before its run",
      history: { readers: [reads("a", null, seen("1-1 metadata", "1-2 custom"))] },
    },
    {
      name: "a stream that ends before its run, for a reader who comes back",
      history: {
        readers: [reads("a", null, seen("1-1 metadata", "1-2 custom"), "cut"), reads("a", "1-2", [])],
      },
    },
    {
      name: "an event after an end that a reader comes back from",
      history: {
        readers: [
          reads("a", null, seen("1-1 metadata", "1-2 end"), "cut"),
          reads("a", "1-2", seen("1-3 custom"), "cut"),
        ],
      },
    },
    {
      name: "an event after the end",
      history: { readers: [reads("a", null, seen("1-1 metadata", "1-2 end", "1-3 custom"), "cut")] },
    },
    {
      name: "what the ledger has of an earlier claim, and a reader has not",
      history: {
        readers: [reads("a", null, seen("1-1 metadata", "1-3 custom", "2-1 metadata", "2-2 end"))],
        ledger: [{ runId: "R", events: seen("1-1 metadata", "1-2 custom", "1-3 custom", "2-1 metadata", "2-2 end") }],
      },
    },
  ],
};

const GOOD: readonly Example[] = [
  { name: "nothing", history: {} },
  {
    name: "a lease that was lost by a freeze which began before the claim was stamped",
    history: {
      audit: audit(["R", "running"], ["R", "pending"], ["R", "running"], ["R", "success"]),
      faults: [{ kind: "loss", at: 900, until: 1_900 }],
    },
  },
  {
    name: "a checkpoint that tells no time, because its graph broke the clock",
    history: {
      clock: "system",
      audit: audit(["R", "running"], ["R", "success"]),
      dump: dump({
        runs: [run("R")],
        checkpoints: [
          { threadId: "t1", runId: "R", checkpointId: "00000000-0000-6000-ffff-37e5e7a32517", kind: "checkpoint" },
        ],
      }),
    },
  },
  {
    name: "a run that died twice and was released once",
    history: {
      audit: audit(
        ["R", "running"],
        ["R", "pending"],
        ["R", "running"],
        ["R", "pending", { attempt: 1 }],
        ["R", "running", { attempt: 2, fence: 3 }],
        ["R", "pending"],
        ["R", "running"],
        ["R", "success"],
      ),
      dump: dump({
        runs: [run("R")],
        checkpoints: [{ threadId: "t1", runId: "R", checkpointId: CHECKPOINT_AT_5000, kind: "checkpoint" }],
      }),
      clock: "system",
      faults: [
        { kind: "kill", at: 1_500 },
        { kind: "drain", at: 3_500, until: 4_500 },
        { kind: "kill", at: 5_500 },
      ],
      recoveryMs: 5_000,
      calls: [creates("R", 990), waits("R", 1_000, "broken"), waits("R", 6_000, answer(200, 8_500, { body: {} }))],
      readers: [
        reads("a", null, seen("1-1 metadata", "1-2 custom"), "cut"),
        reads("a", "1-2", seen("4-1 metadata", "4-2 custom", "4-3 end")),
      ],
      executions: [{ runId: "R" }, { runId: "R" }],
    },
  },
  {
    name: "a reader who was cut behind the last word, and asks what follows it",
    history: {
      readers: [reads("a", null, seen("1-1 metadata", "1-2 custom", "1-3 end"), "cut"), reads("a", "1-3", [])],
    },
  },
  {
    name: "a queue that is cancelled, rolled back and deleted as clients wished",
    history: {
      calls: [
        creates("R", 990),
        creates("S", 1_990, { strategy: "enqueue" }),
        creates("T", 2_990, { strategy: "interrupt" }),
        creates("U", 3_990, { strategy: "reject", request: "u", heard: answer(409, 4_000) }),
        cancels("T", 4_500, "rollback"),
        { ask: "delete run", threadId: "t1", runId: "S", at: 7_000, heard: "broken" },
        updates(4_600, 409, "no"),
        updates(7_500, 200, "yes"),
      ],
      audit: audit(
        ["R", "running"],
        ["S", "pending"],
        ["S", "interrupted"],
        ["T", "pending"],
        ["R", "interrupted"],
        ["T", null],
        ["S", null],
      ),
      dump: dump({ runs: [run("R", "interrupted")], threads: [thread({ values: "yes" })] }),
      rollbacks: [{ threadId: "t1", before: "[]", after: "[]" }],
    },
  },
  {
    name: "a deleted thread that was made again",
    history: {
      calls: [creates("R", 1), deletesThread(50), creates("S", 90)],
      audit: audit(["S", "running"], ["S", "success"]),
      dump: dump({ runs: [run("S")], rowsByThread: { runs: { t1: 1 }, run_audit: { t1: 2 } } }),
    },
  },
  {
    name: "a temporary run that left nothing",
    history: { calls: [creates("R", 1, { threadId: null, temporary: true })], audit: [], dump: dump({ threads: [] }) },
  },
  {
    name: "a delayed run that is not due yet",
    history: {
      audit: audit(["R", "pending"]),
      dump: dump({ threads: [thread({ status: "busy" })], runs: [run("R", "pending", { runAfter: 200_000 })] }),
    },
  },
  {
    name: "two questions, each answered by its command",
    history: {
      calls: [creates("R", 1, { answers: { first: "yes" } }), creates("S", 50, { answers: { second: "no" } })],
      approvals: [
        { threadId: "t1", question: "first", answer: "yes" },
        { threadId: "t1", question: "first", answer: "yes" },
        { threadId: "t1", question: "second", answer: "no" },
      ],
      expected: [{ threadId: "t1", values: { a: 1, b: 2 } }],
      dump: dump({ threads: [thread({ values: { b: 2, a: 1 } })], runs: [run("R"), run("S")] }),
    },
  },
  {
    name: "a repeated request whose first answer was lost, and a key used again",
    history: {
      calls: [
        creates("R", 1, { idempotencyKey: "k", request: "q", heard: "broken" }),
        creates("R", 20, { idempotencyKey: "k", request: "q" }),
        creates("S", 40, { idempotencyKey: "k", request: "p", heard: answer(409, 50) }),
      ],
      dump: dump({ runs: [run("R", "success", { metadata: { request: "q" } })] }),
    },
  },
  {
    name: "a cancelled run that its request's repetition hears of again",
    history: {
      calls: [
        creates("R", 1, { idempotencyKey: "k", request: "q", heard: "broken" }),
        cancels("R", 20),
        creates("R", 50, { idempotencyKey: "k", request: "q" }),
      ],
      dump: dump({ runs: [run("R", "interrupted")] }),
    },
  },
  {
    name: "items that were put at once, put again, and deleted",
    history: {
      calls: [
        { ask: "put item", namespace: ["a"], key: "k", value: 1, at: 1, heard: answer(204, 20) },
        { ask: "put item", namespace: ["a"], key: "k", value: 2, at: 5, heard: answer(204, 10) },
        { ask: "put item", namespace: ["a"], key: "gone", value: 1, at: 1, heard: answer(204, 2) },
        { ask: "delete item", namespace: ["a"], key: "gone", at: 5, heard: "broken" },
      ],
      dump: dump({ items: [{ namespace: ["a"], key: "k", value: 1 }] }),
    },
  },
  {
    name: "readers of the raw tape, of a folded one, and of one that was cut inside of a folded message",
    history: {
      readers: [
        reads("a", null, WHOLE),
        reads(
          "b",
          "-1",
          seen("1-1 metadata", token("1-3", "ab"), "1-4 custom", token("1-6", "c"), "1-7 values", "1-8 end"),
        ),
        reads("c", null, seen("1-1 metadata", token("1-2", "a")), "cut"),
        reads("c", "1-2", seen(token("1-3", "b"), "1-4 custom", token("1-6", "c"), "1-7 values", "1-8 end")),
        reads("d", null, WHOLE.slice(0, 4), "cut"),
      ],
      ledger: [
        {
          runId: "R",
          events: seen("1-1 metadata", token("1-3", "ab"), "1-4 custom", token("1-6", "c"), "1-7 values", "1-8 end"),
        },
      ],
    },
  },
  {
    name: "an end that is told anew when the log is gone",
    history: {
      readers: [
        reads("a", null, seen("1-1 metadata", "1-2 custom", "1-3 end")),
        reads("b", null, seen("- metadata", "- values", "2-1 end")),
      ],
    },
  },
  {
    name: "a reader of a run that was rolled back, whose log is gone",
    history: {
      audit: audit(["R", "pending"], ["R", "running"], ["R", "interrupted"], ["R", null]),
      readers: [reads("a", null, seen("1-1 metadata"), "cut"), reads("a", "1-1", [])],
    },
  },
  {
    name: "a reader whose cursor was lost and who got a snapshot",
    history: {
      readers: [
        reads("a", null, seen("1-1 metadata", "1-2 custom", "1-3 custom", token("1-4", "x"), "1-5 end")),
        reads("b", "7-7", seen('- values {"a":1}', "1-5 end")),
      ],
    },
  },
];

describe("a history that breaks a rule", () => {
  const examples = ALL_RULES.flatMap((rule) => BAD[rule].map((example) => ({ rule, ...example })));

  it.each(examples)("is caught by $rule and by no other: $name", ({ rule, history }) => {
    expect(new Set(checkHistory(history).map((violation) => violation.rule))).toEqual(new Set([rule]));
  });

  it.each(ALL_RULES)("is there for %s", (rule) => {
    expect(BAD[rule].length).toBeGreaterThan(0);
  });
});

describe("a sound history", () => {
  it.each(GOOD)("breaks no rule: $name", ({ history }) => {
    expect(checkHistory(history)).toEqual([]);
  });

  it("is judged by every rule together", () => {
    expect(new Set(GOOD.flatMap(({ history }) => judgedRules(history)))).toEqual(new Set(ALL_RULES));
  });
});

describe("the checker", () => {
  it("judges by the rules that it has the parts for, and by no other", () => {
    expect(judgedRules({})).toEqual([]);
    expect(judgedRules({ audit: [] })).toEqual(["R1", "R3", "R7", "R18"]);
    expect(judgedRules({ readers: [] })).toEqual(["R7", "S1"]);
    expect(judgedRules({ audit: [], dump: dump(), calls: [] })).not.toContain("S1");
  });

  it.each(RUN_STATUSES.filter((status) => status !== "pending" && status !== "running"))(
    "takes %s for an end",
    (status) => {
      const twice = { audit: audit(["R", "running"], ["R", status], ["R", status, { fence: 2 }]) };
      expect(checkHistory(twice).map(({ rule }) => rule)).toEqual(["R3"]);
    },
  );
});
