/** T1: random lives of a gateway against a model of it, whatever crashes, stops, delays and races are in them. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Instruction } from "../support/driven-host.js";
import { bind, type Intent, intents, type Pools } from "../support/gateway-intents.js";
import { ask, createModel, isAllowed, type Model, type Request } from "../support/gateway-model.js";
import { explain } from "../support/gateway-races.js";
import { advance, restart, setClock, settle } from "../support/gateway-workers.js";
import { createWorld, expectedOf, type World } from "../support/gateway-world.js";
import { ALL_RULES, checkHistory, judgedRules } from "../support/history.js";
import { report, scaled } from "../support/scale.js";

interface Context {
  model: Model;
  readonly pools: Pools;
  readonly scheduler: fc.Scheduler;
  readonly seen: Tally;
}

interface Tally {
  requests: number;
  crashes: number;
  stops: number;
  races: number;
  jumps: number;
  runs: number;
}

type Command = fc.AsyncCommand<Context, World>;

async function tick({ model }: Context, world: World, ms = 1): Promise<void> {
  world.clock.advance(ms);
  advance(model, ms);
}

/** What everybody sees is what the model says. */
async function compare({ model }: Context, world: World): Promise<void> {
  settle(model);
  await world.quiet();
  model.leaving.clear();
  expect(await world.observe()).toEqual(expectedOf(model));
  expect(waitersOf(world)).toEqual(expectedWaiters(model, world));
}

function waitersOf(world: World) {
  return world.waiters.map(({ heard }) => heard);
}

function expectedWaiters(model: Model, world: World) {
  return world.waiters.map(({ run, heard, sawBegin }) => {
    if (heard === "broken") return heard;
    const ended = model.ended.get(run);
    // A result that is no longer kept is made of what the thread shows now.
    return sawBegin || ended === undefined || "failed" in ended ? ended : heard;
  });
}

class Asking implements Command {
  readonly intent: Intent;
  constructor(intent: Intent) {
    this.intent = intent;
  }
  check(): boolean {
    return true;
  }
  async run(context: Context, world: World): Promise<void> {
    const request = bind(this.intent, context.model, context.pools);
    if (request === undefined) return;
    context.seen.requests++;
    await tick(context, world);
    const expected = ask(context.model, request);
    const answer = await world.perform(request);
    if (!isAllowed(expected, answer)) {
      throw new Error(
        `expected ${JSON.stringify(expected)}: ${JSON.stringify({ request, answer, model: expectedOf(context.model) })}`,
      );
    }
    learn(context.model, request, answer.status);
    await compare(context, world);
  }
  toString(): string {
    return JSON.stringify(this.intent);
  }
}

/** Whether a thread names a graph, where only the answer can tell. */
function learn(model: Model, request: Request, status: number): void {
  if (request.kind !== "update state") return;
  const thread = model.threads.get(request.thread);
  if (thread?.graph !== "unknown" || status === 409) return;
  thread.graph = status === 200;
  if (status === 200) ask(model, request);
}

class Waiting implements Command {
  readonly pick: number;
  readonly how: "wait" | "watch";
  constructor(pick: number, how: "wait" | "watch") {
    this.pick = pick;
    this.how = how;
  }
  check({ model }: Context): boolean {
    return model.runs.size > 0;
  }
  async run(context: Context, world: World): Promise<void> {
    await tick(context, world);
    const runs = [...context.model.runs.values()];
    const run = runs[this.pick % runs.length];
    if (run === undefined) return;
    const inFlight = run.status === "pending" || run.status === "running";
    if (this.how === "wait") world.wait(run.name, { sawBegin: inFlight });
    else world.watch(run.name, `reader ${this.pick % 2}`);
    await compare(context, world);
  }
  toString(): string {
    return `${this.how} ${this.pick}`;
  }
}

class Searching implements Command {
  check(): boolean {
    return true;
  }
  async run({ model }: Context, world: World): Promise<void> {
    const { threads } = expectedOf(model);
    const found = await world.searchByStatus();
    for (const [status, names] of Object.entries(found)) {
      const expected = Object.entries(threads).filter(([, thread]) => thread.status === status);
      expect([status, names]).toEqual([status, expected.map(([name]) => name).sort()]);
    }
  }
  toString(): string {
    return "search";
  }
}

class Passing implements Command {
  readonly ms: number;
  constructor(ms: number) {
    this.ms = ms;
  }
  check(): boolean {
    return true;
  }
  async run(context: Context, world: World): Promise<void> {
    await tick(context, world, this.ms);
    await compare(context, world);
  }
  toString(): string {
    return `${this.ms} ms`;
  }
}

