/** The gateway behind the shipped nginx.conf, as clients see it at `/api/langgraph`. */
import { Client } from "@langchain/langgraph-sdk";
import { afterEach, beforeEach, expect, it } from "vitest";
import { startExampleAgent } from "../support/example-agent.js";
import type { TestGateway } from "../support/gateway.js";
import { NGINX, NGINX_MISSING, type Nginx, startNginx } from "../support/nginx.js";

const MEGABYTE = 1_024 ** 2;

let gateway: TestGateway;
let nginx: Nginx;
let client: Client;

beforeEach(async (context) => {
  context.skip(NGINX === undefined, NGINX_MISSING);
  gateway = await startExampleAgent({ disconnect_grace_seconds: 0 });
  nginx = await startNginx(Number(new URL(gateway.url).port));
  client = new Client({ apiUrl: `${nginx.url}/api/langgraph` });
});

afterEach(async () => {
  await nginx?.stop();
  await gateway?.stop();
});

function count(to: number, tokenDelayMs: number) {
  return {
    input: { messages: [{ role: "user", content: `Count to ${to}` }] },
    streamMode: "messages-tuple" as const,
    config: { configurable: { token_delay_ms: tokenDelayMs } },
  };
}

it("shows tokens while the run is still going", async () => {
  const { thread_id } = await client.threads.create();
  const statuses: string[] = [];
  for await (const { event } of client.runs.stream(thread_id, "agent", count(3, 300))) {
    if (event !== "messages") continue;
    const [run] = await gateway.client.runs.list(thread_id);
    statuses.push(run?.status ?? "missing");
  }

  expect(statuses.slice(0, 2)).toEqual(["running", "running"]);
});

it("lets the SDK come back after a cut, through the prefix, and nothing is lost or doubled", async () => {
  const { thread_id } = await client.threads.create();
  let seen = "";
  let tokens = 0;
  for await (const { event, data } of client.runs.stream(thread_id, "agent", count(60, 20))) {
    if (event !== "messages") continue;
    const [message] = data;
    seen += message.content;
    if (++tokens === 10) nginx = await nginx.restart();
  }

  const { values } = await client.threads.getState<{ messages: { content: string }[] }>(thread_id);
  expect(tokens).toBeGreaterThan(10);
  expect(seen).toBe(values.messages.at(-1)?.content);
});

it("sees within a second that a run's only client has gone", async () => {
  const { thread_id } = await client.threads.create();
  const leave = new AbortController();
  const response = await fetch(`${nginx.url}/api/langgraph/threads/${thread_id}/runs/stream`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({
      assistant_id: "agent",
      input: count(1_000, 0).input,
      config: { configurable: { token_delay_ms: 1_000 } },
      stream_mode: ["messages-tuple"],
      on_disconnect: "cancel",
    }),
    signal: leave.signal,
  });
  await response.body?.getReader().read();
  const runId = response.headers.get("content-location")?.split("/").at(-1) ?? "";

  const leftAt = Date.now();
  leave.abort();
  await expect
    .poll(async () => (await gateway.client.runs.get(thread_id, runId)).status, { interval: 20, timeout: 5_000 })
    .toBe("interrupted");
  expect(Date.now() - leftAt).toBeLessThan(1_000);
});

it("takes a body as large as the gateway takes, and words its own refusal as the gateway does", async () => {
  const send = (contentBytes: number) =>
    fetch(`${nginx.url}/api/langgraph/store/items`, {
      method: "PUT",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ namespace: ["large"], key: "item", value: { text: "x".repeat(contentBytes) } }),
    });

  const accepted = await send(19 * MEGABYTE);
  const refused = await send(20 * MEGABYTE);

  expect(accepted.status).toBe(204);
  expect(refused.status).toBe(413);
  expect(await refused.json()).toHaveProperty("detail");
});
