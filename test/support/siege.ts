/**
 * A gateway process among hostile graphs. While it is struck, a probe asks `/ok` from a thread of its own and witnesses run
 * beside; every strike is followed by a run that must succeed, and the end is judged by the history checker.
 *
 * What it holds every strike to: the run ended, its error body is at most 8 KB and names something, its stream says the
 * same, its thread is readable and free, and the next run on that thread and on a new one succeeds.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect } from "vitest";
import type { Json } from "../../src/core/model.js";
import { checkHistory } from "./history.js";
import type { Call, Connection } from "./history-data.js";
import { dumpFolder } from "./history-dump.js";
import { type Send, sender } from "./http.js";
import { startOkProbe } from "./ok-probe.js";
import { HEDDLE, type Program, type ProgramEnd, startProgram } from "./process.js";
import { openSse, type SsePart } from "./sse-client.js";

export type Isolation = "inline" | "thread";

export interface SiegeOptions {
  readonly isolation: Isolation;
  /** Sections of config.yaml beside `graphs`. */
  readonly config?: Record<string, unknown>;
  /** More keys of its `graphs` section. */
  readonly graphs?: Record<string, unknown>;
  readonly command?: "serve" | "dev";
}

export interface Strike {
  readonly graph?: string;
  readonly input: string;
  readonly configurable?: Record<string, unknown>;
  /** Too large to be streamed to a test: it is waited for. */
  readonly isLarge?: boolean;
  /** Its own code keeps its state from being read: that is refused, not failed. */
  readonly isUnreadable?: boolean;
  /** Called once the run exists; what it returns is awaited before the run's end. */
  readonly meanwhile?: (run: RunIds) => Promise<unknown>;
}

interface RunIds {
  readonly threadId: string;
  readonly runId: string;
}

export interface Outcome extends RunIds {
  readonly status: string;
  /** null unless the run failed. */
  readonly error: { readonly error: string; readonly message: string } | null;
  readonly values: unknown;
  readonly parts: readonly SsePart[];
  /** What `/ok` took during the strike and the run after it, in milliseconds. */
  readonly okMs: readonly number[];
}

export interface Siege {
  readonly url: string;
  readonly send: Send;
  readonly program: Program;
  strike(strike: Strike): Promise<Outcome>;
  /** A run of the graph `next` on a thread of its own. */
  nextSucceeds(threadId?: string): Promise<void>;
  /** Asks to interrupt the run; returns the status of the answer. */
  cancel(run: RunIds): Promise<number>;
  /** Stops the gateway, which must end cleanly, and judges what it leaves behind. */
  end(): Promise<Verdict>;
  [Symbol.asyncDispose](): Promise<void>;
}

export interface Verdict {
  readonly end: ProgramEnd;
  readonly witnesses: number;
  readonly okMs: readonly number[];
  readonly violations: ReturnType<typeof checkHistory>;
}

const GRAPHS = fileURLToPath(new URL("./hostile-graphs.ts", import.meta.url));
const NAMES = [
  "acts",
  "next",
  "witness",
  "badReducer",
  "badEdge",
  "badFactory",
  "stuckFactory",
  "stuckReader",
  "stuckEdge",
  "badSchema",
  "badNames",
];
const MODES = ["values", "updates", "tasks", "checkpoints", "debug", "custom", "messages-tuple"];
const MAX_BODY_BYTES = 8_192;

