/**
 * The gateway in memory, as clients know it: what every request answers, and what it makes of threads and runs.
 *
 * Plain data and functions, without storage, leases or time of its own, so that a state can be copied and tried. Written
 * from docs/wire.md, not from the stores. Runs and threads have names; `driven-host.ts` is the graph, and what happens without
 * a request is in `gateway-workers.ts`.
 */
import { type CancelAction, isInFlight, type MultitaskStrategy, type RunStatus } from "../../src/core/model.js";
import type { Instruction } from "./driven-host.js";

export interface ModelState {
  readonly log: readonly string[];
  readonly asked: string | null;
  readonly open: boolean;
}

export interface ModelThread {
  readonly name: string;
  readonly temporary: boolean;
  metadata: Record<string, string>;
  /** Whether the thread names a graph; unknown once a patch stands between a run and its rollback. */
  graph: boolean | "unknown";
  checkpoints: { readonly run: string | null; readonly state: ModelState }[];
  /** What the thread shows: the root state when a run last ended, or an update was made. */
  shown: ModelState | null;
  failed: boolean;
  patched: boolean;
}

export interface ModelRun {
  readonly name: string;
  readonly thread: string;
  readonly seq: number;
  readonly runAfter: number;
  readonly begin: Begin | { readonly kind: "nothing" };
  /** The question that the answer is for; undefined: whatever waits when the run starts. */
  readonly answers: string | undefined;
  graphBefore: ModelThread["graph"];
  status: RunStatus;
  fence: number;
  attempt: number;
  /** Whether its graph has been driven since it was claimed last. */
  begun: boolean;
  cancel: CancelAction | null;
  startedAt: number;
  /** When it was last admitted, claimed or given back, by the gateway's time. */
  updatedAt: number;
}

/** What a run brings: a text, the answer to whatever waits, or the answer to a question that nobody asked. */
export type Begin =
  | { readonly kind: "input"; readonly text: string }
  | { readonly kind: "answer"; readonly text: string }
  | { readonly kind: "wrong answer" };

export interface Model {
  readonly limits: {
    readonly concurrency: number;
    readonly timeoutMs: number;
    readonly maxAttempts: number;
    readonly maxPendingPerThread: number;
  };
  /** Time that passes, which nobody sets. */
  now: number;
  /** What the machine's clock shows. */
  wall: number;
  /** What time it is for the gateway: never earlier than it was. */
  time: number;
  seq: number;
  /** How many runs have room of a worker reserved and are not admitted yet: nobody else gets it. */
  reserved: number;
  threads: Map<string, ModelThread>;
  runs: Map<string, ModelRun>;
  /** By run: how it stands in its row, which goes in a moment; requests that come meanwhile may find it or not. */
  leaving: Map<string, RunStatus>;
  /** By run: what a wait for it hears. */
  ended: Map<string, Heard>;
  /** By run: the question that it answered. */
  answered: Map<string, string>;
  /** By key: the run that it made, and the request. */
  keys: Map<string, { readonly run: string; readonly request: string; readonly createdAt: number }>;
}

/** `failed`: the answer tells of an error. */
export type Heard = { readonly failed: true } | { readonly log: readonly string[]; readonly asked: string | null };

export type Request =
  | { readonly kind: "create thread"; readonly thread: string; readonly ifExists: "raise" | "do_nothing" }
  | { readonly kind: "patch thread"; readonly thread: string; readonly key: string; readonly value: string }
  | { readonly kind: "delete thread"; readonly thread: string }
  | { readonly kind: "copy thread"; readonly thread: string; readonly copy: string }
  /** Its time is over, and somebody sweeps. */
  | { readonly kind: "expire thread"; readonly thread: string; readonly strategy: "delete" | "keep_latest" }
  | CreateRun
  | { readonly kind: "cancel run"; readonly run: string; readonly action: CancelAction }
  | { readonly kind: "delete run"; readonly run: string }
  | { readonly kind: "update state"; readonly thread: string; readonly text: string }
  | {
      readonly kind: "instruct";
      readonly run: string;
      readonly instruction: Instruction;
      /** One half of what the instruction does: its checkpoint, or the end of the run that follows it. */
      readonly half?: "save" | "finish";
    };

