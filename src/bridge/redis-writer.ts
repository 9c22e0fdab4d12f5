/**
 * Publishes what runs of this process say to Redis, and keeps the same in this process's logs.
 *
 * 1. Nothing is waited for: what is published in one turn of the event loop leaves in one pipeline, and its readers here
 *    see it when Redis has it. What is under way is bounded; beyond that publishing sets the pace.
 * 2. Redis refuses an id that is not greater than the last: the writer of an older claim is a zombie then, whose events
 *    nobody sees. Behind the end it refuses everything.
 * 3. While Redis is away events go to the logs of this process alone. When it is back, and when it lost what it had, it
 *    gets what it lacks from them, without a hole; so it does before a claim that is not the run's first goes on.
 * 4. Redis keeps of a run what this process's log keeps of it.
 */
import type { Clock } from "../core/clock.js";
import type { Metrics } from "../core/metrics.js";
import { compareEventIds, type EventId, formatEventId, type StreamEvent } from "./bridge.js";
import type { MemoryBridge } from "./memory.js";
import { END_FIELDS, fieldsOf, LAST_ID, readEntry, takeEntries } from "./redis-entries.js";
import type { RedisLink, RedisSession } from "./redis-link.js";

export interface RedisWriterDeps {
  readonly link: RedisLink;
  readonly logs: MemoryBridge;
  readonly keyOf: (runId: string) => string;
  readonly clock: Clock;
  readonly metrics: Pick<Metrics, "unsharedEvents">;
  /** This process's log of the run is no longer what Redis has of it: somebody else writes, or may. */
  readonly onLeft: (runId: string) => void;
  readonly options: {
    readonly retentionMs: number;
    readonly maxBytesPerRun: number;
    /** What of all runs together may be on its way. */
    readonly maxBufferedBytes: number;
  };
}

export interface RedisWriter {
  publish(runId: string, event: StreamEvent): boolean | Promise<boolean>;
  /** Resolves when Redis has it, or is away. */
  end(runId: string): Promise<void>;
  /** Forgets what is still to be written of the run. */
  forget(runId: string): void;
  /** Whether this process writes the run's log now: then its own log is all that there is. */
  isWriting(runId: string): boolean;
  /** Resolves when this process's log has what was published before the call, by others too, or does not take it. */
  shown(runId: string): Promise<void>;
  /** To be called now and then: leaves runs that say nothing. */
  sweep(): void;
  /** Resolves when Redis has everything, or does not take it. */
  drained(): Promise<void>;
}

/** What this process writes of one run. */
interface Lane {
  readonly runId: string;
  fence: number;
  readonly opened: Promise<void>;
  readonly open: () => void;
  /** Taken and not known to be in Redis, oldest first. */
  waiting: StreamEvent[];
  /** How many of them are on their way. */
  sent: number;
  /** Who is to hear when some of them wait no longer. */
  watching: (() => void)[];
  last: EventId | undefined;
  state: "flowing" | "catching up" | "apart" | "refused";
  /** Answers to what was sent before it grew count no more. */
  generation: number;
  /** Redis has no log of the run yet. */
  mayCreate: boolean;
  ending: { readonly done: Promise<void>; readonly resolve: () => void; isSent: boolean } | undefined;
  publishedAt: number;
  expiryAt: number;
  /** What was added since Redis was told to forget what this process's log has forgotten. */
  untrimmedBytes: number;
}

interface Sent {
  readonly lane: Lane;
  readonly generation: number;
  readonly what: "event" | "end" | "upkeep";
}

/** A writer that says nothing for so long may have lost its run. */
const QUIET_MS = 5_000;
/** A zombie is known as one for so long. */
const REFUSED_MS = 60_000;
/** How long a log is kept whose run nobody ends. */
const UNFINISHED_MS = 24 * 60 * 60_000;
/** Readers in other processes have not read it yet when it ends. */
const MIN_RETENTION_MS = 10_000;
const RENEW_EXPIRY_MS = 60 * 60_000;
/** What is brought up at once. */
const CHUNK_EVENTS = 256;
const CHUNK_BYTES = 1_024 * 1_024;
const CATCH_UPS_AT_ONCE = 8;

