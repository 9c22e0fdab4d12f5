/**
 * T6 (`npm run cancels`): a cancel that any replica accepts stops the run where it executes: within half a second with
 * Redis, within six without; and when a run ends at the same moment, exactly one of the two has happened.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { Client } from "@langchain/langgraph-sdk";
import { expect, it } from "vitest";
import { CLUSTER_MISSING, type Cluster, startCluster } from "../support/cluster.js";
import { CLEAR } from "../support/fault-proxy.js";
import { checkHistory, judgedRules } from "../support/history.js";
import type { Answer, AuditRow, Call } from "../support/history-data.js";
import { createRandom, type Random, seedOf } from "../support/random.js";
import { report, scaled } from "../support/scale.js";

const GRAPHS = fileURLToPath(new URL("../support/cluster-graphs.ts", import.meta.url));
const AT_ONCE = 5;
const SIZES = scaled({
  quick: { withRedis: 40, without: 10, racing: 40 },
  full: { withRedis: 300, without: 100, racing: 200 },
});
/** Of the first ones nothing is measured: four programs compile what they do. */
const WARM_UP = 10;
/** The cut runs on machines that have much else to do. */
const WITH_REDIS_MS = scaled({ quick: 3_000, full: 500 });
const WITHOUT_MS = 6_000;

interface Cancelled {
  readonly runId: string;
  readonly mark: string;
  readonly askedAt: number;
  readonly status: number;
}

it("a cancel reaches any replica in time, and either it or the run's end happens", { timeout: 20 * 60_000 }, async ({
  skip,
}) => {
  skip(CLUSTER_MISSING !== undefined, CLUSTER_MISSING);
  const seed = seedOf(process.env);
  const random = createRandom(seed);
  await using cluster = await startCluster({
    roles: ["api", "api", "worker", "worker"],
    graphs: { patient: `${GRAPHS}:patient` },
    config: { runs: { concurrency: AT_ONCE } },
  });
  const calls: Call[] = [];
  const file = join(cluster.replicas[0]?.folder ?? "", "aborts");

  const long = () => ({ ms: 60_000, cancelAfterMs: random.below(100) });
  await cancelMany(cluster, { count: WARM_UP, file, calls, plan: long });
  const withRedis = await cancelMany(cluster, { count: SIZES.withRedis, file, calls, plan: long });
  const racing = await cancelMany(cluster, { count: SIZES.racing, file, calls, plan: () => race(random) });
  for (const { redis } of cluster.replicas) await redis.become({ kind: "refuse" });
  const without = await cancelMany(cluster, { count: SIZES.without, file, calls, plan: long });
  for (const { redis } of cluster.replicas) await redis.become(CLEAR);
  expect(await cluster.stop()).toEqual([0, 0, 0, 0]);

  const { audit, dump } = await cluster.dump();
  const aborts = abortsIn(file);
  const figures = {
    "with Redis": delays(withRedis, { audit, aborts }),
    without: delays(without, { audit, aborts }),
  };
  const statuses = new Map(dump?.runs.map(({ runId, status }) => [runId, status]));
  const winners = racing.map(({ runId, status }) => ({ wonTheCancel: status < 300, ended: statuses.get(runId) }));
  const cancelled = winners.filter(({ wonTheCancel, ended }) => wonTheCancel && ended === "interrupted").length;
  const finished = winners.filter(({ wonTheCancel, ended }) => !wonTheCancel && ended === "success").length;
  report("T6", {
    seed,
    cancels: calls.filter(({ ask }) => ask === "cancel run").length,
    "with Redis p50 ms": quantile(figures["with Redis"], 0.5),
    "with Redis p99 ms": quantile(figures["with Redis"], 0.99),
    "without p50 ms": quantile(figures.without, 0.5),
    "without p99 ms": quantile(figures.without, 0.99),
    "races won by the cancel": cancelled,
    "races won by the end": finished,
    "one winner": `${cancelled + finished}/${racing.length}`,
  });
  expect(cancelled + finished).toBe(racing.length);
  expect(Math.min(cancelled, finished)).toBeGreaterThan(racing.length / 20); // else it was no race
  const history = { calls, audit, dump };
  expect(checkHistory(history), `HEDDLE_SEED=${seed}`).toEqual([]);
  expect(judgedRules(history)).toEqual(expect.arrayContaining(["R1", "R3", "R12"]));
  expect(quantile(figures["with Redis"], 0.99)).toBeLessThanOrEqual(WITH_REDIS_MS);
  expect(quantile(figures.without, 0.99)).toBeLessThanOrEqual(WITHOUT_MS);
});