export interface CreateRun {
  readonly kind: "create run";
  /** Its name, if it comes to be. */
  readonly run: string;
  readonly thread: string;
  /** `temporary`, `kept`: on a thread of its own. */
  readonly on: "thread" | "temporary" | "kept";
  readonly strategy: MultitaskStrategy;
  readonly ifNotExists: "create" | "reject";
  readonly afterSeconds: number;
  readonly begin: Begin;
  readonly key: string | null;
}

export interface Answered {
  /** Several where both are right. */
  readonly status: number | readonly number[];
  /** The run that the answer names when it is 200. */
  readonly run?: string;
}

/** Whether the answer is one of those that are expected. */
export function isAllowed(
  { status, run }: Answered,
  heard: { readonly status: number; readonly run?: string },
): boolean {
  const statuses = typeof status === "number" ? [status] : status;
  return statuses.includes(heard.status) && (heard.status !== 200 || run === undefined || run === heard.run);
}

export function createModel(limits: Model["limits"], now: number): Model {
  return {
    limits,
    now,
    wall: now,
    time: now,
    seq: 0,
    reserved: 0,
    threads: new Map(),
    runs: new Map(),
    leaving: new Map(),
    ended: new Map(),
    answered: new Map(),
    keys: new Map(),
  };
}

/** What the request is answered with; its effects are in the model, but for what `settle` does. */
export function ask(model: Model, request: Request): Answered {
  const { threads, runs } = model;
  switch (request.kind) {
    case "create thread":
      if (threads.has(request.thread)) return { status: request.ifExists === "raise" ? 409 : 200 };
      addThread(model, request.thread, { temporary: false });
      return { status: 200 };
    case "patch thread": {
      const thread = threads.get(request.thread);
      if (thread === undefined) return { status: 404 };
      thread.metadata = { ...thread.metadata, [request.key]: request.value };
      thread.patched = true;
      return { status: 200 };
    }
    case "delete thread":
      if (!threads.has(request.thread)) return { status: 404 };
      removeThread(model, request.thread);
      return { status: 204 };
    case "copy thread":
      return copyThread(model, request.thread, request.copy);
    case "expire thread": {
      const thread = threads.get(request.thread);
      if (thread === undefined || inFlight(model, thread.name).length > 0) return { status: 200 };
      if (request.strategy === "keep_latest") {
        thread.checkpoints = thread.checkpoints.slice(-1);
        return { status: 200 };
      }
      removeThread(model, thread.name);
      return { status: [200, 204] }; // another sweep may have been faster
    }
    case "create run":
      return createRun(model, request);
    case "cancel run": {
      const run = runs.get(request.run);
      if (run === undefined) return goneRun(model, request.run, cancelled);
      if (isInFlight(run.status)) cancel(model, run, request.action);
      return { status: cancelled(run.status) };
    }
    case "delete run": {
      const run = runs.get(request.run);
      if (run === undefined) return goneRun(model, request.run, removed);
      const status = removed(run.status);
      if (status === 204) forget(model, run);
      return { status };
    }
    case "update state":
      return updateState(model, request);
    case "instruct": {
      const run = runs.get(request.run);
      if (run?.status !== "running") return { status: 200 }; // it was stopped first
      instruct(model, run, request);
      return { status: 200 };
    }
  }
}

/** What a run with this status is told when it is cancelled; `removed`: when it is deleted. */
function cancelled(status: RunStatus): number {
  return isInFlight(status) || status === "interrupted" ? 202 : 409;
}

function removed(status: RunStatus): number {
  return isInFlight(status) ? 409 : 204;
}

function goneRun(model: Model, run: string, found: (status: RunStatus) => number): Answered {
  const status = model.leaving.get(run);
  return { status: status === undefined ? 404 : [404, found(status)] };
}

// ---- threads

function addThread(model: Model, name: string, { temporary }: { readonly temporary: boolean }): ModelThread {
  const thread: ModelThread = {
    name,
    temporary,
    metadata: {},
    graph: false,
    checkpoints: [],
    shown: null,
    failed: false,
    patched: false,
  };
  model.threads.set(name, thread);
  return thread;
}

function removeThread(model: Model, name: string): void {
  const head = headOf(model, name);
  model.threads.delete(name);
  for (const run of runsOf(model, name)) {
    model.runs.delete(run.name);
    // Whoever waits hears of the end that the deletion made.
    if (run.status === "running") model.ended.set(run.name, told(head));
    else if (run.status === "pending") model.ended.set(run.name, told(null));
  }
}

