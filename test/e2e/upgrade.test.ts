/**
 * T17 (`npm run upgrade`): replicas of two versions on one database, while one after the other is replaced under load, and
 * one of the earlier version dies and comes back after the later one has migrated.
 *
 * `HEDDLE_PREVIOUS=<commit> npm run upgrade` takes the earlier version from a commit (`test/support/programs.ts`).
 */
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { CLUSTER_MISSING, startCluster } from "../support/cluster.js";
import { clusterTarget } from "../support/cluster-target.js";
import { createLoadLog, runClient } from "../support/crash-load.js";
import { checkHistory, judgedRules } from "../support/history.js";
import type { Fault } from "../support/history-data.js";
import { historyOfLoad, patchesLost } from "../support/load-history.js";
import { twoPrograms } from "../support/programs.js";
import { createRandom, seedOf } from "../support/random.js";
import { report, scaled } from "../support/scale.js";

const GRAPHS = fileURLToPath(new URL("../support/chaos-graphs.ts", import.meta.url));
const CLIENTS = 6;
const RECOVERY_MS = 20_000;
/** How long each mixture of versions serves. */
const MIXED_MS = scaled({ quick: 2_000, full: 30_000 });

it("two versions work side by side on one database", { timeout: 15 * 60_000 }, async ({ skip }) => {
  skip(CLUSTER_MISSING !== undefined, CLUSTER_MISSING);
  const seed = seedOf(process.env);
  await using programs = await twoPrograms();
  const versions: ("previous" | "next")[] = ["previous", "previous", "previous"];
  await using cluster = await startCluster({
    roles: ["all", "all", "all"],
    graphs: { work: `${GRAPHS}:work`, approve: `${GRAPHS}:approve`, stuck_after_seconds: 4 },
    config: { runs: { max_attempts: 1_000, lease_seconds: 6, heartbeat_seconds: 1.5, shutdown_grace_seconds: 1 } },
    program: (number) => ({ main: programs[versions[number] ?? "previous"] }),
  });
  const log = createLoadLog();
  const stopClients = new AbortController();
  const clients = Array.from({ length: CLIENTS }, (_, index) =>
    runClient({
      name: `client-${index}`,
      target: clusterTarget(cluster),
      log,
      random: createRandom(seed + index + 1),
      signal: stopClients.signal,
    }),
  );

  const faults: Fault[] = [];
  const migrations = async (): Promise<number> =>
    Number((await cluster.sql<{ count: string }>("SELECT count(*) FROM kysely_migration"))[0]?.count);
  await pause(MIXED_MS);
  const before = await migrations();
  for (const [number, replica] of cluster.replicas.entries()) {
    expect(await replica.drain()).toBe(0);
    versions[number] = "next";
    await replica.start();
    await pause(MIXED_MS);
    const other = cluster.replicas[number + 1];
    if (other === undefined) continue;
    const at = Date.now();
    await other.kill();
    await other.start(); // on a database that is newer than it
    faults.push({ kind: "kill", at, until: Date.now() });
    await pause(MIXED_MS);
  }
  const after = await migrations();
  stopClients.abort();
  await Promise.all(clients);
  await expect.poll(() => cluster.underWay(), { timeout: RECOVERY_MS, interval: 100 }).toBe(0);
  expect(await cluster.stop()).toEqual([0, 0, 0]);

  const history = historyOfLoad(log, { ...(await cluster.dump()), faults, recoveryMs: RECOVERY_MS });
  report("T17", {
    seed,
    previous: process.env.HEDDLE_PREVIOUS ?? "this one",
    next: process.env.HEDDLE_PREVIOUS === undefined ? "this one and a migration" : "this one",
    "migrations added": after - before,
    runs: new Set((history.audit ?? []).map(({ runId }) => runId)).size,
    requests: log.calls.length,
  });
  expect(checkHistory(history), `HEDDLE_SEED=${seed}`).toEqual([]);
  expect(judgedRules(history)).toEqual(expect.arrayContaining(["R1", "R2", "R3", "R4", "R5", "R18"]));
  expect(patchesLost(log, history)).toEqual([]);
  const broken = log.calls.flatMap(({ heard }) =>
    typeof heard === "object" && heard.status === 500 ? [heard.body] : [],
  );
  expect(broken).toEqual([]);
  if (process.env.HEDDLE_PREVIOUS === undefined) expect(after - before).toBe(1);
});
