/** What an api and a worker do while PostgreSQL or Redis is away, and when it is back: nobody restarts anything. */
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { CLUSTER_MISSING, type Cluster, type Replica, startCluster } from "../support/cluster.js";
import { CLEAR, type Weather } from "../support/fault-proxy.js";

const GRAPHS = fileURLToPath(new URL("../support/cluster-graphs.ts", import.meta.url));

/** Nobody listens; or whoever listens says nothing any more, as after a lost route. */
const AWAY: readonly (readonly [how: string, weather: Weather])[] = [
  ["refuses connections", { kind: "refuse" }],
  ["answers nothing", { kind: "silent", way: "both" }],
];

let cluster: Cluster;

beforeAll(async () => {
  if (CLUSTER_MISSING !== undefined) return;
  cluster = await startCluster({
    roles: ["api", "worker"],
    graphs: { steady: `${GRAPHS}:steady` },
    // An outage here is shorter than a lease, so that no other attempt begins.
    config: { database: { timeout_seconds: 2 }, runs: { lease_seconds: 60 } },
  });
});
afterAll(() => cluster?.[Symbol.asyncDispose]());

async function become(what: "postgres" | "redis", weather: Weather): Promise<void> {
  for (const replica of cluster.replicas) await replica[what].become(weather);
}

/** Of one that serves health, whatever its role. */
async function ask({ url }: Replica, path: string): Promise<{ readonly status: number; readonly body: unknown }> {
  const response = await fetch(`${url}${path}`, { signal: AbortSignal.timeout(20_000) });
  return { status: response.status, body: await response.json() };
}

const askAll = (path: string) => Promise.all(cluster.replicas.map((replica) => ask(replica, path)));
const READY = { status: 200, body: { ready: true } };

/** A run that takes so long, admitted by whoever nginx chooses. */
async function start(ms: number): Promise<{ readonly threadId: string; readonly runId: string }> {
  const { thread_id: threadId } = await cluster.client.threads.create();
  const rounds = Math.ceil(ms / 50);
  const run = await cluster.client.runs.create(threadId, "steady", {
    input: { rounds, stepMs: 50 },
    config: { recursion_limit: rounds + 1 },
    streamMode: ["custom"],
  });
  return { threadId, runId: run.run_id };
}

const statusOf = async ({ threadId, runId }: { readonly threadId: string; readonly runId: string }) =>
  (await cluster.client.runs.get(threadId, runId)).status;

describe.skipIf(CLUSTER_MISSING !== undefined)("PostgreSQL", () => {
  it.each(AWAY)("that %s is told by /ready until it is back; what ran goes on", async (_how, weather) => {
    const pids = cluster.replicas.map(({ pid }) => pid);
    expect(await askAll("/ready")).toEqual([READY, READY]);
    const { thread_id: threadId } = await cluster.client.threads.create();
    const run = await start(6_000);
    await expect.poll(() => statusOf(run)).toBe("running");

    await become("postgres", weather);
    await expect
      .poll(() => askAll("/ready"), { timeout: 30_000 })
      .toEqual(
        Array(2).fill({
          status: 503,
          body: expect.objectContaining({
            ready: false,
            code: "unavailable",
            detail: expect.stringMatching(/the database (cannot be reached|did not answer in time)/),
          }),
        }),
      );
    expect(await askAll("/ok")).toEqual(Array(2).fill({ status: 200, body: { ok: true } }));
    const refused = await fetch(`${cluster.url}/threads/${threadId}/runs`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ assistant_id: "steady", input: { rounds: 1 } }),
    });
    expect(refused.status).toBe(503);
    expect(refused.headers.get("retry-after")).toMatch(/^\d+$/);

    await become("postgres", CLEAR);
    await expect.poll(() => askAll("/ready"), { timeout: 30_000 }).toEqual([READY, READY]);
    expect(cluster.replicas.map(({ pid }) => pid)).toEqual(pids);
    expect(await cluster.client.runs.list(threadId)).toEqual([]);
    await cluster.client.runs.join(run.threadId, run.runId);
    expect(await statusOf(run)).toBe("success");
    const attempts = await cluster.sql<{ attempt: number }>("SELECT attempt FROM runs WHERE run_id = $1", [run.runId]);
    expect(attempts).toEqual([{ attempt: 1 }]);
    const after = await start(50);
    await cluster.client.runs.join(after.threadId, after.runId);
    expect(await statusOf(after)).toBe("success");
  });
});

describe.skipIf(CLUSTER_MISSING !== undefined)("Redis", () => {
  it.each(AWAY)("that %s keeps no run from being admitted, found, read and stopped", async (_how, weather) => {
    const under = await start(5_000);
    await expect.poll(() => statusOf(under)).toBe("running");
    await become("redis", weather);

    expect(await askAll("/ready")).toEqual([READY, READY]);
    await expect
      .poll(async () => (await askAll("/info")).map(({ body }) => (body as { stream_bridge: object }).stream_bridge), {
        timeout: 20_000,
      })
      .toEqual(Array(2).fill({ type: "redis", state: "away" }));

    // Nobody tells the worker of them: it looks every second.
    const runs = await Promise.all(Array.from({ length: 10 }, () => start(50)));
    const read = await Promise.all(
      runs.map(async ({ threadId, runId }) => {
        const events: string[] = [];
        for await (const { event } of cluster.client.runs.joinStream(threadId, runId)) events.push(event);
        return events;
      }),
    );
    expect(read).toEqual(Array(10).fill(["metadata", "custom", "end"]));
    const waits = await cluster.sql<{ ms: string }>(
      `SELECT started.at - admitted.at AS ms FROM run_audit AS started JOIN run_audit AS admitted USING (run_id)
         WHERE started.new_status = 'running' AND admitted.old_status IS NULL AND run_id = ANY($1)`,
      [runs.map(({ runId }) => runId)],
    );
    expect(waits).toHaveLength(10);
    expect(Math.max(...waits.map(({ ms }) => Number(ms)))).toBeLessThan(6_000); // a second, and a machine that is busy

    const stopped = await start(60_000);
    await expect.poll(() => statusOf(stopped)).toBe("running");
    const askedAt = Date.now();
    await cluster.client.runs.cancel(stopped.threadId, stopped.runId, true);
    expect(Date.now() - askedAt).toBeLessThan(6_000);
    expect(await statusOf(stopped)).toBe("interrupted");

    await cluster.client.runs.join(under.threadId, under.runId);
    expect(await statusOf(under)).toBe("success");
    await become("redis", CLEAR);
    await expect
      .poll(async () => (await askAll("/info")).map(({ body }) => (body as { stream_bridge: object }).stream_bridge), {
        timeout: 20_000,
      })
      .toEqual(Array(2).fill({ type: "redis", state: "up" }));
  });
});
