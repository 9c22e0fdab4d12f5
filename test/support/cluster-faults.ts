/**
 * What can happen to a cluster, each as one function: it does it, puts it right again, and tells when that was.
 *
 * There are two lanes, which go on at once: one strikes processes, so that never more than one replica is away by it, the
 * other what they stand on: the database, Redis, the network, nginx.
 */
import { setTimeout as pause } from "node:timers/promises";
import type { Cluster, Replica } from "./cluster.js";
import { CLEAR, type FaultProxy, type Weather } from "./fault-proxy.js";
import type { Fault } from "./history-data.js";
import type { Random } from "./random.js";
import { within } from "./within.js";

export interface FaultScene {
  readonly cluster: Cluster;
  readonly random: Random;
  readonly leaseMs: number;
}

/** More than any fault lasts. */
const STARTS = 60;
/** More than any takes, its replica's start included. */
const STRIKE_MS = 180_000;

type Strike = (scene: FaultScene) => Promise<Fault["kind"]>;

export type Lane = "processes" | "ground";

/** By lane and name. */
export const FAULTS: Readonly<Record<Lane, Readonly<Record<string, Strike>>>> = {
  processes: {
    "kill -9": onReplica(async (replica, { random }) => {
      await replica.kill();
      await pause(random.below(1_500));
      await startAgain(replica);
      return "kill";
    }),
    "short freeze": onReplica(async (replica, { random, leaseMs }) => {
      await frozen(replica, leaseMs * (0.1 + 0.3 * random.next()));
      return "loss"; // what it held may have been near its end
    }),
    "long freeze": onReplica(async (replica, { random, leaseMs }) => {
      await frozen(replica, leaseMs + 1_000 + random.below(4_000));
      return "loss";
    }),
    "drain and restart": onReplica(async (replica) => {
      const code = await replica.drain();
      if (code !== 0) throw new Error(`${replica.name} ended with ${code} when it was asked to stop`);
      await startAgain(replica);
      return "other";
    }),
    "kill -9 of a frozen one": onReplica(async (replica, { random }) => {
      replica.freeze();
      await pause(500 + random.below(1_000));
      await replica.kill();
      await startAgain(replica);
      return "kill";
    }),
  },
  ground: {
    "postgres: connections reset": async ({ cluster }) => {
      for (const { postgres } of cluster.replicas) postgres.cut();
      return "other";
    },
    "postgres: cut in the middle of answers": ({ cluster, random }) =>
      stormy(cluster, "postgres", 2_000, { kind: "cutting", afterBytes: () => 1 + random.below(2_000) }),
    "postgres: black hole for one": ({ cluster, random, leaseMs }) =>
      stormy([random.pick(some(cluster))], "postgres", leaseMs * (0.3 + random.next()), {
        kind: "silent",
        way: "both",
      }),
    "postgres: answers lost, then reset": async ({ cluster, random }) => {
      const { postgres } = random.pick(some(cluster));
      await postgres.become({ kind: "silent", way: "to-client" });
      await pause(500 + random.below(2_000));
      postgres.cut();
      await postgres.become(CLEAR);
      return "loss";
    },
    "postgres: half-open": async ({ cluster, random }) => {
      random.pick(some(cluster)).postgres.abandon();
      return "loss";
    },
    "postgres: 200 ms away": ({ cluster, random }) =>
      stormy(cluster, "postgres", 3_000 + random.below(4_000), { kind: "clear", delayMs: 100 }),
    "postgres: every backend terminated": async ({ cluster }) => {
      await cluster.sql(
        `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
           WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name = 'heddle'`,
      );
      return "other";
    },
    "postgres: refused for all": ({ cluster, random }) =>
      stormy(cluster, "postgres", 2_000 + random.below(4_000), { kind: "refuse" }),
    "postgres: pools run empty": async ({ cluster, random }) => {
      await cluster.lockTable("runs", 2_000 + random.below(3_000));
      return "loss";
    },
    "redis: killed and empty": async ({ cluster, random }) => {
      await cluster.redis.kill();
      await pause(random.below(3_000));
      await cluster.redis.start();
      return "other";
    },
    "redis: FLUSHALL": async ({ cluster }) => {
      await cluster.redis.flush();
      return "other";
    },
    "redis: black hole": ({ cluster, random }) =>
      stormy(cluster, "redis", 2_000 + random.below(5_000), { kind: "silent", way: "both" }),
    "redis: black hole for one": ({ cluster, random }) =>
      stormy([random.pick(some(cluster))], "redis", 2_000 + random.below(5_000), { kind: "silent", way: "both" }),
    "redis: half-open": async ({ cluster, random }) => {
      random.pick(some(cluster)).redis.abandon();
      return "other";
    },
    "redis: 200 ms away": ({ cluster, random }) =>
      stormy(cluster, "redis", 3_000 + random.below(4_000), { kind: "clear", delayMs: 100 }),
    "redis: cut in the middle of answers": ({ cluster, random }) =>
      stormy(cluster, "redis", 2_000, { kind: "cutting", afterBytes: () => 1 + random.below(2_000) }),
    "nginx reload": async ({ cluster }) => {
      await cluster.nginx.reload();
      return "other";
    },
    "nginx restart": async ({ cluster }) => {
      await cluster.restartNginx();
      return "other";
    },
  },
};

