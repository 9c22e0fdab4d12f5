/** Which order of requests that were made at once explains what came of them. */
import { ask, type CreateRun, isAllowed, type Model, type Request } from "./gateway-model.js";
import { askInSlot, claimAll, restart, roomOf, settle } from "./gateway-workers.js";

type Heard = { readonly status: number; readonly run?: string } | undefined;

interface Race {
  readonly requests: readonly Request[];
  /** undefined: no answer came, because the process died. */
  readonly answers: readonly Heard[];
  readonly crashed: boolean;
  /** What time it is for the gateway afterwards. */
  readonly time: number;
  readonly matches: (model: Model) => boolean;
}

interface Step {
  readonly request: Request;
  readonly heard: Heard;
  /** The other requests of the race. */
  readonly beside: readonly Request[];
}

interface Creation extends Step {
  readonly request: CreateRun;
}

/** The model after the first order that fits; undefined when none does. */
export function explain(model: Model, { requests, answers, crashed, time, matches }: Race): Model | undefined {
  const steps = requests.map(
    (request, index): Step => ({
      request,
      heard: answers[index],
      beside: requests.filter((other) => other !== request),
    }),
  );
  for (const slots of reservations(steps, roomOf(model))) {
    for (const order of orders(steps)) {
      for (const pace of PACES) {
        const taken = structuredClone(model);
        taken.reserved = slots.length;
        if (!take(taken, { order, slots, pace })) continue;
        for (const last of crashed ? PACES : [settle]) {
          const candidate = structuredClone(taken);
          last(candidate);
          if (crashed) restart(candidate, "crash");
          candidate.time = time; // what of all this was written last, only the gateway knows
          settle(candidate);
          if (matches(candidate)) return candidate;
        }
      }
    }
  }
  return undefined;
}

type Pace = (model: Model) => void;

/** How far runs come that can start, before something else happens. */
const PACES: readonly Pace[] = [settle, claimAll, () => {}];

interface Attempt {
  readonly order: readonly Step[];
  readonly slots: readonly Creation[];
  readonly pace: Pace;
}

/** Applies the steps; false when one was answered otherwise. */
function take(model: Model, { order, slots, pace }: Attempt): boolean {
  for (const step of order) {
    const { request, heard, beside } = step;
    const inSlot = slots.find((creation) => creation === step);
    if (heard !== undefined && isTurnedAway(request, heard, beside)) {
      if (inSlot !== undefined) model.reserved--;
      continue;
    }
    const expected = inSlot === undefined ? ask(model, request) : askInSlot(model, inSlot.request);
    if (heard !== undefined && !isAllowed(expected, heard)) return false;
    pace(model);
  }
  return true;
}

/** Writes outside of runs and deletions take a thread for a while: others that come then are refused and change nothing. */
function isTurnedAway(request: Request, { status }: NonNullable<Heard>, beside: readonly Request[]): boolean {
  if (status !== 409 && status !== 404) return false;
  return beside.some(
    (other) =>
      (other.kind === "update state" || other.kind === "copy thread" || other.kind === "delete thread") &&
      "thread" in request &&
      other.thread === request.thread,
  );
}

/**
 * Whose runs have room reserved before anything is written: as many as there is room for, in any order that they came in,
 * or none while the worker looks for older runs.
 */
function* reservations(steps: readonly Step[], room: number): Generator<readonly Creation[]> {
  const creations = steps.filter((step): step is Creation => step.request.kind === "create run");
  const count = Math.min(room, creations.length);
  yield [];
  if (count > 0) yield* choices(creations, count);
}

function* choices<T>(items: readonly T[], count: number): Generator<readonly T[]> {
  if (count === 0) return yield [];
  for (const [index, first] of items.entries()) {
    for (const rest of choices(items.slice(index + 1), count - 1)) yield [first, ...rest];
  }
}

/** Every order of the steps; those without an answer may be missing, and an instruction has two halves. */
function* orders(steps: readonly Step[]): Generator<readonly Step[]> {
  for (const chosen of subsets(steps)) {
    for (const order of permutations(chosen)) {
      yield order;
      const split = order.findIndex(({ request }) => request.kind === "instruct");
      const step = order[split];
      if (step?.request.kind !== "instruct") continue;
      const saved: Step = { ...step, request: { ...step.request, half: "save" } };
      const finished: Step = { ...step, request: { ...step.request, half: "finish" } };
      yield [...order.slice(0, split), saved, ...order.slice(split + 1), finished];
      yield [...order.slice(0, split), saved, ...order.slice(split + 1)];
    }
  }
}

function* subsets(steps: readonly Step[]): Generator<readonly Step[]> {
  const [first, ...rest] = steps;
  if (first === undefined) return yield [];
  for (const others of subsets(rest)) {
    yield [first, ...others];
    if (first.heard === undefined) yield others;
  }
}

function* permutations(steps: readonly Step[]): Generator<readonly Step[]> {
  if (steps.length <= 1) return yield steps;
  for (const [index, first] of steps.entries()) {
    for (const rest of permutations(steps.toSpliced(index, 1))) yield [first, ...rest];
  }
}
