/** Disks that are full, files that are cut, damaged, read-only or locked: said clearly, and nothing that was promised is lost. */
import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  chmodSync,
  closeSync,
  cpSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Client } from "@langchain/langgraph-sdk";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { openSqliteReader } from "../../src/storage/sqlite.js";
import { violationsIn } from "../support/history-folder.js";
import { type Send, sender } from "../support/http.js";
import { type Served, type ServedFolder, type SpawnOptions, serveFolder } from "../support/serve.js";

vi.setConfig({ testTimeout: 60_000 });

const GATES = fileURLToPath(new URL("../support/gate-graph.ts", import.meta.url));
const FULL_DISK = new URL("../support/full-disk.mjs", import.meta.url).href;

const FILES = ["heddle.db", "checkpoints.db"] as const;

function newFolder(): ServedFolder {
  return serveFolder({
    graphs: { gate: `${GATES}:gate`, ask: `${GATES}:ask` },
    runs: { shutdown_grace_seconds: 0 },
    log: { level: "silent" },
  });
}

/** Both files, and what they tell; what follows an answer, as the end of a temporary thread, has its moment. */
async function requireSound(dataDir: string): Promise<void> {
  for (const file of FILES) {
    const reader = openSqliteReader(join(dataDir, file));
    try {
      expect([file, reader.pragma("integrity_check", { simple: true })]).toEqual([file, "ok"]);
    } finally {
      reader.close();
    }
  }
  await expect.poll(() => violationsIn(dataDir), { timeout: 10_000 }).toEqual([]);
}

/** A run that waits at a gate of its own. */
async function startHeld({ folder }: ServedFolder, client: Client) {
  const { thread_id: threadId } = await client.threads.create();
  const gate = join(folder, threadId);
  const { run_id: runId } = await client.runs.create(threadId, "gate", { input: { gate } });
  await expect.poll(() => existsSync(`${gate}.wait`), { timeout: 30_000 }).toBe(true);
  return { threadId, runId, open: () => writeFileSync(gate, "") };
}

// ---- full

interface Disk {
  readonly options: SpawnOptions;
  fill(served: Served): Promise<void>;
  makeRoom(served: Served): Promise<void>;
}

/** Whether this user may mount a file system in a namespace of its own. */
const mayMount = spawnSync("unshare", ["-rm", "mount", "-t", "tmpfs", "none", "/mnt"]).status === 0;

/** A file system of 12 MB, seen through the program's root. */
function smallDisk({ dataDir }: ServedFolder): Disk {
  mkdirSync(dataDir);
  const mount = 'mount -t tmpfs -o size=12m none "$0" && exec "$@"';
  const filler = ({ program }: Served): string => join(`/proc/${program.pid}/root`, dataDir, "filler");
  return {
    options: { wrapper: ["unshare", "-rm", "sh", "-c", mount, dataDir] },
    async fill(served) {
      const file = openSync(filler(served), "a");
      try {
        for (let size = 65_536; size > 0; size = Math.floor(size / 2)) fillWith(file, Buffer.alloc(size));
      } finally {
        closeSync(file);
      }
    },
    async makeRoom(served) {
      rmSync(filler(served));
    },
  };
}

/** A copy of its files as they lie there: its disk goes with it. */
function filesOf({ program }: Served, { folder, dataDir }: ServedFolder): string {
  const copy = join(folder, "copy");
  program.kill("SIGSTOP");
  cpSync(join(`/proc/${program.pid}/root`, dataDir), copy, { recursive: true });
  program.kill("SIGCONT");
  return copy;
}

/** Writes until there is no room for one more. */
function fillWith(file: number, bytes: Buffer): void {
  try {
    for (;;) if (writeSync(file, bytes) < bytes.length) return;
  } catch (error) {
    expect((error as NodeJS.ErrnoException).code).toBe("ENOSPC");
  }
}

/** Files that may not grow any more. */
function limitedFiles({ folder }: ServedFolder): Disk {
  const mark = join(folder, "disk-is-full");
  return {
    options: { wrapper: ["env", `HEDDLE_FULL=${mark}`], nodeOptions: ["--import", FULL_DISK] },
    async fill({ program }) {
      writeFileSync(mark, "");
      await program.line("stdout", /^disk full/);
    },
    async makeRoom({ program }) {
      rmSync(mark);
      await program.line("stdout", /^disk has room/);
    },
  };
}

/** A file that may not grow still has room where something was deleted. */
async function takeFreePages(send: Send): Promise<void> {
  for (const size of [50_000, 5_000, 500]) {
    for (let index = 0, status = 204; status === 204; index++) {
      const item = { namespace: ["filler", String(size)], key: String(index), value: { filler: "x".repeat(size) } };
      ({ status } = await send("PUT", "/store/items", item));
    }
  }
}

