/**
 * What replicas do: the table of docs/scaling.md.
 *
 *     node --import jiti/register bench/replicas.ts
 *
 * Claims by the store alone, on SQLite and on PostgreSQL. Then the built program behind nginx, one api with one and with
 * two workers, everything on one machine, the databases included: how long a run takes to be acknowledged, how many runs
 * of one step come to their end in a second, and how long it takes until the runs of a worker that was killed go on.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { systemClock as clock } from "../src/core/clock.js";
import { silentLog } from "../src/core/log.js";
import { createCommitGroup } from "../src/storage/commit-group.js";
import { createDatabase, type Database } from "../src/storage/database.js";
import { migrate } from "../src/storage/migrations.js";
import { openPostgres } from "../src/storage/postgres.js";
import { SqlRunStore } from "../src/storage/runs.js";
import { openSqlite } from "../src/storage/sqlite.js";
import { type Cluster, startCluster } from "../test/support/cluster.js";
import type { Step } from "../test/support/cluster-graphs.js";
import { dropDatabases, makeDatabase } from "../test/support/postgres-server.js";
import { admission, LEASE_MS } from "../test/support/sql-stores.js";

const CLAIMS = 2_000;
const CLAIMERS = [1, 4, 10];
const CLIENTS = 16;
const SECONDS = 15;
const KILLS = 5;
const RUNS_AT_KILL = 8;
const STEP_MS = 250;
const GRAPHS = fileURLToPath(new URL("../test/support/cluster-graphs.ts", import.meta.url));

const folder = mkdtempSync(join(tmpdir(), "heddle-bench-"));
try {
  await claimsOf("SQLite", createDatabase(openSqlite(join(folder, "heddle.db"), "FULL")));
  const settings = { url: await makeDatabase(), poolSize: 10, timeoutMs: 60_000 };
  await claimsOf("PostgreSQL", openPostgres(settings, silentLog).database);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
for (const workers of [1, 2]) {
  await using cluster = await startCluster({
    roles: ["api", ...Array.from({ length: workers }, () => "worker" as const)],
    graphs: { steady: `${GRAPHS}:steady`, threads: 1 },
    config: { runs: { max_attempts: 100 } },
  });
  console.log(`one api, ${workers} ${workers === 1 ? "worker" : "workers"}`);
  await acknowledgements(cluster);
  await throughput(cluster);
  if (workers === 2) await recovery(cluster);
}
await dropDatabases();

async function claimsOf(name: string, database: Database): Promise<void> {
  await migrate(database);
  const runs = new SqlRunStore({ database, commits: createCommitGroup(database), clock });
  for (const claimers of CLAIMERS) {
    const ids = Array.from({ length: CLAIMS }, (_, index) => `${claimers}-${index}`);
    await Promise.all(ids.map((id) => runs.admit(admission({ runId: id, threadId: `t-${id}` }))));
    const started = performance.now();
    let claimed = 0;
    const claimAll = async (worker: string): Promise<void> => {
      while ((await runs.claim(worker, LEASE_MS)) !== undefined) claimed++;
    };
    await Promise.all(Array.from({ length: claimers }, (_, index) => claimAll(`w${index}`)));
    if (claimed !== CLAIMS) throw new Error(`${claimed} claims of ${CLAIMS} runs`);
    const perSecond = Math.round((CLAIMS / (performance.now() - started)) * 1_000);
    console.log(`${name}, ${claimers} claiming at once: ${perSecond} claims/s`);
  }
  await database.destroy();
}

/** One client after the other, then many at once: from the request to the answer that has the run's id. */
async function acknowledgements({ client }: Cluster): Promise<void> {
  for (const clients of [1, CLIENTS]) {
    const ms: number[] = [];
    await inTurns(clients, async () => {
      const { thread_id: threadId } = await client.threads.create();
      const started = performance.now();
      await client.runs.create(threadId, "steady", { input: { rounds: 1, stepMs: 0 } });
      ms.push(performance.now() - started);
    });
    console.log(`  acknowledged, ${clients} at once: ${percentiles(ms)}`);
  }
}

async function throughput({ client, underWay }: Cluster): Promise<void> {
  while ((await underWay()) > 0) await sleep(100);
  const ms: number[] = [];
  await inTurns(CLIENTS, async () => {
    const { thread_id: threadId } = await client.threads.create();
    const started = performance.now();
    await client.runs.wait(threadId, "steady", { input: { rounds: 1, stepMs: 0 } });
    ms.push(performance.now() - started);
  });
  console.log(`  ${(ms.length / SECONDS).toFixed(1)} runs/s by ${CLIENTS} who wait for theirs: ${percentiles(ms)}`);
}

/** From `kill -9` until a run's next step, by another worker. */
async function recovery(cluster: Cluster): Promise<void> {
  const ms: number[] = [];
  for (let kill = 0; kill < KILLS; kill++) {
    const victim = cluster.replicas[1 + (kill % 2)];
    if (victim === undefined) throw new Error("a cluster without workers");
    const { pid } = victim;
    const runs = await Promise.all(Array.from({ length: RUNS_AT_KILL }, () => longRun(cluster)));
    const stepsOf = async (threadId: string) =>
      (await cluster.client.threads.getState<{ steps?: readonly Step[] }>(threadId)).values.steps ?? [];
    const isAt = async (threadId: string) => (await stepsOf(threadId)).at(-1)?.pid;
    const homes = new Map<string, number>();
    while (homes.size < runs.length) {
      for (const threadId of runs) {
        const home = await isAt(threadId);
        if (home !== undefined) homes.set(threadId, home);
      }
    }
    await victim.kill();
    const killed = performance.now();
    const held = runs.filter((threadId) => homes.get(threadId) === pid);
    const going = new Set<string>();
    while (going.size < held.length) {
      for (const threadId of held) {
        if (going.has(threadId) || (await isAt(threadId)) === pid) continue;
        going.add(threadId);
        ms.push(performance.now() - killed);
      }
      await sleep(20);
    }
    for (const threadId of runs) await cluster.client.threads.delete(threadId);
    await victim.start();
  }
  console.log(`  after ${KILLS} kill -9, ${ms.length} runs go on: ${percentiles(ms)}`);
}

async function longRun({ client }: Cluster): Promise<string> {
  const { thread_id: threadId } = await client.threads.create();
  const rounds = 400;
  const config = { recursion_limit: rounds + 1 };
  await client.runs.create(threadId, "steady", { input: { rounds, stepMs: STEP_MS }, config });
  return threadId;
}

async function inTurns(clients: number, work: () => Promise<void>): Promise<void> {
  const end = performance.now() + SECONDS * 1_000;
  const one = async (): Promise<void> => {
    while (performance.now() < end) await work();
  };
  await Promise.all(Array.from({ length: clients }, one));
}

function percentiles(ms: readonly number[]): string {
  const sorted = ms.toSorted((a, b) => a - b);
  const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]?.toFixed(1);
  return `p50 ${at(0.5)} ms, p99 ${at(0.99)} ms of ${ms.length}`;
}
