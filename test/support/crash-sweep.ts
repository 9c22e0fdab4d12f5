/**
 * Drives a conversation, keeps the disk after every commit of it, and starts a new process on each of these disks: it must
 * come to the same end.
 */

import { GatewayError } from "../../src/core/errors.js";
import type { Json } from "../../src/core/model.js";
import { openSqlite } from "../../src/storage/sqlite.js";
import { type DiskImage, makeFolder, readDisk, sameImage, writeDisk } from "./crash-disk.js";
import { type CrashGraphs, crashGraphs } from "./crash-graphs.js";
import { type CommitListener, type GatewayProcess, type HostKind, startProcess } from "./crash-process.js";
import { type Act, type Gate, type Scenario, type Step, THREAD } from "./crash-scenarios.js";
import { checkHistory, type Violation } from "./history.js";
import type { Approval, Call } from "./history-data.js";
import { dumpDatabase } from "./history-dump.js";

/** A moment at which a process can die. */
export interface CrashPoint {
  readonly what: string;
  readonly disk: DiskImage;
  /** What a power failure may leave of the checkpoints instead: earlier ones, back to the last that were synced. */
  readonly lost: readonly DiskImage["checkpoints"][];
}

export interface Drive {
  /** What the client has done; the last is what it did now. */
  readonly acts: readonly Act[];
  /** What the thread shows, without ids and times. */
  readonly outcome: string;
  /** The same after the rest of the conversation. */
  readonly end: string;
  readonly history: { readonly entries: number };
  readonly violations: readonly Violation[];
  readonly points: readonly CrashPoint[];
  /** After the process was stopped. */
  readonly disk: DiskImage;
}

export interface DriveRequest {
  readonly graph: keyof CrashGraphs;
  /** null: the first start on an empty folder. */
  readonly disk: DiskImage | null;
  /** What the client did before. */
  readonly past: readonly Act[];
  /** What it does now: decides, or repeats what it decided before the crash. */
  readonly now: Step | Act | null;
  /** What it does afterwards. */
  readonly rest: readonly Step[];
  readonly durability: SweepOptions["durability"];
  readonly host: HostKind;
  /** How many processes died before. */
  readonly deaths: number;
  readonly keepPoints: boolean;
}

const STARTED_AT = Date.UTC(2030, 0, 1);
const BETWEEN_STARTS_MS = 60_000;

/** One process, from its start to its stop. */
async function drive(request: DriveRequest): Promise<Drive> {
  const folder = makeFolder();
  try {
    if (request.disk !== null) writeDisk(folder.path, request.disk);
    return await driveIn(folder.path, request);
  } finally {
    folder.remove();
  }
}

async function driveIn(folder: string, request: DriveRequest): Promise<Drive> {
  const { graph, deaths, keepPoints, durability, host } = request;
  const acts = [...request.past];
  const points: CrashPoint[] = [];
  const recorder = keepPoints ? recordPoints(folder, points) : SILENT;
  const approvals: Approval[] = [];
  let atGate = makeGate();
  const answered = (question: string, answer: unknown): void => {
    approvals.push({ threadId: THREAD, question, answer: answer as Json }); // an answer comes from a command's JSON
  };
  const startMs = STARTED_AT + ((acts.length + 1) * 10 + deaths) * BETWEEN_STARTS_MS;
  const build = crashGraphs({ answered, pass: (signal) => atGate.pass(signal) })[graph];
  const process = await startProcess(folder, build(), { startMs, host }, recorder);
  const perform = async (next: Step | Act): Promise<void> => {
    const act = typeof next === "function" ? await next(process, durability) : next;
    acts.push(act);
    await act.perform(process, atGate.gate);
  };
  if (request.now !== null) await perform(request.now);
  await process.quiet();
  const shown = await outcomeOf(process);
  const recorded = [...points];
  let end = shown.outcome;
  for (const step of request.rest) {
    atGate = makeGate();
    await perform(step);
    end = (await outcomeOf(process)).outcome;
  }
  const calls = acts.flatMap(({ call }) => call ?? []);
  await process.stop();
  return {
    acts,
    outcome: shown.outcome,
    end,
    history: { entries: shown.entries },
    violations: judge(folder, { calls, approvals, takenAt: startMs }),
    points: recorded,
    disk: readDisk(folder),
  };
}