const BIG = "x".repeat(200_000);
/** As much as metadata may hold, about. */
const LONG = "x".repeat(60_000);

describe.each([
  ["a file system without room", smallDisk, mayMount],
  ["files that may not grow", limitedFiles, true],
] as const)("%s", (_, diskOf, isPossible) => {
  it.runIf(isPossible)(
    "what must be written is refused as such, the rest goes on, and nothing needs a restart",
    async () => {
      const folder = newFolder();
      const disk = diskOf(folder);
      const served = await folder.serve(disk.options);
      const { client, url } = served;
      const send = sender(url);
      const held = await startHeld(folder, client);
      const { thread_id: threadId } = await client.threads.create({ metadata: { kept: true } });
      const asked = await client.runs.wait(threadId, "ask", { input: {} });

      await disk.fill(served);
      await takeFreePages(send);
      const writes: [method: string, path: string, body: unknown][] = [
        ["POST", "/threads", { metadata: { big: LONG } }],
        ["PATCH", `/threads/${threadId}`, { metadata: { big: LONG } }],
        ["POST", `/threads/${threadId}/runs`, { assistant_id: "gate", input: { gate: BIG } }],
        ["POST", `/threads/${threadId}/state`, { values: { steps: [BIG] } }],
        ["POST", "/runs", { assistant_id: "gate", input: { gate: BIG } }],
        ["PUT", "/store/items", { namespace: ["n"], key: "k", value: { big: BIG } }],
        ["POST", "/assistants", { graph_id: "gate", metadata: { big: LONG } }],
      ];
      for (const [method, path, body] of writes) {
        const { status, headers, body: answer } = await send(method, path, body);
        expect([path, status, headers.get("retry-after"), answer]).toEqual([
          path,
          503,
          "1",
          { code: "unavailable", detail: expect.stringContaining("disk is full") },
        ]);
      }
      expect(await send("GET", "/ready")).toMatchObject({
        status: 503,
        body: { detail: expect.stringContaining("disk is full") },
      });
      expect(await send("GET", `/threads/${threadId}`)).toMatchObject({
        status: 200,
        body: { status: "interrupted", metadata: { kept: true } },
      });
      expect(await send("GET", `/threads/${threadId}/state`)).toMatchObject({ status: 200 });
      expect(await send("POST", "/threads/search", {})).toMatchObject({ status: 200 });
      held.open();

      await disk.makeRoom(served);
      await expect.poll(async () => (await send("GET", "/ready")).status, { timeout: 30_000 }).toBe(200);
      for (const [method, path, body] of writes) {
        if (path.endsWith("/runs")) continue; // they would wait for their gate
        expect([path, (await send(method, path, body)).status]).toEqual([
          path,
          expect.toSatisfy((status) => status < 300),
        ]);
      }
      await client.runs.join(held.threadId, held.runId);
      expect((await client.runs.get(held.threadId, held.runId)).status).toMatch(/^(success|error)$/);
      expect((await client.threads.get(held.threadId)).status).toMatch(/^(idle|error)$/);
      expect(asked).toMatchObject({ __interrupt__: [{ value: "go on?" }] });
      await requireSound(filesOf(served, folder));
    },
  );
});

// ---- cut

/** A folder whose gateway died with `count` acknowledged threads in its log, and copies of it to damage. */
async function diedWith(count: number) {
  const folder = newFolder();
  const { client, stop } = await folder.serve();
  const threadIds: string[] = [];
  for (let n = 0; n < count; n++) threadIds.push((await client.threads.create()).thread_id);
  await stop("SIGKILL");
  const saved = `${folder.dataDir}-saved`;
  renameSync(folder.dataDir, saved);
  return {
    folder,
    threadIds,
    /** The folder as it was at the death. */
    restore() {
      rmSync(folder.dataDir, { recursive: true, force: true });
      cpSync(saved, folder.dataDir, { recursive: true });
      return join(folder.dataDir, "heddle.db-wal");
    },
    async threadsFound(): Promise<ReadonlySet<string>> {
      const served = await folder.serve();
      await requireSound(folder.dataDir);
      const found = await served.client.threads.search({ limit: 1_000 });
      await served.client.runs.wait(threadIds[0] ?? "", "ask", { input: {}, ifNotExists: "create" });
      await served.stop("SIGKILL");
      return new Set(found.map(({ thread_id: id }) => id));
    },
  };
}