/** One fault after the other until `isOver`, every kind of the lane once before any comes again. */
export async function strike(
  lane: Lane,
  scene: FaultScene,
  {
    pauseMs,
    isOver,
    onFault,
  }: {
    readonly pauseMs: number;
    /** Asked before each, with how many there have been. */
    readonly isOver: (count: number) => boolean;
    readonly onFault: (name: string, fault: Fault) => void;
  },
): Promise<void> {
  const kinds = Object.entries(FAULTS[lane]);
  for (let count = 0, deck: typeof kinds = []; !isOver(count); count++) {
    if (deck.length === 0) deck = shuffled(kinds, scene.random);
    const [name, inject] = deck.pop() ?? never();
    const at = Date.now();
    const kind = await within(STRIKE_MS, `"${name}"`, inject(scene));
    onFault(name, { kind, at, until: Date.now() });
    await pause(pauseMs * (0.5 + scene.random.next()));
  }
}

function onReplica(inject: (replica: Replica, scene: FaultScene) => Promise<Fault["kind"]>): Strike {
  return (scene) => inject(scene.random.pick(some(scene.cluster)), scene);
}

function some({ replicas }: Cluster): readonly [Replica, ...Replica[]] {
  const [first = never(), ...others] = replicas;
  return [first, ...others];
}

/** As systemd and Kubernetes do: once more, while it ends at its start because the other lane keeps its database away. */
async function startAgain(replica: Replica): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      await replica.start();
      return;
    } catch (error) {
      if (tries === STARTS || !/cannot use the database/.test(String(error))) throw error;
      await pause(500);
    }
  }
}

async function frozen(replica: Replica, ms: number): Promise<void> {
  replica.freeze();
  await pause(ms);
  replica.resume();
}

async function stormy(
  where: Cluster | readonly Replica[],
  service: "postgres" | "redis",
  ms: number,
  weather: Weather,
): Promise<Fault["kind"]> {
  const proxies: FaultProxy[] = ("replicas" in where ? where.replicas : where).map((replica) => replica[service]);
  for (const proxy of proxies) await proxy.become(weather);
  await pause(ms);
  for (const proxy of proxies) await proxy.become(CLEAR);
  return service === "postgres" ? "loss" : "other";
}

function shuffled<Item>(items: readonly Item[], random: Random): Item[] {
  return items
    .map((item) => ({ item, place: random.next() }))
    .sort((a, b) => a.place - b.place)
    .map(({ item }) => item);
}

function never(): never {
  throw new Error("a cluster without replicas");
}
