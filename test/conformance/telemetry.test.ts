/** Traces of runs, as a collector gets them over OTLP/HTTP; and collectors that are down, slow or hostile. */
import { Client } from "@langchain/langgraph-sdk";
import { pino } from "pino";
import { afterEach, expect, it } from "vitest";
import { startTestGateway, type TestGateway } from "../support/gateway.js";
import { type OtlpReceiver, type ReceivedSpan, startOtlpReceiver } from "../support/otlp-receiver.js";

const TRACE = "0af7651916cd43dd8448eb211c80319c";
const PARENT = "b7ad6b7169203331";
const GRAPHS = { traced: "./test/support/traced-graph.ts:graph", echo: "./test/support/graphs.ts:echo" };

const cleanUps: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

async function receiver(...args: Parameters<typeof startOtlpReceiver>): Promise<OtlpReceiver> {
  const started = await startOtlpReceiver(...args);
  cleanUps.push(() => started.close());
  return started;
}

async function tracedBy(url: string, telemetry: Record<string, unknown> = {}, lines: string[] = []) {
  const log = pino({ level: "info" }, { write: (line: string) => void lines.push(line) });
  const config = { graphs: GRAPHS, telemetry: { otlp_endpoint: url, ...telemetry } };
  return startTestGateway({ config, log });
}

function clientOf({ url }: TestGateway, traceparent?: string): Client {
  const headers = traceparent === undefined ? {} : { defaultHeaders: { traceparent } };
  return new Client({ apiUrl: url, callerOptions: { maxRetries: 0 }, ...headers });
}

/** The spans as a tree of names. */
function treeOf(spans: readonly ReceivedSpan[], parentId: string | undefined): unknown {
  const below = spans.filter(({ parentSpanId }) => parentSpanId === parentId);
  const sorted = below.sort((a, b) => a.startMs - b.startMs || a.name.localeCompare(b.name));
  return Object.fromEntries(sorted.map((span) => [span.name, treeOf(spans, span.spanId)]));
}

function named(spans: readonly ReceivedSpan[], name: string): ReceivedSpan {
  return spans.find((span) => span.name === name) ?? expect.unreachable(`there is no span ${name}`);
}

it("a run's trace has its supersteps, nodes, tools and models, under the request that created it", async () => {
  const collector = await receiver();
  const gateway = await tracedBy(collector.url, { service_name: "loom" });
  const client = clientOf(gateway, `00-${TRACE}-${PARENT}-01`);
  const thread = await client.threads.create();
  const run = await client.runs.create(thread.thread_id, "traced", { input: { topic: "a secret" } });
  expect(await client.runs.join(thread.thread_id, run.run_id)).toMatchObject({ answer: "about a secret" });
  const shown = await client.runs.get(thread.thread_id, run.run_id);
  expect(JSON.stringify(shown)).not.toContain(TRACE);
  await gateway.stop();

  const { spans } = collector;
  expect(treeOf(spans, PARENT)).toEqual({
    "run traced": {
      "superstep 1": { "node ask": {}, "node search": { "execute_tool look": {} } },
      "superstep 2": { "node inner": { "superstep 1": { "node think": { "chat parrot-1": {} } } } },
    },
  });
  expect(new Set(spans.map(({ traceId }) => traceId))).toEqual(new Set([TRACE]));
  const root = named(spans, "run traced");
  expect(root.attributes).toEqual({
    "heddle.run_id": run.run_id,
    "heddle.thread_id": thread.thread_id,
    "heddle.assistant_id": run.assistant_id,
    "heddle.graph_id": "traced",
    "heddle.attempt": 1,
    "heddle.queue_ms": expect.any(Number),
    "heddle.status": "success",
  });
  expect(named(spans, "chat parrot-1").attributes).toEqual({
    "gen_ai.operation.name": "chat",
    "gen_ai.request.model": "parrot-1",
    "gen_ai.provider.name": "aviary",
  });
  expect(named(spans, "node think").attributes).toMatchObject({ "langgraph.node": "think", "langgraph.step": 1 });
  for (const span of spans) {
    expect(span.failed).toBe(false);
    expect(span.startMs).toBeGreaterThanOrEqual(root.startMs);
    expect(span.endMs).toBeLessThanOrEqual(root.endMs);
  }
  expect(collector.resource()).toMatchObject({ "service.name": "loom", "service.version": expect.any(String) });
  expect(collector.text()).not.toContain("secret");
});