describe("a log that was cut", () => {
  it("after its last commit, or has half a write at its end, has everything that was acknowledged", async () => {
    const { restore, threadIds, threadsFound } = await diedWith(20);
    const log = restore();
    const half = readFileSync(log).subarray(32, 32 + 2_000);
    for (const tail of [half.subarray(0, 10), half, Buffer.alloc(5_000, 7)]) {
      writeFileSync(restore(), Buffer.concat([readFileSync(log), tail]));
      expect([...(await threadsFound())].sort()).toEqual([...threadIds].sort());
    }
  });

  it("before it, which no commit promises to survive, has what was acknowledged first, is sound, and works", async () => {
    const { restore, threadIds, threadsFound } = await diedWith(20);
    const { size } = statSync(restore());
    const kept: number[] = [];
    for (const length of [0, 16, 32, Math.floor(size / 2), size - 100]) {
      truncateSync(restore(), length);
      const found = await threadsFound();
      const first = threadIds.filter((id) => found.has(id));
      expect([length, first]).toEqual([length, threadIds.slice(0, first.length)]); // no hole
      kept.push(first.length);
    }
    expect(kept).toEqual([...kept].sort((a, b) => a - b));
    expect(kept.at(-1)).toBe(19);
  });

  it("of checkpoints, after what was durable when the last run ended, loses no run: one that was under way begins again", async () => {
    const folder = newFolder();
    const { client, stop } = await folder.serve();
    const { thread_id: asked } = await client.threads.create();
    await client.runs.wait(asked, "ask", { input: { steps: ["before"] } });
    const log = join(folder.dataDir, "checkpoints.db-wal");
    const durable = statSync(log).size; // a run's checkpoints are flushed before anybody hears of its end
    const held = await startHeld(folder, client);
    expect(statSync(log).size).toBeGreaterThan(durable);
    await stop("SIGKILL");
    truncateSync(log, durable);

    const second = await folder.serve();
    held.open();
    expect(await second.client.runs.join(held.threadId, held.runId)).toMatchObject({ steps: ["first", "waited"] });
    expect(await second.client.runs.wait(asked, "ask", { command: { resume: "yes" } })).toMatchObject({
      steps: ["before", "yes"],
    });
    await requireSound(folder.dataDir);
  });
});

// ---- refused at start

/** The one line that the program ends with. */
async function refusal(folder: ServedFolder, options?: SpawnOptions): Promise<string> {
  const { code, stdout, stderr } = await folder.spawn(options).ended;
  expect([code, stdout, stderr]).toEqual([1, [], [expect.stringMatching(/^heddle: /)]]);
  return stderr[0] ?? "";
}

/** By file, without what SQLite makes anew: the index of a log, and a log of nothing. */
function contentOf(dataDir: string): Readonly<Record<string, string>> {
  const files = readdirSync(dataDir).filter((name) => !/-shm$|^lock/.test(name));
  const hashes = files.map((name) => {
    const bytes = readFileSync(join(dataDir, name));
    return [name, bytes.length, createHash("sha256").update(bytes).digest("hex")] as const;
  });
  return Object.fromEntries(
    hashes.filter(([name, size]) => size > 0 || !name.endsWith("-wal")).map(([name, , hash]) => [name, hash]),
  );
}

describe("a damaged file", () => {
  const flip = (at: number, length: number) => (file: string) => {
    const bytes = readFileSync(file);
    bytes.subarray(at, at + length).fill(0xa5);
    writeFileSync(file, bytes);
  };
  const ways: Readonly<Record<string, (file: string) => void>> = {
    "garbage for a header": flip(0, 100),
    "a page of garbage": flip(4_096 * 3, 4_096),
    "half of it": (file) => truncateSync(file, Math.floor(statSync(file).size / 8_192) * 4_096),
    "nothing but its log": (file) => {
      truncateSync(file, 0);
      writeFileSync(`${file}-wal`, "a log");
    },
    "something else": (file) => writeFileSync(file, "this is no database, whatever its name says".repeat(100)),
  };

  it.each(Object.keys(ways).flatMap((way) => FILES.map((file) => [file, way] as const)))(
    "%s with %s: the start is refused, the files stay byte for byte, the line says how to go on",
    async (name, way) => {
      const folder = newFolder();
      const { client, stop } = await folder.serve();
      await client.runs.wait(null, "ask", { input: {} });
      await stop("SIGTERM");
      ways[way]?.(join(folder.dataDir, name));
      const before = contentOf(folder.dataDir);
      const line = await refusal(folder);
      expect(line).toContain(`${join(folder.dataDir, name)} (it was kept as it is): `);
      expect(line).toMatch(/restore the data folder from a backup, or move it away/);
      expect(contentOf(folder.dataDir)).toEqual(before);
    },
  );

  it("whose gateway died: its log stays, too", async () => {
    const folder = newFolder();
    await (await folder.serve()).stop("SIGTERM");
    const { client, stop } = await folder.serve();
    await client.threads.create();
    await stop("SIGKILL");
    const file = join(folder.dataDir, "heddle.db");
    flip(4_096, statSync(file).size)(file); // more pages than the log has anew
    const before = contentOf(folder.dataDir);
    expect(Object.keys(before)).toContain("heddle.db-wal");
    await refusal(folder);
    expect(contentOf(folder.dataDir)).toEqual(before);
  });
});

