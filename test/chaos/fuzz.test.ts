/**
 * T10: requests made from the gateway's own OpenAPI document, hostile in every part, and WebSockets that keep no rules,
 * against a whole gateway. None of them may be answered with a 5xx or with something of the inside, and whoever behaves is
 * served all the while.
 *
 * `HEDDLE_SEED` repeats the requests of a run; ids of threads and runs are others each time.
 */
import { randomInt } from "node:crypto";
import fc from "fast-check";
import { pino } from "pino";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { OpenApiDocument } from "../../src/api/openapi.js";
import { type FuzzRequest, requestsOf } from "../support/fuzz-requests.js";
import { playSocket, type SocketScript, socketScripts } from "../support/fuzz-sockets.js";
import type { Subjects } from "../support/fuzz-values.js";
import { messageProblem, verdictOf } from "../support/fuzz-verdict.js";
import { startTestGateway, type TestGateway } from "../support/gateway.js";
import { createRawClient } from "../support/raw-http.js";
import { report, SCALE, scaled } from "../support/scale.js";
import { TOY_DIMS } from "../support/toy-embeddings.js";

const PER_ROUTE = scaled({ quick: 75, full: 1_900 });
const PER_ROUND = 25;
const SOCKETS_PER_ROUND = 50;
const AT_ONCE = 24;
/** Streams and waits go on for as long as their run: nobody waits for the end of one. */
const LONG_DEADLINE_MS = 250;
const DEADLINE_MS = 30_000;
const SEED = Number(process.env.HEDDLE_SEED ?? randomInt(2 ** 31));

const errors: string[] = [];
let gateway: TestGateway;

beforeAll(async () => {
  const log = pino({ level: "error" }, { write: (line: string) => void errors.push(line) });
  gateway = await startTestGateway({
    log,
    config: {
      runs: { concurrency: 64, timeout_seconds: 5, shutdown_grace_seconds: 0 },
      stream_bridge: { max_retained_bytes: "64mb" },
      webhooks: { url: { disable_loopback: false } },
      store: { index: { embed: "./test/support/toy-embeddings.ts:embedTopics", dims: TOY_DIMS } },
    },
  });
});
afterAll(() => gateway?.stop());

it(`no request breaks the gateway (HEDDLE_SEED=${SEED})`, { timeout: 900_000 }, async () => {
  const startedAt = performance.now();
  const document = (await (await fetch(`${gateway.url}/openapi.json`)).json()) as OpenApiDocument;
  const arbitraries = requestsOf(document);
  const judge = verdictOf(document);
  const client = createRawClient(gateway.url);
  const counts = new Map<string, number>();
  const statuses = new Map<number, number>();
  const problems: string[] = [];
  let sent = 0;
  let messages = 0;

  async function send(request: FuzzRequest, subjects: Subjects): Promise<void> {
    const bytes = request.bytes(subjects);
    const text = bytes.toString("latin1");
    const isLong = /\/stream|\/join|wait/.test(text.slice(0, text.indexOf("\r\n")));
    const deadlineMs = isLong || request.isAlone ? LONG_DEADLINE_MS : DEADLINE_MS;
    const { isAlone } = request;
    const response = await client.send({ bytes, isHead: request.method === "HEAD", isAlone, deadlineMs });
    sent++;
    if (request.isOnRoute) counts.set(request.route, (counts.get(request.route) ?? 0) + 1);
    const problem = response === undefined ? silenceProblem(request, isLong) : judge(request.operation, text, response);
    statuses.set(response?.status ?? 0, (statuses.get(response?.status ?? 0) ?? 0) + 1);
    if (problem === undefined) return;
    const answer = `${response?.status} ${response?.body.slice(0, 300)}`;
    problems.push(`${problem}\n  to ${JSON.stringify(text.slice(0, 800))}\n  came ${answer}`);
  }

  async function converse(script: SocketScript, subjects: Subjects): Promise<void> {
    const texts = await playSocket(gateway.url, script, subjects);
    messages += texts?.length ?? 0;
    const commands = script.frames.map(({ text }) => text).join("\n");
    const problem = texts?.map((text) => messageProblem(commands, text)).find((each) => each !== undefined);
    if (problem !== undefined) problems.push(`${problem}\n  to ${commands.slice(0, 800)}\n  came ${texts?.join("\n")}`);
  }

  for (let round = 0; round * PER_ROUND < PER_ROUTE && problems.length === 0; round++) {
    const subjects = await populate();
    const requests = arbitraries.flatMap((arbitrary, index) =>
      fc.sample(arbitrary, { seed: SEED + round * arbitraries.length + index, numRuns: PER_ROUND }),
    );
    const order = shuffled(requests, SEED + round);
    await inParallel(AT_ONCE, order, (request, index) => send(request, subjects[index % subjects.length] ?? {}));
    const scripts = fc.sample(socketScripts, { seed: SEED + round, numRuns: SOCKETS_PER_ROUND });
    await inParallel(AT_ONCE, scripts, (script, index) => converse(script, subjects[index % subjects.length] ?? {}));
    await expectCanary();
    await clean();
  }
  client.close();

  const seconds = (performance.now() - startedAt) / 1_000;
  const least = Math.min(...counts.values());
  report("T10", {
    seed: SEED,
    requests: sent,
    routes: counts.size,
    "least of a route": least,
    "messages of sockets": messages,
    seconds: seconds.toFixed(0),
    statuses: [...statuses]
      .sort()
      .map(([status, count]) => `${status}:${count}`)
      .join(" "),
  });
  if (SCALE === "full")
    process.stdout.write(`${[...counts].map(([route, count]) => `${count} ${route}`).join("\n")}\n`);
  expect([...new Set(problems)].slice(0, 10), `${problems.length} of ${sent}`).toEqual([]);
  expect(errors).toEqual([]);
  expect(counts.size).toBe(arbitraries.length);
  expect(messages).toBeGreaterThan(20);
  expect(least).toBeGreaterThanOrEqual(scaled({ quick: 20, full: 500 }));
});

