/**
 * `heddle backup`, `restore` and `gc` as people use them: beside a built gateway that works.
 *
 * A backup under load is judged like a crash at its moment: what was acknowledged before it is there, and every run comes to
 * its end. A seed that failed comes again with HEDDLE_SEED.
 */
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Client } from "@langchain/langgraph-sdk";
import { afterEach, beforeEach, expect, it } from "vitest";
import { openSqliteReader } from "../../src/storage/sqlite.js";
import { createLoadLog, type LoadLog, runClient } from "../support/crash-load.js";
import { checkHistory, judgedRules } from "../support/history.js";
import type { Call } from "../support/history-data.js";
import { dumpFolder } from "../support/history-dump.js";
import { violationsIn } from "../support/history-folder.js";
import { HEDDLE, type Program, type ProgramEnd, runProgram, startProgram } from "../support/process.js";
import { createRandom, seedOf } from "../support/random.js";

const GRAPHS = fileURLToPath(new URL("../support/chaos-graphs.ts", import.meta.url));

let folder: string;
let programs: Program[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "heddle-backup-"));
  programs = [];
  const config = {
    graphs: { work: `${GRAPHS}:work`, approve: `${GRAPHS}:approve` },
    checkpointer: { ttl: { sweep_interval_minutes: 1_000 } },
    log: { level: "error", format: "json" },
  };
  writeFileSync(join(folder, "config.yaml"), JSON.stringify(config));
});

