/** What clients may want, without names: `bind` makes it a request to the gateway as the model knows it. */
import fc from "fast-check";
import { CANCEL_ACTIONS, type CancelAction, MULTITASK_STRATEGIES } from "../../src/core/model.js";
import type { Instruction } from "./driven-host.js";
import type { CreateRun, Model, Request } from "./gateway-model.js";

/** A request whose threads and runs are numbers into what there is. */
export type Intent =
  | (Pick<Extract<Request, { kind: "create thread" }>, "kind" | "ifExists"> & Picks)
  | {
      readonly kind: "patch thread" | "delete thread" | "copy thread" | "delete run" | "update state";
      readonly pick: number;
    }
  | (Pick<CreateRun, "kind" | "on" | "strategy" | "ifNotExists" | "afterSeconds"> &
      Picks & { readonly begin: "input" | "answer" | "wrong answer"; readonly keyed: boolean })
  /** The same again, with its key, or another request with that key. */
  | { readonly kind: "repeat" | "reuse"; readonly pick: number }
  | { readonly kind: "cancel run"; readonly pick: number; readonly action: CancelAction }
  | { readonly kind: "expire thread"; readonly pick: number; readonly strategy: "delete" | "keep_latest" }
  | { readonly kind: "instruct"; readonly pick: number; readonly instruction: Instruction["kind"] };

interface Picks {
  readonly pick: number;
}

/** What a life has used so far. */
export interface Pools {
  counter: number;
  /** With keys, and when they were asked. */
  readonly asked: { readonly request: CreateRun; readonly at: number }[];
}

/** Keys live for a day: after a jump of the clock the same request is another one, of which no name would be left. */
const HALF_DAY_MS = 12 * 3_600_000;

const pick = fc.nat(30);
const strategy = fc.constantFrom("enqueue" as const, ...MULTITASK_STRATEGIES);

export const intents: readonly { readonly weight: number; readonly arbitrary: fc.Arbitrary<Intent> }[] = [
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("create thread" as const),
      pick,
      ifExists: fc.constantFrom("raise" as const, "do_nothing" as const),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constantFrom(
        "patch thread" as const,
        "delete thread" as const,
        "copy thread" as const,
        "delete run" as const,
        "update state" as const,
        "update state" as const,
      ),
      pick,
    }),
  },
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant("create run" as const),
      pick,
      on: fc.constantFrom(
        "thread" as const,
        "thread" as const,
        "thread" as const,
        "thread" as const,
        "temporary" as const,
        "kept" as const,
      ),
      strategy,
      ifNotExists: fc.constantFrom("create" as const, "create" as const, "reject" as const),
      afterSeconds: fc.constantFrom(0, 0, 0, 5, 30),
      begin: fc.constantFrom(
        "input" as const,
        "input" as const,
        "answer" as const,
        "answer" as const,
        "wrong answer" as const,
      ),
      keyed: fc.boolean(),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("expire thread" as const),
      pick,
      strategy: fc.constantFrom("delete" as const, "keep_latest" as const),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom("repeat" as const, "reuse" as const), pick }) },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("cancel run" as const),
      pick,
      action: fc.constantFrom(...CANCEL_ACTIONS),
    }),
  },
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant("instruct" as const),
      pick,
      instruction: fc.constantFrom<Instruction["kind"]>("say", "step", "step", "end", "end", "ask", "ask", "fail"),
    }),
  },
];

const THREADS = ["t0", "t1", "t2"];

/** undefined where there is nothing that it could be about. */
export function bind(intent: Intent, model: Model, pools: Pools): Request | undefined {
  const threads = [...new Set([...THREADS, ...model.threads.keys()])].filter(
    (name) => model.threads.get(name)?.temporary !== true,
  );
  const thread = of(threads, intent.pick) ?? "t0";
  const runs = [...model.runs.values()];
  const fresh = (prefix: string): string => `${prefix}${++pools.counter}`;
  switch (intent.kind) {
    case "create thread":
      return { kind: intent.kind, thread: of(THREADS, intent.pick) ?? "t0", ifExists: intent.ifExists };
    case "patch thread":
      return { kind: intent.kind, thread, key: `k${intent.pick % 3}`, value: fresh("v") };
    case "delete thread":
      return { kind: intent.kind, thread };
    case "copy thread":
      return { kind: intent.kind, thread, copy: fresh("copy") };
    case "expire thread":
      return { kind: intent.kind, thread, strategy: intent.strategy };
    case "update state":
      return { kind: intent.kind, thread, text: `${fresh("update")}.` };
    case "create run": {
      const run = fresh("r");
      const request: CreateRun = {
        kind: intent.kind,
        run,
        on: intent.on,
        thread: intent.on === "thread" ? thread : `${intent.on} of ${run}`,
        strategy: intent.strategy,
        ifNotExists: intent.ifNotExists,
        afterSeconds: intent.afterSeconds,
        begin:
          intent.begin === "wrong answer"
            ? { kind: intent.begin }
            : { kind: intent.begin, text: `${intent.begin} of ${run}` },
        key: intent.keyed ? `key of ${run}` : null,
      };
      if (intent.keyed) pools.asked.push({ request, at: model.time });
      return request;
    }
    case "repeat":
      return of(recent(pools, model), intent.pick);
    case "reuse": {
      const earlier = of(recent(pools, model), intent.pick);
      const run = fresh("r");
      return earlier && { ...earlier, run, begin: { kind: "input", text: `input of ${run}` } };
    }
    case "delete run": {
      const run = of(runs.slice(-8), intent.pick)?.name;
      return run === undefined ? undefined : { kind: "delete run", run };
    }
    case "cancel run": {
      const run = of(runs.slice(-8), intent.pick)?.name;
      return run === undefined ? undefined : { kind: intent.kind, run, action: intent.action };
    }
    case "instruct": {
      const run = of(
        runs.filter(({ status }) => status === "running"),
        intent.pick,
      )?.name;
      const { instruction: kind } = intent;
      return run === undefined ? undefined : { kind: intent.kind, run, instruction: { kind, text: fresh(kind) } };
    }
  }
}

function recent({ asked }: Pools, { time }: Model): readonly CreateRun[] {
  return asked.filter(({ at }) => time - at < HALF_DAY_MS).map(({ request }) => request);
}

function of<T>(items: readonly T[], pick: number): T | undefined {
  return items[pick % items.length];
}
