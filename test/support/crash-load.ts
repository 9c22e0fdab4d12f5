/**
 * Clients that go on whatever happens to the gateway, and remember what they asked and what they heard: the client log that
 * `checkHistory` judges.
 *
 * A client uses its threads and items alone and one request after the other, so that what it must find again is certain.
 * After a broken connection it waits for the next gateway, and so it does when a proxy says that there is none.
 */
import { randomUUID } from "node:crypto";
import type { Json, JsonObject, MultitaskStrategy } from "../../src/core/model.js";
import type { Answer, Call, Connection, Heard, SeenEvent } from "./history-data.js";
import type { Random } from "./random.js";
import { openSse } from "./sse-client.js";

/** Where the gateway is; changes with every start. */
export interface Target {
  /** Undefined while there is none. */
  readonly url: string | undefined;
  /** After a connection broke: resolves when it is worth another, where gateways come and go with a new address each. */
  after(gone: string | undefined): Promise<string>;
  /** After an answer of 5xx, which tells as little about what was done: resolves when it is worth asking again. */
  calm?(): Promise<void>;
  /** How long a client waits for an answer, or follows one stream, before it leaves and asks again; for ever unless given. */
  readonly patienceMs?: number;
}

export interface LoadLog {
  readonly calls: Call[];
  readonly connections: Connection[];
  /** By thread: the `n` of its metadata as last acknowledged, as last asked for, and which were asked for and never answered. */
  readonly patched: Map<string, { acknowledged: number; asked: number; readonly unsure: number[] }>;
  /** Threads that nothing but enqueued runs of `work` wrote, which were not deleted. */
  readonly calm: Set<string>;
  /** Threads of `approve`, each with the text of its only question. */
  readonly questions: Map<string, string>;
}

export function createLoadLog(): LoadLog {
  return { calls: [], connections: [], patched: new Map(), calm: new Set(), questions: new Map() };
}

interface ClientDeps {
  readonly name: string;
  readonly target: Target;
  readonly log: LoadLog;
  readonly random: Random;
  readonly signal: AbortSignal;
}

interface OwnThread {
  readonly threadId: string;
  readonly kind: "calm" | "wild";
  patches: number;
  lastRun: string | undefined;
}

/** In an answer by way of a proxy that tells: who was asked, one behind the other where it was not the first who answered. */
export const TRIED_HEADER = "x-upstreams-tried";

const STRATEGIES = ["enqueue", "reject", "interrupt", "rollback"] as const;

