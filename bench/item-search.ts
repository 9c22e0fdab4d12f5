/**
 * What a search by meaning takes: the table of docs/semantic-memory.md.
 *
 *     node --import jiti/register bench/item-search.ts [items] [dims]
 *
 * Items with one vector each, of random directions, in a file with the settings of the gateway; a tenth of them under the
 * prefix `["near"]`. Each search is asked 50 times. `pause` is the longest time for which nothing else had its turn.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { systemClock } from "../src/core/clock.js";
import type { PutItem } from "../src/core/items.js";
import { silentLog } from "../src/core/log.js";
import { toUnitVector } from "../src/core/vectors.js";
import { createDatabase } from "../src/storage/database.js";
import { openItemModel } from "../src/storage/item-models.js";
import { SqlStore } from "../src/storage/items.js";
import { migrate } from "../src/storage/migrations.js";
import { openSqlite } from "../src/storage/sqlite.js";

const COUNT = Number(process.argv[2] ?? 20_000);
const DIMS = Number(process.argv[3] ?? 1_536);
const TIMES = 50;

const folder = mkdtempSync(join(tmpdir(), "heddle-bench-"));
try {
  const database = createDatabase(openSqlite(join(folder, "heddle.db"), "FULL"));
  await migrate(database);
  const modelId = await openItemModel(database, { embed: "random", dims: DIMS }, { mayReplace: false });
  const store = new SqlStore({
    database,
    clock: systemClock,
    log: silentLog,
    ttl: { defaultTtlMinutes: null, refreshOnRead: false, sweepIntervalMinutes: 60 },
    maxBytesPerBatch: 1e9,
    index: { modelId, fields: ["text"], embed: async (texts) => texts.map(randomVector) },
  });
  await fill(store);
  await measure(store, `${COUNT / 10} vectors under the prefix`, ["near"], {});
  await measure(store, `${COUNT} vectors`, [], {});
  await measure(store, `${COUNT} vectors, a filter that one in ten meets`, [], { group: 3 });
  await database.destroy();
} finally {
  rmSync(folder, { recursive: true, force: true });
}

async function fill(store: SqlStore): Promise<void> {
  const started = performance.now();
  for (let first = 0; first < COUNT; first += 500) {
    const puts = Array.from({ length: Math.min(500, COUNT - first) }, (_, index): PutItem => {
      const n = first + index;
      return { namespace: [n % 10 === 0 ? "near" : "far"], key: `k${n}`, value: { text: `text ${n}`, group: n % 10 } };
    });
    await store.batch(puts);
  }
  print(`${COUNT} items of ${DIMS} dimensions put, ms each`, (performance.now() - started) / COUNT);
}

async function measure(store: SqlStore, what: string, prefix: string[], filter: object): Promise<void> {
  const taken: number[] = [];
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  for (let n = 0; n < TIMES; n++) {
    const started = performance.now();
    await store.search(prefix, { query: `query ${n}`, filter, limit: 10 });
    taken.push(performance.now() - started);
  }
  delay.disable();
  taken.sort((a, b) => a - b);
  print(`${what}: p50`, taken[TIMES / 2] ?? 0, "p99", taken[TIMES - 1] ?? 0, "pause", delay.percentile(99) / 1e6);
}

function randomVector(): Float32Array {
  const vector = toUnitVector(Array.from({ length: DIMS }, () => Math.random() - 0.5));
  if (vector === undefined) throw new Error("random numbers are finite");
  return vector;
}

function print(what: string, ...figures: readonly (number | string)[]): void {
  const shown = figures.map((figure) => (typeof figure === "number" ? figure.toFixed(2) : figure));
  process.stdout.write(`${[what, ...shown].join(" ")}\n`);
}
