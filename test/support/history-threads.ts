/** What clients were promised, against what is left: R2, R5, R6, R9 to R12, R14 to R17, S7. */
import { type CancelAction, isInFlight } from "../../src/core/model.js";
import type { Call } from "./history-data.js";
import {
  acknowledged,
  asking,
  canonical,
  type Finder,
  groupBy,
  type HistoryView,
  isObject,
  isRefused,
  isTerminal,
  mayFollow,
} from "./history-view.js";

type CreateRun = Extract<Call, { ask: "create run" }>;

/** A run that a client was told of. */
interface KnownRun {
  readonly call: CreateRun;
  readonly runId: string;
  readonly threadId: string | undefined;
  readonly answeredAt: number;
}

function answeredRuns({ calls }: HistoryView): readonly KnownRun[] {
  return asking(calls, "create run").flatMap((call) => {
    const answer = acknowledged(call);
    if (answer?.runId === undefined) return [];
    const threadId = call.threadId ?? answer.threadId;
    return [{ call, runId: answer.runId, threadId, answeredAt: answer.at }];
  });
}

/** Each run once, with the first request that may have made it: later ones with its key only hear of it again. */
function knownRuns(view: HistoryView): readonly KnownRun[] {
  const runs = new Map<string, KnownRun>();
  for (const run of answeredRuns(view)) {
    const before = runs.get(run.runId);
    if (before === undefined || run.call.at < before.call.at) runs.set(run.runId, run);
  }
  const keyed = groupBy(asking(view.calls, "create run"), ({ idempotencyKey }) => idempotencyKey ?? "");
  return [...runs.values()].map((run) => {
    if (run.call.idempotencyKey === undefined) return run;
    const tries = (keyed.get(run.call.idempotencyKey) ?? []).filter((call) => !isRefused(call));
    return { ...run, call: tries.reduce((first, call) => (call.at < first.at ? call : first), run.call) };
  });
}

/** How clients may have stopped the run: by a cancel, by a later run of its thread, or with the thread. */
function cancelsOf({ calls }: HistoryView, { call, runId, threadId }: KnownRun): ReadonlySet<CancelAction> {
  const actions = new Set<CancelAction>();
  for (const other of calls) {
    if (!mayFollow(other, call)) continue;
    if (other.ask === "cancel run" && other.runId === runId) actions.add(other.action);
    if (other.ask === "delete thread" && other.threadId === threadId) actions.add("interrupt");
    if (other.ask !== "create run" || other === call || other.threadId === null || other.threadId !== threadId)
      continue;
    if (other.strategy === "interrupt" || other.strategy === "rollback") actions.add(other.strategy);
  }
  return actions;
}

/** Whether clients wished the run's row away. */
function mayBeGone(view: HistoryView, run: KnownRun): boolean {
  return mayBeDeleted(view, run) || isTemporary(run.call) || cancelsOf(view, run).has("rollback");
}

/** Whether clients wished away all that there is of the run. */
function mayBeDeleted({ calls }: HistoryView, { call, runId, threadId }: KnownRun): boolean {
  return calls.some(
    (other) =>
      mayFollow(other, call) &&
      ((other.ask === "delete run" && other.runId === runId) ||
        (other.ask === "delete thread" && other.threadId === threadId)),
  );
}

function isTemporary({ threadId, temporary }: CreateRun): boolean {
  return threadId === null && temporary === true;
}

/** R2 */
export const acknowledgedRunLost: Finder = function* (view) {
  for (const run of knownRuns(view)) {
    const found = view.runs.get(run.runId);
    if (found === undefined) {
      if (!mayBeGone(view, run)) yield `run ${run.runId} was acknowledged and is gone`;
    } else if (run.threadId !== undefined && found.threadId !== run.threadId) {
      yield `run ${run.runId} was acknowledged on thread ${run.threadId} and is on ${found.threadId}`;
    }
  }
};

/** R2, for threads: those that were created, and those that runs were given which keep them. */
export const acknowledgedThreadLost: Finder = function* (view) {
  const deletions = asking(view.calls, "delete thread");
  for (const call of view.calls) {
    if (call.ask !== "create thread" && (call.ask !== "create run" || isTemporary(call))) continue;
    const threadId = acknowledged(call)?.threadId ?? call.threadId;
    if (acknowledged(call) === undefined || threadId === null || view.threads.has(threadId)) continue;
    const isDeleted = deletions.some((other) => other.threadId === threadId && mayFollow(other, call));
    if (!isDeleted) yield `thread ${threadId} was acknowledged and is gone`;
  }
};

