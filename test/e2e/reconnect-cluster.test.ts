/**
 * T8 on many replicas (`npm run reconnect:cluster`): readers through nginx, each connection at whatever replica it comes
 * to, see every event once and in order while connections are cut and replicas are killed and drained.
 */
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { CLUSTER_MISSING, type Cluster, type Replica, startCluster } from "../support/cluster.js";
import { checkHistory, judgedRules } from "../support/history.js";
import { follow, type Place, type Size } from "../support/reconnecting.js";
import { report, scaled } from "../support/scale.js";

const GRAPHS = fileURLToPath(new URL("../support/stream-graphs.ts", import.meta.url));

it("readers lose, repeat and reorder nothing while replicas are killed", { timeout: 20 * 60_000 }, async ({ skip }) => {
  skip(CLUSTER_MISSING !== undefined, CLUSTER_MISSING);
  await using cluster = await startCluster({
    roles: ["all", "all", "all"],
    graphs: { count: `${GRAPHS}:count`, stuck_after_seconds: 4 },
    config: {
      runs: {
        concurrency: 40,
        max_attempts: 100,
        shutdown_grace_seconds: 0.1,
        lease_seconds: 6,
        heartbeat_seconds: 1.5,
      },
    },
  });
  const size = scaled<Size>({
    quick: {
      runs: 6,
      count: { rounds: 20, tokensPerRound: 20 },
      delayMs: 20,
      bytesPerCut: 2_000,
      disturbances: ["SIGKILL", "SIGTERM", "SIGKILL"],
    },
    full: {
      runs: 50,
      count: { rounds: 40, tokensPerRound: 15 },
      delayMs: 40,
      bytesPerCut: 3_000,
      disturbances: ["SIGKILL", "SIGTERM", "SIGKILL", "SIGKILL", "SIGTERM", "SIGKILL"],
    },
  });
  const { seed, wrong, history, figures } = await follow(placeOf(cluster), size);
  report("T8 cluster", figures);
  expect(wrong, `HEDDLE_SEED=${seed}`).toEqual([]);
  expect(judgedRules(history)).toEqual(expect.arrayContaining(["R1", "R3", "R4", "R7", "R10", "R18", "S1"]));
  expect(checkHistory(history), `HEDDLE_SEED=${seed}`).toEqual([]);
  expect(figures.events).toBeGreaterThanOrEqual(scaled({ quick: 5_000, full: 100_000 }));
  expect(figures.reconnects).toBeGreaterThanOrEqual(scaled({ quick: 100, full: 2_000 }));
  expect(figures["runs interrupted"]).toBeGreaterThanOrEqual(size.disturbances.length);
});

/** Every disturbance meets whoever executes most. */
function placeOf(cluster: Cluster): Place {
  return {
    url: cluster.url,
    client: cluster.client,
    isAlone: false,
    async disturb(how) {
      const replica = await busiestOf(cluster);
      const at = Date.now();
      if (how === "SIGKILL") await replica.kill();
      else expect(await replica.drain()).toBe(0);
      await replica.start();
      return { kind: how === "SIGKILL" ? "kill" : "other", at, until: Date.now() };
    },
    async end() {
      expect(await cluster.stop()).toEqual([0, 0, 0]);
      return cluster.dump();
    },
  };
}

async function busiestOf({ replicas }: Cluster): Promise<Replica> {
  const runs = await Promise.all(
    replicas.map(async ({ url }) => {
      const info = (await (await fetch(`${url}/info`)).json()) as { readonly replica: { readonly runs: number } };
      return info.replica.runs;
    }),
  );
  const busiest = replicas[runs.indexOf(Math.max(...runs))];
  if (busiest === undefined) throw new Error("a cluster without replicas");
  return busiest;
}
