/**
 * T11 (`npm run clock-jumps`): replicas whose wall clocks jump by hours and days, and which are killed, fire every tick of
 * a cron once, and lose no run's lease, no thread and no event by it: what matters is the database's clock.
 *
 * A seed that failed comes again with HEDDLE_SEED.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { expect, it, onTestFinished } from "vitest";
import { CLUSTER_MISSING, type Cluster, startCluster } from "../support/cluster.js";
import { clusterTarget } from "../support/cluster-target.js";
import { createLoadLog, runClient } from "../support/crash-load.js";
import { checkHistory, judgedRules } from "../support/history.js";
import type { Fault } from "../support/history-data.js";
import { historyOfLoad, patchesLost } from "../support/load-history.js";
import { createRandom, type Random, seedOf } from "../support/random.js";
import { report, scaled } from "../support/scale.js";
import { within } from "../support/within.js";

const GRAPHS = fileURLToPath(new URL("../support/chaos-graphs.ts", import.meta.url));
const PRELOAD = new URL("../support/shifted-clock.mjs", import.meta.url).href;
const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const JUMPS_MS = [0, -2 * HOUR_MS, 2 * HOUR_MS, 5 * 24 * HOUR_MS, -90_000, 61_000] as const;
/** Crons fire at full minutes of the real time: so many are waited for. */
const MINUTES = scaled({ quick: 1, full: 10 });
const CRONS = 10;
const REPLICAS = 3;
const RECOVERY_MS = 20_000;
/** More than clients wait for an answer. */
const LEAVE_MS = 60_000;

it("clocks that jump change nothing but the times in logs", { timeout: 20 * MINUTE_MS }, async ({ skip }) => {
  skip(CLUSTER_MISSING !== undefined, CLUSTER_MISSING);
  const seed = seedOf(process.env);
  console.info(`HEDDLE_SEED=${seed}`);
  const random = createRandom(seed);
  const clocks = createClocks();
  await using cluster = await startCluster({
    roles: Array.from({ length: REPLICAS }, () => "all" as const),
    graphs: { work: `${GRAPHS}:work`, approve: `${GRAPHS}:approve`, stuck_after_seconds: 4 },
    config: { runs: { max_attempts: 1_000, lease_seconds: 6, heartbeat_seconds: 1.5, shutdown_grace_seconds: 1 } },
    program: (number) => ({ nodeArguments: ["--import", PRELOAD], env: { HEDDLE_TEST_CLOCK: clocks.file(number) } }),
  });
  const log = createLoadLog();
  const stopClients = new AbortController();
  const clients = Array.from({ length: 6 }, (_, index) =>
    runClient({
      name: `client-${index}`,
      target: clusterTarget(cluster),
      log,
      random: createRandom(seed + index + 1),
      signal: stopClients.signal,
    }),
  );
  await untilSecond(0, 40); // what is made now is made before the next full minute
  const madeAt = Date.now();
  const crons: string[] = [];
  for (let n = 0; n < CRONS; n++) {
    // Some are of one zone or another, which a minute does not care for.
    const timezone = ["UTC", "Europe/Lisbon", "Asia/Kathmandu"][n % 3] ?? "UTC";
    const cron = await cluster.client.crons.create("work", {
      schedule: "* * * * *",
      timezone,
      input: { mark: `cron ${n}` },
      onRunCompleted: "keep",
    });
    crons.push((cron as unknown as { readonly cron_id: string }).cron_id); // typed as a run
  }

  const faults: Fault[] = [];
  let jumps = 0;
  const endAt = (Math.floor(madeAt / MINUTE_MS) + MINUTES) * MINUTE_MS + 8_000;
  for (let step = 0; Date.now() < endAt; step++) {
    clocks.jump(random.below(REPLICAS), random);
    jumps++;
    if (step % 4 === 3) faults.push(await killOne(cluster, random));
    await pause(500 + random.below(2_000));
  }
  stopClients.abort();
  await within(LEAVE_MS, "what the clients asked last", Promise.all(clients));
  await expect.poll(() => cluster.underWay(), { timeout: RECOVERY_MS, interval: 100 }).toBe(0);
  const stoppedAt = Date.now();
  expect(await cluster.stop()).toEqual(Array.from({ length: REPLICAS }, () => 0));

  const left = await cluster.dump();
  const ticks = crons.map((cronId) => {
    const runs = left.dump?.runs.filter(({ metadata }) => metadata.cron_id === cronId) ?? [];
    return runs.map(({ runId }) => left.audit?.find((row) => row.runId === runId)?.at ?? 0);
  });
  const due = fullMinutes(madeAt, stoppedAt);
  const { clock: _, ...history } = historyOfLoad(log, { ...left, faults, recoveryMs: RECOVERY_MS }); // its times differ
  const lost = (left.audit ?? []).filter(
    ({ oldStatus, newStatus }) => oldStatus === "running" && newStatus === "pending",
  );
  report("T11", {
    seed,
    crons: CRONS,
    "ticks due": due.length * CRONS,
    "ticks fired": ticks.flat().length,
    jumps,
    kills: faults.length,
    runs: new Set((left.audit ?? []).map(({ runId }) => runId)).size,
    "leases lost": lost.length,
  });
  for (const ofCron of ticks) {
    const minutes = ofCron.map((at) => Math.floor(at / MINUTE_MS) * MINUTE_MS).sort((a, b) => a - b);
    expect(minutes, `HEDDLE_SEED=${seed}`).toEqual(due);
  }
  expect(checkHistory(history), `HEDDLE_SEED=${seed}`).toEqual([]); // R18: only a kill cost anybody a lease
  expect(judgedRules(history)).toEqual(expect.arrayContaining(["R1", "R2", "R3", "R4", "R5", "R8", "R18"]));
  expect(patchesLost(log, history)).toEqual([]);
  expect(log.calls.length).toBeGreaterThan(100);
});

/** One file for each replica, which says by how much its clock is off. */
function createClocks() {
  const folder = mkdtempSync(join(tmpdir(), "heddle-clocks-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const file = (number: number): string => join(folder, String(number));
  const set = (number: number, offsetMs: number): void => writeFileSync(file(number), String(offsetMs));
  for (let number = 0; number < REPLICAS; number++) set(number, JUMPS_MS[number + 1] ?? 0);
  return { file, jump: (number: number, random: Random) => set(number, random.pick(JUMPS_MS)) };
}

async function killOne({ replicas }: Cluster, random: Random): Promise<Fault> {
  const replica = replicas[random.below(replicas.length)];
  const at = Date.now();
  await replica?.kill();
  await replica?.start();
  return { kind: "kill", at, until: Date.now() };
}

/** Resolves when the second of the minute is one of these. */
async function untilSecond(from: number, to: number): Promise<void> {
  const second = Math.floor((Date.now() % MINUTE_MS) / 1_000);
  if (second < from || second > to) await pause(MINUTE_MS - (Date.now() % MINUTE_MS) + 200);
}

function fullMinutes(after: number, until: number): readonly number[] {
  const minutes: number[] = [];
  for (let at = Math.ceil(after / MINUTE_MS) * MINUTE_MS; at <= until; at += MINUTE_MS) minutes.push(at);
  return minutes;
}
