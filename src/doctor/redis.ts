/** A Redis as heddle needs it: reachable, new enough, and one that does not throw away streams to make room. */
import { Redis } from "ioredis";
import type { Clock } from "../core/clock.js";
import { judgeClock, judgeLatency, measureClock } from "./clocks.js";
import { type Finding, ok, problem, warning } from "./finding.js";

const CONNECT_MS = 5_000;
const MIN_VERSION = [6, 2] as const;
const NEARLY_FULL = 0.8;

/** Never throws for what the server says or does not say. */
export async function examineRedis(name: string, url: string, clock: Clock): Promise<Finding[]> {
  const redis = new Redis(url, {
    lazyConnect: true,
    connectTimeout: CONNECT_MS,
    commandTimeout: CONNECT_MS,
    maxRetriesPerRequest: 0,
    retryStrategy: () => null,
  });
  let reason: Error | undefined;
  redis.on("error", (error) => {
    reason ??= error;
  });
  try {
    await redis.connect();
    const info = parseInfo(await redis.info());
    const seen = await measureClock(clock, async () => {
      const [seconds, micros] = await redis.time();
      return Number(seconds) * 1_000 + Number(micros) / 1_000;
    });
    return [
      judgeVersion(name, info.redis_version ?? "0"),
      judgeEviction(name, info),
      judgePersistence(name, info),
      judgeLatency(`${name} latency`, seen),
      judgeClock(`${name} clock`, seen),
    ];
  } catch (error) {
    const { message } = reason ?? (error as Error); // ioredis throws errors, and says why it has no connection by an event
    return [problem(name, `Redis does not answer: ${message}`, `Look at ${name}.url.`)];
  } finally {
    redis.disconnect();
  }
}

type Info = Readonly<Record<string, string>>;

function parseInfo(text: string): Info {
  return Object.fromEntries(
    text.split(/\r?\n/).flatMap((line) => {
      const [, key, value] = /^(\w+):(.*)$/.exec(line) ?? [];
      return key === undefined || value === undefined ? [] : [[key, value]];
    }),
  );
}

export function judgeVersion(name: string, version: string): Finding {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  const isEnough = major > MIN_VERSION[0] || (major === MIN_VERSION[0] && minor >= MIN_VERSION[1]);
  if (isEnough) return ok(name, `Redis ${version} answers`);
  return problem(name, `Redis ${version} is too old`, "heddle needs Redis 6.2 or later.");
}

export function judgeEviction(name: string, info: Info): Finding {
  const check = `${name} memory`;
  const policy = info.maxmemory_policy ?? "unknown";
  const limit = Number(info.maxmemory ?? 0);
  const used = Number(info.used_memory ?? 0);
  if (policy !== "noeviction") {
    const what = `maxmemory-policy is ${policy}: when memory is short, streams that are being read go`;
    return warning(check, what, "Set maxmemory-policy to noeviction.");
  }
  if (limit > 0 && used > limit * NEARLY_FULL) {
    const what = `${Math.round((used / limit) * 100)} % of maxmemory are used: soon streams are only in the database`;
    return warning(check, what, "Raise maxmemory, or lower what stream_bridge keeps.");
  }
  return ok(
    check,
    limit === 0 ? "noeviction, without a limit" : `noeviction, ${Math.round((used / limit) * 100)} % used`,
  );
}

export function judgePersistence(name: string, info: Info): Finding {
  const kept = info.aof_enabled === "1" ? "an append-only file" : "at most snapshots";
  return ok(`${name} persistence`, `${kept}; none is needed, what it forgets is in the database`);
}