/** R2, for items: the last acknowledged value, or one that may have been put after it. */
export const acknowledgedItemLost: Finder = function* ({ calls, dump }) {
  const nameOf = ({ namespace, key }: { readonly namespace: readonly string[]; readonly key: string }): string =>
    JSON.stringify([namespace, key]);
  const stored = new Map(dump.items.map((item) => [nameOf(item), canonical(item.value)]));
  const deletions = asking(calls, "delete item");
  for (const [name, puts] of groupBy(asking(calls, "put item"), nameOf)) {
    const done = puts.filter((put) => acknowledged(put) !== undefined);
    if (done.length === 0) continue;
    const isOld = (put: Call): boolean => done.some((later) => later !== put && !mayFollow(put, later));
    const last = puts.filter((put) => !isRefused(put) && !isOld(put));
    const value = stored.get(name);
    if (deletions.some((deletion) => nameOf(deletion) === name && last.some((put) => mayFollow(deletion, put))))
      continue;
    if (value === undefined) yield `item ${name} was acknowledged and is gone`;
    else if (!last.some((put) => canonical(put.value) === value)) yield `item ${name} has an older value: ${value}`;
  }
};

/** R5 */
export const stateDiffers: Finder = function* ({ history, threads }) {
  for (const { threadId, values, found } of history.expected ?? []) {
    const actual = found === undefined ? threads.get(threadId)?.values : found;
    if (canonical(actual) !== canonical(values)) {
      yield `thread ${threadId}: expected ${canonical(values)}, found ${canonical(actual)}`;
    }
  }
};

/** R6 */
export const answeredByNobody: Finder = function* ({ history, calls }) {
  const commands = asking(calls, "create run").filter((call) => call.answers !== undefined && !isRefused(call));
  for (const { threadId, question, answer } of history.approvals ?? []) {
    const isMeant = commands.some(
      (command) =>
        command.threadId === threadId &&
        Object.hasOwn(command.answers ?? {}, question) &&
        canonical(command.answers?.[question]) === canonical(answer),
    );
    if (!isMeant) yield `thread ${threadId}: ${question} was answered with ${canonical(answer)}, which no command said`;
  }
};

/** R9: a request that was refused leaves no run. */
export const refusedRunExists: Finder = function* ({ calls, dump }) {
  const byRequest = groupBy(asking(calls, "create run"), ({ request }) => request ?? "");
  for (const { runId, metadata } of dump.runs) {
    const tries = typeof metadata.request === "string" ? (byRequest.get(metadata.request) ?? []) : [];
    if (tries.length > 0 && tries.every(isRefused)) yield `run ${runId} exists although its request was refused`;
  }
};

/** R9: nobody's run is interrupted unless somebody asked for it. */
export const interruptedByNobody: Finder = function* (view) {
  for (const run of knownRuns(view)) {
    if (view.runs.get(run.runId)?.status !== "interrupted") continue;
    if (cancelsOf(view, run).size === 0) yield `run ${run.runId} ended as interrupted although nobody cancelled it`;
  }
};

/** R9 */
export const rollbackLeavesTraces: Finder = function* ({ history }) {
  for (const { threadId, before, after } of history.rollbacks ?? []) {
    if (before !== after) yield `thread ${threadId} is not as before the run that was rolled back`;
  }
};

/** R9: of a run whose row was taken back, no checkpoint is left. */
export const rolledBackCheckpoints: Finder = function* ({ timelines, dump }) {
  for (const [of, rows] of groupBy(dump.checkpoints, ({ threadId, runId }) => JSON.stringify([threadId, runId]))) {
    const [threadId, runId] = JSON.parse(of) as [string, string];
    const last = timelines.get(runId)?.at(-1);
    if (last === undefined || last.threadId !== threadId || last.newStatus !== null || isTerminal(last.oldStatus))
      continue;
    yield `thread ${threadId}: ${rows.length} checkpoints and writes are left of run ${runId}, which was rolled back`;
  }
};

/** R10 */
export const statusDisagrees: Finder = function* ({ dump }) {
  for (const { threadId, status, deleting } of dump.threads) {
    if (deleting) continue;
    const inFlight = dump.runs.filter((run) => run.threadId === threadId && isInFlight(run.status));
    if (status === "busy" && inFlight.length === 0) yield `thread ${threadId} is busy without a run in flight`;
    if (status !== "busy" && inFlight.length > 0)
      yield `thread ${threadId} is ${status} with ${inFlight[0]?.runId} in flight`;
  }
};