interface Plan {
  /** How long the run works. */
  readonly ms: number;
  /** From when it is known to work. */
  readonly cancelAfterMs: number;
}

/** About as often the end comes first as the cancel. */
function race(random: Random): Plan {
  const ms = 100 + random.below(100);
  return { ms, cancelAfterMs: Math.max(0, ms - 40 + random.below(60)) };
}

async function cancelMany(
  cluster: Cluster,
  options: {
    readonly count: number;
    readonly file: string;
    readonly calls: Call[];
    readonly plan: () => Plan;
  },
): Promise<readonly Cancelled[]> {
  const { count, file, calls, plan } = options;
  const apis = cluster.replicas
    .filter(({ role }) => role === "api")
    .map(({ url }) => ({ url, client: new Client({ apiUrl: url, callerOptions: { maxRetries: 0 } }) }));
  const done: Cancelled[] = [];

  async function cancelOne(index: number): Promise<void> {
    const [creating, cancelling] = index % 2 === 0 ? apis : [...apis].reverse();
    if (creating === undefined || cancelling === undefined) throw new Error("a cluster with less than two of role api");
    const { ms, cancelAfterMs } = plan();
    const { thread_id: threadId } = await creating.client.threads.create();
    const mark = threadId;
    const at = Date.now();
    const run = await creating.client.runs.create(threadId, "patient", {
      input: { ms, mark, file },
      streamMode: ["custom"],
    });
    const { run_id: runId } = run;
    calls.push({ ask: "create run", threadId, at, heard: { at: Date.now(), status: 200, threadId, runId } });
    for await (const { event } of creating.client.runs.joinStream(threadId, runId)) if (event === "custom") break;
    await pause(cancelAfterMs);
    const askedAt = Date.now();
    const response = await fetch(`${cancelling.url}/threads/${threadId}/runs/${runId}/cancel?action=interrupt`, {
      method: "POST",
    });
    await response.arrayBuffer();
    const heard: Answer = { at: Date.now(), status: response.status };
    calls.push({ ask: "cancel run", threadId, runId, action: "interrupt", at: askedAt, heard });
    await creating.client.runs.join(threadId, runId);
    done.push({ runId, mark, askedAt, status: response.status });
  }

  let next = 0;
  const one = async (): Promise<void> => {
    for (let index = next++; index < count; index = next++) await cancelOne(index);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, one));
  return done;
}

function abortsIn(file: string): ReadonlyMap<string, number> {
  const lines = readFileSync(file, "utf8").trim().split("\n");
  return new Map(lines.map((line) => [line.split(" ")[0] ?? "", Number(line.split(" ")[1])]));
}

/** From the question until the node was told and the row says so; infinite where that never happened. */
function delays(
  cancels: readonly Cancelled[],
  { audit, aborts }: { readonly audit: readonly AuditRow[]; readonly aborts: ReadonlyMap<string, number> },
): readonly number[] {
  return cancels.map(({ runId, mark, askedAt }) => {
    const end = audit.find((row) => row.runId === runId && row.newStatus === "interrupted");
    return Math.max(aborts.get(mark) ?? Number.POSITIVE_INFINITY, end?.at ?? Number.POSITIVE_INFINITY) - askedAt;
  });
}

function quantile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN;
}
