/**
 * The connections of this process to Redis: three, however many clients there are.
 *
 * 1. They are made together and given up together, so Redis is either there or away, and everybody sees the same.
 * 2. Nothing waits for a Redis that is away: commands are not queued, and one that is not answered in time is an outage.
 * 3. An outage is logged once when it begins and once when it is over. It is over when Redis takes a write again.
 * 4. What is logged names the server, never the address as it was given: that may hold a password.
 */
import { Redis, type RedisOptions } from "ioredis";
import { withLimit } from "../core/async.js";
import type { Clock } from "../core/clock.js";
import type { Log } from "../core/log.js";
import type { Metrics } from "../core/metrics.js";

export interface RedisLinkDeps {
  /** `redis://` or `rediss://`. */
  readonly url: string;
  /** Of everything that is kept or said there. */
  readonly keyPrefix: string;
  /** Whose messages are heard. */
  readonly channel: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Pick<Metrics, "streamBridgeUp" | "streamBridgeOutages">;
}

/** Connections that work, until one of them does not. */
export interface RedisSession {
  /** For what is answered at once. */
  readonly commands: Redis;
  /** For reads that wait; one at a time. */
  readonly blocking: Redis;
  /** What `CLIENT UNBLOCK` ends such a read by. */
  readonly blockingId: number;
  /** Hears the channel. */
  readonly subscriber: Redis;
}

export interface RedisLink {
  /** undefined while Redis is away. */
  readonly session: RedisSession | undefined;
  readonly isClosed: boolean;
  /** Tries to connect until it is closed; resolves when the first try is over. */
  start(): Promise<void>;
  /** Calls `listener` when Redis is there and when it is away; the returned function stops it. */
  onChange(listener: (session: RedisSession | undefined) => void): () => void;
  /** Calls `listener` with what is said on the channel; the returned function stops it. */
  onMessage(listener: (message: string) => void): () => void;
  /** The answer; undefined when there is none, because Redis is away or goes away by that. */
  ask<T>(work: (session: RedisSession) => Promise<T>, limitMs?: number): Promise<{ readonly answer: T } | undefined>;
  /** Something of the session does not work. */
  fail(session: RedisSession, error: Error): void;
  close(): void;
}

/** How long Redis may take to answer what it answers at once. */
export const ANSWER_MS = 2_000;
const CONNECT_MS = 2_000;
/** How often a connection that says nothing is tried. */
const PING_MS = 3_000;
const FIRST_RETRY_MS = 100;
const LAST_RETRY_MS = 2_000;
/** `XTRIM MINID` and `XADD NOMKSTREAM`. */
const MIN_VERSION = "6.2.0";

