/**
 * T5 (`npm run takeover`): a worker that stands still for longer than its lease, or is cut off from the database alone,
 * loses its runs to another; when it can go on, nothing that it still does is kept or seen.
 */
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { CLUSTER_MISSING, type Replica, startCluster } from "../support/cluster.js";
import type { Step } from "../support/cluster-graphs.js";
import { CLEAR } from "../support/fault-proxy.js";
import { checkHistory, judgedRules } from "../support/history.js";
import type { AuditRow, Connection, Fault } from "../support/history-data.js";
import { report, scaled } from "../support/scale.js";
import { readTape } from "../support/tape-reader.js";

const GRAPHS = fileURLToPath(new URL("../support/cluster-graphs.ts", import.meta.url));
const TAKEOVERS = scaled({ quick: 12, full: 100 });
const RUNS_AT_ONCE = 12;
/** A machine that has much else to do is no dead one. */
const LEASE_SECONDS = 10;
/** A run is still under way when whoever lost it goes on. */
const ROUNDS = 70;
const STEP_MS = 200;

/** How a worker is stopped from renewing its leases, and set free again. */
const WAYS = {
  frozen: {
    stop: async (worker: Replica) => worker.freeze(),
    free: async (worker: Replica) => worker.resume(),
  },
  /** It still reaches Redis. What it said to the database meanwhile arrives when it is free again. */
  "cut off from the database": {
    stop: (worker: Replica) => worker.postgres.become({ kind: "silent", way: "both" }),
    free: (worker: Replica) => worker.postgres.become(CLEAR),
  },
} as const;

it("nothing of a worker that lost its runs is kept or seen", { timeout: 30 * 60_000 }, async ({ skip }) => {
  skip(CLUSTER_MISSING !== undefined, CLUSTER_MISSING);
  await using cluster = await startCluster({
    roles: ["api", "worker", "worker"],
    graphs: { steady: `${GRAPHS}:steady`, threads: 1, stuck_after_seconds: 8 },
    config: {
      runs: { concurrency: RUNS_AT_ONCE, max_attempts: 100, lease_seconds: LEASE_SECONDS, heartbeat_seconds: 1 },
    },
  });
  const { client } = cluster;
  const workers = cluster.replicas.filter(({ role }) => role === "worker");
  const readers: Connection[] = [];
  const states = new Map<string, readonly Step[]>();
  const faults: Fault[] = [];
  const taken = { frozen: 0, "cut off from the database": 0 };

  async function start(index: number): Promise<{ readonly threadId: string; readonly runId: string }> {
    const { thread_id: threadId } = await client.threads.create();
    const { run_id: runId } = await client.runs.create(threadId, "steady", {
      input: { rounds: ROUNDS, stepMs: STEP_MS },
      streamMode: ["values", "custom"],
      config: { recursion_limit: ROUNDS + 1 },
      metadata: { index },
    });
    return { threadId, runId };
  }

  const stepsOf = async (threadId: string): Promise<readonly Step[]> =>
    (await client.threads.getState<{ steps?: readonly Step[] }>(threadId)).values.steps ?? [];

  for (let cycle = 0; taken.frozen + taken["cut off from the database"] < TAKEOVERS; cycle++) {
    const way = cycle % 2 === 0 ? "frozen" : "cut off from the database";
    const victim = workers[cycle % 4 < 2 ? 0 : 1];
    if (victim === undefined) throw new Error("a cluster without workers");
    const runs = await Promise.all(Array.from({ length: RUNS_AT_ONCE }, (_, index) => start(index)));
    const reading = runs.map(({ threadId, runId }) =>
      readTape({ reader: `reader of ${runId}`, threadId, runId }, { url: cluster.url, serving: async () => {} }),
    );
    // Each has come to its first steps, which say where it runs.
    await expect
      .poll(
        async () =>
          await cluster.sql(
            `SELECT run_id FROM state_checkpoints WHERE run_id = ANY($1) GROUP BY run_id HAVING count(*) > 5`,
            [runs.map(({ runId }) => runId)],
          ),
        { timeout: 60_000, interval: 200 },
      )
      .toHaveLength(RUNS_AT_ONCE);
    const homes = await Promise.all(runs.map(async ({ threadId }) => (await stepsOf(threadId))[0]?.pid));
    const held = runs.filter((_, index) => homes[index] === victim.pid).map(({ runId }) => runId);
    const at = Date.now();
    await WAYS[way].stop(victim);
    // Every run of it that has not ended is another's, which executes it, before it may go on.
    await expect
      .poll(
        async () =>
          await cluster.sql(
            `SELECT run_id FROM runs WHERE run_id = ANY($1) AND status IN ('pending', 'running') AND NOT EXISTS (
               SELECT 1 FROM run_audit WHERE run_audit.run_id = runs.run_id AND fence > 1 AND new_status = 'running')`,
            [held],
          ),
        { timeout: 60_000, interval: 50 },
      )
      .toEqual([]);
    const lost = await cluster.sql(
      `SELECT DISTINCT run_id FROM run_audit WHERE run_id = ANY($1) AND fence > 1 AND new_status = 'running'`,
      [held],
    );
    await WAYS[way].free(victim);
    faults.push({ kind: "loss", at, until: Date.now() });
    taken[way] += lost.length;
    readers.push(...(await Promise.all(reading)).flat());
    for (const { threadId } of runs) states.set(threadId, await stepsOf(threadId));
  }
  expect(await cluster.stop()).toEqual([0, 0, 0]);

  const history = { ...(await cluster.dump()), readers, faults, recoveryMs: 60_000, clock: "system" } as const;
  const stale = [
    ...[...states].flatMap(([threadId, steps]) => staleSteps(threadId, steps)),
    ...staleEvents(readers),
    ...(await forks(cluster)),
  ];
  const overlapping = endedInTime(history.audit, faults);
  report("T5", {
    takeovers: taken.frozen + taken["cut off from the database"],
    ...taken,
    runs: states.size,
    "still running when the old worker went on": overlapping,
    "events read": readers.reduce((sum, { events }) => sum + events.length, 0),
    "stale rows or events": stale.length,
  });
  expect(stale).toEqual([]);
  expect(checkHistory(history)).toEqual([]);
  expect(judgedRules(history)).toEqual(expect.arrayContaining(["R1", "R3", "R4", "R7", "R18", "S1"]));
  // Whoever went on after all was over had nothing left to spoil.
  expect(overlapping).toBeGreaterThan(TAKEOVERS / 2);
});

