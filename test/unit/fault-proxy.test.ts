/** The fault proxy of the cluster suites does what it says, to plain sockets: a proxy that does nothing proves nothing. */
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { expect, it, onTestFinished } from "vitest";
import { type FaultProxy, startFaultProxy, type Weather } from "../support/fault-proxy.js";

it("carries both ways, and ends both ways", async () => {
  const { target, client } = await link();
  client.say("ping");
  await target.heard("ping");
  target.say("pong");
  await client.heard("pong");
  client.socket.end("last words");
  await target.heard("pinglast words");
  target.socket.end("bye");
  await client.heard("pongbye");
  expect(await client.closed).toBe("ended");
});

it("carries much, whichever side reads slowly", async () => {
  const { target, client } = await link();
  const much = "0123456789".repeat(1_000_000);
  target.socket.end(much);
  await expect.poll(() => client.text().length, { timeout: 20_000 }).toBe(much.length);
  expect(client.text() === much).toBe(true);
});

it("resets both sides of what is open when it is told to cut, and takes new connections", async () => {
  const { proxy, target, client, another } = await link();
  proxy.cut();
  expect(await client.closed).toBe("ECONNRESET");
  expect(await target.closed).toBe("ECONNRESET");
  const next = await another();
  next.client.say("again");
  await next.target.heard("again");
  expect(proxy.connections).toBe(2);
});

it("refuses, and comes back at the same port", async () => {
  const { proxy, client, another } = await link();
  const host = proxy.host;
  await proxy.become({ kind: "refuse" });
  expect(await client.closed).toBe("ECONNRESET");
  expect(await open(proxy).closed).toBe("ECONNREFUSED");
  await proxy.become({ kind: "clear" });
  expect(proxy.host).toBe(host);
  const next = await another();
  next.client.say("again");
  await next.target.heard("again");
});

it.each([
  ["both", false, false],
  ["to-target", false, true],
  ["to-client", true, false],
] as const)("is silent %s until the weather is another: then everything arrives", async (way, up, down) => {
  const { proxy, target, client } = await link();
  await proxy.become({ kind: "silent", way });
  client.say("ping");
  target.say("pong");
  if (up) await target.heard("ping");
  if (down) await client.heard("pong");
  // What a second connection without the fault has carried to and fro, the first would have, too.
  const { target: otherTarget, client: otherClient } = await link();
  otherClient.say("a");
  await otherTarget.heard("a");
  otherTarget.say("b");
  await otherClient.heard("b");
  expect([target.text(), client.text()]).toEqual([up ? "ping" : "", down ? "pong" : ""]);
  await proxy.become({ kind: "clear" });
  await target.heard("ping");
  await client.heard("pong");
});

it("tells nobody of an end while it is silent", async () => {
  const { proxy, target, client } = await link();
  await proxy.become({ kind: "silent", way: "both" });
  client.socket.resetAndDestroy();
  await client.closed;
  target.say("are you there?"); // goes into the proxy and no further
  expect(target.socket.readyState).toBe("open");
  await proxy.become({ kind: "clear" });
  expect(await target.closed).toBe("ECONNRESET");
});

it("abandons: the target is gone, the client is not told, and new connections are whole", async () => {
  const { proxy, target, client, another } = await link();
  proxy.abandon();
  await target.closed;
  client.say("anybody?");
  const next = await another();
  next.client.say("yes");
  await next.target.heard("yes");
  await proxy.become({ kind: "silent", way: "to-client" });
  await proxy.become({ kind: "clear" }); // no weather brings it back
  expect([client.socket.readyState, client.text()]).toEqual(["open", ""]);
  proxy.cut();
  expect(await client.closed).toBe("ECONNRESET");
});

it("delays each way without holding the line", async () => {
  const { proxy, target, client } = await link();
  await proxy.become({ kind: "clear", delayMs: 100 });
  const from = performance.now();
  for (let n = 0; n < 10; n++) {
    client.say(String(n));
    await new Promise((resolve) => setImmediate(resolve));
  }
  await target.heard("0123456789");
  const took = performance.now() - from;
  expect(took).toBeGreaterThanOrEqual(100);
  expect(took).toBeLessThan(1_000); // ten delays in a row
  await proxy.become({ kind: "clear" });
  target.say("pong");
  await client.heard("pong");
});

it("cuts after so many bytes of answer, of open connections as of new ones", async () => {
  const { proxy, target, client, another } = await link();
  target.say("12345");
  await client.heard("12345");
  await proxy.become({ kind: "cutting", afterBytes: (n) => (n === 2 ? undefined : 3) });
  target.say("67890");
  await client.closed; // Node tells a reset that came with data as an end
  expect(client.text()).toBe("12345678");
  const second = await another();
  second.target.say("abcdef");
  await second.client.closed;
  expect(second.client.text()).toBe("abc");
  const third = await another();
  third.target.say("abcdef");
  await third.client.heard("abcdef");
});

it("passes on that the target refuses", async () => {
  const closedPort = await portOfNobody();
  const proxy = await startFaultProxy(`postgres://somebody@127.0.0.1:${closedPort}/any`);
  onTestFinished(() => proxy.close());
  expect(await open(proxy).closed).toBe("ECONNRESET");
});

interface End {
  readonly socket: Socket;
  say(text: string): void;
  text(): string;
  /** Resolves when that is all that came. */
  heard(text: string): Promise<void>;
  /** How it came to its end: an error's code, or `ended`. */
  readonly closed: Promise<string>;
}

/** A target, a proxy before it, and one connection through. */
async function link(weather?: Weather) {
  const arrivals: ((end: End) => void)[] = [];
  const server = createServer({ allowHalfOpen: true }, (socket) => arrivals.shift()?.(endOf(socket)));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo; // listens on TCP
  const proxy = await startFaultProxy(`tcp://127.0.0.1:${port}`, weather);
  onTestFinished(async () => {
    await proxy.close();
    server.close();
  });
  const another = async () => {
    const arrived = new Promise<End>((resolve) => void arrivals.push(resolve));
    const client = open(proxy);
    return { client, target: await arrived };
  };
  return { proxy, another, ...(await another()) };
}

function open(proxy: FaultProxy): End {
  const [host, port] = proxy.host.split(":");
  return endOf(connect({ host: host ?? "", port: Number(port) }));
}

function endOf(socket: Socket): End {
  let text = "";
  let failure = "ended";
  socket.setEncoding("utf8");
  socket.on("data", (data: string) => {
    text += data;
  });
  socket.on("error", (error: NodeJS.ErrnoException) => {
    failure = error.code ?? error.message;
  });
  onTestFinished(() => void socket.destroy());
  return {
    socket,
    say: (words) => void socket.write(words),
    text: () => text,
    heard: (words) => expect.poll(() => text, { interval: 2 }).toBe(words),
    closed: new Promise((resolve) => socket.on("close", () => resolve(failure))),
  };
}

async function portOfNobody(): Promise<number> {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo; // listens on TCP
  server.close();
  await once(server, "close");
  return port;
}