export function createRedisWriter(deps: RedisWriterDeps): RedisWriter {
  const { link, logs, keyOf, clock, metrics, onLeft, options } = deps;
  const lanes = new Map<string, Lane>();
  const unsent = new Set<Lane>();
  let bufferedBytes = 0;
  let room: { readonly made: Promise<void>; readonly resolve: () => void } | undefined;
  let isFlushScheduled = false;
  const flushing = new Set<Promise<void>>();

  function openLane(runId: string, id: EventId | undefined): Lane {
    const { promise, resolve } = deferred();
    const isNew = id === undefined || (id.fence === 1 && id.seq === 1 && !logs.has(runId));
    const lane: Lane = {
      runId,
      fence: id?.fence ?? 0,
      opened: promise,
      open: resolve,
      waiting: [],
      sent: 0,
      watching: [],
      last: undefined,
      state: "flowing",
      generation: 0,
      mayCreate: isNew,
      ending: undefined,
      publishedAt: clock.now(),
      expiryAt: 0,
      untrimmedBytes: 0,
    };
    lanes.set(runId, lane);
    if (link.session === undefined) lane.state = "apart";
    else if (!isNew) void catchUp(lane);
    if (lane.state !== "catching up") lane.open();
    return lane;
  }

  /** The lane that takes the event; undefined when it is a zombie's. */
  function laneFor(runId: string, { id }: StreamEvent): Lane | undefined {
    const lane = lanes.get(runId);
    const last = lane?.last ?? logs.extent(runId)?.last;
    if (logs.isEnded(runId) || lane?.ending !== undefined || (last !== undefined && compareEventIds(id, last) <= 0))
      return undefined;
    if (lane === undefined) return openLane(runId, id);
    if (id.fence > lane.fence) {
      lane.fence = id.fence;
      if (link.session === undefined) lane.state = "apart";
      else void catchUp(lane); // others may have written since
    }
    return lane.state === "refused" ? undefined : lane;
  }

  /** Shows the first `count` of what waits to this process's readers. */
  function show(lane: Lane, count: number): void {
    const events = lane.waiting.splice(0, count);
    lane.sent = Math.max(0, lane.sent - count);
    for (const event of events) {
      const bytes = sizeOf(event);
      bufferedBytes -= bytes;
      lane.untrimmedBytes += bytes;
      logs.publish(lane.runId, event);
    }
    tellWatching(lane);
    makeRoom();
  }

  function tellWatching({ watching }: Lane): void {
    for (const resolve of watching.splice(0)) resolve();
  }

  function makeRoom(): void {
    if (room === undefined || bufferedBytes > options.maxBufferedBytes) return;
    room.resolve();
    room = undefined;
  }

  function discard(lane: Lane): void {
    for (const event of lane.waiting) bufferedBytes -= sizeOf(event);
    lane.waiting = [];
    lane.sent = 0;
    lane.generation++;
    unsent.delete(lane);
    tellWatching(lane);
    makeRoom();
  }

  /** Nothing more of it is written. */
  function leave(lane: Lane): void {
    discard(lane);
    lane.open();
    lane.ending?.resolve();
    if (lanes.get(lane.runId) === lane) lanes.delete(lane.runId);
  }

  /** Invariant 2. */
  function refuse(lane: Lane): void {
    discard(lane);
    lane.state = "refused";
    lane.open();
    lane.ending?.resolve();
    onLeft(lane.runId);
  }

  function send(lane: Lane): void {
    unsent.add(lane);
    if (isFlushScheduled) return;
    isFlushScheduled = true;
    setImmediate(() => {
      isFlushScheduled = false;
      const flushed = flush();
      flushing.add(flushed);
      void flushed.finally(() => flushing.delete(flushed));
    });
  }

  /** Never throws. */
  async function flush(): Promise<void> {
    const { session } = link;
    const going = [...unsent].filter(({ state }) => state === "flowing");
    unsent.clear();
    if (session === undefined || going.length === 0) return;
    const pipeline = session.commands.pipeline();
    const sent: Sent[] = [];
    for (const lane of going) {
      const note = (what: Sent["what"]): void => void sent.push({ lane, generation: lane.generation, what });
      const key = keyOf(lane.runId);
      const add = (id: string, fields: readonly string[], what: Sent["what"]): void => {
        if (lane.mayCreate) pipeline.xadd(key, id, ...fields);
        else pipeline.xadd(key, "NOMKSTREAM", id, ...fields);
        lane.mayCreate = false;
        note(what);
      };
      for (; lane.sent < lane.waiting.length; lane.sent++) {
        const event = lane.waiting[lane.sent];
        if (event !== undefined) add(formatEventId(event.id), fieldsOf(event), "event");
      }
      if (lane.ending?.isSent === false) {
        lane.ending.isSent = true;
        add(LAST_ID, END_FIELDS, "end");
        pipeline.pexpire(key, Math.max(MIN_RETENTION_MS, Math.ceil(options.retentionMs)));
        note("upkeep");
      } else if (lane.expiryAt <= clock.now()) {
        lane.expiryAt = clock.now() + RENEW_EXPIRY_MS;
        pipeline.pexpire(key, UNFINISHED_MS);
        note("upkeep");
      }
      const first = lane.untrimmedBytes > options.maxBytesPerRun / 8 ? logs.extent(lane.runId)?.first : undefined;
      if (first !== undefined) {
        lane.untrimmedBytes = 0;
        pipeline.xtrim(key, "MINID", "~", formatEventId(first)); // 4
        note("upkeep");
      }
    }
    const replied = await link.ask(() => pipeline.exec());
    if (replied !== undefined) noteReplies(session, sent, replied.answer ?? []);
  }

  function noteReplies(session: RedisSession, sent: readonly Sent[], replies: readonly Reply[]): void {
    const shown = new Map<Lane, number>();
    const ended: Lane[] = [];
    const behind: Lane[] = [];
    for (const [index, { lane, generation, what }] of sent.entries()) {
      const [error, id] = replies[index] ?? [new Error("no answer"), null];
      if (error !== null && !isRefusal(error)) {
        link.fail(session, error);
        return; // what is under way is told apart
      }
      if (lane.generation !== generation || what === "upkeep") continue;
      if (id === null || error !== null) {
        lane.generation++; // the rest of it counts no more
        behind.push(lane);
      } else if (what === "end") ended.push(lane);
      else shown.set(lane, (shown.get(lane) ?? 0) + 1);
    }
    for (const [lane, count] of shown) show(lane, count);
    for (const lane of ended) {
      logs.end(lane.runId);
      leave(lane);
    }
    for (const lane of behind) void catchUp(lane);
  }

  /** Invariant 3. Never throws. */
  async function catchUp(lane: Lane): Promise<void> {
    const { runId } = lane;
    const key = keyOf(runId);
    const generation = ++lane.generation;
    lane.state = "catching up";
    lane.sent = 0;
    if (lane.ending !== undefined) lane.ending.isSent = false;
    const isCurrent = (): boolean => lane.generation === generation;
    for (;;) {
      const found = await link.ask(({ commands }) => commands.xrevrange(key, "+", "-", "COUNT", 1));
      if (found === undefined || !isCurrent()) return;
      const [newest] = found.answer;
      const read = newest && readEntry(newest);
      if (read?.kind === "dropped") logs.drop(runId);
      if (read?.kind === "end" && lane.ending !== undefined) {
        show(lane, lane.waiting.length); // all of it was taken, and only the answer was lost
        logs.end(runId);
        return leave(lane);
      }
      if (read !== undefined && (read.kind !== "event" || read.event.id.fence > lane.fence)) return refuse(lane);
      const there = read?.event.id;
      if (!(await readUpTo(runId, there)) || !isCurrent()) return;
      const known = there === undefined ? 0 : lane.waiting.findIndex(({ id }) => compareEventIds(id, there) > 0);
      show(lane, known < 0 ? lane.waiting.length : known);
      const missing = logs.retained(runId, there);
      const isOurs = there === undefined || there.fence === lane.fence; // nothing can come before what is written now
      if (missing.length === 0 && (isOurs || lane.waiting.length === 0)) {
        lane.mayCreate = there === undefined;
        break;
      }
      await bringUp(key, missing.length > 0 ? missing : lane.waiting.slice(0, 1), there === undefined);
      if (!isCurrent()) return;
      lane.expiryAt = 0;
    }
    lane.state = "flowing";
    lane.open();
    send(lane);
  }

  /** Takes what others wrote into this process's log; false when Redis is away. */
  async function readUpTo(runId: string, newest: EventId | undefined): Promise<boolean> {
    for (;;) {
      const last = logs.extent(runId)?.last;
      if (newest === undefined || (last !== undefined && compareEventIds(last, newest) >= 0)) return true;
      const start = last === undefined ? "-" : `(${formatEventId(last)}`;
      const range = [keyOf(runId), start, formatEventId(newest), "COUNT", CHUNK_EVENTS] as const;
      const page = await link.ask(({ commands }) => commands.xrange(...range));
      if (page === undefined) return false;
      if (page.answer.length === 0) return true; // it was trimmed, or is gone, meanwhile
      takeEntries(logs, runId, page.answer);
    }
  }

  /** Writes the first of what Redis lacks; whether it took them is seen by what it has then. */
  async function bringUp(key: string, missing: readonly StreamEvent[], isNew: boolean): Promise<void> {
    const { session } = link;
    if (session === undefined) return;
    const pipeline = session.commands.pipeline();
    let bytes = 0;
    for (const event of missing.slice(0, CHUNK_EVENTS)) {
      if (bytes > CHUNK_BYTES) break;
      const isFirst = isNew && bytes === 0;
      const id = formatEventId(event.id);
      if (isFirst) pipeline.xadd(key, id, ...fieldsOf(event));
      else pipeline.xadd(key, "NOMKSTREAM", id, ...fieldsOf(event));
      bytes += sizeOf(event);
    }
    const replied = await link.ask(() => pipeline.exec());
    const failed = replied?.answer?.find(([error]) => error !== null && !isRefusal(error));
    if (failed?.[0]) link.fail(session, failed[0]);
  }

  /** Invariant 3. */
  function tellApart(lane: Lane): void {
    if (lane.state === "refused") return;
    lane.generation++;
    lane.state = "apart";
    metrics.unsharedEvents.inc(lane.waiting.length);
    show(lane, lane.waiting.length);
    lane.open();
    if (lane.ending === undefined) return;
    logs.end(lane.runId);
    lane.ending.resolve();
  }

  async function catchUpAll(): Promise<void> {
    const apart = [...lanes.values()].filter(({ state }) => state === "apart").values();
    const next = async (): Promise<void> => {
      for (const lane of apart) if (lane.state === "apart") await catchUp(lane);
    };
    await Promise.all(Array.from({ length: CATCH_UPS_AT_ONCE }, next));
  }

  link.onChange((session) => {
    if (session !== undefined) return void catchUpAll();
    for (const lane of lanes.values()) tellApart(lane);
  });

  return {
    publish(runId, event) {
      const lane = laneFor(runId, event);
      if (lane === undefined) return false;
      lane.last = event.id;
      lane.publishedAt = clock.now();
      lane.waiting.push(event);
      bufferedBytes += sizeOf(event);
      if (lane.state === "apart") {
        metrics.unsharedEvents.inc();
        show(lane, 1);
      } else if (lane.state === "flowing") send(lane);
      if (bufferedBytes <= options.maxBufferedBytes) return true;
      room ??= roomToBe();
      return room.made.then(() => true);
    },

    end(runId) {
      const lane = lanes.get(runId) ?? openLane(runId, undefined);
      if (lane.state === "refused") return Promise.resolve();
      if (lane.ending === undefined) {
        const { promise, resolve } = deferred();
        lane.ending = { done: promise, resolve, isSent: false };
        if (lane.state === "apart") tellApart(lane);
        else if (lane.state === "flowing") send(lane);
      }
      return lane.ending.done;
    },

    forget(runId) {
      const lane = lanes.get(runId);
      if (lane !== undefined) leave(lane);
    },

    isWriting(runId) {
      const lane = lanes.get(runId);
      if (lane === undefined || lane.state === "refused") return false;
      return lane.waiting.length > 0 || lane.ending !== undefined || clock.now() - lane.publishedAt < QUIET_MS;
    },

    async shown(runId) {
      const lane = lanes.get(runId);
      await lane?.opened;
      const last = lane?.waiting.at(-1)?.id;
      if (lane === undefined || last === undefined) return;
      const isWaiting = ([first] = lane.waiting): boolean =>
        first !== undefined && compareEventIds(first.id, last) <= 0;
      while (isWaiting()) await new Promise<void>((resolve) => void lane.watching.push(resolve));
    },

    sweep() {
      const now = clock.now();
      for (const lane of lanes.values()) {
        const quietMs = now - lane.publishedAt;
        const isDone = lane.state === "flowing" && lane.waiting.length === 0 && lane.ending === undefined;
        const isGone = lane.state === "apart" && !logs.has(lane.runId);
        if (!isGone && !(isDone && quietMs >= QUIET_MS) && !(lane.state === "refused" && quietMs >= REFUSED_MS))
          continue;
        leave(lane);
        onLeft(lane.runId);
      }
    },

    async drained() {
      while (link.session !== undefined && (bufferedBytes > 0 || flushing.size > 0)) {
        await new Promise((resolve) => setImmediate(resolve));
        await Promise.all(flushing);
      }
    },
  };
}

type Reply = readonly [error: Error | null, result: unknown];

/** Redis says that the id comes too late; everything else is trouble. */
function isRefusal({ name, message }: Error): boolean {
  return name === "ReplyError" && /^ERR The (ID specified in XADD|stream has exhausted)/.test(message);
}

function deferred(): { readonly promise: Promise<void>; readonly resolve: () => void } {
  let resolve = (): void => {};
  const promise = new Promise<void>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}

function roomToBe() {
  const { promise, resolve } = deferred();
  return { made: promise, resolve };
}

/** About what an event takes on its way. */
function sizeOf({ data }: StreamEvent): number {
  return data.length + 120;
}