export async function startSiege({ isolation, config, graphs, command = "serve" }: SiegeOptions): Promise<Siege> {
  const folder = mkdtempSync(join(tmpdir(), "heddle-siege-"));
  const paths = Object.fromEntries(NAMES.map((name) => [name, `${GRAPHS}:${name}`]));
  writeFileSync(
    join(folder, "config.yaml"),
    JSON.stringify({ graphs: { isolation, ...paths, ...graphs }, log: { level: "warn" }, ...config }),
  );
  const program = startProgram(process.execPath, [HEDDLE, command, "--port", "0"], { cwd: folder });
  const url = (await program.line("stdout", /^heddle listening on /)).slice("heddle listening on ".length);
  const send = sender(url);
  const probe = await startOkProbe(url);
  const log = createCallLog(send);
  const witnesses = startWitnesses(log);
  const readers: Connection[] = [];

  async function strike(strike: Strike): Promise<Outcome> {
    const from = Date.now();
    const threadId = await log.createThread();
    const { runId, parts } = strike.isLarge === true ? await wait(threadId, strike) : await stream(threadId, strike);
    const joined = await log.join(threadId, runId);
    const { status } = await get<{ status: string }>(`/threads/${threadId}/runs/${runId}`);
    const error = errorIn(joined);
    holdToPromises({ status, error, parts });
    const thread = await get<{ status: string; values: unknown }>(`/threads/${threadId}`);
    expect(thread.status).not.toBe("busy");
    const { status: readable, body: state } = await send("GET", `/threads/${threadId}/state`);
    expect(readable).toBe(strike.isUnreadable === true ? 422 : 200);
    const { values } = state as { readonly values: unknown }; // undefined in an error
    if (strike.isLarge !== true && strike.isUnreadable !== true) {
      expect(shown(thread.values)).toEqual(shown(values));
      await get(`/threads/${threadId}/history`);
      await nextSucceeds(threadId);
    }
    await nextSucceeds();
    return { threadId, runId, status, error, values, parts, okMs: probe.since(from) };
  }

  async function stream(threadId: string, { graph = "acts", input, configurable, meanwhile }: Strike) {
    const at = Date.now();
    const events: SsePart[] = [];
    const body = { assistant_id: graph, input: { input }, config: { configurable }, stream_mode: MODES };
    const opened = await openSse(`${url}/threads/${threadId}/runs/stream`, { json: body });
    expect(opened.status).toBe(200);
    const runId = opened.headers.get("content-location")?.split("/").at(-1) ?? "";
    log.created(at, threadId, runId);
    const reading = opened.rest().then((parts) => void events.push(...parts));
    await meanwhile?.({ threadId, runId });
    await reading;
    const seen = events.map(({ id, event, data }) => ({ id: id ?? null, event, data }));
    readers.push({ reader: runId, runId, cursor: null, events: seen, ended: "end" });
    return { runId, parts: events };
  }

  async function wait(threadId: string, { graph = "acts", input, configurable, meanwhile }: Strike) {
    // The stream that nobody reads is made all the same.
    const modes = ["values", "custom"];
    const body = { assistant_id: graph, input: { input }, config: { configurable }, stream_mode: modes };
    const runId = await log.createRun(threadId, body);
    await meanwhile?.({ threadId, runId });
    return { runId, parts: [] };
  }

  async function nextSucceeds(threadId?: string): Promise<void> {
    const onThread = threadId ?? (await log.createThread());
    const runId = await log.createRun(onThread, { assistant_id: "next", input: { input: "next" } });
    expect(await log.join(onThread, runId)).toMatchObject({ steps: expect.arrayContaining(["worked"]) });
  }

  async function get<T>(path: string): Promise<T> {
    const { status, body } = await send("GET", path);
    expect([path, status]).toEqual([path, 200]);
    return body as T; // what the API promises of the path
  }

  async function dispose(): Promise<void> {
    await probe.stop();
    witnesses.leave();
    await program[Symbol.asyncDispose]();
    rmSync(folder, { recursive: true, force: true });
  }

  return {
    url,
    send,
    program,
    strike,
    nextSucceeds,
    cancel: log.cancel,
    async end() {
      const count = await witnesses.stop();
      const okMs = await probe.stop();
      program.kill("SIGTERM");
      const end = await program.ended;
      const { audit, dump } = dumpFolder(join(folder, ".heddle"));
      const violations = checkHistory({ calls: log.calls, audit, dump, readers, faults: [], clock: "system" });
      expect(dump.runs.filter(({ status }) => status === "running" || status === "pending")).toEqual([]);
      return { end, witnesses: count, okMs, violations };
    },
    [Symbol.asyncDispose]: dispose,
  };
}

/** What is null in a checkpoint may be missing in a stream: a function, a thread that has no state yet. */
function shown(values: unknown): object {
  return Object.fromEntries(Object.entries(values ?? {}).filter(([, value]) => value !== null));
}

