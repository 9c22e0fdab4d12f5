/**
 * Conversations of a client with a thread, one or more for every shape of graph. A step is made once and sent again after
 * a crash, as a client does that got no answer: with its idempotency key.
 */
import { GatewayError } from "../../src/core/errors.js";
import type { Json, JsonObject, Run, RunCommand, ThreadState } from "../../src/core/model.js";
import type { RunRequest } from "../../src/runs/draft.js";
import type { CrashGraphs } from "./crash-graphs.js";
import type { GatewayProcess } from "./crash-process.js";
import { NEVER } from "./events.js";
import type { Call } from "./history-data.js";
import { runRequest } from "./run-request.js";

export const THREAD = "thread";

/** Where nodes wait that wait. */
export interface Gate {
  readonly arrived: Promise<void>;
  open(): void;
}

/** What a client decided to do, to be repeated until it is done. */
export interface Act {
  readonly call: Call | null;
  perform(process: GatewayProcess, gate: Gate): Promise<void>;
}

/** Looks at the thread and decides. */
export type Step = (process: GatewayProcess, durability: RunRequest["durability"]) => Promise<Act>;

export interface Scenario {
  readonly graph: keyof CrashGraphs;
  readonly steps: readonly Step[];
}

type Wish = Omit<Partial<RunRequest>, "command"> & {
  /** Questions that the command answers; `bare` for the answer alone. */
  readonly answers?: readonly string[] | "bare";
  readonly command?: RunCommand;
  /** The newest state with this node next. */
  readonly from?: string;
};

/** A run, to its end. */
const run =
  (name: string, wish: Wish): Step =>
  async (process, durability) => {
    const request = await requestOf(process, name, { durability, ...wish });
    return {
      call: callOf(request),
      async perform({ manager }) {
        const { runId } = await manager.create(THREAD, request);
        await manager.ended(runId, NEVER);
      },
    };
  };

/** For what a later step goes back to: with durability `exit` only the last state is kept. */
const KEPT = { durability: "sync" } as const;

const start = (wish: Wish = {}): Step => run("start", { input: { log: ["in"] }, ...wish });

const answer = (name: string, answers: readonly string[] | "bare", command: RunCommand = {}): Step =>
  run(name, { answers, command });

async function requestOf(process: GatewayProcess, name: string, wish: Wish): Promise<RunRequest> {
  const { answers, command, from, ...request } = wish;
  const history = await historyOf(process);
  const forkOf = from === undefined ? undefined : history.find(({ next }) => next.includes(from));
  if (from !== undefined && forkOf === undefined) throw new Error(`${name}: no state has ${from} next`);
  const resume = answers === undefined ? undefined : await resumeOf(process, name, answers);
  return runRequest({
    ...request,
    ifNotExists: "create",
    idempotencyKey: name,
    metadata: { request: name },
    ...(forkOf === undefined ? {} : { checkpoint: { checkpointNs: "", checkpointId: checkpointIdOf(forkOf) } }),
    command: resume === undefined ? (command ?? null) : { ...command, resume },
  });
}

async function resumeOf(process: GatewayProcess, by: string, answers: readonly string[] | "bare"): Promise<Json> {
  const asked = Object.values((await process.service.require(THREAD)).interrupts).flat();
  const answerTo = (question: Json): JsonObject => ({ to: question, by });
  if (answers === "bare") {
    const [only] = asked;
    if (only === undefined || asked.length > 1) throw new Error(`${by}: ${asked.length} questions wait`);
    return answerTo(only.value);
  }
  const resume = asked.filter(({ value }) => answers.includes(String(value)));
  if (resume.length !== answers.length) throw new Error(`${by}: not all of ${answers} wait`);
  return Object.fromEntries(resume.map(({ id, value }) => [id, answerTo(value)]));
}

function callOf({ command, idempotencyKey, metadata }: RunRequest): Call {
  const { resume } = command ?? {};
  const given = resume === undefined ? [] : answersIn(resume).map((one) => [String(one.to), one] as const);
  return {
    ask: "create run",
    at: 0,
    heard: "broken",
    threadId: THREAD,
    request: String(metadata.request),
    idempotencyKey: idempotencyKey ?? undefined,
    answers: Object.fromEntries(given),
  };
}

function answersIn(resume: Json): readonly JsonObject[] {
  const record = resume as JsonObject; // made by `resumeOf`
  return "to" in record ? [record] : (Object.values(record) as JsonObject[]);
}

async function historyOf(process: GatewayProcess): Promise<readonly ThreadState[]> {
  const { rows } = await process.service.search({}, FIRST_PAGE, { withValues: false });
  if (rows.length === 0) return [];
  const query = { limit: 100, before: null, metadata: {}, maxBytes: 1e9 };
  return (await process.state.history(THREAD, null, query)).states;
}

const FIRST_PAGE = { limit: 10, offset: 0, maxBytes: 1e9, sortBy: "created_at", sortOrder: "asc" } as const;

function checkpointIdOf({ checkpoint }: ThreadState): string {
  return String((checkpoint as JsonObject).checkpoint_id); // the state is persisted
}

