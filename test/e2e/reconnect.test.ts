/**
 * T8 (`npm run reconnect`): clients of the built program whose connections are cut anywhere, and who come back with the id
 * of the last event that they got, see every event once and in order; also while the program is stopped or killed.
 *
 * A seed that failed comes again with HEDDLE_SEED.
 */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Client } from "@langchain/langgraph-sdk";
import { expect, it } from "vitest";
import { type Count, countOfTape, faultsOfTape } from "../support/counted-tape.js";
import { startCuttingProxy } from "../support/cutting-proxy.js";
import { checkHistory, judgedRules } from "../support/history.js";
import type { Connection, Fault } from "../support/history-data.js";
import { dumpFolder } from "../support/history-dump.js";
import { createRandom, seedOf } from "../support/random.js";
import { report, scaled } from "../support/scale.js";
import { type ServedGateway, serveGateway } from "../support/served-gateway.js";
import { readTape, readWithSdk } from "../support/tape-reader.js";

const GRAPHS = fileURLToPath(new URL("../support/stream-graphs.ts", import.meta.url));
const CLIENTS_PER_RUN = 4;
/** Every so manieth client is the SDK's. It comes back five times at most, too few for a program that is away for long. */
const SDK_EVERY = 10;
const SDK_CUTS = 3;

interface Size {
  readonly runs: number;
  readonly count: Count;
  /** Between two tokens: slow enough that a run is still under way when its turn to be interrupted comes. */
  readonly delayMs: number;
  /** The mean of what passes before a connection is cut. */
  readonly bytesPerCut: number;
  readonly restarts: readonly ("SIGTERM" | "SIGKILL")[];
}

function serve(): Promise<ServedGateway> {
  return serveGateway({
    graphs: { count: `${GRAPHS}:count` },
    runs: { concurrency: 100, max_attempts: 100, shutdown_grace_seconds: 0.1 },
  });
}

async function follow(gateway: ServedGateway, size: Size) {
  const seed = seedOf(process.env);
  const random = createRandom(seed);
  const cutAfter = () => 800 + Math.round(-Math.log(1 - random.next()) * size.bytesPerCut);
  const proxy = await startCuttingProxy(gateway.url, cutAfter);
  const sdkProxies: Awaited<ReturnType<typeof startCuttingProxy>>[] = [];
  const { rounds, tokensPerRound } = size.count;
  let seen = 0;
  let serving = Promise.resolve();

  async function readAs(index: number, threadId: string, runId: string): Promise<readonly Connection[]> {
    const reading = {
      reader: `client ${index}`,
      threadId,
      runId,
      onEvent(event: Connection["events"][number]) {
        seen += countOfTape([event]);
      },
    };
    if (index % SDK_EVERY !== 0 || size.restarts.length > 0)
      return readTape(reading, { url: proxy.url, serving: () => serving });
    const own = await startCuttingProxy(gateway.url, (n) => (n < SDK_CUTS ? cutAfter() : undefined));
    sdkProxies.push(own);
    return [await readWithSdk(reading, new Client({ apiUrl: own.url, callerOptions: { maxRetries: 4 } }))];
  }

  const faults: Fault[] = [];
  async function restart(signal: "SIGTERM" | "SIGKILL"): Promise<void> {
    let resume = (): void => {};
    serving = new Promise((resolve) => {
      resume = resolve;
    });
    const at = Date.now();
    await gateway.restart(signal);
    faults.push({ kind: signal === "SIGKILL" ? "kill" : "drain", at: signal === "SIGKILL" ? at : Date.now() });
    resume();
  }

  /** Resolves when the run on the thread has come so far; its readers may be far behind. */
  async function reached(threadId: string, share: number): Promise<void> {
    const round = async () => (await gateway.client.threads.getState<{ round?: number }>(threadId)).values.round ?? 0;
    await expect.poll(round, { timeout: 120_000, interval: 50 }).toBeGreaterThanOrEqual(share * rounds);
  }

  const readings: Promise<readonly Connection[]>[] = [];
  let lastThreadId = "";
  for (let index = 0; index < size.runs; index++) {
    const { thread_id: threadId } = await gateway.client.threads.create();
    const { run_id: runId } = await gateway.client.runs.create(threadId, "count", {
      input: { rounds, tokensPerRound, delayMs: size.delayMs },
      streamMode: ["values", "messages-tuple", "custom"],
      config: { recursion_limit: rounds + 1 }, // the default ends a run of the whole size early
    });
    lastThreadId = threadId;
    for (let each = 0; each < CLIENTS_PER_RUN; each++) {
      readings.push(readAs(index * CLIENTS_PER_RUN + each, threadId, runId));
    }
  }
  const everything = Promise.all(readings);
  everything.catch(() => {}); // told below, after the restarts
  for (const [index, signal] of size.restarts.entries()) {
    await reached(lastThreadId, (index + 1) / (size.restarts.length + 2));
    await restart(signal);
  }
  const readers = await everything;
  for (const each of [proxy, ...sdkProxies]) await each.close();
  gateway.program.kill("SIGTERM");
  await gateway.program.ended;

  const history = {
    ...dumpFolder(join(gateway.folder, ".heddle")),
    readers: readers.flat(),
    faults,
    recoveryMs: 60_000, // the rest of a run takes its time, on a busy machine above all
  };
  const wrong = readers.flatMap((connections) => {
    const tape = connections.flatMap(({ events }) => events);
    return faultsOfTape(tape, size.count).map((fault) => `${connections[0]?.reader}: ${fault}`);
  });
  const connections = proxy.connections + sdkProxies.reduce((sum, each) => sum + each.connections, 0);
  const interrupted = history.audit.filter(
    ({ oldStatus, newStatus }) => oldStatus === "running" && newStatus === "pending",
  );
  const figures = {
    seed,
    clients: readers.length,
    runs: size.runs,
    events: seen,
    reconnects: connections - readers.length,
    restarts: size.restarts.length,
    "runs interrupted": interrupted.length,
    wrong: wrong.length,
  };
  return { seed, wrong, history, figures };
}