it("inputs and outputs are in it when the configuration says so", async () => {
  const collector = await receiver();
  const gateway = await tracedBy(collector.url, { record_content: true });
  await clientOf(gateway).runs.wait(null, "traced", { input: { topic: "knots" } });
  await gateway.stop();

  expect(named(collector.spans, "execute_tool look").attributes).toMatchObject({
    "input.value": expect.stringContaining("knots"),
    "output.value": expect.stringContaining("seen knots"),
  });
  expect(named(collector.spans, "node think").attributes).toMatchObject({
    "input.value": expect.stringContaining("knots"),
    "output.value": expect.stringContaining("about knots"),
  });
});

it("what fails is marked up to the run, without its words; a question is no failure", async () => {
  const collector = await receiver();
  const gateway = await tracedBy(collector.url);
  const client = clientOf(gateway);
  await expect(client.runs.wait(null, "traced", { input: { topic: "nothing" } })).rejects.toThrow();
  const thread = await client.threads.create();
  await client.runs.wait(thread.thread_id, "traced", { input: { topic: "x", asks: true } });
  await gateway.stop();

  const [failed, asked] = collector.spans.filter(({ name }) => name === "run traced").map(({ traceId }) => traceId);
  const ofFailed = collector.spans.filter(({ traceId }) => traceId === failed);
  for (const name of ["run traced", "node search", "execute_tool look"]) {
    expect([name, named(ofFailed, name).failed]).toEqual([name, true]);
  }
  expect(named(ofFailed, "execute_tool look").attributes["error.type"]).toBe("RangeError");
  expect(collector.text()).not.toContain("no such topic");
  const ofAsked = collector.spans.filter(({ traceId }) => traceId === asked);
  expect(named(ofAsked, "node ask")).toMatchObject({ failed: false, attributes: { "langgraph.interrupted": true } });
  expect(named(ofAsked, "run traced").failed).toBe(false);
});

it.each([
  ["not sampled", `00-${TRACE}-${PARENT}-00`, 0],
  ["malformed", `00-${TRACE}-${PARENT}`, 1],
  ["all zeros", `00-${"0".repeat(32)}-${PARENT}-01`, 1],
])("a caller's trace that is %s is respected for what it is", async (_what, traceparent, roots) => {
  const collector = await receiver();
  const gateway = await tracedBy(collector.url);
  await clientOf(gateway, traceparent).runs.wait(null, "echo", { input: { messages: [] } });
  await gateway.stop();

  expect(collector.spans.filter(({ name }) => name === "run echo")).toHaveLength(roots);
  expect(collector.spans.some(({ traceId }) => traceId === TRACE)).toBe(false);
  if (roots === 0) expect(collector.spans).toEqual([]);
});

it("a request that is repeated with another trace is the same request", async () => {
  const collector = await receiver();
  const gateway = await tracedBy(collector.url);
  const { thread_id } = await clientOf(gateway).threads.create();
  const ask = async (parent: string) =>
    (
      await fetch(`${gateway.url}/threads/${thread_id}/runs`, {
        method: "POST",
        headers: { "idempotency-key": "k", traceparent: `00-${TRACE}-${parent}-01` },
        body: JSON.stringify({ assistant_id: "echo", input: { messages: [] } }),
      })
    ).json() as Promise<{ run_id: string }>;
  expect((await ask(PARENT)).run_id).toBe((await ask("b7ad6b7169203332")).run_id);
  await gateway.stop();
});

it.each<[string, () => Promise<string>]>([
  ["is down", async () => "http://127.0.0.1:9"],
  ["never answers", async () => (await receiver("never")).url],
  ["refuses", async () => (await receiver(400)).url],
])("a collector that %s delays no run and no stop, and is told of at most once", async (_what, start) => {
  const lines: string[] = [];
  const gateway = await tracedBy(await start(), {}, lines);
  const client = clientOf(gateway);
  for (let i = 0; i < 5; i++) {
    const input = { messages: [{ type: "human", content: "hello" }] };
    expect(await client.runs.wait(null, "echo", { input })).toMatchObject({ messages: [{}, {}] });
  }
  await gateway.stop();
  expect(lines.filter((line) => line.includes("traces cannot be sent")).length).toBeLessThanOrEqual(1);
});

it("a collector that refuses is told of once, however often it does", async () => {
  const collector = await receiver(400);
  const lines: string[] = [];
  const gateway = await tracedBy(collector.url, {}, lines);
  const told = () => lines.filter((line) => line.includes("traces cannot be sent")).length;
  for (let sent = 1; sent <= 2; sent++) {
    await clientOf(gateway).runs.wait(null, "echo", { input: { messages: [] } });
    await expect.poll(() => collector.requests()).toBeGreaterThanOrEqual(sent);
    await expect.poll(told).toBe(1);
  }
  await gateway.stop();
  expect(told()).toBe(1);
});