/** R11: rows of a thread that was deleted and not made again. */
export const deletedThreadLeavesRows: Finder = function* (view) {
  const { calls, dump } = view;
  const created = calls.filter((call) => call.ask === "create thread" || call.ask === "create run");
  for (const deletion of asking(calls, "delete thread")) {
    const { threadId } = deletion;
    if (acknowledged(deletion) === undefined) continue;
    if (created.some((call) => call.threadId === threadId && mayFollow(call, deletion))) continue;
    if (view.threads.has(threadId)) yield `thread ${threadId} was deleted and is still there`;
    const tables = Object.entries(dump.rowsByThread).filter(([, rows]) => Object.hasOwn(rows, threadId));
    // Rows of a thread that is nowhere are found without the client's log, too.
    if (view.threads.has(threadId))
      for (const [table] of tables) yield `deleted thread ${threadId} has rows in ${table}`;
    const runIds = knownRuns(view).filter((run) => run.threadId === threadId);
    for (const [table, rows] of Object.entries(dump.rowsByRun)) {
      for (const { runId } of runIds) {
        if (Object.hasOwn(rows, runId)) yield `run ${runId} of deleted thread ${threadId} has rows in ${table}`;
      }
    }
  }
};

/** R11: deletions that did not come to their end, and rows of threads that do not exist. */
export const rowsOfNoThread: Finder = function* (view) {
  const { dump, threads } = view;
  const temporary = temporaryThreads(view);
  for (const { threadId, deleting } of dump.threads) {
    if (deleting && !temporary.has(threadId)) yield `the deletion of thread ${threadId} did not come to its end`;
  }
  for (const [table, rows] of Object.entries(dump.rowsByThread)) {
    for (const threadId of Object.keys(rows)) {
      if (threads.has(threadId) || temporary.has(threadId)) continue;
      yield `${table} has rows of thread ${threadId}, which does not exist`;
    }
  }
};

/** Of runs that are to leave nothing behind. */
function temporaryThreads(view: HistoryView): ReadonlySet<string> {
  const known = knownRuns(view).filter(({ call }) => isTemporary(call));
  const left = view.dump.runs.filter(({ temporary }) => temporary);
  return new Set([...known, ...left].flatMap(({ threadId }) => threadId ?? []));
}

/** R12: a cancel that was accepted decides how the run ends; of several, any may have been the first. */
export const cancelWithoutEffect: Finder = function* (view) {
  const known = new Map(knownRuns(view).map((run) => [run.runId, run]));
  const cancels = asking(view.calls, "cancel run").filter((call) => acknowledged(call) !== undefined);
  for (const [runId, calls] of groupBy(cancels, (call) => call.runId)) {
    const run = known.get(runId);
    const actions = new Set([...calls.map(({ action }) => action), ...(run === undefined ? [] : cancelsOf(view, run))]);
    const found = view.runs.get(runId);
    if (found === undefined) continue; // R2 asks whether it may be gone
    if (found.status !== "interrupted") yield `run ${runId} was cancelled and is ${found.status}`;
    else if (!actions.has("interrupt")) yield `run ${runId} was rolled back and is still there`;
  }
};

/** R14 */
export const waitHangs: Finder = function* ({ calls }) {
  for (const { runId, heard } of asking(calls, "wait run")) {
    if (heard === "none") yield `a wait for run ${runId} was never answered`;
  }
};

/** R14: the answer tells of an error when the run had one, and only then. */
export const waitTellsOtherEnd: Finder = function* ({ calls, runs }) {
  for (const call of asking(calls, "wait run")) {
    const body = acknowledged(call)?.body;
    const run = runs.get(call.runId);
    if (run === undefined || body === undefined || body === null) continue; // an answer without a body says nothing
    const tellsError = isObject(body) && Object.hasOwn(body, "__error__");
    const failed = run.status === "error" || run.status === "timeout";
    if (tellsError !== failed) yield `run ${call.runId} ended as ${run.status}, a wait for it heard ${canonical(body)}`;
  }
};

/** R14: no answer before there is an end. */
export const waitAnsweredEarly: Finder = function* ({ calls, timelines }) {
  for (const call of asking(calls, "wait run")) {
    const answer = acknowledged(call);
    const end = timelines.get(call.runId)?.find(({ newStatus }) => isTerminal(newStatus));
    if (answer !== undefined && end !== undefined && answer.at < end.at) {
      yield `a wait for run ${call.runId} was answered ${end.at - answer.at} ms before it ended`;
    }
  }
};

