/**
 * What it takes to find threads among 100,000: the table of docs/thread-search.md.
 *
 *     node --import jiti/register bench/thread-search.ts [threads]
 *
 * Threads of 1,000 users and 4 graphs, each with metadata, a title and a state of a few messages, in a file with the
 * settings of the gateway. Each search is asked 200 times, and shown are the median and the 99th percentile.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "../src/core/clock.js";
import type { JsonObject } from "../src/core/model.js";
import { createCommitGroup } from "../src/storage/commit-group.js";
import { createDatabase } from "../src/storage/database.js";
import { migrate } from "../src/storage/migrations.js";
import type { ThreadFilter } from "../src/storage/ports/threads.js";
import { openSqlite } from "../src/storage/sqlite.js";
import { SqlThreadStore } from "../src/storage/threads.js";
import { parseThreadFilter } from "../src/threads/thread-filter.js";

const COUNT = Number(process.argv[2] ?? 100_000);
const TIMES = 200;
const WORDS = "tea coffee rain snow cat dog invoice budget travel garden music river stone paper cloud engine".split(
  " ",
);

const folder = mkdtempSync(join(tmpdir(), "heddle-bench-"));
try {
  const database = createDatabase(openSqlite(join(folder, "heddle.db"), "FULL"));
  await migrate(database);
  const threads = new SqlThreadStore({ database, commits: createCommitGroup(database), clock: systemClock });
  await fill(threads);
  await measure(threads);
  await database.destroy();
} finally {
  rmSync(folder, { recursive: true, force: true });
}

async function fill(threads: SqlThreadStore): Promise<void> {
  const started = performance.now();
  for (let first = 0; first < COUNT; first += 1_000) {
    const some = Array.from({ length: Math.min(1_000, COUNT - first) }, (_, index) => first + index);
    await Promise.all(
      some.map(async (n) => {
        await threads.create({ threadId: `t${n}`, metadata: metadataOf(n), ttl: null });
        await threads.saveProjection(`t${n}`, { valuesJson: stateOf(n), interrupts: {}, next: [] });
      }),
    );
  }
  print(`${COUNT} threads written, ms each`, (performance.now() - started) / COUNT);
}

function metadataOf(n: number): JsonObject {
  const title = `${word(n)} and ${word(n * 7 + 3)} ${n}`;
  return {
    graph_id: `agent-${n % 4}`,
    user_id: `user-${n % 1_000}`,
    team: n % 3,
    title,
    ...(n % 50 === 0 ? { archived: true } : {}),
  };
}

function stateOf(n: number): string {
  const messages = Array.from({ length: 6 }, (_, index) => ({
    type: index % 2 === 0 ? "human" : "ai",
    id: `m${n}-${index}`,
    content: `About ${word(n + index)} and ${word(n * 3 + index)}, ${"something was said ".repeat(10)}`,
  }));
  return JSON.stringify({ messages, stage: `s${n % 10}` });
}

function word(n: number): string {
  return WORDS[n % WORDS.length] ?? "";
}

async function measure(threads: SqlThreadStore): Promise<void> {
  const page = { limit: 20, sortBy: "updated_at", sortOrder: "desc", maxBytes: 32e6 } as const;
  const offset = { ...page, offset: 0 };
  const search =
    (filter: ThreadFilter, withValues = false) =>
    () =>
      threads.search(filter, offset, { withValues });
  const keyset = (filter: ThreadFilter) => () =>
    threads.searchAfter(filter, { ...page, after: null }, { withValues: false });
  const where = (filter: JsonObject) => keyset({ where: parseThreadFilter(filter) });
  await times("all, with total", search({}));
  await times("of a user (100), with total", search({ metadata: { user_id: "user-7" } }));
  await times("of a user (100), with states, with total", search({ metadata: { user_id: "user-7" } }, true));
  await times("of a graph (25,000), with total", search({ metadata: { graph_id: "agent-1" } }));
  await times("of a graph, idle (25,000), with total", search({ metadata: { graph_id: "agent-1" }, status: "idle" }));
  await times("of a user and a graph, with total", search({ metadata: { user_id: "user-9", graph_id: "agent-1" } }));
  await times("of a graph, by cursor", keyset({ metadata: { graph_id: "agent-1" } }));
  const middle = await threads.get(`t${COUNT / 2}`);
  const after = { value: middle?.updatedAt ?? 0, threadId: `t${COUNT / 2}` };
  await times("all, by cursor, half way", () => threads.searchAfter({}, { ...page, after }, { withValues: false }));
  const half = { ...page, offset: COUNT / 2 };
  await times("all, by offset, half way, with total", () => threads.search({}, half, { withValues: false }));
  await times("not archived, by cursor", where({ "metadata.archived": { $exists: false } }));
  await times(
    "user 7 or 8, by cursor",
    where({ $or: [{ "metadata.user_id": "user-7" }, { "metadata.user_id": "user-8" }] }),
  );
  await times("archived and of team 2, by cursor", where({ "metadata.archived": true, "metadata.team": { $gte: 2 } }));
  await times("by a member of the state, by cursor", where({ "values.stage": "s3" }));
  await times("words that many have, by cursor", keyset({ words: ["tea"] }));
  await times("words that few have, by cursor", keyset({ words: ["coffee", "4242"] }));
  await times("words of a user, by cursor", keyset({ words: ["said"], metadata: { user_id: "user-7" } }));
}

async function times(what: string, ask: () => Promise<unknown>): Promise<void> {
  const taken: number[] = [];
  let spent = 0;
  for (let n = 0; n < TIMES && spent < 10_000; n++) {
    const started = performance.now();
    await ask();
    const ms = performance.now() - started;
    taken.push(ms);
    spent += ms;
  }
  taken.sort((a, b) => a - b);
  print(`${what}: p50`, taken[Math.floor(taken.length / 2)] ?? 0, "p99", taken[Math.floor(taken.length * 0.99)] ?? 0);
}

function print(what: string, ...figures: readonly (number | string)[]): void {
  const shown = figures.map((figure) => (typeof figure === "number" ? figure.toFixed(2) : figure));
  process.stdout.write(`${[what, ...shown].join(" ")}\n`);
}