const SILENT: CommitListener = { committed() {}, synced() {} };

function recordPoints(folder: string, points: CrashPoint[]): CommitListener {
  let last: DiskImage | undefined;
  let unsynced: DiskImage["checkpoints"][] = [];
  return {
    committed(what) {
      const disk = readDisk(folder);
      const sameCheckpoints = last !== undefined && sameImage(last.checkpoints, disk.checkpoints);
      if (last !== undefined && sameCheckpoints && sameImage(last.heddle, disk.heddle)) return;
      if (last !== undefined && !sameCheckpoints) unsynced = [...unsynced, last.checkpoints];
      points.push({ what: `${points.length} ${what}`, disk, lost: unsynced });
      last = disk;
    },
    synced() {
      unsynced = [];
      last = last && { ...last, checkpoints: readDisk(folder).checkpoints };
    },
  };
}

function makeGate(): { readonly gate: Gate; pass(signal: AbortSignal | undefined): Promise<void> } {
  let arrive = (): void => {};
  let open = (): void => {};
  const arrived = new Promise<void>((resolve) => {
    arrive = resolve;
  });
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return {
    gate: { arrived, open: () => open() },
    pass(signal) {
      arrive();
      return new Promise((resolve, reject) => {
        signal?.addEventListener("abort", () => reject(signal.reason));
        void opened.then(resolve);
      });
    },
  };
}

async function outcomeOf(process: GatewayProcess): Promise<{ readonly outcome: string; readonly entries: number }> {
  const { service, stateOf, state, manager, connection } = process;
  const thread = await service.require(THREAD).catch((error: unknown) => {
    if (error instanceof GatewayError && error.code === "not_found") return undefined;
    throw error;
  });
  const items = connection.prepare("SELECT namespace, key, value FROM items ORDER BY namespace, key").all();
  if (thread === undefined) return { outcome: canonical({ thread: null, items }), entries: 0 };
  const { rows } = await manager.list(THREAD, { limit: 100, offset: 0, maxBytes: 1e9, withPayload: false });
  const { status, valuesJson, interrupts, error, metadata } = thread;
  const history = await state.history(THREAD, null, { limit: 100, before: null, metadata: {}, maxBytes: 1e9 });
  const entries = history.states.length;
  const outcome = {
    thread: { status, values: JSON.parse(valuesJson ?? "null"), interrupts, error, metadata },
    state: shownState(await stateOf(THREAD)),
    runs: rows.map(({ metadata: { request }, status, error }) => ({ request, status, error })),
    items,
  };
  return { outcome: canonical(outcome), entries };
}

/** Without what differs from one execution to the next: places, times, and how a step came about. */
function shownState(state: Awaited<ReturnType<GatewayProcess["stateOf"]>>): unknown {
  const { values, next, tasks, interrupts } = state;
  return {
    values,
    next,
    interrupts,
    tasks: tasks.map(({ name, error, interrupts, result, state: nested }) => ({
      name,
      error,
      interrupts,
      result,
      state: nested === null ? null : shownState(nested),
    })),
  };
}