export function headOf(model: Model, thread: string): ModelState | null {
  return model.threads.get(thread)?.checkpoints.at(-1)?.state ?? null;
}

/** In the order in which they start. */
export function inFlight(model: Model, thread: string): ModelRun[] {
  return runsOf(model, thread)
    .filter(({ status }) => isInFlight(status))
    .sort((a, b) => a.runAfter - b.runAfter || a.seq - b.seq);
}

function runsOf(model: Model, thread: string): ModelRun[] {
  return [...model.runs.values()].filter((run) => run.thread === thread);
}

export function statusOf(model: Model, thread: ModelThread): string {
  if (inFlight(model, thread.name).length > 0) return "busy";
  if (thread.failed) return "error";
  return thread.shown?.open === true || (thread.shown?.asked ?? null) !== null ? "interrupted" : "idle";
}

function copyThread(model: Model, name: string, copy: string): Answered {
  const source = model.threads.get(name);
  if (source === undefined || inFlight(model, name).length > 0) return { status: 409 };
  const { metadata, graph, checkpoints, shown } = source;
  Object.assign(addThread(model, copy, { temporary: false }), {
    metadata: { ...metadata },
    graph,
    checkpoints: [...checkpoints],
    shown: shown === null ? null : { ...shown, open: checkpoints.at(-1)?.state.open ?? false },
  });
  return { status: 200 };
}

function updateState(model: Model, { thread: name, text }: Extract<Request, { kind: "update state" }>): Answered {
  const thread = model.threads.get(name);
  if (thread === undefined) return { status: 404 };
  if (thread.graph === false) return { status: 400 };
  if (inFlight(model, name).length > 0) return { status: thread.graph === true ? 409 : [400, 409] };
  if (thread.graph === "unknown") return { status: [200, 400] };
  const state = { log: [...(headOf(model, name)?.log ?? []), text], asked: null, open: false };
  thread.checkpoints.push({ run: null, state });
  thread.shown = state;
  thread.failed = false;
  return { status: 200 };
}

// ---- runs

/** What the run says of itself, and with it of a thread that it makes. */
export function metadataOf({ key, run, thread }: CreateRun): Record<string, string> {
  return { request: key ?? run, name: run, thread };
}

export function createRun(model: Model, request: CreateRun): Answered {
  const known = request.key === null ? undefined : unexpired(model, request.key);
  if (known !== undefined) {
    const isSame = known.request === requestOf(request);
    if (isSame && model.runs.has(known.run)) return { status: 200, run: known.run };
    return isSame && model.leaving.has(known.run) ? { status: [200, 409], run: known.run } : { status: 409 };
  }
  const found = model.threads.get(request.thread);
  if (found === undefined && request.on === "thread" && request.ifNotExists === "reject") return { status: 404 };
  const others = inFlight(model, request.thread);
  if (others.length > 0) {
    if (request.strategy === "reject") return { status: 409 };
    const pending = others.filter(({ status }) => status === "pending");
    if (request.strategy === "enqueue" && pending.length >= model.limits.maxPendingPerThread) return { status: 429 };
  } else if (request.begin.kind === "wrong answer" && (found?.shown?.asked ?? null) !== null) return { status: 422 };

  const thread = found ?? addThread(model, request.thread, { temporary: request.on === "temporary" });
  if (found === undefined) thread.metadata = metadataOf(request);
  const { strategy } = request;
  const stops = strategy === "interrupt" || strategy === "rollback" ? strategy : null;
  if (stops !== null) {
    // What never ran shows what the thread showed, whatever a run that is stopped with it leaves.
    const [unstarted, started] = [others.filter(isUnstarted), others.filter((other) => !isUnstarted(other))];
    for (const other of [...unstarted, ...started]) cancel(model, other, stops);
  }
  const run: ModelRun = {
    name: request.run,
    thread: thread.name,
    seq: ++model.seq,
    runAfter: model.time + request.afterSeconds * 1_000,
    ...meant(request.begin, others.length === 0 ? (thread.shown?.asked ?? null) : undefined),
    graphBefore: thread.graph,
    status: "pending",
    fence: 0,
    attempt: 0,
    begun: false,
    cancel: null,
    startedAt: 0,
    updatedAt: model.time,
  };
  thread.graph = true;
  model.runs.set(run.name, run);
  if (request.key !== null) {
    model.keys.set(request.key, { run: run.name, request: requestOf(request), createdAt: model.time });
  }
  return { status: 200, run: run.name };
}

