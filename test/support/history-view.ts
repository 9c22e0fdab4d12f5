/** A history with its indexes, and the questions that several rules ask of it. */
import { isInFlight, type Json, type RunStatus } from "../../src/core/model.js";
import type {
  Answer,
  AuditRow,
  Call,
  Connection,
  DatabaseDump,
  DumpedRun,
  DumpedThread,
  History,
} from "./history-data.js";

/** Missing parts are empty here: a rule sees them only when it asked for a part that there is. */
export interface HistoryView {
  readonly history: History;
  readonly audit: readonly AuditRow[];
  /** By run, in order. */
  readonly timelines: ReadonlyMap<string, readonly AuditRow[]>;
  readonly dump: DatabaseDump;
  readonly threads: ReadonlyMap<string, DumpedThread>;
  readonly runs: ReadonlyMap<string, DumpedRun>;
  readonly calls: readonly Call[];
  readonly readers: readonly Connection[];
}

/** Finds what breaks one rule; one sentence each. */
export type Finder = (view: HistoryView) => Iterable<string>;

/** A way to judge a rule, and the parts of a history that it takes. */
export interface Judge {
  readonly needs: readonly (keyof History)[];
  readonly find: Finder;
}

export function viewOf(history: History): HistoryView {
  const audit = [...(history.audit ?? [])].sort((a, b) => a.seq - b.seq);
  const dump = history.dump ?? NOTHING;
  return {
    history,
    audit,
    timelines: groupBy(audit, ({ runId }) => runId),
    dump,
    threads: new Map(dump.threads.map((thread) => [thread.threadId, thread])),
    runs: new Map(dump.runs.map((run) => [run.runId, run])),
    calls: history.calls ?? [],
    readers: history.readers ?? [],
  };
}

const NOTHING: DatabaseDump = {
  takenAt: 0,
  threads: [],
  runs: [],
  rowsByThread: {},
  rowsByRun: {},
  checkpoints: [],
  items: [],
};

export function groupBy<T>(items: Iterable<T>, keyOf: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const group = groups.get(keyOf(item));
    if (group === undefined) groups.set(keyOf(item), [item]);
    else group.push(item);
  }
  return groups;
}

/** The calls of one kind. */
export function asking<Ask extends Call["ask"]>(calls: readonly Call[], ask: Ask): Extract<Call, { ask: Ask }>[] {
  return calls.filter((call): call is Extract<Call, { ask: Ask }> => call.ask === ask);
}

/** The answer that says that it was done; undefined without one. */
export function acknowledged({ heard }: Call): Answer | undefined {
  return typeof heard === "object" && heard.status >= 200 && heard.status < 300 ? heard : undefined;
}

export function isRefused({ heard }: Call): boolean {
  return typeof heard === "object" && heard.status >= 400 && heard.status < 500;
}

/** Whether `call` may have taken effect, and that after `earlier` was asked for. */
export function mayFollow(call: Call, earlier: Call): boolean {
  if (isRefused(call)) return false;
  return typeof call.heard !== "object" || call.heard.at >= earlier.at;
}

export function isTerminal(status: RunStatus | null): boolean {
  return status !== null && !isInFlight(status);
}

/** The same for the same JSON, whatever the order of members. */
export function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, member: unknown) =>
    typeof member === "object" && member !== null && !Array.isArray(member)
      ? Object.fromEntries(Object.entries(member).sort(([a], [b]) => (a < b ? -1 : 1)))
      : member,
  );
}

export function isObject(value: unknown): value is { readonly [key: string]: Json } {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
