/**
 * Many readers of many runs of the graph `count`, whose connections are cut anywhere and who come back with the id of the
 * last event that they got, while the place that serves them is disturbed.
 */
import { Client } from "@langchain/langgraph-sdk";
import { expect } from "vitest";
import { type Count, countOfTape, faultsOfTape } from "./counted-tape.js";
import { type FaultProxy, startFaultProxy } from "./fault-proxy.js";
import type { Connection, Fault, History } from "./history-data.js";
import { createRandom, seedOf } from "./random.js";
import { readTape, readWithSdk } from "./tape-reader.js";

/** What serves: one gateway, or many. */
export interface Place {
  readonly url: string;
  readonly client: Client;
  /** Takes a gateway away and brings it back; resolves when all is as before. */
  disturb(how: Disturbance): Promise<Fault>;
  /** Whether there is nobody to connect to while it is disturbed. */
  readonly isAlone: boolean;
  /** Stops it; what its database holds. */
  end(): Promise<Required<Pick<History, "audit" | "dump">>>;
}

export type Disturbance = "SIGTERM" | "SIGKILL";

const CLIENTS_PER_RUN = 4;
/** Every so manieth client is the SDK's. It comes back five times at most, too few for a program that is away for long. */
const SDK_EVERY = 10;
const SDK_CUTS = 3;

export interface Size {
  readonly runs: number;
  readonly count: Count;
  /** Between two tokens: slow enough that a run is still under way when its turn to be interrupted comes. */
  readonly delayMs: number;
  /** The mean of what passes before a connection is cut. */
  readonly bytesPerCut: number;
  readonly disturbances: readonly Disturbance[];
}

/** Resolves when every reader has come to the end of its run, and the place has stopped. */
export async function follow(place: Place, size: Size) {
  const seed = seedOf(process.env);
  const random = createRandom(seed);
  const cutAfter = () => 800 + Math.round(-Math.log(1 - random.next()) * size.bytesPerCut);
  const proxy = await startFaultProxy(place.url, { kind: "cutting", afterBytes: cutAfter });
  const sdkProxies: FaultProxy[] = [];
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
    if (index % SDK_EVERY !== 0 || size.disturbances.length > 0)
      return readTape(reading, { url: proxy.url, serving: () => serving, mayBeAway: !place.isAlone });
    const own = await startFaultProxy(place.url, {
      kind: "cutting",
      afterBytes: (n) => (n < SDK_CUTS ? cutAfter() : undefined),
    });
    sdkProxies.push(own);
    return [await readWithSdk(reading, new Client({ apiUrl: own.url, callerOptions: { maxRetries: 4 } }))];
  }

  const faults: Fault[] = [];
  async function disturb(how: Disturbance): Promise<void> {
    let resume = (): void => {};
    if (place.isAlone) {
      serving = new Promise((resolve) => {
        resume = resolve;
      });
    }
    faults.push(await place.disturb(how));
    resume();
  }

  /** Resolves when the run on the thread has come so far; its readers may be far behind. */
  async function reached(threadId: string, share: number): Promise<void> {
    const round = async () => (await place.client.threads.getState<{ round?: number }>(threadId)).values.round ?? 0;
    await expect.poll(round, { timeout: 120_000, interval: 50 }).toBeGreaterThanOrEqual(share * rounds);
  }

  const readings: Promise<readonly Connection[]>[] = [];
  let lastThreadId = "";
  for (let index = 0; index < size.runs; index++) {
    const { thread_id: threadId } = await place.client.threads.create();
    const { run_id: runId } = await place.client.runs.create(threadId, "count", {
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
  everything.catch(() => {}); // told below, after the disturbances
  for (const [index, how] of size.disturbances.entries()) {
    await reached(lastThreadId, (index + 1) / (size.disturbances.length + 2));
    await disturb(how);
  }
  const readers = await everything;
  for (const each of [proxy, ...sdkProxies]) await each.close();

  const history = {
    ...(await place.end()),
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
    disturbances: size.disturbances.length,
    "runs interrupted": interrupted.length,
    wrong: wrong.length,
  };
  return { seed, wrong, history, figures };
}
