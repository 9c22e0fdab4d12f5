/** Replicas as processes, over a real PostgreSQL and a real Redis: what clients of one see of runs on another, and of its death. */
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Client } from "@langchain/langgraph-sdk";
import { describe, expect, it } from "vitest";
import { makeDatabase, POSTGRES_MISSING } from "../support/postgres-server.js";
import { newKeyPrefix, REDIS_MISSING, REDIS_URL } from "../support/redis.js";
import { type Served, type ServedFolder, serveFolder } from "../support/serve.js";

const GRAPHS = fileURLToPath(new URL("../support/gate-graph.ts", import.meta.url));
/** Short, so that the death of a worker is found soon. */
const LEASE_SECONDS = 5;

interface Cluster {
  readonly folder: string;
  readonly gate: string;
  serve(role: "all" | "api" | "worker"): Promise<Served>;
}

async function openCluster(): Promise<Cluster> {
  const served: ServedFolder = serveFolder({
    graphs: { gate: `${GRAPHS}:gate`, ask: `${GRAPHS}:ask`, threads: 1, stuck_after_seconds: 3 },
    database: { type: "postgres", url: await makeDatabase() },
    stream_bridge: { type: "redis", url: REDIS_URL, key_prefix: newKeyPrefix() },
    runs: { lease_seconds: LEASE_SECONDS, heartbeat_seconds: 1, shutdown_grace_seconds: 0.2 },
    log: { format: "json" },
  });
  return {
    folder: served.folder,
    gate: join(served.folder, "gate"),
    serve: (role) => served.serve({ options: ["--role", role] }),
  };
}

/** A run that a worker holds at its second node. */
async function startHeld(client: Client, gate: string) {
  const { thread_id: threadId } = await client.threads.create();
  const { run_id: runId } = await client.runs.create(threadId, "gate", { input: { gate } });
  await expect.poll(() => existsSync(`${gate}.wait`), { timeout: 15_000 }).toBe(true);
  return { threadId, runId };
}

async function runsOf({ url }: Served): Promise<{ readonly role: string; readonly runs: number }> {
  const info = (await (await fetch(`${url}/info`)).json()) as { replica: { role: string; runs: number } };
  return info.replica;
}

describe.skipIf(POSTGRES_MISSING !== undefined || REDIS_MISSING !== undefined)("an api and workers", () => {
  it("stream, join, answer, cancel and wait as one server does", async () => {
    const { serve, gate } = await openCluster();
    const [api, worker] = await Promise.all([serve("api"), serve("worker")]);
    const { client } = api;

    const { thread_id: asking } = await client.threads.create();
    const asked = await client.runs.wait(asking, "ask", { input: { steps: ["before"] } });
    expect(asked).toMatchObject({ __interrupt__: [{ value: "go on?" }] });
    const answered: string[] = [];
    for await (const { event } of client.runs.stream(asking, "ask", { command: { resume: "yes" } }))
      answered.push(event);
    expect(answered[0]).toBe("metadata");
    expect((await client.threads.getState<{ steps: string[] }>(asking)).values.steps).toContain("yes");

    const { threadId, runId } = await startHeld(client, gate);
    expect([await runsOf(api), await runsOf(worker)]).toEqual([
      expect.objectContaining({ role: "api", runs: 0 }),
      expect.objectContaining({ role: "worker", runs: 1 }),
    ]);
    await expect(client.threads.updateState(threadId, { values: { steps: ["no"] } })).rejects.toThrow("409");
    const joined = client.runs.join(threadId, runId);
    const cancelledAt = Date.now();
    await client.runs.cancel(threadId, runId, true, "interrupt");
    expect(Date.now() - cancelledAt).toBeLessThan(5_000);
    await joined;
    expect((await client.runs.get(threadId, runId)).status).toBe("interrupted");
    await client.threads.updateState(threadId, { values: { steps: ["yes"] } });
    await client.threads.delete(threadId);
    await expect(client.threads.get(threadId)).rejects.toThrow("404");

    // A worker serves nobody else.
    expect((await fetch(`${worker.url}/ready`)).status).toBe(200);
    expect((await fetch(`${worker.url}/threads/search`, { method: "POST", body: "{}" })).status).toBe(404);
  });

  it.each(["SIGKILL", "SIGSTOP"] as const)(
    "a run goes on elsewhere after %s of its worker, in the same stream",
    async (signal) => {
      const { serve, gate } = await openCluster();
      const api = await serve("api");
      const first = await serve("worker");
      const { threadId, runId } = await startHeld(api.client, gate);
      const second = await serve("worker");
      const seen: { readonly event: string; readonly data: unknown }[] = [];
      const followed = (async () => {
        for await (const { event, data } of api.client.runs.joinStream(threadId, runId)) seen.push({ event, data });
      })();
      first.program.kill(signal);
      await expect.poll(async () => (await runsOf(second)).runs, { timeout: 4_000 * LEASE_SECONDS }).toBe(1);
      writeFileSync(gate, "");
      await followed;
      if (signal === "SIGSTOP") first.program.kill("SIGCONT");
      expect((await api.client.runs.get(threadId, runId)).status).toBe("success");
      const { values } = await api.client.threads.getState<{ steps: string[] }>(threadId);
      expect(values.steps).toEqual(["first", "waited"]);
      expect(seen.at(-1)?.event).toBe("end");
      const attempts = seen
        .filter(({ event }) => event === "metadata")
        .map(({ data }) => (data as { attempt: number }).attempt);
      expect(attempts).toEqual([1, 2]);
      if (signal === "SIGSTOP") {
        await expect.poll(async () => (await runsOf(first)).runs, { timeout: 10_000 }).toBe(0);
        const after = await api.client.threads.getState<{ steps: string[] }>(threadId);
        expect(after.values.steps).toEqual(["first", "waited"]);
        expect(after.checkpoint).toEqual((await api.client.threads.getState(threadId)).checkpoint);
      }
    },
  );

  it("a worker that is stopped politely gives its run back at once, its attempt unspent", async () => {
    const { serve, gate } = await openCluster();
    const [api, first] = await Promise.all([serve("api"), serve("worker")]);
    const { threadId, runId } = await startHeld(api.client, gate);
    const second = await serve("worker");
    const stoppedAt = Date.now();
    await first.stop("SIGTERM");
    await expect.poll(async () => (await runsOf(second)).runs, { timeout: 10_000 }).toBe(1);
    expect(Date.now() - stoppedAt).toBeLessThan(LEASE_SECONDS * 1_000);
    writeFileSync(gate, "");
    await api.client.runs.join(threadId, runId);
    for await (const { event, data } of api.client.runs.joinStream(threadId, runId)) {
      if (event === "metadata") expect(data).toMatchObject({ attempt: 1 });
    }
  });
});