/** R15 */
export const temporaryRowsLeft: Finder = function* (view) {
  const { dump, threads } = view;
  const live = new Set(dump.runs.filter(({ status }) => isInFlight(status)).map(({ threadId }) => threadId));
  for (const threadId of temporaryThreads(view)) {
    if (live.has(threadId)) continue;
    if (threads.has(threadId)) yield `temporary thread ${threadId} is still there`;
    else {
      const tables = Object.entries(dump.rowsByThread).filter(([, rows]) => Object.hasOwn(rows, threadId));
      for (const [table] of tables) yield `temporary thread ${threadId} has rows in ${table}`;
    }
  }
};

const IDEMPOTENCY_MS = 24 * 60 * 60 * 1000;

/** R16: one key, one run; another request with the key is refused. */
export const keyMakesTwoRuns: Finder = function* (view) {
  const keyed = answeredRuns(view).filter(({ call }) => call.idempotencyKey !== undefined);
  for (const [key, runs] of groupBy(keyed, ({ call }) => call.idempotencyKey ?? "")) {
    const [first, ...others] = runs.sort((a, b) => a.call.at - b.call.at);
    if (first === undefined) continue;
    for (const other of others.filter(({ answeredAt }) => answeredAt < first.call.at + IDEMPOTENCY_MS)) {
      if (other.runId !== first.runId) yield `key ${key} made ${first.runId} and ${other.runId}`;
      else if (other.call.request !== first.call.request) yield `key ${key} gave one run to two different requests`;
    }
  }
};

/** R16: a request that was repeated with its key is one row. */
export const requestMakesTwoRows: Finder = function* ({ calls, dump }) {
  const keyed = asking(calls, "create run").filter(({ idempotencyKey }) => idempotencyKey !== undefined);
  const requests = new Set(keyed.map(({ request }) => request));
  const marked = dump.runs.filter(
    ({ metadata }) => typeof metadata.request === "string" && requests.has(metadata.request),
  );
  for (const [request, runs] of groupBy(marked, ({ metadata }) => String(metadata.request))) {
    if (runs.length > 1) yield `request ${request} made ${runs.map(({ runId }) => runId).join(" and ")}`;
  }
};

/** R17: an update that was answered well did not fall, from its asking to its answer, into the life of one run. */
export const updateDuringRun: Finder = function* (view) {
  const known = new Map(knownRuns(view).map((run) => [run.runId, run]));
  const lives = [...view.timelines].flatMap(([runId, rows]) => {
    // An admission is stamped before its commit: what came after it proves that it was there.
    const from = known.get(runId)?.answeredAt ?? rows[1]?.at;
    const end = rows.find(({ newStatus }) => newStatus === null || isTerminal(newStatus));
    const to = end?.at ?? Number.POSITIVE_INFINITY;
    const threadId = rows[0]?.threadId;
    return from === undefined || threadId === undefined ? [] : [{ runId, threadId, from, to }];
  });
  for (const call of asking(view.calls, "update state")) {
    const answer = acknowledged(call);
    if (answer === undefined) continue;
    const life = lives.find(({ threadId, from, to }) => threadId === call.threadId && from < call.at && answer.at < to);
    if (life !== undefined)
      yield `thread ${call.threadId}: its state was written while run ${life.runId} was in flight`;
  }
};

/** R17: an update that was refused wrote nothing. */
export const refusedUpdateWrote: Finder = function* ({ calls, threads }) {
  for (const call of asking(calls, "update state")) {
    if (call.mark === undefined || !isRefused(call)) continue;
    const { mark, threadId } = call;
    if (JSON.stringify(threads.get(threadId)?.values ?? null).includes(JSON.stringify(mark).slice(1, -1))) {
      yield `thread ${threadId}: a refused update wrote ${mark}`;
    }
  }
};

/** S7, where nobody sends them: each end of a run leaves one webhook, whatever became of the run and its thread since. */
export const endUntold: Finder = function* (view) {
  for (const run of knownRuns(view)) {
    if (run.call.webhook !== true) continue;
    const { status } = view.runs.get(run.runId) ?? { status: "gone" as const };
    const found = view.dump.rowsByRun.outbox?.[run.runId] ?? 0;
    const expected = status !== "gone" && isInFlight(status) ? 0 : 1;
    if (found === expected || (found === 0 && mayBeDeleted(view, run))) continue;
    yield `run ${run.runId} is ${status} and has ${found} webhooks instead of ${expected}`;
  }
};
