/** What the doctor makes of what it saw, and of services that are there or not. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { systemClock } from "../../src/core/clock.js";
import { judgeClock, measureClock } from "../../src/doctor/clocks.js";
import { examine } from "../../src/doctor/doctor.js";
import { type Finding, linesOf, summaryOf } from "../../src/doctor/finding.js";
import { judgeMigrations } from "../../src/doctor/migrations.js";
import { examineNode } from "../../src/doctor/node-version.js";
import { examinePostgres, judgeRoom } from "../../src/doctor/postgres.js";
import { examineRedis, judgeEviction, judgePersistence, judgeVersion } from "../../src/doctor/redis.js";
import { openSqlite, openSqliteReader } from "../../src/storage/sqlite.js";
import { makeDatabase, POSTGRES_MISSING } from "../support/postgres-server.js";
import { REDIS_MISSING, REDIS_URL } from "../support/redis.js";

const NOBODY = "127.0.0.1:1";

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "heddle-doctor-"));
});

afterEach(() => rmSync(folder, { recursive: true }));

async function findingsOf(
  yaml: string,
  {
    environment = {},
    url = null,
  }: { readonly environment?: Record<string, string>; readonly url?: string | null } = {},
): Promise<readonly Finding[]> {
  writeFileSync(join(folder, "config.yaml"), yaml);
  writeFileSync(join(folder, "agent.ts"), "");
  const found: Finding[] = [];
  const source = { cwd: folder, environment, overrides: { allowUnauthenticated: true } };
  for await (const finding of examine({ source, url, engines: ">=20.0.0", clock: systemClock })) found.push(finding);
  return found;
}

const NOT_TESTED: Finding = {
  check: "address",
  level: "warning",
  message: "not tested: migrations are pending",
  todo: "Run heddle migrate.",
};
const GRAPHS = "graphs: { agent: ./agent.ts:graph }\n";

describe("the configuration", () => {
  it("has every error told, those of variables too, and none that only follows from another", async () => {
    const found = await findingsOf(
      `${GRAPHS}server: { port: "\${PORT}", prot: 1, body_limit: "${"$"}{LIMIT}" }\nlog: { level: loud }\nruns: { concurrency: 0 }\n` +
        "crons: { enabled: maybe }\nlimits: { open_streams: -1 }\nauth: { default: perhaps }\n",
    );

    const told = found.filter(({ check }) => check === "configuration").map(({ message }) => message);
    expect(told.map((message) => message.split(": ").slice(0, 2).join(": "))).toEqual([
      "config.yaml: server.port",
      "config.yaml: server.body_limit",
      "config.yaml: server.prot",
      "config.yaml: auth.default",
      "config.yaml: limits.open_streams",
      "config.yaml: runs.concurrency",
      "config.yaml: crons.enabled",
      "config.yaml: log.level",
    ]);
  });

  it("names files that are not there", async () => {
    const found = await findingsOf(`${GRAPHS.replace("agent.ts", "gone.ts")}auth: { path: ./auth.ts:auth }\n`);

    expect(found.filter(({ level }) => level === "problem").map(({ message }) => message)).toEqual([
      `graphs.agent: there is no file ${join(folder, "gone.ts")}`,
      `auth.path: there is no file ${join(folder, "auth.ts")}`,
    ]);
  });

  it("of a folder before its first start is in order, and nothing is made", async () => {
    const found = await findingsOf(GRAPHS);

    expect(found.filter(({ level }) => level === "problem")).toEqual([]);
    expect(found.map(({ check }) => check)).toEqual(["Node", "configuration", "data folder", "disk"]);
  });
});

describe("the data folder", () => {
  it("of another version, or damaged, is told", async () => {
    mkdirSync(join(folder, ".heddle"));
    openSqlite(join(folder, ".heddle/heddle.db"), "FULL").close();
    writeFileSync(join(folder, ".heddle/checkpoints.db"), "this is no database".repeat(100));

    const found = await findingsOf(GRAPHS);

    expect(found.at(-2)).toMatchObject({ check: "database version", level: "warning", todo: "Run heddle migrate." });
    expect(found.at(-1)).toMatchObject({ check: "checkpoints", level: "problem" });
  });

  it("of another version stays as it is, also when an address is to be tested", async () => {
    const file = join(folder, ".heddle/heddle.db");
    mkdirSync(join(folder, ".heddle"));
    openSqlite(file, "FULL").close();

    const found = await findingsOf(GRAPHS, { url: `http://${NOBODY}` });

    expect(found.at(-1)).toEqual(NOT_TESTED);
    const reader = openSqliteReader(file);
    expect(reader.prepare("SELECT name FROM sqlite_schema").all()).toEqual([]);
    reader.close();
  });

  it.each([
    [{ pending: [], unknown: [] }, "ok"],
    [{ pending: ["012-x"], unknown: [] }, "warning"],
    [{ pending: [], unknown: ["999-x"] }, "warning"],
  ] as const)("%j is %s", (state, level) => {
    expect(judgeMigrations("database", state).level).toBe(level);
  });
});

describe("Node", () => {
  const engines = "^20.19.0 || ^22.12.0 || >=24.0.0";
  it.each([
    ["20.19.0", "ok"],
    ["20.20.2", "ok"],
    ["20.18.9", "problem"],
    ["21.0.0", "problem"],
    ["22.12.0", "ok"],
    ["22.11.0", "problem"],
    ["24.0.0", "ok"],
    ["25.1.0", "ok"],
  ])("%s is %s", (version, level) => expect(examineNode(engines, version).level).toBe(level));
});

describe("clocks", () => {
  it.each([
    [0, "ok"],
    [900, "ok"],
    [-5_000, "warning"],
    [20_000, "problem"],
  ])("one that is %d ms ahead is %s", async (aheadMs, level) => {
    const seen = await measureClock(systemClock, async () => systemClock.now() + aheadMs);

    expect(judgeClock("clock", seen).level).toBe(level);
  });

  it("are not judged by what the way to them takes", () => {
    expect(judgeClock("clock", { aheadMs: 5_000, doubtMs: 4_500, latencyMs: 9_000 }).level).toBe("ok");
  });
});

describe("Redis", () => {
  it.each([
    ["7.0.15", "ok"],
    ["6.2.0", "ok"],
    ["6.0.16", "problem"],
    ["5.0.3", "problem"],
  ])("%s is %s", (version, level) => expect(judgeVersion("redis", version).level).toBe(level));

  it.each([
    [{ maxmemory_policy: "noeviction", maxmemory: "0", used_memory: "1" }, "ok"],
    [{ maxmemory_policy: "noeviction", maxmemory: "100", used_memory: "90" }, "warning"],
    [{ maxmemory_policy: "allkeys-lru", maxmemory: "100", used_memory: "1" }, "warning"],
  ])("memory %j is %s", (info, level) => expect(judgeEviction("redis", info).level).toBe(level));

  it("needs no persistence", () => {
    expect(judgePersistence("redis", { aof_enabled: "0" }).level).toBe("ok");
    expect(judgePersistence("redis", { aof_enabled: "1" }).message).toContain("append-only");
  });

  it("that does not answer is a problem that says why", async () => {
    const [finding] = await examineRedis("redis", `redis://${NOBODY}`, systemClock);

    expect(finding).toMatchObject({ level: "problem", message: expect.stringContaining("ECONNREFUSED") as string });
  });

  it("that is there is told of in full", async (context) => {
    context.skip(REDIS_MISSING !== undefined, REDIS_MISSING);
    const found = await examineRedis("redis", REDIS_URL, systemClock);

    expect(found.map(({ check }) => check)).toEqual([
      "redis",
      "redis memory",
      "redis persistence",
      "redis latency",
      "redis clock",
    ]);
    expect(found.at(-1)?.level).toBe("ok");
  });
});

describe("PostgreSQL", () => {
  it("that does not answer is a problem that says why", async () => {
    const target = { name: "database", url: `postgres://nobody@${NOBODY}/none`, poolSize: 1 };

    expect(await examinePostgres(target, systemClock)).toEqual([
      expect.objectContaining({ level: "problem", message: expect.stringContaining("ECONNREFUSED") as string }),
    ]);
  });

  it("that is there is told of in full, and has no room for pools without end", async (context) => {
    context.skip(POSTGRES_MISSING !== undefined, POSTGRES_MISSING);
    const target = { name: "database", url: await makeDatabase(), poolSize: 5 };
    const found = await examinePostgres(target, systemClock);

    expect(found.map(({ check, level }) => [check, level])).toEqual([
      ["database", "ok"],
      ["database version", "warning"], // of a database in which nothing is
      ["checkpoints version", "warning"],
      ["database settings", "ok"],
      ["database connections", expect.stringMatching(/ok|warning/)],
      ["database latency", expect.stringMatching(/ok|warning/)],
      ["database clock", "ok"],
    ]);
    const greedy = await examinePostgres({ ...target, poolSize: 1_000_000 }, systemClock);
    expect(greedy.find(({ check }) => check === "database connections")?.level).toBe("problem");
  });

  it("of another version stays as it is, also when an address is to be tested", async (context) => {
    context.skip(POSTGRES_MISSING !== undefined, POSTGRES_MISSING);
    const url = await makeDatabase();
    const found = await findingsOf(`${GRAPHS}database: { type: postgres, url: "${url}" }\n`, {
      url: `http://${NOBODY}`,
    });

    expect(found.at(-1)).toEqual(NOT_TESTED);
    const versions = found.filter(({ check }) => check.endsWith(" version"));
    expect(versions.map(({ todo }) => todo)).toEqual(["Run heddle migrate.", "Run heddle migrate."]);
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    const { rows } = await client.query("select tablename from pg_tables where schemaname = 'public'");
    await client.end();
    expect(rows).toEqual([]);
  });

  it("that does not answer is told once, and keeps the address from being tested", async () => {
    const database = `database: { type: postgres, url: "postgres://nobody@${NOBODY}/none" }\n`;
    const found = await findingsOf(GRAPHS + database, { url: `http://${NOBODY}` });

    expect(found.slice(-2)).toEqual([
      expect.objectContaining({ check: "database", level: "problem" }),
      expect.objectContaining({ check: "address", message: expect.stringContaining("not tested: ") as string }),
    ]);
  });

  it.for([
    ["two pools, two for leases and for each graph thread, and the lock", "threads: 2", 7 + 2 + 4 + 2 * 2 + 1],
    ["two pools, two for leases, and the lock, without graph threads", "isolation: inline", 7 + 2 + 4 + 1],
  ] as const)("has room for processes of so many connections: %s", async ([, host, connections], context) => {
    context.skip(POSTGRES_MISSING !== undefined, POSTGRES_MISSING);
    const found = await findingsOf(
      `graphs: { agent: ./agent.ts:graph, ${host} }
database: { type: postgres, url: "${await makeDatabase()}", pool_size: 7 }
checkpointer: { pool_size: 4 }`,
    );

    expect(found.find(({ check }) => check === "database connections")?.message).toContain(
      `${connections} for each process`,
    );
  });

  it.each([
    [
      { max: 100, reserved: 3, others: 17 },
      20,
      "ok",
      "80 of max_connections 100 are heddle's, 20 for each process: room for 4",
    ],
    [{ max: 100, reserved: 3, others: 18 }, 20, "warning", "room for 3"],
    [{ max: 100, reserved: 3, others: 77 }, 20, "warning", "room for 1"],
    [{ max: 100, reserved: 3, others: 78 }, 20, "problem", "room for 0"],
    [{ max: 20, reserved: 3, others: 30 }, 20, "problem", "room for 0"],
  ] as const)("of %j with %d connections for each process is %s: %s", (server, poolSize, level, what) => {
    const { level: judged, message } = judgeRoom("database", server, poolSize);

    expect(judged).toBe(level);
    expect(message).toContain(what);
  });

  it("whose settings take back what heddle promises is told", async (context) => {
    context.skip(POSTGRES_MISSING !== undefined, POSTGRES_MISSING);
    const options = "-c default_transaction_isolation=serializable -c synchronous_commit=off";
    const url = `${await makeDatabase()}?options=${encodeURIComponent(options)}`;
    const found = await examinePostgres({ name: "database", url, poolSize: 5 }, systemClock);

    expect(found.filter(({ check }) => check === "database settings")).toEqual([
      expect.objectContaining({ level: "problem", message: "default_transaction_isolation is serializable" }),
      expect.objectContaining({ level: "warning", message: "synchronous_commit is off" }),
    ]);
  });
});

it("people get a line for each finding, what to do below it, and a sum", () => {
  const finding: Finding = {
    check: "bodies",
    level: "problem",
    message: "cut",
    todo: "Do it.",
    nginx: ["a on;", "b off;"],
  };

  expect(linesOf(finding)).toEqual([
    "problem  bodies: cut",
    "         Do it.",
    "         nginx: a on;",
    "         nginx: b off;",
  ]);
  expect(summaryOf([finding])).toBe("0 ok, 0 warnings, 1 problems");
});