/** Every round once and in order; nobody comes back after another has gone on. */
function staleSteps(threadId: string, steps: readonly Step[]): readonly string[] {
  const rounds = steps.map(({ round }) => round);
  const pids = steps.map(({ pid }) => pid).filter((pid, index, all) => pid !== all[index - 1]);
  const isWhole = rounds.length === ROUNDS && rounds.every((round, index) => round === index);
  return [
    ...(isWhole ? [] : [`thread ${threadId}: rounds ${rounds.join(",")}`]),
    ...(new Set(pids).size === pids.length ? [] : [`thread ${threadId}: executed by ${pids.join(", then ")}`]),
  ];
}

/** Under one fence speaks one process. */
function staleEvents(readers: readonly Connection[]): readonly string[] {
  const speakers = new Map<string, number>();
  return readers.flatMap(({ runId, events }) =>
    events.flatMap(({ id, event, data }) => {
      if (event !== "custom" || id === null) return [];
      const { pid } = data as Step;
      const key = `${runId} ${id.split("-")[0]}`;
      const known = speakers.get(key) ?? pid;
      speakers.set(key, known);
      return known === pid ? [] : [`run ${runId}: ${id} was said by ${pid}, others of its fence by ${known}`];
    }),
  );
}

/** Two checkpoints of one run after the same one: somebody wrote beside who held the run. */
async function forks(cluster: {
  sql<Row extends object>(text: string): Promise<readonly Row[]>;
}): Promise<readonly string[]> {
  const rows = await cluster.sql<{ run_id: string; parent: string; count: string }>(
    `SELECT run_id, parent_checkpoint_id AS parent, count(*) FROM state_checkpoints
       WHERE parent_checkpoint_id IS NOT NULL GROUP BY 1, 2 HAVING count(*) > 1`,
  );
  return rows.map(({ run_id, parent, count }) => `run ${run_id}: ${count} checkpoints after ${parent}`);
}

/** How many runs that were taken over during a fault ended after it: their old worker went on beside them. */
function endedInTime(audit: readonly AuditRow[], faults: readonly Fault[]): number {
  const lost = audit.filter(({ oldStatus, newStatus }) => oldStatus === "running" && newStatus === "pending");
  return lost.filter(({ runId, at }) => {
    const fault = faults.find(({ at: from, until = from }) => from <= at && at <= until);
    const end = audit.find(({ runId: id, newStatus }) => id === runId && newStatus === "success");
    return fault !== undefined && end !== undefined && end.at > (fault.until ?? fault.at);
  }).length;
}
