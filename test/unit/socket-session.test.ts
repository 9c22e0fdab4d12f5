/** How long a WebSocket is waited for: one that takes nothing, and one that answers no ping. */
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, it, vi } from "vitest";
import { WebSocket, WebSocketServer } from "ws";
import { createEndlessStreams } from "../../src/api/endless-stream.js";
import { createEventStreams } from "../../src/api/protocol-stream.js";
import { openSocketSession } from "../../src/api/socket-session.js";
import { ANYONE } from "../../src/core/caller.js";
import { silentLog } from "../../src/core/log.js";
import { createMetrics } from "../../src/core/metrics.js";
import type { ProtocolEvent } from "../../src/protocol/event.js";
import type { ThreadLog } from "../../src/protocol/thread-log.js";
import { createFakeClock } from "../support/fake-clock.js";

const closing: (() => void)[] = [];
afterEach(() => {
  for (const close of closing.splice(0)) close();
});

const eventOf = (seq: number, text: string): ProtocolEvent => ({
  id: `1-${seq}`,
  seq,
  method: "custom",
  channel: "custom",
  namespace: [],
  timestamp: 0,
  data: JSON.stringify({ payload: text }),
});

/** Both ends of a socket on a thread that says `events`. */
async function connect(events: readonly ProtocolEvent[], options: { readonly autoPong?: boolean } = {}) {
  const clock = createFakeClock();
  const server = new WebSocketServer({ port: 0, host: "127.0.0.1" });
  await once(server, "listening");
  const client = new WebSocket(`ws://127.0.0.1:${(server.address() as AddressInfo).port}`, options);
  const opened = once(client, "open");
  const [socket] = (await once(server, "connection")) as [WebSocket];
  await opened;
  closing.push(() => {
    client.terminate();
    socket.terminate();
    server.close();
  });
  const threadLog: ThreadLog = {
    async *read(_threadId, { signal }) {
      yield events;
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
    },
    end: async () => 0,
    tree: async () => [],
    within: () => threadLog,
  };
  const deps = { clock, log: silentLog, metrics: createMetrics() };
  const streams = createEventStreams(threadLog, createEndlessStreams(deps));
  const commands = { as: () => ({ execute: () => Promise.reject(new Error("no command")) }) };
  const headerRules = { includes: [], excludes: [] };
  openSocketSession(
    { ...deps, commands, streams, headerRules },
    { socket, threadId: "t", headers: new Headers(), caller: ANYONE },
  );
  client.send('{"id":1,"method":"subscription.subscribe","params":{"channels":["custom"]}}');
  return { clock, client, socket };
}

describe("a socket that takes nothing", () => {
  const flood = Array.from({ length: 64 }, (_, seq) => eventOf(seq + 1, "x".repeat(256 * 1_024)));

  it("is cut off after 30 s", async () => {
    const { clock, client, socket } = await connect(flood);
    client.pause();
    await vi.waitFor(() => expect(socket.bufferedAmount).toBeGreaterThan(0), { timeout: 15_000 });
    clock.advance(14_000);
    clock.advance(14_000);
    expect(socket.readyState).toBe(WebSocket.OPEN);
    clock.advance(2_000);
    await vi.waitFor(() => expect(socket.readyState).toBe(WebSocket.CLOSED), { timeout: 15_000 });
  });

  it("for a while, and then does, is told all", async () => {
    const { clock, client, socket } = await connect(flood);
    client.pause();
    await vi.waitFor(() => expect(socket.bufferedAmount).toBeGreaterThan(0), { timeout: 15_000 });
    clock.advance(14_000);
    let received = 0;
    client.on("message", () => received++);
    client.resume();
    await vi.waitFor(() => expect(received).toBeGreaterThanOrEqual(flood.length), { timeout: 15_000 });
    clock.advance(10_000);
    expect(socket.readyState).toBe(WebSocket.OPEN);
  });
});

describe("a ping", () => {
  it("goes out every 15 s, and whoever answers stays", async () => {
    const { clock, client, socket } = await connect([]);
    for (let round = 0; round < 4; round++) {
      const [pinged, answered] = [once(client, "ping"), once(socket, "pong")];
      clock.advance(15_000);
      await Promise.all([pinged, answered]);
    }
    expect(socket.readyState).toBe(WebSocket.OPEN);
  });

  it("that is not answered before the next is the last", async () => {
    const { clock, client, socket } = await connect([], { autoPong: false });
    const pinged = once(client, "ping");
    clock.advance(15_000);
    await pinged;
    expect(socket.readyState).toBe(WebSocket.OPEN);
    clock.advance(15_000);
    await vi.waitFor(() => expect(socket.readyState).toBe(WebSocket.CLOSED), { timeout: 15_000 });
    expect(clock.pending()).toBe(0);
  });
});