describe("what must not be written", () => {
  // Root may write what is read-only, unless it gives that right up.
  const wrapper = process.getuid?.() === 0 ? ["setpriv", "--bounding-set", "-dac_override", "--"] : [];

  it.each(["heddle.db", "checkpoints.db", "lock.db", "."])(
    "%s: the start is refused, the line says what to do",
    async (name) => {
      const folder = newFolder();
      await (await folder.serve()).stop("SIGTERM");
      const path = join(folder.dataDir, name);
      const { mode } = statSync(path);
      chmodSync(path, mode & 0o555);
      onTestFinished(() => chmodSync(path, mode));
      const line = await refusal(folder, { wrapper });
      expect(line).toContain(name.endsWith("s.db") || name === "heddle.db" ? path : folder.dataDir);
      expect(line).toMatch(
        /is read-only; make it writable for the user that runs heddle, or name another folder with --data/,
      );
      chmodSync(path, mode);
      await folder.serve({ wrapper });
    },
  );
});

// ---- locked

/** Another program on the same file, until the test ends it. */
async function otherProgram(file: string, statements: string): Promise<{ end(): Promise<void> }> {
  const script = `const database = new (require("better-sqlite3"))(process.argv[1]);
    database.exec(process.argv[2]);
    process.stdout.write("holds");
    process.stdin.resume().on("end", () => process.exit());`;
  const child = spawn(process.execPath, ["-e", script, file, statements], {
    stdio: ["pipe", "pipe", "inherit"],
    cwd: fileURLToPath(new URL("../..", import.meta.url)),
  });
  const ended = new Promise<void>((resolve) => void child.once("close", () => resolve()));
  onTestFinished(() => void child.kill("SIGKILL"));
  await new Promise((resolve) => void child.stdout.once("data", resolve));
  return {
    end() {
      child.stdin.end();
      return ended;
    },
  };
}

describe("another program on the files", () => {
  const burst = (send: Send): Promise<number[]> =>
    Promise.all(Array.from({ length: 20 }, async () => (await send("POST", "/threads", {})).status));

  it.each([
    ["reads for a while", "BEGIN; SELECT count(*) FROM sqlite_schema;"],
    ["writes for a while", "BEGIN IMMEDIATE; CREATE TABLE other (x);"],
  ])("that %s is noticed by no client", async (_, statements) => {
    const folder = newFolder();
    const { url, client } = await folder.serve();
    const other = await Promise.all(FILES.map((file) => otherProgram(join(folder.dataDir, file), statements)));
    const answers = burst(sender(url));
    const run = client.runs.wait(null, "ask", { input: {} });
    setTimeout(() => other.map((program) => program.end()), 1_500);
    expect(new Set(await answers)).toEqual(new Set([200]));
    expect(await run).toMatchObject({ __interrupt__: [{ value: "go on?" }] });
    await requireSound(folder.dataDir);
  });

  it("that writes longer than anybody waits makes writers come back later; nothing fails otherwise", async () => {
    const folder = newFolder();
    const { url } = await folder.serve();
    const send = sender(url);
    const other = await otherProgram(join(folder.dataDir, "heddle.db"), "BEGIN IMMEDIATE; CREATE TABLE other (x);");
    const { status, headers, body } = await send("POST", "/threads", {});
    expect([status, headers.get("retry-after"), body]).toEqual([
      503,
      "1",
      { code: "unavailable", detail: expect.stringContaining("another program keeps the database locked") },
    ]);
    expect(await send("POST", "/threads/search", {})).toMatchObject({ status: 200 });
    await other.end();
    expect(await send("POST", "/threads", {})).toMatchObject({ status: 200 });
  });

  it("a second heddle is refused while the first works, and disturbs nothing", async () => {
    const folder = newFolder();
    const { url } = await folder.serve();
    const send = sender(url);
    let over = false;
    const statuses = new Set<number>();
    const load = (async () => {
      while (!over) for (const status of await burst(send)) statuses.add(status);
    })();
    const lines = await Promise.all(Array.from({ length: 2 }, () => refusal(folder)));
    over = true;
    await load;
    expect(new Set(lines)).toEqual(
      new Set([`heddle: cannot use the data folder ${folder.dataDir}: another heddle process is using it`]),
    );
    expect([...statuses]).toEqual([200]);
    await requireSound(folder.dataDir);
  });
});