/** The promises of every run that ended, whatever it did. */
function holdToPromises({ status, error, parts }: Pick<Outcome, "status" | "error" | "parts">): void {
  expect(["success", "error", "timeout", "interrupted"]).toContain(status);
  const last = parts.at(-1);
  if (error === null) {
    if (last !== undefined) expect(last.event).toBe("end");
    return;
  }
  expect(Buffer.byteLength(JSON.stringify({ __error__: error }))).toBeLessThanOrEqual(MAX_BODY_BYTES);
  expect(error).toEqual({ error: expect.stringMatching(/./), message: expect.stringMatching(/./) });
  expect(error.message).not.toMatch(/\n\s+at /);
  if (last !== undefined) expect(last).toMatchObject({ event: "error", data: error });
}

function errorIn(joined: unknown): Outcome["error"] {
  return (joined as { readonly __error__?: NonNullable<Outcome["error"]> }).__error__ ?? null;
}

/** What clients asked and heard, as the history checker takes it. */
interface CallLog {
  readonly calls: readonly Call[];
  createThread(): Promise<string>;
  createRun(threadId: string, body: object): Promise<string>;
  /** For a run that was created by its stream. */
  created(at: number, threadId: string, runId: string): void;
  join(threadId: string, runId: string): Promise<unknown>;
  cancel(run: RunIds): Promise<number>;
}

function createCallLog(send: Send): CallLog {
  const calls: Call[] = [];
  const created = (at: number, threadId: string, runId: string): void => {
    calls.push({ ask: "create run", at, threadId, heard: { at: Date.now(), status: 200, threadId, runId } });
  };
  return {
    calls,
    created,
    async createThread() {
      const at = Date.now();
      const { status, body } = await send("POST", "/threads", {});
      expect(status).toBe(200);
      const { thread_id: threadId } = body as { thread_id: string };
      calls.push({ ask: "create thread", at, threadId: null, heard: { at: Date.now(), status, threadId } });
      return threadId;
    },
    async createRun(threadId, request) {
      const at = Date.now();
      const { status, body } = await send("POST", `/threads/${threadId}/runs`, request);
      expect(status).toBe(200);
      const { run_id: runId } = body as { run_id: string };
      created(at, threadId, runId);
      return runId;
    },
    async cancel({ threadId, runId }) {
      const at = Date.now();
      const { status } = await send("POST", `/threads/${threadId}/runs/${runId}/cancel?wait=0`);
      const heard = { at: Date.now(), status };
      calls.push({ ask: "cancel run", at, threadId, runId, action: "interrupt", heard });
      return status;
    },
    async join(threadId, runId) {
      const at = Date.now();
      const { status, body } = await send("GET", `/threads/${threadId}/runs/${runId}/join`);
      expect(status).toBe(200);
      // Bodies of many megabytes are not kept: no rule looks into them.
      const kept = errorIn(body) === null ? undefined : (body as Json);
      calls.push({ ask: "wait run", at, runId, heard: { at: Date.now(), status, threadId, runId, body: kept } });
      return body;
    },
  };
}

const WITNESSES = 2;
const TICKS = 20;

/** Runs that mind their own business, one after the other, as many at once as there are threads at least. */
function startWitnesses(log: CallLog): { stop(): Promise<number>; leave(): void } {
  let isOver = false;
  let count = 0;
  async function watch(): Promise<void> {
    while (!isOver) {
      const threadId = await log.createThread();
      const runId = await log.createRun(threadId, {
        assistant_id: "witness",
        input: { wanted: TICKS },
        config: { recursion_limit: 2 * TICKS },
      });
      const result = await log.join(threadId, runId);
      expect(result).toEqual({ wanted: TICKS, ticks: Array.from({ length: TICKS }, (_, index) => index) });
      count++;
    }
  }
  const watching = Promise.all(Array.from({ length: WITNESSES }, watch));
  watching.catch(() => {}); // `stop` tells
  return {
    leave() {
      isOver = true;
    },
    async stop() {
      isOver = true;
      await watching;
      return count;
    },
  };
}

/** The value below which `share` of them are. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}