/** Only what leaves its connection in an unknown state, or goes on for long, may stay without an answer. */
function silenceProblem({ isAlone }: FuzzRequest, isLong: boolean): string | undefined {
  return isAlone || isLong ? undefined : "no answer";
}

/** Whoever behaves is served. */
async function expectCanary(): Promise<void> {
  const { client } = gateway;
  const { thread_id: threadId } = await client.threads.create();
  const state = await client.runs.wait(threadId, "echo", {
    input: { messages: [{ type: "human", content: "still" }] },
  });
  expect(state).toMatchObject({ messages: [{ type: "human" }, { type: "ai", content: "echo: still" }] });
  expect(await client.assistants.get("echo")).toMatchObject({ graph_id: "echo", metadata: { created_by: "system" } });
  await client.threads.delete(threadId);
}

/** Threads with a history, with a question, with a run in flight and with one that failed; an assistant; a cron; items. */
async function populate(): Promise<Subjects[]> {
  const { client } = gateway;
  const { assistant_id } = await client.assistants.create({ graphId: "counter", metadata: { a: 1 } });
  await client.store.putItem(["a"], "k", { n: 1 });
  const { cron_id } = await client.crons.create("counter", { schedule: "* * * * *", input: {} });
  const made = ["echo", "counter", "approval", "nested", "failing", "breakpoints"].map(async (graphId) => {
    const { thread_id } = await client.threads.create({ metadata: { a: 1 } });
    const input = graphId === "nested" ? { input: "ask" } : { messages: [] };
    await client.runs.wait(thread_id, graphId, { input, raiseError: false });
    const [[run], state] = await Promise.all([client.runs.list(thread_id), client.threads.getState(thread_id)]);
    const checkpoint_id = state.checkpoint.checkpoint_id ?? "none";
    return {
      thread_id,
      run_id: run?.run_id ?? "none",
      checkpoint_id,
      assistant_id,
      cron_id,
      graph_id: graphId,
      namespace: "sub",
    };
  });
  const { thread_id } = await client.threads.create();
  const { run_id } = await client.runs.create(thread_id, "slow", { input: {} });
  const busy = { thread_id, run_id, checkpoint_id: "none", assistant_id, cron_id, graph_id: "echo", namespace: "sub" };
  return [...(await Promise.all(made)), busy];
}

/** What piles up would only make every search slower. */
async function clean(): Promise<void> {
  const { client } = gateway;
  for (;;) {
    const threads = await client.threads.search({ limit: 1_000, select: ["thread_id"] });
    await Promise.all(threads.map(({ thread_id: id }) => client.threads.delete(id)));
    if (threads.length < 1_000) break;
  }
  const crons = await client.crons.search({ limit: 1_000, select: ["cron_id"] });
  await Promise.all(crons.map(({ cron_id: id }) => client.crons.delete(id)));
  const assistants = await client.assistants.search({ limit: 1_000 });
  const made = assistants.filter(({ metadata }) => metadata?.created_by !== "system");
  await Promise.all(made.map(({ assistant_id: id }) => client.assistants.delete(id)));
}

async function inParallel<T>(
  width: number,
  items: readonly T[],
  work: (item: T, index: number) => Promise<void>,
): Promise<void> {
  const entries = items.entries();
  await Promise.all(
    Array.from({ length: width }, async () => {
      for (const [index, item] of entries) await work(item, index);
    }),
  );
}

function shuffled<T>(items: readonly T[], seed: number): T[] {
  const [order = []] = fc.sample(fc.shuffledSubarray([...items.keys()], { minLength: items.length }), {
    seed,
    numRuns: 1,
  });
  return order.flatMap((index) => items.slice(index, index + 1));
}