/** Works until the signal; resolves when its last request was answered or broken. */
export async function runClient({ name, target, log, random, signal }: ClientDeps): Promise<void> {
  const threads: OwnThread[] = [];
  let puts = 0;

  const patience = (): AbortSignal | null =>
    target.patienceMs === undefined ? null : AbortSignal.timeout(target.patienceMs);

  /** One request, and what was heard of it. */
  async function ask(method: string, path: string, body?: Json, headers: Record<string, string> = {}) {
    const at = Date.now();
    const url = target.url ?? (await target.after(undefined));
    let heard: Heard = "broken";
    let isRepeated = false;
    try {
      const response = await fetch(`${url}${path}`, {
        method,
        signal: patience(),
        headers: { "content-type": "application/json", ...headers },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      isRepeated = response.headers.get(TRIED_HEADER)?.includes(",") === true;
      const text = await response.text();
      const answer = (text === "" ? null : JSON.parse(text)) as Json;
      heard = { at: Date.now(), status: response.status, body: answer, ...idsIn(answer) };
      if (response.status >= 500) await target.calm?.();
    } catch {
      await target.after(url); // it was killed: the connection went, or was refused; or it did not answer in time
    }
    return { at, heard, isRepeated };
  }

  async function newThread(kind: OwnThread["kind"]): Promise<void> {
    const threadId = randomUUID();
    const body = { thread_id: threadId, metadata: { n: 0 } };
    const asked = await ask("POST", "/threads", body);
    log.calls.push({ ask: "create thread", threadId, ...asked });
    if (!isGood(asked.heard)) return;
    threads.push({ threadId, kind, patches: 0, lastRun: undefined });
    log.patched.set(threadId, { acknowledged: 0, asked: 0, unsure: [] });
    if (kind === "calm") log.calm.add(threadId);
  }

  async function createRun(thread: OwnThread, strategy: MultitaskStrategy): Promise<void> {
    const request = randomUUID();
    const key = random.next() < 0.4 ? randomUUID() : undefined;
    const body = {
      assistant_id: "work",
      input: { mark: request },
      metadata: { request },
      multitask_strategy: strategy,
    };
    const headers: Record<string, string> = key === undefined ? {} : { "idempotency-key": key };
    for (let tries = 0; tries < 3; tries++) {
      const asked = await ask("POST", `/threads/${thread.threadId}/runs`, body, headers);
      const call = { ask: "create run", threadId: thread.threadId, request, strategy, ...asked } as const;
      log.calls.push(key === undefined ? call : { ...call, idempotencyKey: key });
      if (isGood(asked.heard)) thread.lastRun = asked.heard.runId;
      if (!isUnsure(asked.heard) || key === undefined || signal.aborted) return;
    }
  }

  async function stateless(): Promise<void> {
    const request = randomUUID();
    const body = { assistant_id: "work", input: { mark: request }, metadata: { request }, on_completion: "delete" };
    const asked = await ask("POST", "/runs", body);
    log.calls.push({ ask: "create run", threadId: null, request, temporary: true, ...asked });
  }

  async function join({ threadId, lastRun: runId }: OwnThread): Promise<void> {
    if (runId === undefined) return;
    const { at, heard } = await ask("GET", `/threads/${threadId}/runs/${runId}/join`);
    log.calls.push({ ask: "wait run", runId, at, heard });
  }

  async function cancel({ threadId, lastRun: runId, kind }: OwnThread): Promise<void> {
    if (runId === undefined || kind === "calm") return;
    const action = random.pick(["interrupt", "rollback"] as const);
    const asked = await ask("POST", `/threads/${threadId}/runs/${runId}/cancel?action=${action}`);
    log.calls.push({ ask: "cancel run", threadId, runId, action, ...asked });
  }

  async function updateState({ threadId, kind }: OwnThread): Promise<void> {
    if (kind === "calm") return;
    const mark = randomUUID();
    const asked = await ask("POST", `/threads/${threadId}/state`, { values: { steps: [mark] } });
    log.calls.push({ ask: "update state", threadId, mark, ...asked });
  }

  async function patch(thread: OwnThread): Promise<void> {
    const n = ++thread.patches;
    const known = log.patched.get(thread.threadId);
    if (known !== undefined) known.asked = n;
    const { heard } = await ask("PATCH", `/threads/${thread.threadId}`, { metadata: { n } });
    if (known !== undefined && isGood(heard)) known.acknowledged = n;
    if (isUnsure(heard)) known?.unsure.push(n);
  }

  async function deleteThread(thread: OwnThread): Promise<void> {
    if (thread.kind === "calm" && random.next() < 0.8) return;
    threads.splice(threads.indexOf(thread), 1);
    log.calm.delete(thread.threadId);
    log.patched.delete(thread.threadId);
    const asked = await ask("DELETE", `/threads/${thread.threadId}`);
    const isGone = typeof asked.heard === "object" && asked.heard.status === 404;
    const heard = isGone && asked.isRepeated ? "broken" : asked.heard; // its own first try may have taken it
    log.calls.push({ ask: "delete thread", threadId: thread.threadId, ...asked, heard });
  }

  async function putItem(): Promise<void> {
    const [namespace, key, value] = [["load", name], `k${random.below(8)}`, { n: ++puts }];
    const asked = await ask("PUT", "/store/items", { namespace, key, value });
    log.calls.push({ ask: "put item", namespace, key, value, ...asked });
  }

  /** A thread of its own: asks, and answers what was asked once. */
  async function approve(): Promise<void> {
    const [threadId, question, answer] = [randomUUID(), randomUUID(), randomUUID()];
    log.questions.set(threadId, question);
    const path = `/threads/${threadId}/runs`;
    const run = { assistant_id: "approve", if_not_exists: "create" };
    const asking = await ask("POST", path, { ...run, input: { question } });
    log.calls.push({ ask: "create run", threadId, ...asking });
    if (!isGood(asking.heard) || asking.heard.runId === undefined) return;
    const { runId } = asking.heard;
    for (let joined: Heard = "broken"; isUnsure(joined) && !signal.aborted; ) {
      const wait = await ask("GET", `${path}/${runId}/join`);
      log.calls.push({ ask: "wait run", runId, ...wait });
      joined = wait.heard;
    }
    if (signal.aborted) return;
    const answering = await ask("POST", path, { ...run, command: { resume: answer } });
    log.calls.push({ ask: "create run", threadId, answers: { [question]: answer }, ...answering });
  }

  /** Reads the run's stream to its end, over as many connections as it takes. */
  async function follow({ threadId, lastRun: runId }: OwnThread): Promise<void> {
    if (runId === undefined) return;
    const reader = randomUUID();
    for (let cursor: string | null = null, over = false; !over && !signal.aborted; ) {
      const url = target.url ?? (await target.after(undefined));
      const leave = leaving(signal, target.patienceMs);
      const read = await readStream(`${url}/threads/${threadId}/runs/${runId}/stream`, cursor, leave.signal);
      leave.forget();
      if (read === "gone") return;
      if (read.events.length > 0 || read.ended === "end") {
        log.connections.push({ reader, runId, cursor, ...read });
      }
      cursor = read.events.findLast(({ id }) => id !== null)?.id ?? cursor;
      over = read.ended === "end";
      if (!over && !signal.aborted) await target.after(url);
    }
  }

  const actions: readonly [weight: number, action: (thread: OwnThread) => Promise<void>][] = [
    [30, (thread) => createRun(thread, thread.kind === "calm" ? "enqueue" : random.pick(STRATEGIES))],
    [8, (thread) => createRun(thread, "reject")],
    [12, join],
    [10, follow],
    [6, cancel],
    [6, updateState],
    [10, patch],
    [4, deleteThread],
    [8, putItem],
    [4, stateless],
    [6, approve],
  ];
  const lots = actions.flatMap(([weight, action]) => Array.from({ length: weight }, () => action));

  while (!signal.aborted) {
    if (threads.length < 3) {
      await newThread(threads.some(({ kind }) => kind === "calm") ? "wild" : "calm");
      continue;
    }
    const thread = threads[random.below(threads.length)];
    if (thread !== undefined) await lots[random.below(lots.length)]?.(thread);
  }
}

/**
 * Aborts with `signal`, or after so long. Not `AbortSignal.any` with `AbortSignal.timeout`: of the two nobody holds the latter,
 * and once it is collected it never aborts.
 */
function leaving(
  signal: AbortSignal,
  afterMs: number | undefined,
): { readonly signal: AbortSignal; readonly forget: () => void } {
  const leave = new AbortController();
  const abort = (): void => leave.abort();
  const timer = afterMs === undefined ? undefined : setTimeout(abort, afterMs);
  signal.addEventListener("abort", abort, { once: true });
  return {
    signal: leave.signal,
    forget() {
      clearTimeout(timer);
      signal.removeEventListener("abort", abort);
    },
  };
}

function isGood(heard: Heard): heard is Answer {
  return typeof heard === "object" && heard.status < 300;
}

/** Whether it may have been done, and may not. */
function isUnsure(heard: Heard): boolean {
  return typeof heard !== "object" || heard.status >= 500;
}

function idsIn(answer: Json): { readonly threadId?: string; readonly runId?: string } {
  const { thread_id: threadId, run_id: runId } = (answer ?? {}) as JsonObject; // of what is no object, nothing is read
  return {
    ...(typeof threadId === "string" ? { threadId } : {}),
    ...(typeof runId === "string" ? { runId } : {}),
  };
}

/** One connection: what came and how it ended; `gone` when the gateway answers with no stream. */
async function readStream(
  url: string,
  cursor: string | null,
  signal: AbortSignal,
): Promise<{ readonly events: readonly SeenEvent[]; readonly ended: Connection["ended"] } | "gone"> {
  const events: SeenEvent[] = [];
  try {
    const headers: Record<string, string> = cursor === null ? {} : { "last-event-id": cursor };
    const stream = await openSse(url, { headers, signal });
    if (stream.status !== 200) {
      await stream.close();
      return stream.status < 500 ? "gone" : { events, ended: "cut" };
    }
    for (let part = await stream.next(); part !== undefined; part = await stream.next()) {
      events.push({ id: part.id ?? null, event: part.event, data: part.data });
    }
    return { events, ended: "end" };
  } catch {
    return { events, ended: "cut" };
  }
}