const IDS = /[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|\b[0-9a-f]{32}\b/g;

/** Ids by the order in which they appear. */
function canonical(value: unknown): string {
  const known = new Map<string, string>();
  return JSON.stringify(value, null, 1).replace(IDS, (id) => {
    const name = known.get(id) ?? `#${known.size}`;
    known.set(id, name);
    return name;
  });
}

function judge(
  folder: string,
  seen: { readonly calls: readonly Call[]; readonly approvals: readonly Approval[]; readonly takenAt: number },
): readonly Violation[] {
  const database = openSqlite(`${folder}/heddle.db`, "FULL");
  const checkpoints = openSqlite(`${folder}/checkpoints.db`, "NORMAL");
  try {
    const { calls, approvals } = seen;
    return checkHistory({ ...dumpDatabase({ database, checkpoints }, seen.takenAt), calls, approvals });
  } finally {
    database.close();
    checkpoints.close();
  }
}

export interface Swept {
  /** How many moments of a first and of a second death, and of a power failure, were tried. */
  points: number;
  readonly wrong: string[];
  /** Of the histories: how many more entries than without a crash. */
  readonly extraEntries: Map<number, number>;
}

export interface SweepOptions {
  readonly durability: "sync" | "async" | "exit";
  readonly host: HostKind;
  /** Every how many-eth first death is tried. */
  readonly every: number;
  /** Every how many-eth second death after it; 0 for none. */
  readonly secondEvery: number;
}

/** Every step of the scenario with a death in it, then the rest of the conversation without. */
export async function sweep({ graph, steps }: Scenario, options: SweepOptions): Promise<Swept> {
  const { durability, host } = options;
  const swept: Swept = { points: 0, wrong: [], extraEntries: new Map() };
  const whole: Drive[] = [];
  const alone = { graph, durability, host, rest: [], deaths: 0 };
  let { acts, disk } = await drive({ ...alone, disk: null, past: [], now: null, keepPoints: false });
  for (const now of steps) {
    const driven = await drive({ ...alone, disk, past: acts, now, keepPoints: true });
    if (driven.violations.length > 0) swept.wrong.push(`without a crash: ${JSON.stringify(driven.violations)}`);
    whole.push(driven);
    ({ acts, disk } = driven);
  }

  const die = async (index: number, what: string, died: DiskImage, deaths: 1 | 2) => {
    swept.points++;
    const expected = whole[index];
    try {
      const driven = await drive({
        graph,
        durability,
        host,
        disk: died,
        past: acts.slice(0, index),
        now: acts[index] ?? null,
        rest: steps.slice(index + 1),
        deaths,
        keepPoints: deaths === 1 && options.secondEvery > 0,
      });
      for (const { rule, what: broken } of driven.violations) swept.wrong.push(`${what}: ${rule} ${broken}`);
      compare(swept, what, driven.outcome, expected?.outcome);
      compare(swept, `${what}, then the rest`, driven.end, whole.at(-1)?.outcome);
      const extra = driven.history.entries - (expected?.history.entries ?? 0);
      swept.extraEntries.set(extra, (swept.extraEntries.get(extra) ?? 0) + 1);
      return driven.points;
    } catch (error) {
      swept.wrong.push(`${what}: ${String(error)}`);
      return [];
    }
  };

  let count = 0;
  for (const [index, { points }] of whole.entries()) {
    for (const point of points) {
      if (count++ % options.every !== 0) continue;
      const what = `step ${index}, ${point.what}`;
      const again = await die(index, what, point.disk, 1);
      for (const [back, checkpoints] of point.lost.entries()) {
        if (count++ % options.every !== 0) continue;
        const loss = `power failure: checkpoints of ${point.lost.length - back} writes before`;
        await die(index, `${what}, ${loss}`, { ...point.disk, checkpoints }, 1);
      }
      for (const second of again) {
        if (count++ % options.secondEvery !== 0) continue;
        await die(index, `${what}, then ${second.what}`, second.disk, 2);
      }
    }
  }
  return swept;
}

function compare(swept: Swept, what: string, found: string, expected: string | undefined): void {
  if (expected !== undefined && found !== expected) swept.wrong.push(`${what}: ${difference(expected, found)}`);
}

/** The lines in which two outcomes differ. */
function difference(expected: string, found: string): string {
  const lines = (text: string) => text.split("\n").map((line) => line.trim());
  const [wanted, got] = [lines(expected), lines(found)];
  const missing = wanted.filter((line) => !got.includes(line));
  const added = got.filter((line) => !wanted.includes(line));
  return `without ${missing.join(" ")} | but ${added.join(" ")}`;
}