/** A run that is at the gate, and what is done to it then. Done already where the run is gone. */
const whileAtGate =
  (name: string, then: (process: GatewayProcess, run: Run, gate: Gate) => Promise<void>): Step =>
  async (process, durability) => {
    const request = await requestOf(process, name, { durability, input: { log: ["again"] } });
    return {
      call: callOf(request),
      async perform(current, gate) {
        try {
          const created = await current.manager.create(THREAD, request);
          await Promise.race([gate.arrived, current.manager.ended(created.runId, NEVER)]);
          await then(current, created, gate);
        } catch (error) {
          if (error instanceof GatewayError && (error.code === "conflict" || error.code === "not_found")) return;
          throw error;
        }
      },
    };
  };

/** What is on its way when a process dies is not in the state of a cancelled run: it is cancelled when the state shows it. */
const cancel =
  (action: "interrupt" | "rollback"): Step =>
  (process, durability) =>
    whileAtGate(`cancel with ${action}`, async ({ manager, stateOf }, { runId }) => {
      const isOnItsWay = async () =>
        (await manager.get(THREAD, runId)).status === "running" && !(await stateOf(THREAD)).next.includes("gate");
      // With `exit` nothing is written before the end.
      while (durability !== "exit" && (await isOnItsWay())) await new Promise((resolve) => setImmediate(resolve));
      await manager.cancel(THREAD, runId, action);
      await manager.ended(runId, NEVER);
    })(process, durability);

const deletion: Step = whileAtGate("a deletion", ({ service }) => service.remove(THREAD));

const release: Step = whileAtGate("a graceful stop", async ({ manager, worker, drain }, { runId }, gate) => {
  await drain();
  gate.open();
  worker.start();
  await manager.ended(runId, NEVER);
});

const throughGate =
  (name: string): Step =>
  (process, durability) =>
    whileAtGate(name, async ({ manager }, { runId }, gate) => {
      gate.open();
      await manager.ended(runId, NEVER);
    })(process, durability);

/** A write to the state outside of runs; whether it happened, the client sees in the state. */
const update =
  (mark: string, asNode: string): Step =>
  async () => ({
    call: null,
    async perform({ state, stateOf }) {
      const { values } = await stateOf(THREAD);
      if (JSON.stringify(values).includes(mark)) return;
      await state.update(THREAD, { checkpoint: null, supersteps: [[{ values: { log: [mark] }, asNode }]] });
    },
  });

/** A run on a thread of its own, of which nothing stays. */
const stateless: Step = async (_process, durability) => {
  const request = runRequest({ durability, input: { log: ["in"] }, idempotencyKey: "stateless" });
  return {
    call: null,
    async perform({ manager, runs }) {
      try {
        const { runId } = await manager.create(null, request);
        await manager.ended(runId, NEVER);
        while ((await runs.get(null, runId)) !== undefined) await new Promise((resolve) => setImmediate(resolve));
      } catch (error) {
        if (error instanceof GatewayError && error.code === "conflict") return; // done, and its run is gone
        throw error;
      }
    },
  };
};

const say = (text: string): Step => run(text, { input: { messages: [{ role: "user", content: text }] } });
const goOn = (name: string, wish: Wish = {}): Step => run(name, { input: null, ...wish });

