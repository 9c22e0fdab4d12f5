/**
 * The built program under streams that go on and on, on threads that come and go (T15, `npm run soak`): after a warm-up its
 * heap, its descriptors, its handles and its logs stay as they are, and threads that were deleted leave no row in any table.
 *
 * The quick cut shows that the load runs, that sampling works and that no row is left; how things grow takes minutes.
 * HEDDLE_SOAK_MINUTES changes how long the whole takes.
 */
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { openSqliteReader } from "../../src/storage/sqlite.js";
import { violationsIn } from "../support/history-folder.js";
import { sender } from "../support/http.js";
import { report, SCALE, scaled } from "../support/scale.js";
import { type Served, type ServedFolder, serveFolder } from "../support/serve.js";
import { slopeOf } from "../support/slope.js";
import { openSse } from "../support/sse-client.js";

const GRAPHS = fileURLToPath(new URL("../support/graphs.ts", import.meta.url));
const PROBE = new URL("../support/soak-probe.mjs", import.meta.url).href;

const MINUTES = Number(process.env.HEDDLE_SOAK_MINUTES ?? scaled({ quick: 0.2, full: 20 }));
const STREAMS = scaled({ quick: 20, full: 100 });
const SAMPLE_EVERY_MS = scaled({ quick: 1_500, full: 10_000 });
/** Finished streams stay for replays for so long: before that, memory must grow. */
const RETENTION_SECONDS = 20;
const WARM_UP = 1 / 3;
const MB = 1_024 ** 2;

const TEXT = Array.from({ length: 40 }, (_, index) => `word${index}`).join(" ");
const RUN = {
  assistant_id: "chat",
  input: { messages: [{ role: "user", content: TEXT }] },
  config: { configurable: { delay_ms: 25 } },
  stream_mode: ["messages-tuple", "values"],
};

it(
  "memory, descriptors, handles and logs stay as they are, and deleted threads leave nothing",
  async () => {
    const folder = serveFolder({
      graphs: { chat: `${GRAPHS}:chat` },
      runs: { concurrency: STREAMS },
      stream_bridge: { retention_seconds: RETENTION_SECONDS },
      log: { level: "error", format: "json" },
    });
    const served = await folder.serve({ nodeOptions: ["--expose-gc", "--import", PROBE] });
    let taken = 0;
    const sample = (): Promise<Sample> => sampleOf(folder, served, ++taken);
    const idle = await sample();

    const counts = { runs: 0, events: 0 };
    const endsAt = Date.now() + MINUTES * 60_000;
    const clients = Array.from({ length: STREAMS }, () => useThreads(served, endsAt, counts));
    const samples: Sample[] = [];
    while (Date.now() + SAMPLE_EVERY_MS < endsAt) {
      await pause(SAMPLE_EVERY_MS);
      samples.push(await sample());
    }
    await Promise.all(clients);

    const warm = samples.filter(({ at }) => at > endsAt - (1 - WARM_UP) * MINUTES * 60_000);
    const perMinute = (of: (sample: Sample) => number): number =>
      slopeOf(warm.map((sample) => [sample.at / 60_000, of(sample)]));
    const growth = {
      heap: perMinute(({ heap }) => heap / MB),
      rss: perMinute(({ rss }) => rss / MB),
      descriptors: perMinute(({ descriptors }) => descriptors),
      handles: perMinute(({ handles }) => handles),
    };
    const logs = Math.max(...samples.map(({ logBytes }) => logBytes));
    const last = samples.at(-1) ?? idle;
    report("T15", {
      minutes: MINUTES,
      streams: STREAMS,
      ...counts,
      samples: warm.length,
      "heap MB": (last.heap / MB).toFixed(1),
      "heap MB/min": growth.heap.toFixed(2),
      "rss MB": (last.rss / MB).toFixed(1),
      "rss MB/min": growth.rss.toFixed(2),
      descriptors: last.descriptors,
      "descriptors/min": growth.descriptors.toFixed(2),
      handles: last.handles,
      "handles/min": growth.handles.toFixed(2),
      "largest logs MB": (logs / MB).toFixed(1),
    });

    expect(counts.runs).toBeGreaterThan(STREAMS);
    expect(samples.length).toBeGreaterThan(0);
    expect(logs).toBeLessThan(2 * 80 * MB);
    if (SCALE === "full") {
      expect(growth.heap).toBeLessThanOrEqual(1);
      expect(growth.descriptors).toBeLessThanOrEqual(1);
      expect(growth.handles).toBeLessThanOrEqual(1);
    }

    const alone = async (): Promise<number> => (await sample()).descriptors;
    // Clients keep connections for their next requests.
    await expect.poll(alone, { timeout: 30_000 }).toBeLessThanOrEqual(idle.descriptors + 2 * STREAMS + 20);
    expect(await served.stop("SIGTERM")).toMatchObject({ code: 0, stderr: [] });
    // A key outlives its run for a day, so that a late repetition makes no second one.
    expect(rowsLeft(folder.dataDir)).toEqual({ "heddle.db idempotency_keys": counts.runs });
    expect(violationsIn(folder.dataDir)).toEqual([]);
  },
  (MINUTES + 3) * 60_000,
);