afterEach(async () => {
  for (const program of programs) await program[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
});

async function serve(...args: string[]): Promise<{ readonly url: string; stop(): Promise<void> }> {
  const program = startProgram(process.execPath, [HEDDLE, "serve", "--port", "0", ...args], { cwd: folder });
  programs.push(program);
  const line = await program.line("stdout", /^heddle listening on /);
  return {
    url: line.slice("heddle listening on ".length),
    async stop() {
      program.kill("SIGTERM");
      expect(await program.ended).toMatchObject({ code: 0, stderr: [] });
    },
  };
}

function heddle(...args: string[]): Promise<ProgramEnd> {
  return runProgram(process.execPath, [HEDDLE, ...args], { cwd: folder });
}

/** What clients knew at the moment of the backup, which lies between the two times. */
function knownBefore(log: LoadLog, from: number, to: number): readonly Call[] {
  return log.calls
    .filter(({ at }) => at <= to)
    .map((call) => (typeof call.heard === "object" && call.heard.at > from ? { ...call, heard: "broken" } : call));
}

it("a backup under load holds one moment: restored, nothing acknowledged is lost and every run ends", async () => {
  const seed = seedOf(process.env);
  console.info(`HEDDLE_SEED=${seed}`);
  const gateway = await serve();
  const log = createLoadLog();
  const stopClients = new AbortController();
  const target = { url: gateway.url, after: async () => gateway.url };
  const clients = Array.from({ length: 6 }, (_, index) =>
    runClient({ name: `client-${index}`, target, log, random: createRandom(seed + index), signal: stopClients.signal }),
  );
  await expect.poll(() => log.calls.length).toBeGreaterThan(150);

  const from = Date.now();
  const program = startProgram(process.execPath, [HEDDLE, "backup", "backup"], { cwd: folder });
  programs.push(program);
  await program.line("stderr", /^as of one moment/);
  const to = Date.now();
  const made = await program.ended;
  const during = log.calls.length;
  await expect.poll(() => log.calls.length).toBeGreaterThan(during + 50); // nobody was kept from working
  stopClients.abort();
  await Promise.all(clients);
  await gateway.stop();
  expect(made).toMatchObject({ code: 0 });
  expect(made.stderr).toEqual(expect.arrayContaining(["copying heddle.db: 100 %", "copying checkpoints.db: 100 %"]));

  expect(await heddle("restore", "backup", "--data", "restored")).toMatchObject({ code: 0 });
  const dataDir = join(folder, "restored");
  const restored = await serve("--data", "restored");
  await expect.poll(() => inFlight(dataDir)).toBe(0);
  await restored.stop();

  const { audit, dump } = dumpFolder(dataDir);
  const history = {
    calls: knownBefore(log, from, to),
    audit,
    dump,
    faults: [{ kind: "kill", at: to, until: Date.now() }] as const,
    clock: "system" as const,
  };
  expect(judgedRules(history)).toEqual(
    expect.arrayContaining(["R1", "R2", "R3", "R4", "R7", "R9", "R10", "R11", "R15", "R16", "R18"]),
  );
  expect(checkHistory(history), `HEDDLE_SEED=${seed}`).toEqual([]);
  // A backup that holds nothing proves nothing, nor does one in which nothing was under way.
  expect(dump.runs.length).toBeGreaterThan(20);
  expect(
    audit.filter(({ oldStatus, newStatus }) => oldStatus === "running" && newStatus === "pending").length,
  ).toBeGreaterThan(0);
});

function inFlight(dataDir: string): unknown {
  const database = openSqliteReader(join(dataDir, "heddle.db"));
  try {
    return database.prepare("SELECT count(*) FROM runs WHERE status IN ('pending', 'running')").pluck().get();
  } finally {
    database.close();
  }
}

it("backup and restore refuse in one line what would overwrite something", async () => {
  expect((await heddle("--help")).stdout.join("\n")).toMatch(/ gc .* backup .*<target>.* restore .*<backup>/s);
  const gateway = await serve();
  expect((await heddle("backup", "backup")).code).toBe(0);
  const refused = async (...args: string[]) => {
    const { code, stdout, stderr } = await heddle(...args);
    expect({ code, stdout, lines: stderr.length, stderr }).toMatchObject({ code: 1, stdout: [], lines: 1 });
    return stderr[0];
  };
  expect(await refused("backup", "backup")).toContain("is there already");
  expect(await refused("restore", "backup")).toContain("another heddle process is using it");
  await gateway.stop();
  expect(await refused("restore", "backup")).toContain("is not empty");
  expect(await refused("restore", "nowhere")).toContain("is no backup that this heddle can read");
  expect(await refused("gc", "--data", "nowhere")).toContain("no heddle.db in");
  expect(existsSync(join(folder, "nowhere"))).toBe(false);

  const replaced = await heddle("restore", "backup", "--replace");
  expect(replaced.stdout.at(-1)).toMatch(/^what was there is in .*replaced-/);
  expect(readdirSync(join(folder, ".heddle"))).toContainEqual(expect.stringMatching(/^replaced-/));
});

it("gc tells what threads take, deletes what has expired, and gives the space back while the gateway works", async () => {
  const gateway = await serve();
  const client = new Client({ apiUrl: gateway.url, callerOptions: { maxRetries: 0 } });
  const { thread_id: stays } = await client.threads.create();
  const { thread_id: large } = await client.threads.create();
  const text = "x".repeat(1_000_000);
  for (const [threadId, mark] of [
    [stays, "small"],
    [large, text],
  ] as const) {
    await client.runs.wait(threadId, "work", { input: { mark } });
  }
  await client.threads.update(large, { ttl: 0.000_1 });

  const looked = await heddle("gc", "--dry-run");
  expect(looked).toMatchObject({ code: 0, stderr: [] });
  expect(looked.stdout).toContainEqual(expect.stringMatching(new RegExp(`^ *[\\d,]{9,}  delete  ${large}$`)));
  expect(looked.stdout).toContainEqual(expect.stringMatching(new RegExp(`^ *[\\d,]+ {10}${stays}$`)));
  expect(looked.stdout.at(-1)).toBe("nothing was changed");
  expect(await client.threads.get(large)).toMatchObject({ thread_id: large });

  expect((await heddle("gc")).stdout).toContain("deleted: 1 threads; pruned: 0 threads");
  await expect(client.threads.get(large)).rejects.toMatchObject({ status: 404 });
  await client.runs.wait(stays, "work", { input: { mark: "again" } });
  await gateway.stop();
  expect(statSync(join(folder, ".heddle/checkpoints.db")).size).toBeLessThan(500_000);

  expect(await heddle("gc")).toMatchObject({ code: 0, stderr: [] });
  expect(violationsIn(join(folder, ".heddle"))).toEqual([]);

  const again = await serve();
  const { values } = await new Client({ apiUrl: again.url }).threads.getState(stays);
  expect(values).toMatchObject({ mark: "again" });
  await again.stop();
});

it("gc beside a gateway under load harms nobody", async () => {
  const config = JSON.parse(readFileSync(join(folder, "config.yaml"), "utf8")) as object;
  const ttl = { default_ttl: 0.02, sweep_interval_minutes: 1_000 };
  writeFileSync(join(folder, "config.yaml"), JSON.stringify({ ...config, checkpointer: { ttl } }));
  const seed = seedOf(process.env);
  console.info(`HEDDLE_SEED=${seed}`);
  const gateway = await serve();
  const log = createLoadLog();
  const stopClients = new AbortController();
  const target = { url: gateway.url, after: async () => gateway.url };
  const clients = Array.from({ length: 4 }, (_, index) =>
    runClient({ name: `client-${index}`, target, log, random: createRandom(seed + index), signal: stopClients.signal }),
  );
  let deleted = 0;
  for (let round = 0; round < 3; round++) {
    const { code, stdout } = await heddle("gc");
    expect(code).toBe(0);
    deleted += Number(/^deleted: (\d+) threads/m.exec(stdout.join("\n"))?.[1]);
  }
  stopClients.abort();
  await Promise.all(clients);
  const dataDir = join(folder, ".heddle");
  await expect.poll(() => inFlight(dataDir)).toBe(0);
  await gateway.stop(); // without an error in its log

  const failed = log.calls.filter(({ heard }) => typeof heard !== "object" || heard.status >= 500);
  expect(failed, `HEDDLE_SEED=${seed}`).toEqual([]);
  expect(violationsIn(dataDir), `HEDDLE_SEED=${seed}`).toEqual([]);
  expect(deleted).toBeGreaterThan(5);
});