it("readers whose connections are cut lose, repeat and reorder nothing", { timeout: 600_000 }, async () => {
  await using gateway = await serve();
  const size = scaled<Size>({
    quick: { runs: 5, count: { rounds: 10, tokensPerRound: 25 }, delayMs: 2, bytesPerCut: 1_200, restarts: [] },
    full: { runs: 50, count: { rounds: 20, tokensPerRound: 25 }, delayMs: 2, bytesPerCut: 1_200, restarts: [] },
  });
  const { seed, wrong, history, figures } = await follow(gateway, size);
  report("T8 cuts", figures);
  expect(wrong, `HEDDLE_SEED=${seed}`).toEqual([]);
  expect(judgedRules(history)).toEqual(expect.arrayContaining(["R1", "R3", "R4", "R7", "R10", "R18", "S1"]));
  expect(checkHistory(history), `HEDDLE_SEED=${seed}`).toEqual([]);
  expect(figures.events).toBeGreaterThanOrEqual(scaled({ quick: 5_000, full: 100_000 }));
  expect(figures.reconnects).toBeGreaterThanOrEqual(scaled({ quick: 100, full: 2_000 }));
});

it("nor while the program is stopped and killed under them", { timeout: 600_000 }, async () => {
  await using gateway = await serve();
  const size = scaled<Size>({
    quick: {
      runs: 4,
      count: { rounds: 12, tokensPerRound: 10 },
      delayMs: 20,
      bytesPerCut: 3_000,
      restarts: ["SIGTERM", "SIGKILL"],
    },
    full: {
      runs: 20,
      count: { rounds: 60, tokensPerRound: 15 },
      delayMs: 20,
      bytesPerCut: 3_000,
      restarts: ["SIGTERM", "SIGKILL", "SIGTERM", "SIGKILL"],
    },
  });
  const { seed, wrong, history, figures } = await follow(gateway, size);
  report("T8 restarts", figures);
  expect(wrong, `HEDDLE_SEED=${seed}`).toEqual([]);
  expect(checkHistory(history), `HEDDLE_SEED=${seed}`).toEqual([]);
  // A restart between runs proves nothing.
  expect(figures["runs interrupted"]).toBeGreaterThanOrEqual((size.runs * size.restarts.length) / 2);
});
