/** What runs may ask of LangSmith: refused without credentials, and with them asked of it. */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, expect, it } from "vitest";
import { startTestGateway, type TestGateway } from "../support/gateway.js";
import { sender } from "../support/http.js";

const GRAPHS = { echo: "./test/support/graphs.ts:echo" };
const INPUT = { messages: [{ type: "human", content: "hello" }] };

const cleanUps: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

interface Asked {
  readonly path: string;
  readonly key: string | undefined;
  readonly body: string;
}

/** LangSmith, as far as it is asked here. `isUp` false: it fails. */
async function startLangsmith(isUp = true): Promise<{ readonly url: string; readonly asked: readonly Asked[] }> {
  const asked: Asked[] = [];
  const server = createServer(async (request, response) => {
    const chunks: Uint8Array[] = [];
    for await (const chunk of request) chunks.push(chunk as Uint8Array);
    const body = Buffer.concat(chunks).toString("latin1");
    asked.push({ path: request.url ?? "", key: request.headers["x-api-key"] as string | undefined, body });
    const isFeedback = request.url === "/feedback/tokens";
    const answer = isFeedback
      ? { id: "f", url: `https://feedback/${JSON.parse(body).feedback_key}`, expires_at: "" }
      : {};
    response.writeHead(isUp ? 200 : 400, { "content-type": "application/json" }).end(JSON.stringify(answer));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  cleanUps.push(async () => {
    server.closeAllConnections();
    server.close();
    await once(server, "close");
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, asked };
}

async function start(langsmith: Record<string, unknown>): Promise<TestGateway> {
  const gateway = await startTestGateway({ config: { graphs: GRAPHS, langsmith } });
  cleanUps.push(() => gateway.stop());
  return gateway;
}

async function eventsOf({ client }: TestGateway, options: Record<string, unknown>) {
  const events: { event: string; data: unknown }[] = [];
  const stream = client.runs.stream(null, "echo", { input: INPUT, streamMode: "values", ...options });
  for await (const { event, data } of stream) events.push({ event, data });
  return events;
}

it.each([
  ["feedback_keys", ["thumbs"]],
  ["langsmith_tracer", { project_name: "p" }],
])("without credentials %s is refused, alone and in a batch, and nothing is made", async (option, value) => {
  const gateway = await start({});
  const send = sender(gateway.url);
  const body = { assistant_id: "echo", input: INPUT, [option]: value };
  const refused = { status: 422, body: { code: "unsupported", detail: expect.stringContaining(option) } };
  expect(await send("POST", "/runs", body)).toMatchObject(refused);
  expect(await send("POST", "/runs/batch", [{ assistant_id: "echo", input: INPUT }, body])).toMatchObject(refused);
  expect(await send("POST", "/runs/crons", { ...body, schedule: "0 0 1 1 *" })).toMatchObject(refused);
  expect(await send("POST", "/threads/search", {})).toMatchObject({ body: [] });
});

it("with them a stream has addresses for feedback, and its row the keys", async () => {
  const { url, asked } = await startLangsmith();
  const gateway = await start({ api_key: "ls-key", endpoint: url });
  const events = await eventsOf(gateway, { feedbackKeys: ["thumbs", "stars"] });
  expect(events.filter(({ event }) => event === "feedback")).toEqual([
    { event: "feedback", data: { thumbs: "https://feedback/thumbs", stars: "https://feedback/stars" } },
  ]);
  const [metadata] = events;
  const run_id = (metadata?.data as { run_id: string } | undefined)?.run_id;
  const tokens = asked.filter(({ path }) => path === "/feedback/tokens");
  expect(tokens.map(({ key }) => key)).toEqual(["ls-key", "ls-key"]);
  expect(tokens.map(({ body }) => JSON.parse(body).run_id)).toEqual([run_id, run_id]);

  const thread = await gateway.client.threads.create();
  const run = await gateway.client.runs.create(thread.thread_id, "echo", { input: INPUT, feedbackKeys: ["stars"] });
  expect(run).toMatchObject({ kwargs: { feedback_keys: ["stars"] } });
  await gateway.client.runs.join(thread.thread_id, run.run_id);
});

it("with them a run is traced in the project that it names", async () => {
  const { url, asked } = await startLangsmith();
  const gateway = await start({ api_key: "ls-key", endpoint: url });
  const example = "0199f3c4-2d0e-7c3a-9c1e-2f6d8f0b7a55";
  const tracer = { projectName: "loom-project", exampleId: example };
  await gateway.client.runs.wait(null, "echo", { input: INPUT, _langsmithTracer: tracer as never }); // the SDK sends no more of it
  const traced = () => asked.filter(({ path }) => path.startsWith("/runs")).map(({ body }) => body);
  await expect.poll(() => traced().join()).toContain("loom-project");
  expect(traced().join()).toContain(example);
});

it("a LangSmith that fails takes the addresses away, and nothing else", async () => {
  const { url } = await startLangsmith(false);
  const gateway = await start({ api_key: "ls-key", endpoint: url });
  const names = (await eventsOf(gateway, { feedbackKeys: ["thumbs"] })).map(({ event }) => event);
  expect(names).toContain("values");
  expect(names).not.toContain("feedback");
  expect(names).not.toContain("error");
});