/** Streams on a thread, twice, deletes it, and takes another one. */
async function useThreads({ url }: Served, endsAt: number, counts: { runs: number; events: number }): Promise<void> {
  const send = sender(url);
  while (Date.now() < endsAt) {
    const created = await send("POST", "/threads", {});
    const { thread_id: threadId } = created.body as { thread_id: string };
    for (let turn = 0; turn < 2; turn++) {
      const headers = { "idempotency-key": `${threadId} ${turn}` };
      const stream = await openSse(`${url}/threads/${threadId}/runs/stream`, { json: RUN, headers });
      const events = await stream.rest();
      expect(events.at(-1)).toMatchObject({ event: "end", data: { status: "success" } });
      counts.runs++;
      counts.events += events.length;
    }
    expect((await send("DELETE", `/threads/${threadId}`)).status).toBe(204);
  }
}

interface Sample {
  readonly at: number;
  /** Of all threads, after garbage was collected. */
  readonly heap: number;
  readonly rss: number;
  readonly handles: number;
  readonly descriptors: number;
  readonly logBytes: number;
}

async function sampleOf({ dataDir }: ServedFolder, { program }: Served, nth: number): Promise<Sample> {
  program.kill("SIGUSR2");
  const line = await program.lineNumber("stdout", /^sample /, nth);
  const { main, threads, rss, handles } = JSON.parse(line.slice("sample ".length)) as {
    readonly main: number;
    readonly threads: readonly number[];
    readonly rss: number;
    readonly handles: number;
  };
  const logs = readdirSync(dataDir).filter((name) => name.endsWith("-wal"));
  return {
    at: Date.now(),
    heap: threads.reduce((sum, bytes) => sum + bytes, main),
    rss,
    handles,
    descriptors: readdirSync(`/proc/${program.pid}/fd`).length,
    logBytes: logs.reduce((sum, name) => sum + statSync(join(dataDir, name)).size, 0),
  };
}

/**
 * Tables that are about the gateway, not about threads. The pages of the index of words stay, emptied: that deleted threads
 * leave no word in them is contract/thread-search's.
 */
const LASTING = /^(sqlite_|kysely_|assistants$|assistant_versions$|sync_marks$|thread_fts_(config|data|idx)$)/;

/** By file and table: how many rows there are. */
function rowsLeft(dataDir: string): Readonly<Record<string, number>> {
  const left: Record<string, number> = {};
  for (const file of readdirSync(dataDir).filter((name) => name.endsWith(".db") && name !== "lock.db")) {
    const database = openSqliteReader(join(dataDir, file));
    try {
      const tables = database.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").pluck().all() as string[];
      for (const table of tables.filter((name) => !LASTING.test(name))) {
        const count = Number(database.prepare(`SELECT count(*) FROM "${table}"`).pluck().get());
        if (count > 0) left[`${file} ${table}`] = count;
      }
    } finally {
      database.close();
    }
  }
  return left;
}
