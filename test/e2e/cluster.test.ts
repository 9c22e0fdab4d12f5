/**
 * T4 (`npm run cluster`): three replicas on one PostgreSQL and one Redis behind nginx, under load, while processes are
 * killed, frozen and drained, and what they stand on breaks in every way that is known. Nothing that was acknowledged is
 * lost, nothing happens twice, and soon after the last fault every run has come to its end.
 *
 * A seed that failed comes again with HEDDLE_SEED: the same faults in the same order, at other moments.
 */
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { CLUSTER_MISSING, startCluster } from "../support/cluster.js";
import { FAULTS, strike } from "../support/cluster-faults.js";
import { clusterTarget } from "../support/cluster-target.js";
import { createLoadLog, runClient } from "../support/crash-load.js";
import { checkHistory, judgedRules } from "../support/history.js";
import type { Fault } from "../support/history-data.js";
import { historyOfLoad, patchesLost } from "../support/load-history.js";
import { createRandom, seedOf } from "../support/random.js";
import { report, scaled } from "../support/scale.js";
import { within } from "../support/within.js";

const GRAPHS = fileURLToPath(new URL("../support/chaos-graphs.ts", import.meta.url));
const CLIENTS = scaled({ quick: 8, full: 20 });
const RECOVERY_MS = 20_000;
/** More than clients wait for an answer. */
const LEAVE_MS = 60_000;
/** Of the whole; a cut of it strikes with every kind of fault once. */
const FULL_MS = 15 * 60_000;
const LEASE_SECONDS = scaled({ quick: 6, full: 15 });
const HEARTBEAT_SECONDS = scaled({ quick: 1.5, full: 5 });
const STUCK_SECONDS = scaled({ quick: 4, full: 10 });

it("a cluster loses nothing and repeats nothing, whatever breaks under it", { timeout: 30 * 60_000 }, async ({
  skip,
}) => {
  skip(CLUSTER_MISSING !== undefined, CLUSTER_MISSING);
  const seed = seedOf(process.env);
  console.info(`HEDDLE_SEED=${seed}`);
  await using cluster = await startCluster({
    roles: ["all", "all", "all"],
    graphs: { work: `${GRAPHS}:work`, approve: `${GRAPHS}:approve`, stuck_after_seconds: STUCK_SECONDS },
    config: {
      database: { pool_size: 8, timeout_seconds: 8 },
      runs: {
        max_attempts: 1_000, // a run may be hit by many faults: none is to give up
        lease_seconds: LEASE_SECONDS,
        heartbeat_seconds: HEARTBEAT_SECONDS,
        shutdown_grace_seconds: 1,
      },
    },
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

  const startedAt = Date.now();
  const faults: Fault[] = [];
  const counts = new Map<string, number>();
  const lane = (name: keyof typeof FAULTS, place: number) =>
    strike(
      name,
      { cluster, random: createRandom(seed - place), leaseMs: LEASE_SECONDS * 1_000 },
      {
        pauseMs: scaled({ quick: 500, full: 2_000 }),
        isOver: scaled({
          quick: (count: number) => count >= Object.keys(FAULTS[name]).length,
          full: () => Date.now() - startedAt > FULL_MS,
        }),
        onFault(kind, fault) {
          faults.push(fault);
          counts.set(kind, (counts.get(kind) ?? 0) + 1);
        },
      },
    );
  await Promise.all([lane("processes", 1), lane("ground", 2)]);
  const lastFaultAt = Date.now();
  const struckMs = lastFaultAt - startedAt;
  stopClients.abort();
  await within(LEAVE_MS, "what the clients asked last", Promise.all(clients));
  await expect.poll(() => cluster.underWay(), { timeout: RECOVERY_MS + 10_000, interval: 100 }).toBe(0);
  const recoveredMs = Date.now() - lastFaultAt;
  expect(await cluster.stop()).toEqual(cluster.replicas.map(() => 0));

  const history = historyOfLoad(log, { ...(await cluster.dump()), faults, recoveryMs: RECOVERY_MS });
  expect(checkHistory(history), `HEDDLE_SEED=${seed}`).toEqual([]);
  expect(judgedRules(history)).toEqual(
    expect.arrayContaining(["R1", "R2", "R3", "R4", "R5", "R6", "R7", "R8", "R9", "R10", "R11", "R12", "R14", "R15"]),
  );
  expect(patchesLost(log, history), `HEDDLE_SEED=${seed}`).toEqual([]);
  const answers = log.calls.flatMap(({ heard }) => (typeof heard === "object" ? [heard] : []));
  const broken = answers.filter(({ status }) => status === 500).map(({ body }) => body);
  expect(broken, "what a fault does to a request is told with 502, 503 or 504").toEqual([]);

  const acknowledged = log.calls.filter(({ heard }) => typeof heard === "object" && heard.status < 300);
  const kinds = (ask: string): number => acknowledged.filter((call) => call.ask === ask).length;
  const runs = new Set((history.audit ?? []).map(({ runId }) => runId)).size;
  report("T4", {
    seed,
    seconds: Math.round(struckMs / 1_000),
    "fault kinds": counts.size,
    injections: faults.length,
    runs,
    "acknowledged runs": kinds("create run"),
    "waits answered": kinds("wait run"),
    "broken requests": log.calls.filter(({ heard }) => heard === "broken").length,
    "answers of 502 to 504": answers.filter(({ status }) => status > 500).length,
    "runs taken over or given back": (history.audit ?? []).filter(
      ({ oldStatus, newStatus }) => oldStatus === "running" && newStatus === "pending",
    ).length,
    "events read": log.connections.reduce((sum, { events }) => sum + events.length, 0),
    violations: 0,
    "all at rest after ms": recoveredMs,
  });
  console.info([...counts].map(([kind, count]) => `${kind}: ${count}`).join("\n"));
  // A load that does nothing proves nothing, and neither do faults that do not come.
  expect(counts.size).toBeGreaterThanOrEqual(12);
  expect(faults.length).toBeGreaterThanOrEqual(scaled({ quick: 20, full: 150 }));
  expect(runs).toBeGreaterThanOrEqual(scaled({ quick: 100, full: 2_000 }));
  expect(kinds("wait run")).toBeGreaterThan(0);
});