class Restarting implements Command {
  readonly how: "crash" | "stop";
  constructor(how: "crash" | "stop") {
    this.how = how;
  }
  check(): boolean {
    return true;
  }
  async run(context: Context, world: World): Promise<void> {
    await tick(context, world);
    if (this.how === "crash") await world.crash();
    else await world.restart();
    context.seen[this.how === "crash" ? "crashes" : "stops"]++;
    restart(context.model, this.how);
    await compare(context, world);
  }
  toString(): string {
    return this.how;
  }
}

const HOUR_MS = 3_600_000;

/** Somebody, or something, sets the machine's clock. */
class Setting implements Command {
  readonly offsetMs: number;
  constructor(offsetMs: number) {
    this.offsetMs = offsetMs;
  }
  check(): boolean {
    return true;
  }
  async run(context: Context, world: World): Promise<void> {
    await tick(context, world);
    world.setClock(this.offsetMs);
    setClock(context.model, this.offsetMs);
    context.seen.jumps++;
    await compare(context, world);
  }
  toString(): string {
    return `clock ${this.offsetMs / HOUR_MS} h`;
  }
}

/** Several requests at once, in the order that the scheduler finds; perhaps the process dies in the middle of them. */
class Racing implements Command {
  readonly intents: readonly Intent[];
  readonly diesAfter: number | null;
  constructor(intents: readonly Intent[], diesAfter: number | null) {
    this.intents = intents;
    this.diesAfter = diesAfter;
  }
  check(): boolean {
    return true;
  }
  async run(context: Context, world: World): Promise<void> {
    const { model, pools, scheduler } = context;
    const bound = this.intents.flatMap((intent) => bind(intent, model, pools) ?? []);
    // Two copies that nobody heard of could not be told apart.
    const copies = bound.filter(({ kind }) => kind === "copy thread").slice(this.diesAfter === null ? 3 : 1);
    const requests = bound.filter((request) => !copies.includes(request));
    if (requests.length < 2) return;
    context.seen.races++;
    context.seen.requests += requests.length;
    await tick(context, world);
    world.setGate((call) => scheduler.schedule(Promise.resolve(), call));
    const answers: ({ readonly status: number; readonly run?: string } | undefined)[] = requests.map(() => undefined);
    const all = Promise.all(
      requests.map(async (request, index) => {
        const answer = await world.perform(request);
        answers[index] = answer;
      }),
    );
    if (this.diesAfter === null) await scheduler.waitFor(all);
    else {
      for (let done = 0; done < this.diesAfter; done++) {
        if (scheduler.count() > 0) await scheduler.waitNext(1);
        else await new Promise((resolve) => setImmediate(resolve));
      }
      context.seen.crashes++;
    }
    // An instruction is answered when it is given: whether it took effect before the death, nobody has heard.
    const heard = answers.map((answer, index) => (requests[index]?.kind === "instruct" ? undefined : answer));
    if (this.diesAfter !== null) await world.crash();
    world.setGate(() => undefined);
    while (scheduler.count() > 0) await scheduler.waitIdle();
    await (this.diesAfter === null ? all : Promise.race([all, undefined])); // what a dead process waits for never comes
    await world.quiet();
    const observed = await world.observe();
    const found = explain(model, {
      requests,
      answers: this.diesAfter === null ? answers : heard,
      crashed: this.diesAfter !== null,
      time: world.time(),
      matches: (candidate) => {
        try {
          expect(observed).toEqual(expectedOf(candidate));
          expect(waitersOf(world)).toEqual(expectedWaiters(candidate, world));
          return true;
        } catch {
          return false;
        }
      },
    });
    if (found === undefined) {
      throw new Error(
        `no order explains ${JSON.stringify({ requests, heard, observed, before: expectedOf(model) }, null, 1)}`,
      );
    }
    for (const run of found.runs.values()) Object.assign(run, world.claimsOf(run.name));
    context.model = found;
    await compare(context, world);
  }
  toString(): string {
    const death = this.diesAfter === null ? "" : `, death after ${this.diesAfter}`;
    return `race ${JSON.stringify(this.intents)}${death}`;
  }
}

const commands: fc.Arbitrary<Command>[] = [
  ...intents.map(({ weight, arbitrary }) => ({
    weight,
    arbitrary: arbitrary.map((intent): Command => new Asking(intent)),
  })),
].flatMap(({ weight, arbitrary }) => Array.from({ length: weight }, () => arbitrary));

