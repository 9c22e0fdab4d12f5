/**
 * The built program, killed again and again under load (`npm run chaos`). Nothing that was acknowledged is lost or changed
 * back, both files are sound after every kill, and after the last one every run comes to its end.
 *
 * A seed that failed comes again with HEDDLE_SEED.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { expect, it, onTestFinished } from "vitest";
import { openSqliteReader, type SqliteDatabase } from "../../src/storage/sqlite.js";
import { createLoadLog, runClient, type Target } from "../support/crash-load.js";
import { checkHistory, judgedRules } from "../support/history.js";
import type { Fault } from "../support/history-data.js";
import { dumpFolder } from "../support/history-dump.js";
import { historyOfLoad, patchesLost } from "../support/load-history.js";
import { HEDDLE, type Program, startProgram } from "../support/process.js";
import { createRandom, seedOf } from "../support/random.js";
import { report, scaled } from "../support/scale.js";

const GRAPHS = fileURLToPath(new URL("../support/chaos-graphs.ts", import.meta.url));
const KILLS = scaled({ quick: 20, full: 200 });
const CLIENTS = 8;
const RECOVERY_MS = 20_000;
/** When a gateway is killed, after it answers: as often in the first tenth of a second as between 200 ms and 2 s. */
const KILL_AFTER_MS = [20, 2_000] as const;

it("nothing that was acknowledged is lost over kills under load, and every run comes to its end", {
  timeout: 15 * 60_000,
}, async () => {
  const seed = seedOf(process.env);
  console.info(`HEDDLE_SEED=${seed}`);
  const random = createRandom(seed);
  const gateway = startKilledGateway();
  const log = createLoadLog();
  const stopClients = new AbortController();
  const clients = Array.from({ length: CLIENTS }, (_, index) =>
    runClient({
      name: `client-${index}`,
      target: gateway.target,
      log,
      random: createRandom(seed + index + 1),
      signal: stopClients.signal,
    }),
  );

  const startedAt = Date.now();
  const faults: Fault[] = [];
  const starts: number[] = [];
  for (let kill = 0; kill < KILLS; kill++) {
    const spawnedAt = Date.now();
    const ready = gateway.start();
    if (kill % 8 === 7) {
      ready.catch(() => {}); // it may be killed before it answers, while it puts right what the last kill left
      await pause(random.below(600));
    } else {
      await ready;
      starts.push(Date.now() - spawnedAt);
      const [shortest, longest] = KILL_AFTER_MS;
      await pause(shortest * (longest / shortest) ** random.next());
    }
    faults.push(await gateway.kill());
    gateway.requireSound();
  }
  const killedMs = Date.now() - startedAt;

  await gateway.start();
  const restartedAt = Date.now();
  stopClients.abort();
  await Promise.all(clients);
  await expect.poll(() => gateway.inFlight(), { timeout: RECOVERY_MS, interval: 50 }).toBe(0);
  const recoveredMs = Date.now() - restartedAt;
  await gateway.stop();
  gateway.requireSound();

  const history = historyOfLoad(log, { ...dumpFolder(gateway.dataDir), faults, recoveryMs: RECOVERY_MS });
  expect(judgedRules(history)).toEqual(
    expect.arrayContaining(["R1", "R2", "R3", "R4", "R5", "R6", "R9", "R10", "R11", "R15", "R16", "S1"]),
  );
  expect(checkHistory(history), `HEDDLE_SEED=${seed}`).toEqual([]);
  expect(patchesLost(log, history)).toEqual([]);

  const acknowledged = log.calls.filter(({ heard }) => typeof heard === "object" && heard.status < 300);
  const kinds = (ask: string): number => acknowledged.filter((call) => call.ask === ask).length;
  report("T3", {
    seed,
    kills: KILLS,
    seconds: Math.round(killedMs / 1_000),
    "start ms": Math.round(starts.reduce((sum, ms) => sum + ms, 0) / starts.length),
    "acknowledged threads": kinds("create thread"),
    "acknowledged runs": kinds("create run"),
    "acknowledged items": kinds("put item"),
    "broken requests": log.calls.filter(({ heard }) => heard === "broken").length,
    "runs interrupted by a kill": (history.audit ?? []).filter(
      ({ oldStatus, newStatus }) => oldStatus === "running" && newStatus === "pending",
    ).length,
    "events read": log.connections.reduce((sum, { events }) => sum + events.length, 0),
    lost: 0,
    "integrity ok": `${KILLS}/${KILLS}`,
    "all terminal after ms": recoveredMs,
  });
  // A load that does nothing proves nothing.
  expect(kinds("create run")).toBeGreaterThan(KILLS / 4);
  expect(kinds("wait run")).toBeGreaterThan(0);
  expect(log.connections.length).toBeGreaterThan(0);
});

/** One data folder and the program on it, which is started again after every kill. */
function startKilledGateway() {
  const folder = mkdtempSync(join(tmpdir(), "heddle-chaos-"));
  const config = {
    graphs: { work: `${GRAPHS}:work`, approve: `${GRAPHS}:approve` },
    runs: { max_attempts: 1_000 }, // a run may be hit by many kills: none is to give up
    log: { level: "error", format: "json" },
    data_dir: "data",
  };
  const dataDir = join(folder, "data");
  writeFileSync(join(folder, "config.yaml"), JSON.stringify(config));
  let program: Program | undefined;
  let url: string | undefined;
  const waiting: ((url: string) => void)[] = [];
  onTestFinished(async () => {
    await program?.[Symbol.asyncDispose]();
    rmSync(folder, { recursive: true, force: true });
  });

  const target: Target = {
    get url() {
      return url;
    },
    after: async (gone) =>
      url !== undefined && url !== gone ? url : new Promise((resolve) => void waiting.push(resolve)),
  };

  /** Reads what is in a file that a gateway may be writing. */
  function read<T>(file: string, ask: (database: SqliteDatabase) => T): T {
    const database = openSqliteReader(join(dataDir, file));
    try {
      return ask(database);
    } finally {
      database.close();
    }
  }

  return {
    dataDir,
    target,
    /** Resolves when it answers; never, when it is killed before. */
    async start(): Promise<void> {
      const started = startProgram(process.execPath, [HEDDLE, "serve", "--port", "0"], { cwd: folder });
      program = started;
      const line = await started.line("stdout", /^heddle listening on /);
      url = line.slice("heddle listening on ".length);
      for (const tell of waiting.splice(0)) tell(url);
    },
    async kill(): Promise<Fault> {
      const at = Date.now();
      url = undefined;
      program?.kill("SIGKILL");
      const end = await program?.ended;
      expect(end).toMatchObject({ signal: "SIGKILL", stderr: [] }); // no error was logged while it lived
      return { kind: "kill", at, until: Date.now() };
    },
    async stop(): Promise<void> {
      program?.kill("SIGTERM");
      expect(await program?.ended).toMatchObject({ code: 0, stderr: [] });
    },
    /** Whether the files are whole as they lie there. */
    requireSound(): void {
      for (const file of ["heddle.db", "checkpoints.db"]) {
        expect(read(file, (database) => database.pragma("integrity_check", { simple: true }))).toBe("ok");
      }
    },
    inFlight: () => read("heddle.db", (database) => database.prepare(IN_FLIGHT).pluck().get()),
  };
}

const IN_FLIGHT = "SELECT count(*) FROM runs WHERE status IN ('pending', 'running')";
