/** Who is slow to send a request, and who is not: connections of which Node says that they took too long. */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { afterEach, expect, it } from "vitest";
import { systemClock } from "../../src/core/clock.js";
import { silentLog } from "../../src/core/log.js";
import { createListener, type Listener } from "../../src/listener.js";

const REQUEST_MS = 100;
/** Node looks every second who is slow. */
const STANDSTILL_MS = 1_200;

const HEAD_OF_SIX = "POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 6\r\n\r\n";

const sockets: Socket[] = [];
const listeners: Listener[] = [];
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  for (const listener of listeners.splice(0)) await listener.closeConnections();
});

/** A connection to a gateway that says what it was sent; `begun` resolves when it has the head of a request. */
async function open() {
  let begin = (): void => {};
  const begun = new Promise<void>((resolve) => {
    begin = resolve;
  });
  const listener = createListener({
    async fetch(request) {
      begin();
      return new Response(`got ${await request.text()}`);
    },
    upgrade: (_request, socket) => socket.destroy(),
    requestTimeoutMs: REQUEST_MS,
    maxConnections: 10,
    clock: systemClock,
    log: silentLog,
  });
  listeners.push(listener);
  const { hostname, port } = new URL(await listener.listen("127.0.0.1", 0));
  const socket = connect(Number(port), hostname);
  sockets.push(socket);
  await once(socket, "connect");
  return { socket, begun };
}

/** A connection on which half of a request has come, and nothing else yet. */
async function openInTheMiddle(): Promise<Socket> {
  const { socket, begun } = await open();
  socket.write(`${HEAD_OF_SIX}abc`);
  await begun;
  return socket;
}

/** Until the connection ends. */
async function answerOn(socket: Socket): Promise<string> {
  let answer = "";
  for await (const chunk of socket) answer += chunk;
  return answer;
}

function standStill(): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, STANDSTILL_MS);
}

it("a request that came in time is served, whenever the process gets to read it", async () => {
  const socket = await openInTheMiddle();
  socket.write("def");
  standStill();
  expect(await answerOn(socket)).toMatch(/^HTTP\/1.1 200 OK.*got abcdef$/s);
});

it("a request that does not come to its end is refused", async () => {
  const socket = await openInTheMiddle();
  expect(await answerOn(socket)).toMatch(/^HTTP\/1.1 408 .*"the request took too long to arrive"/s);
});

it("so is one that only went on while the process stood still", async () => {
  const socket = await openInTheMiddle();
  socket.write("d");
  standStill();
  expect(await answerOn(socket)).toMatch(/^HTTP\/1.1 408 /);
});

it("a connection on which nothing came is closed without a word, which would answer what comes just now", async () => {
  const { socket } = await open();
  expect(await answerOn(socket)).toBe("");
});
