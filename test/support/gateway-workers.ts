/** The model of a gateway, by itself: its workers start and end runs, time passes, processes die. */
import { isInFlight } from "../../src/core/model.js";
import {
  type Answered,
  type CreateRun,
  createRun,
  end,
  headOf,
  inFlight,
  type Model,
  type ModelRun,
  type ModelThread,
  save,
  stop,
} from "./gateway-model.js";

/** Starts what can start, until nothing can. */
export function settle(model: Model): void {
  for (const run of model.runs.values()) if (run.status === "running" && !run.begun) proceed(model, run);
  for (;;) {
    const run = claimable(model);
    if (run === undefined) return;
    claim(model, run);
    proceed(model, run);
  }
}

/** What can start is claimed, and comes no further yet. */
export function claimAll(model: Model): void {
  for (;;) {
    const run = claimable(model);
    if (run === undefined) return;
    claim(model, run);
  }
}

/** As `ask`, in room that was reserved: the run is claimed with its admission, before any that was admitted earlier. */
export function askInSlot(model: Model, request: CreateRun): Answered {
  model.reserved--;
  const isFree = inFlight(model, request.thread).length === 0;
  const answered = createRun(model, request);
  const run = model.runs.get(request.run);
  if (isFree && run?.status === "pending" && run.runAfter <= model.time) claim(model, run);
  return answered;
}

function claimable(model: Model): ModelRun | undefined {
  if (roomOf(model) <= 0) return undefined;
  const running = runningOf(model);
  return [...model.threads.keys()]
    .flatMap((thread) => inFlight(model, thread)[0] ?? [])
    .filter((run) => run.runAfter <= model.time && !running.some(({ thread }) => thread === run.thread))
    .sort((a, b) => a.runAfter - b.runAfter || a.seq - b.seq)[0];
}

/** How many runs more can start. */
export function roomOf(model: Model): number {
  return model.limits.concurrency - runningOf(model).length - model.reserved;
}

function runningOf(model: Model): ModelRun[] {
  return [...model.runs.values()].filter(({ status }) => status === "running");
}

function claim(model: Model, run: ModelRun): void {
  run.status = "running";
  run.fence++;
  run.attempt++;
  run.begun = false;
  run.startedAt = model.now;
  run.updatedAt = model.time;
}

function proceed(model: Model, run: ModelRun): void {
  run.begun = true;
  const thread = model.threads.get(run.thread);
  if (thread === undefined) return;
  if (run.cancel !== null) stop(model, run);
  else if (run.attempt > model.limits.maxAttempts || !begin(model, run, thread)) end(model, run, "error", "head");
  else {
    const begun = headOf(model, run.thread);
    if (begun === null)
      end(model, run, "error", "head"); // nothing to go on from
    else if (!begun.open || begun.asked !== null) end(model, run, "success", "head");
  }
}

/** Once only: a run of which something was kept goes on. False for an answer to a question that nobody asked. */
function begin(model: Model, run: ModelRun, thread: ModelThread): boolean {
  const wasHere = run.fence > 1 && thread.checkpoints.some((checkpoint) => checkpoint.run === run.name);
  if (wasHere) return true;
  const log = headOf(model, run.thread)?.log ?? [];
  if (run.begin.kind === "input") save(model, run, { log: [...log, run.begin.text], asked: null, open: true });
  const question = thread.shown?.asked ?? null;
  if (run.begin.kind === "input" || run.begin.kind === "nothing" || question === null) return true;
  if (run.begin.kind === "wrong answer" || (run.answers ?? question) !== question) return false;
  model.answered.set(run.name, question);
  save(model, run, { log: [...log, run.begin.text], asked: null, open: true });
  return true;
}

/** Time passes: runs that have had theirs end. */
export function advance(model: Model, ms: number): void {
  model.now += ms;
  model.wall += ms;
  model.time = Math.max(model.time + ms, model.wall);
  for (const run of [...model.runs.values()]) {
    if (run.status === "running" && run.startedAt + model.limits.timeoutMs <= model.now)
      end(model, run, "timeout", "head");
  }
}

/** The machine's clock is set: the gateway follows only forward. */
export function setClock(model: Model, offsetMs: number): void {
  model.wall += offsetMs;
  model.time = Math.max(model.time, model.wall);
}

/** `crash` spends the attempts of what was running, `stop` does not. */
export function restart(model: Model, how: "crash" | "stop"): void {
  model.reserved = 0;
  const pendingOrRunning = [...model.runs.values()].filter(({ status }) => isInFlight(status));
  const running = pendingOrRunning.filter(({ status }) => status === "running");
  if (how === "stop") for (const run of running) run.updatedAt = model.time;
  model.time = Math.max(model.wall, ...pendingOrRunning.map(({ updatedAt }) => updatedAt));
  for (const run of running) {
    run.status = "pending";
    if (how === "stop") run.attempt--;
    else run.updatedAt = model.time;
  }
}