export function createRedisLink({ url, keyPrefix, channel, clock, log, metrics }: RedisLinkDeps): RedisLink {
  const server = serverOf(url);
  const listeners = new Set<(session: RedisSession | undefined) => void>();
  const hearers = new Set<(message: string) => void>();
  let session: RedisSession | undefined;
  let outage: { readonly since: number } | undefined;
  let tries = 0;
  let isClosed = false;
  let forgetTimer = (): void => {};

  function change(next: RedisSession | undefined): void {
    session = next;
    metrics.streamBridgeUp.set(next === undefined ? 0 : 1);
    for (const listener of [...listeners]) listener(next);
  }

  function noteOutage(error: Error): void {
    if (outage !== undefined) return;
    outage = { since: clock.now() };
    metrics.streamBridgeOutages.inc();
    log.error({ redis: server, reason: error.message }, "redis is away; runs go on, streams continue from the ledger"); // 3
    change(undefined);
  }

  async function connect(): Promise<void> {
    const made: Redis[] = [];
    let cause: Error | undefined; // says more than that the connection was closed
    try {
      const open = async (name: string): Promise<Redis> => {
        const client = new Redis(url, { ...CLIENT_OPTIONS, connectionName: `heddle-${name}` });
        client.on("error", (error) => {
          cause ??= error;
        });
        made.push(client);
        await inTime(client.connect());
        return client;
      };
      const commands = await open("commands");
      requireVersion(await inTime(commands.info("server")));
      await inTime(commands.set(`${keyPrefix}probe`, "1", "PX", ANSWER_MS)); // 3
      const [blocking, subscriber] = [await open("blocking"), await open("subscriber")];
      const blockingId = await inTime(blocking.client("ID"));
      subscriber.on("message", (_channel, message) => {
        for (const hear of [...hearers]) hear(message);
      });
      await inTime(subscriber.subscribe(channel));
      const opened: RedisSession = { commands, blocking, subscriber, blockingId };
      if (isClosed) throw new Error("closed meanwhile");
      for (const client of made) client.on("close", () => fail(opened, new Error("the connection was closed")));
      const lost = made.find(({ status }) => status !== "ready");
      if (lost !== undefined) throw new Error("the connection was closed");
      tries = 0;
      if (outage !== undefined) log.info({ redis: server, ms: clock.now() - outage.since }, "redis is back");
      outage = undefined;
      change(opened);
      pingLater(opened);
    } catch (error) {
      for (const client of made) client.disconnect();
      if (isClosed) return;
      noteOutage(cause ?? (error as Error)); // ioredis and the checks above throw errors
      connectLater();
    }
  }

  function connectLater(): void {
    const delayMs = Math.min(FIRST_RETRY_MS * 2 ** tries++, LAST_RETRY_MS) * (0.75 + Math.random() / 2);
    forgetTimer();
    forgetTimer = clock.after(delayMs, () => void connect());
  }

  function pingLater(current: RedisSession): void {
    forgetTimer = clock.after(PING_MS, async () => {
      await ask(({ commands, subscriber }) => Promise.all([commands.ping(), subscriber.ping()]));
      if (session === current) pingLater(current);
    });
  }

  function inTime<T>(work: Promise<T>, limitMs = CONNECT_MS): Promise<T> {
    return withLimit(work, { limitMs, error: new Error(`no answer within ${limitMs} ms`), clock });
  }

  function fail(failed: RedisSession, error: Error): void {
    if (session !== failed) return;
    forgetTimer();
    noteOutage(error);
    disconnect(failed);
    if (!isClosed) connectLater();
  }

  async function ask<T>(work: (session: RedisSession) => Promise<T>, limitMs = ANSWER_MS) {
    const current = session;
    if (current === undefined) return undefined;
    try {
      return { answer: await inTime(work(current), limitMs) };
    } catch (error) {
      fail(current, error as Error); // as above
      return undefined;
    }
  }

  return {
    get session() {
      return session;
    },
    get isClosed() {
      return isClosed;
    },
    start: connect,
    onChange(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    onMessage(listener) {
      hearers.add(listener);
      return () => hearers.delete(listener);
    },
    ask,
    fail,
    close() {
      isClosed = true;
      forgetTimer();
      const last = session;
      session = undefined;
      if (last !== undefined) disconnect(last);
    },
  };
}

/** Each connection lives once: this file makes new ones, of all three at a time. */
const CLIENT_OPTIONS = {
  lazyConnect: true,
  enableOfflineQueue: false,
  maxRetriesPerRequest: null,
  retryStrategy: null,
  autoResubscribe: false,
  autoResendUnfulfilledCommands: false,
  disableClientInfo: true,
  connectTimeout: CONNECT_MS,
  keepAlive: 10_000,
  protocol: 2,
} satisfies RedisOptions;

function disconnect({ commands, blocking, subscriber }: RedisSession): void {
  for (const client of [commands, blocking, subscriber]) client.disconnect();
}

/** `host:port` and no more. */
function serverOf(url: string): string {
  const { hostname, port } = new URL(url);
  return `${hostname}:${port === "" ? "6379" : port}`;
}

function requireVersion(info: string): void {
  const version = /^redis_version:(\S+)/m.exec(info)?.[1] ?? "unknown";
  const [major = 0, minor = 0] = version.split(".").map(Number);
  if (major > 6 || (major === 6 && minor >= 2)) return;
  throw new Error(`redis ${version} is too old: ${MIN_VERSION} or later is needed`);
}