const anyIntent = fc.oneof(...intents.map(({ weight, arbitrary }) => ({ weight, arbitrary })));

const allCommands: fc.Arbitrary<Command>[] = [
  ...commands,
  fc
    .tuple(fc.nat(20), fc.constantFrom("wait" as const, "watch" as const, "watch" as const))
    .map(([pick, how]) => new Waiting(pick, how)),
  fc.tuple(fc.nat(20), fc.constantFrom("wait" as const, "watch" as const)).map(([pick, how]) => new Waiting(pick, how)),
  fc.constant(new Searching()),
  fc.constantFrom(50, 1_000, 9_000, 20_000, 61_000).map((ms) => new Passing(ms)),
  fc.constantFrom(-2 * HOUR_MS, -2 * HOUR_MS, 2 * HOUR_MS, 120 * HOUR_MS).map((offsetMs) => new Setting(offsetMs)),
  fc.constantFrom("crash" as const, "stop" as const).map((how) => new Restarting(how)),
  fc
    .tuple(fc.array(anyIntent, { minLength: 2, maxLength: 3 }), fc.option(fc.nat(25), { freq: 3 }))
    .map(([racing, diesAfter]) => new Racing(racing, diesAfter)),
];

/** Lets everything come to its end, then judges what happened. */
async function finish(context: Context, world: World): Promise<void> {
  const { model } = context;
  for (let round = 0; ; round++) {
    if (round > 500) throw new Error("the runs do not come to their end");
    const inFlight = [...context.model.runs.values()].filter(
      ({ status }) => status === "pending" || status === "running",
    );
    if (inFlight.length === 0) break;
    const running = inFlight.find(({ status }) => status === "running");
    if (running === undefined)
      await new Passing(Math.max(1, Math.min(...inFlight.map(({ runAfter }) => runAfter)) - model.time)).run(
        context,
        world,
      );
    else {
      const instruction: Instruction = { kind: "end", text: `end of ${running.name}` };
      const request: Request = { kind: "instruct", run: running.name, instruction };
      await tick(context, world);
      ask(context.model, request);
      await world.perform(request);
      await compare(context, world);
    }
  }
  const history = {
    ...world.history(context.model.answered),
    expected: [...context.model.threads.values()].map(({ name, shown }) => ({
      threadId: world.idOf(name),
      values: shown === null ? null : { log: [...shown.log] },
    })),
  };
  expect(checkHistory(history).map(({ rule, what }) => `${rule}: ${what}`)).toEqual([]);
  expect(judgedRules(history)).toEqual(ALL_RULES);
}

describe("T1: a gateway and its model", () => {
  const sequences = scaled({ quick: 150, full: 2_000 });
  const limitMs = scaled({ quick: 540_000, full: 3_600_000 }); // a few minutes, on a machine that has nothing else to do

  it(`agree after every step of ${sequences} lives`, { timeout: limitMs + 60_000 }, async () => {
    const seen: Tally = { requests: 0, crashes: 0, stops: 0, races: 0, jumps: 0, runs: 0 };
    const startedAt = Date.now();
    // The cut is the same every time; the whole test looks for new lives.
    const seed = process.env.HEDDLE_SEED ?? scaled({ quick: "1", full: undefined });
    const limits = fc.record({
      concurrency: fc.constantFrom(50, 50, 1),
      timeoutMs: fc.constant(60_000),
      maxAttempts: fc.constant(3),
      maxPendingPerThread: fc.constantFrom(2, 3),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.scheduler(),
        limits,
        fc.commands(allCommands, { maxCommands: 60, size: "max" }),
        async (scheduler, options, lives) => {
          const world = await createWorld(options);
          try {
            const model = createModel(options, world.clock.now());
            const context: Context = { model, pools: { counter: 0, asked: [] }, scheduler, seen };
            const setup = () => ({ model: context, real: world });
            await fc.asyncModelRun(setup, lives);
            await finish(context, world);
            seen.runs += context.pools.counter;
          } finally {
            await world.close();
          }
        },
      ),
      {
        numRuns: sequences,
        timeout: 10_000, // a life that hangs is a finding, too
        interruptAfterTimeLimit: limitMs,
        markInterruptAsFailure: true,
        endOnFailure: process.env.HEDDLE_MODEL_SHRINK === "no",
        ...(seed === undefined ? {} : { seed: Number(seed) }),
      },
    );
    report("T1", { sequences, ...seen, divergences: 0, seconds: Math.round((Date.now() - startedAt) / 1_000) });
  });
});
