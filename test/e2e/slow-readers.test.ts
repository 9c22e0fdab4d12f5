/**
 * T9 (`npm run readers`): clients that read nothing, or little, or only wait, cost a run nothing and the gateway little, and
 * clients that send their requests byte by byte keep nobody else out.
 *
 * Figures that depend on how busy the machine is are reported, and asserted in the full size only.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { expect, it, vi } from "vitest";
import { violationsIn } from "../support/history-folder.js";
import { runProgram } from "../support/process.js";
import { report, SCALE, scaled } from "../support/scale.js";
import { openDescriptors, residentBytes, type ServedGateway, serveGateway } from "../support/served-gateway.js";
import { type IdleStream, openIdle, openUnread } from "../support/stalled-readers.js";

const GRAPHS = fileURLToPath(new URL("../support/stream-graphs.ts", import.meta.url));
const MEGABYTE = 1_024 ** 2;
const ON_LINUX = process.platform === "linux";

function serve(config: object = {}): Promise<ServedGateway> {
  return serveGateway({ graphs: { pour: `${GRAPHS}:pour`, count: `${GRAPHS}:count` }, ...config });
}

/** Nothing of all that may have harmed a run or a thread. */
async function expectUnharmed({ program, folder }: ServedGateway): Promise<void> {
  program.kill("SIGTERM");
  expect(await program.ended).toMatchObject({ code: 0 });
  expect(violationsIn(join(folder, ".heddle"))).toEqual([]);
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
}

const POURED_EVENTS = 20_000;

/** One run that says 20 MB, before so many clients that ask for its stream and read nothing of it. */
async function pour(gateway: ServedGateway, readers: number) {
  const { client, url, program } = gateway;
  const { thread_id: threadId } = await client.threads.create();
  const run = await client.runs.create(threadId, "pour", {
    input: { events: POURED_EVENTS, chars: 1_000, perTurn: 100 },
    streamMode: ["custom"],
    afterSeconds: 2, // the readers come first
  });
  const path = `/threads/${threadId}/runs/${run.run_id}/stream`;
  const sockets = await Promise.all(Array.from({ length: readers }, () => openUnread(url, path)));
  await vi.waitFor(async () => expect(await gateway.metric("heddle_open_streams")).toBe(readers), 10_000);
  let residentPeak = 0;
  const watching = setInterval(() => {
    residentPeak = Math.max(residentPeak, residentBytes(program.pid));
  }, 10);
  const line = await program.line("stderr", new RegExp(`"runId":"${run.run_id}".*"msg":"run ended"`));
  // What the readers are sent after the run counts, too.
  await pause(500);
  clearInterval(watching);
  const isUnharmed = (await client.runs.get(threadId, run.run_id)).status === "success";
  for (const socket of sockets) socket.destroy();
  await vi.waitFor(async () => expect(await gateway.metric("heddle_open_streams")).toBe(0), 10_000);
  return { ms: (JSON.parse(line) as { ms: number }).ms, residentPeak, isUnharmed };
}

it.runIf(ON_LINUX)(
  "clients that read nothing do not hold a run up, nor fill the memory",
  { timeout: 300_000 },
  async () => {
    await using gateway = await serve({ stream_bridge: { retention_seconds: 1 } });
    const readers = 50;
    const alone: Awaited<ReturnType<typeof pour>>[] = [];
    const watched: Awaited<ReturnType<typeof pour>>[] = [];
    for (let round = 0; round <= scaled({ quick: 1, full: 9 }); round++) {
      const [without, against] = [await pour(gateway, 0), await pour(gateway, readers)];
      if (round === 0) continue; // the first ones warm the process up
      alone.push(without);
      watched.push(against);
    }
    const ratio = median(watched.map(({ ms }) => ms)) / median(alone.map(({ ms }) => ms));
    const grown =
      median(watched.map(({ residentPeak }) => residentPeak)) - median(alone.map(({ residentPeak }) => residentPeak));
    report("T9 readers of nothing", {
      readers,
      rounds: alone.length,
      "ms alone": median(alone.map(({ ms }) => ms)),
      "ms before readers": median(watched.map(({ ms }) => ms)),
      ratio: ratio.toFixed(2),
      "memory grows MB": Math.round(grown / MEGABYTE),
    });
    expect(watched.every(({ isUnharmed }) => isUnharmed)).toBe(true);
    // In one round the collector's mood counts as well.
    expect(grown).toBeLessThanOrEqual(scaled({ quick: 128, full: 64 }) * MEGABYTE);
    if (SCALE === "full") expect(ratio).toBeLessThanOrEqual(1.1);
    await expectUnharmed(gateway);
  },
);

/** Milliseconds of so many requests, one after the other. */
async function latencies(gateway: ServedGateway, requests: number): Promise<number[]> {
  const taken: number[] = [];
  for (let request = 0; request < requests; request++) {
    const startedAt = performance.now();
    const { thread_id: threadId } = await gateway.client.threads.create();
    expect((await gateway.client.threads.get(threadId)).status).toBe("idle");
    taken.push(performance.now() - startedAt);
  }
  return taken.sort((a, b) => a - b);
}

