/**
 * A run that dies anywhere and is driven on by the recovery rule ends in the state it would have ended in.
 *
 * Every operation of its saver is a crash point: from there on nothing is stored any more. Then the rule is applied:
 * nothing stored of the run → its input again; else go on from the head, without resume values that are taken already.
 */
import { Command } from "@langchain/langgraph";
import type { BaseCheckpointSaver } from "@langchain/langgraph-checkpoint";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openCheckpoints } from "../../src/storage/checkpoints.js";
import type { Checkpoints } from "../../src/storage/storage.js";
import {
  type BuildGraph,
  fanOut,
  parallel,
  sequence,
  THREAD,
  twoApprovals,
  twoQuestions,
  withSubgraph,
} from "../support/checkpoint-graphs.js";
import { runOf } from "../support/checkpoint-rows.js";

interface Scenario {
  readonly graph: BuildGraph;
  /** Inputs of earlier runs. */
  readonly before?: readonly unknown[];
  readonly input: () => unknown;
}

const START = { log: ["in"] };
const answer = () => new Command({ resume: "yes" });

const SCENARIOS: Readonly<Record<string, Scenario>> = {
  "a fresh thread": { graph: sequence, input: () => START },
  "a thread with a past": { graph: sequence, before: [{ log: ["old"] }], input: () => START },
  "parallel tasks": { graph: parallel, input: () => START },
  "a fan-out": { graph: fanOut, input: () => START },
  "an answer to the first of two approvals": { graph: twoApprovals, before: [START], input: answer },
  "an answer to the first of two questions in one node": { graph: twoQuestions, before: [START], input: answer },
  "an answer beside a finished task": { graph: parallel, before: [START], input: answer },
  "a subgraph": { graph: withSubgraph, input: () => START },
  "an answer in a subgraph, with a question after it": { graph: withSubgraph, before: [START], input: answer },
  "an answer with an update": {
    graph: twoApprovals,
    before: [START],
    input: () => new Command({ resume: "yes", update: { log: ["update"] } }),
  },
};

let checkpoints: Checkpoints;

beforeEach(() => {
  checkpoints = openCheckpoints(":memory:");
});

afterEach(() => {
  checkpoints.close();
});

for (const durability of ["sync", "async"] as const) {
  describe(`a run that dies, with durability ${durability}`, () => {
    for (const [name, scenario] of Object.entries(SCENARIOS)) {
      it(`and is recovered ends as if nothing had happened: ${name}`, async () => {
        const config = { ...THREAD, durability };
        const uninterrupted = await runWithCrash(scenario, config, Number.POSITIVE_INFINITY);
        // The last crash point is after everything was stored, before anybody was told that the run had ended.
        for (let survives = 0; survives <= uninterrupted.operations; survives++) {
          const recovered = await runWithCrash(scenario, config, survives);
          expect(recovered.state, `crash after ${survives} operations`).toEqual(uninterrupted.state);
        }
      });
    }
  });
}

/** Runs the scenario on a thread of its own; after `survives` operations the process is as good as dead. */
async function runWithCrash({ graph, before, input }: Scenario, config: object, survives: number) {
  checkpoints.deleteThread("thread");
  for (const [index, earlier] of (before ?? []).entries()) {
    await graph(runOf(checkpoints, `before ${index}`).saver).invoke(earlier, config);
  }
  const dying = mortal(runOf(checkpoints, "run").saver, survives);
  const ended = graph(dying.saver).invoke(input(), config);
  await Promise.race([ended, dying.died]);
  const operations = dying.operations();

  if (survives !== Number.POSITIVE_INFINITY) {
    const again = checkpoints.hasRun("thread", "run") ? null : input();
    checkpoints.dropTakenResume("thread");
    await graph(runOf(checkpoints, "run").saver).invoke(again, config);
  }
  const { values, tasks } = await graph(runOf(checkpoints, "reader").saver).getState(THREAD);
  return { operations, state: { values, pending: tasks.flatMap((task) => task.interrupts.map(({ value }) => value)) } };
}

/** A saver whose writes after the first `survives` never happen and never settle, as in a dead process. */
function mortal(saver: BaseCheckpointSaver, survives: number) {
  let operations = 0;
  let die: () => void = () => {};
  const died = new Promise<void>((resolve) => {
    die = resolve;
  });
  const count = <Result>(operation: () => Promise<Result>): Promise<Result> => {
    if (operations++ < survives) return operation();
    die();
    return new Promise(() => {});
  };
  const dying: BaseCheckpointSaver = Object.create(saver, {
    getTuple: { value: saver.getTuple.bind(saver) },
    list: { value: saver.list.bind(saver) },
    put: { value: (...args: Parameters<typeof saver.put>) => count(() => saver.put(...args)) },
    putWrites: { value: (...args: Parameters<typeof saver.putWrites>) => count(() => saver.putWrites(...args)) },
  });
  return { saver: dying, died, operations: () => operations };
}