export const SCENARIOS: Readonly<Record<string, Scenario>> = {
  "a sequence": { graph: "sequence", steps: [start(), run("again", { input: { log: ["again"] } })] },
  "parallel branches": { graph: "parallel", steps: [start()] },
  "a deferred node": { graph: "deferred", steps: [start(), answer("answer", "bare")] },
  "a fan-out with Send": { graph: "fanOut", steps: [start(), answer("answer", "bare")] },
  "a subgraph that asks": {
    graph: "subgraph",
    steps: [start(), answer("inner", "bare"), answer("outer", ["outer?"])],
  },
  "a subgraph called in a node that asks": {
    graph: "calledSubgraph",
    steps: [start(), answer("one", "bare"), answer("two", "bare"), answer("three", "bare")],
  },
  "subgraphs two deep, beside a branch that asks": {
    graph: "nested",
    steps: [start(), answer("inner", ["inner?"]), answer("both", ["middle?", "beside?"])],
  },
  "a subgraph with a memory": {
    graph: "remembering",
    steps: [start({ input: { turn: 1 } }), run("2", { input: { turn: 2 } })],
  },
  "questions of parallel branches, one by one": {
    graph: "questions",
    steps: [
      start(),
      answer("y1", ["y1?"]),
      answer("x", ["x?"]),
      answer("y2", ["y2?"]),
      answer("z", "bare"),
      answer("last", "bare"),
    ],
  },
  "questions of parallel branches, in one answer": {
    graph: "questions",
    steps: [start(), answer("most", ["x?", "y1?", "z?"]), answer("y2", "bare"), answer("last", "bare")],
  },
  "three questions of one node": {
    graph: "twoQuestions",
    steps: [
      start(),
      answer("first", "bare"),
      answer("second", ["second?"]),
      answer("third", "bare"),
      answer("next", "bare"),
    ],
  },
  "three questions of one node, with updates": {
    graph: "twoQuestions",
    steps: [
      start(),
      answer("first", "bare", { update: { log: ["update 1"], turn: 1 } }),
      answer("second", "bare", { update: { log: ["update 2"] } }),
      answer("third", "bare", { update: { log: ["update 3"] } }),
      answer("next", "bare"),
    ],
  },
  "a node that returns nothing but asks": {
    graph: "silent",
    steps: [start(), answer("silent", "bare"), answer("loud", "bare")],
  },
  "an answer with update and goto": {
    graph: "questions",
    steps: [
      start(),
      answer("x", ["x?"], { update: { log: ["update"], turn: 7 }, goto: "w" }),
      answer("y1 and z", ["y1?", "z?"], { goto: ["w", { node: "w", input: { turn: 1 } }] }),
      answer("y2", "bare", { update: { log: ["another"] } }),
      answer("last", "bare"),
    ],
  },
  "a command without an answer": {
    graph: "sequence",
    steps: [
      start(KEPT),
      run("goto", { command: { goto: "b", update: { log: ["update"] } } }),
      run("older", { command: { goto: "c", update: { log: ["older"] } }, from: "b" }),
    ],
  },
  "a loop with conditional edges": {
    graph: "loop",
    steps: [start(), answer("one", "bare"), answer("two", "bare"), answer("three", "bare")],
  },
  "nodes that return commands": { graph: "commands", steps: [start(), answer("target", "bare")] },
  "an older state, gone on from": {
    graph: "sequence",
    steps: [start(KEPT), goOn("replay", { from: "b" }), goOn("replay again", { from: "c" })],
  },
  "an older state, with an input": {
    graph: "sequence",
    steps: [start(KEPT), run("fork", { input: { log: ["fork"] }, from: "c" })],
  },
  "an older state that asked": {
    graph: "questions",
    steps: [
      start(KEPT),
      answer("all", ["x?", "y1?", "z?"]),
      answer("y2", "bare"),
      goOn("ask again", { from: "x" }),
      answer("all again", ["x?", "y1?", "z?"]),
      answer("y2 again", "bare"),
    ],
  },
  "an older state before a subgraph that asked": {
    graph: "subgraph",
    steps: [start(KEPT), answer("inner", "bare"), goOn("ask again", { from: "sub" }), answer("inner again", "bare")],
  },
  "an older state before a subgraph with a memory": {
    graph: "remembering",
    steps: [
      start({ ...KEPT, input: { turn: 1 } }),
      run("2", { ...KEPT, input: { turn: 2 } }),
      goOn("remember again", { from: "remember" }),
      run("3", { input: { turn: 3 } }),
    ],
  },
  "breakpoints of the run": {
    graph: "sequence",
    steps: [
      start({ interruptBefore: ["b"], interruptAfter: ["c"] }),
      goOn("to c", { interruptBefore: ["b", "c"] }),
      goOn("through c", { interruptAfter: ["c"] }),
      goOn("to the end"),
    ],
  },
  "breakpoints before and after the first node": {
    graph: "sequence",
    steps: [start({ interruptBefore: ["a"] }), goOn("a", { interruptAfter: ["a"] }), goOn("rest")],
  },
  "breakpoints everywhere in a loop": {
    graph: "roundabout",
    steps: [
      start({ interruptBefore: "*" }),
      goOn("1", { interruptBefore: "*" }),
      goOn("2", { interruptAfter: ["round"] }),
      goOn("3", { interruptBefore: ["round"] }),
    ],
  },
  "breakpoints that are compiled in, also in a subgraph": {
    graph: "breakpoints",
    steps: [start(), goOn("b"), goOn("to t"), goOn("after t"), goOn("to the end")],
  },
  "a breakpoint with an answer": {
    graph: "twoQuestions",
    steps: [
      start({ interruptBefore: ["ask"] }),
      goOn("ask"),
      answer("first", "bare"),
      answer("second", "bare"),
      run("third", { answers: "bare", interruptAfter: ["ask"] }),
      goOn("after the third"),
      answer("fourth", "bare"),
    ],
  },
  "a chat": { graph: "chat", steps: [say("hello"), say("once more")] },
  "a chat of deltas": { graph: "deltas", steps: [say("hello"), say("once more")] },
  "a graph that writes to the store": { graph: "store", steps: [start(), run("again", { input: { log: ["again"] } })] },
  "a graph that fails": {
    graph: "failing",
    steps: [start(), answer("fail", "bare"), run("retry", { input: { log: ["x"] } })],
  },
  "the functional API": { graph: "functional", steps: [run("start", { input: { n: 3 } }), answer("answer", "bare")] },
  "a graceful stop": { graph: "gated", steps: [release] },
  "a cancel": { graph: "gated", steps: [throughGate("before"), cancel("interrupt"), throughGate("after")] },
  "a rollback": { graph: "gated", steps: [throughGate("before"), cancel("rollback"), throughGate("after")] },
  "a thread that is deleted": { graph: "gated", steps: [throughGate("before"), deletion] },
  "a state update": { graph: "sequence", steps: [start(), update("update", "a"), goOn("go on")] },
  "a run on a thread of its own": { graph: "sequence", steps: [stateless] },
};