it.runIf(ON_LINUX)("streams that wait keep beating, and everybody else is served", { timeout: 300_000 }, async () => {
  await using gateway = await serve();
  const { client, program, url } = gateway;
  const [streams, requests] = [scaled({ quick: 200, full: 1_000 }), scaled({ quick: 200, full: 2_000 })];
  const beats = scaled({ quick: 1, full: 4 });
  await latencies(gateway, requests);
  const before = await latencies(gateway, requests);
  const descriptorsBefore = openDescriptors(program.pid);

  const { thread_id: threadId } = await client.threads.create();
  const run = await client.runs.create(threadId, "pour", { input: {}, afterSeconds: 3_600 });
  const path = `/threads/${threadId}/runs/${run.run_id}/stream`;
  const idle: IdleStream[] = [];
  for (let opened = 0; opened < streams; opened += 50) {
    idle.push(...(await Promise.all(Array.from({ length: 50 }, () => openIdle(url, path)))));
  }
  await vi.waitFor(async () => expect(await gateway.metric("heddle_open_streams")).toBe(streams), 20_000);
  const residentBytesThen = residentBytes(program.pid);
  const during = await latencies(gateway, requests);
  await vi.waitFor(
    () => expect(Math.min(...idle.map((stream) => stream.beats()))).toBeGreaterThanOrEqual(beats),
    60_000,
  );
  expect(idle.filter((stream) => stream.isLost())).toEqual([]);

  await Promise.all(idle.map((stream) => stream.close()));
  await vi.waitFor(async () => expect(await gateway.metric("heddle_open_streams")).toBe(0), 10_000);
  // Connections of the requests themselves come and go.
  await vi.waitFor(() => expect(openDescriptors(program.pid)).toBeLessThanOrEqual(descriptorsBefore + 5), 10_000);
  await client.runs.cancel(threadId, run.run_id, true);
  const p99 = (values: readonly number[]): number => values[Math.floor(values.length * 0.99)] ?? Number.NaN;
  const ratio = p99(during) / p99(before);
  report("T9 idle streams", {
    streams,
    "p99 ms before": p99(before).toFixed(1),
    "p99 ms during": p99(during).toFixed(1),
    ratio: ratio.toFixed(2),
    "memory MB": Math.round(residentBytesThen / MEGABYTE),
  });
  if (SCALE === "full") expect(ratio).toBeLessThanOrEqual(2);
  await expectUnharmed(gateway);
});

/** Debian's package of that name. */
const SLOWHTTPTEST = ["/usr/bin/slowhttptest", "/usr/local/bin/slowhttptest"].find((path) => existsSync(path));

it.for([
  ["headers", ["-H"], "/ok"],
  ["bodies", ["-B", "-s", "100000"], "/threads"],
  ["reading", ["-X", "-k", "3"], "/openapi.json"],
] as const)("clients with slow %s keep nobody out", { timeout: 180_000 }, async ([kind, mode, path], { skip }) => {
  if (SLOWHTTPTEST === undefined) return skip("slowhttptest is not installed (apt-get install slowhttptest)");
  const connections = scaled({ quick: 200, full: 1_000 });
  const seconds = scaled({ quick: 4, full: 60 });
  await using gateway = await serve();
  const folder = mkdtempSync(join(tmpdir(), "heddle-slow-"));
  const attack = runProgram(
    SLOWHTTPTEST,
    [
      ...mode,
      "-c",
      String(connections),
      "-r",
      String(connections),
      "-l",
      String(seconds),
      "-i",
      "2",
      "-g",
      "-o",
      join(folder, "report"),
      "-u",
      gateway.url + path,
    ],
    { cwd: folder },
  );
  let served = 0;
  let isOver = false;
  void attack.finally(() => {
    isOver = true;
  });
  const taken: number[] = [];
  while (!isOver) {
    const startedAt = performance.now();
    const { thread_id: threadId } = await gateway.client.threads.create();
    expect((await gateway.client.threads.get(threadId)).status).toBe("idle");
    taken.push(performance.now() - startedAt);
    served++;
  }
  const { code } = await attack;
  const rows = readFileSync(join(folder, "report.csv"), "utf8").trim().split("\n");
  rmSync(folder, { recursive: true, force: true });
  const numbers = rows.slice(1).map((row) => row.split(",").map(Number)); // seconds, closed, pending, connected, …
  const held = Math.max(...numbers.map(([, , , connected = 0]) => connected));
  const made = Math.max(...numbers.map(([, closed = 0, , connected = 0]) => closed + connected));
  expect((await fetch(`${gateway.url}/ok`)).status).toBe(200);
  expect(await gateway.client.runs.wait(null, "pour", { input: { events: 10, chars: 10 } })).toMatchObject({
    events: 10,
  });
  report(`T9 slow ${kind}`, {
    connections,
    seconds,
    "held at once": held,
    "served meanwhile": served,
    "slowest ms": Math.round(Math.max(...taken)),
  });
  expect(code).toBe(0);
  expect(made).toBeGreaterThan(connections / 2); // it was an attack
  expect(served).toBeGreaterThan(10);
  await expectUnharmed(gateway);
});
