/** Two gateways behind the shipped nginx.conf, one of which dies: who notices. */
import { fileURLToPath } from "node:url";
import { beforeEach, expect, it } from "vitest";
import { NGINX, NGINX_MISSING, startNginx } from "../support/nginx.js";
import { type ServedGateway, serveGateway } from "../support/served-gateway.js";

const ECHO = `${fileURLToPath(new URL("../../examples/graphs", import.meta.url))}/echo.ts:graph`;
const CLIENTS_OF_EACH_KIND = 4;

beforeEach((context) => context.skip(NGINX === undefined, NGINX_MISSING));

interface Sent {
  readonly kind: "GET" | "POST";
  readonly startedAt: number;
  /** null: the connection was cut. */
  readonly status: number | null;
}

it("no client sees an error but for those whose POST was on its way to the one that died", async () => {
  await using first = await serveGateway({ graphs: { echo: ECHO }, log: { level: "warn" } });
  await using second = await serveGateway({ graphs: { echo: ECHO }, log: { level: "warn" } });
  const nginx = await startNginx(portOf(first), [
    ["# server 127.0.0.1:2025 max_fails", `server 127.0.0.1:${portOf(second)} max_fails`],
  ]);
  const sent: Sent[] = [];
  let isOver = false;
  const client = async (kind: Sent["kind"]): Promise<void> => {
    while (!isOver) sent.push(await send(nginx.url, kind));
  };
  const clients = (["GET", "POST"] as const).flatMap((kind) =>
    Array.from({ length: CLIENTS_OF_EACH_KIND }, () => client(kind)),
  );
  try {
    await expect.poll(() => sent.length).toBeGreaterThan(100);
    const served = await Promise.all([first, second].map(({ url }) => requestsAt(url)));
    expect(Math.min(...served)).toBeGreaterThan(10); // nothing binds clients to one

    second.program.kill("SIGKILL");
    await second.program.ended;
    const diedAt = performance.now();
    const before = sent.length;
    await expect.poll(() => sent.length - before).toBeGreaterThan(200);

    const failed = sent.filter(({ status }) => status !== 200);
    expect(failed.filter(({ kind }) => kind === "GET")).toEqual([]);
    expect(failed.filter(({ startedAt }) => startedAt > diedAt)).toEqual([]);
    expect(failed.length).toBeLessThanOrEqual(CLIENTS_OF_EACH_KIND);
  } finally {
    isOver = true;
    await Promise.all(clients);
    await nginx.stop();
  }
});

function portOf({ url }: ServedGateway): number {
  return Number(new URL(url).port);
}

async function send(url: string, kind: Sent["kind"]): Promise<Sent> {
  const startedAt = performance.now();
  const post = { method: "POST", headers: { "content-type": "application/json" }, body: "{}" };
  try {
    const response = await (kind === "GET" ? fetch(`${url}/info`) : fetch(`${url}/threads`, post));
    await response.text();
    return { kind, startedAt, status: response.status };
  } catch {
    return { kind, startedAt, status: null };
  }
}

async function requestsAt(url: string): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text();
  const lines = text.split("\n").filter((line) => /^heddle_http_requests_total\{.*route="\/(info|threads)"/.test(line));
  return lines.reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0);
}