const DAY_MS = 24 * 3_600_000;

/** What the key stands for. One that is over stands for nothing, and is there until it is used again, or swept. */
function unexpired({ keys, time }: Model, key: string) {
  const known = keys.get(key);
  return known !== undefined && known.createdAt > time - DAY_MS ? known : undefined;
}

/** An answer is for what waits when it is given; with runs in flight nobody knows yet what that will be (`undefined`). */
function meant(begin: Begin, asked: string | null | undefined): Pick<ModelRun, "begin" | "answers"> {
  if (begin.kind === "input" || asked === undefined) return { begin, answers: undefined };
  return asked === null ? { begin: { kind: "nothing" }, answers: undefined } : { begin, answers: asked };
}

function requestOf({ run: _run, ...request }: CreateRun): string {
  return JSON.stringify(request);
}

/** The first action wins. What never ran is over at once; what ran before ends when it is claimed. */
function cancel(model: Model, run: ModelRun, action: CancelAction): void {
  if (isUnstarted(run)) {
    run.cancel = action;
    stop(model, run);
  } else {
    run.cancel ??= action;
    if (run.status === "running") stop(model, run);
  }
}

function isUnstarted({ status, fence }: ModelRun): boolean {
  return status === "pending" && fence === 0;
}

/** Deletes a finished run. What it wrote onto its thread stays, whichever run that was there before it is taken back later. */
function forget(model: Model, run: ModelRun): void {
  model.runs.delete(run.name);
  const graph = model.threads.get(run.thread)?.graph ?? false;
  for (const earlier of inFlight(model, run.thread)) if (earlier.seq < run.seq) earlier.graphBefore = graph;
}

/** Ends a run in the way that its cancel says. */
export function stop(model: Model, run: ModelRun): void {
  if (run.cancel === "rollback") rollBack(model, run);
  else if (run.fence === 0) end(model, run, "interrupted", "unchanged");
  else end(model, run, "interrupted", "head");
}

function rollBack(model: Model, run: ModelRun): void {
  const thread = model.threads.get(run.thread);
  model.runs.delete(run.name);
  if (run.fence > 0) model.leaving.set(run.name, "running"); // until its checkpoints are gone
  if (thread === undefined) return;
  model.ended.set(run.name, told(thread.shown));
  thread.checkpoints = thread.checkpoints.filter((checkpoint) => checkpoint.run !== run.name);
  const before = run.graphBefore === false && thread.patched ? "unknown" : run.graphBefore;
  const [later] = runsOf(model, thread.name)
    .filter(({ seq }) => seq > run.seq)
    .sort((a, b) => a.seq - b.seq);
  if (later === undefined) thread.graph = before;
  else later.graphBefore = before;
  if (thread.temporary) removeThread(model, thread.name);
}

/** `shows`: whether the thread shows its head from now on, or what it showed before. A run that never ran changes nothing. */
export function end(model: Model, run: ModelRun, status: RunStatus, shows: "head" | "unchanged"): void {
  const thread = model.threads.get(run.thread);
  run.status = status;
  if (thread === undefined) return;
  const failed = status === "error" || status === "timeout";
  if (shows === "head") thread.shown = headOf(model, thread.name) ?? thread.shown;
  if (run.fence > 0) thread.failed = failed;
  model.ended.set(run.name, failed ? { failed: true } : told(thread.shown));
  if (!thread.temporary) return;
  removeThread(model, thread.name);
  model.leaving.set(run.name, status);
}

function told(state: ModelState | null): Heard {
  return { log: state?.log ?? [], asked: state?.asked ?? null };
}

function instruct(
  model: Model,
  run: ModelRun,
  { instruction: { kind, text }, half }: Extract<Request, { kind: "instruct" }>,
): void {
  if (kind === "say") return;
  if (kind !== "fail" && half !== "finish") {
    const log = [...(headOf(model, run.thread)?.log ?? []), text];
    save(model, run, { log, asked: kind === "ask" ? text : null, open: kind !== "end" });
  }
  if (kind !== "step" && half !== "save") end(model, run, kind === "fail" ? "error" : "success", "head");
}

export function save(model: Model, run: ModelRun, state: ModelState): void {
  model.threads.get(run.thread)?.checkpoints.push({ run: run.name, state });
}
