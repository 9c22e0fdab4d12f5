/** One try, against receivers that do everything but answer properly: how long it takes, what is read, what it amounts to. */
import { channel } from "node:diagnostics_channel";
import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { describe, expect, it, onTestFinished } from "vitest";
import { createPost, type PostResult } from "../../src/webhooks/post.js";
import { createFakeClock } from "../support/fake-clock.js";

const MESSAGE = { headers: { "content-type": "application/json", "x-a": "b" }, body: '{"é":1}', user: null };

/** A server that says what the test tells it to, byte by byte, when a whole request is there. */
async function open(answer: (socket: Socket, request: string) => void) {
  const clock = createFakeClock();
  const requests: string[] = [];
  const server = createServer((socket) => {
    socket.on("error", () => {}); // the other side may cut it off
    let read = "";
    socket.on("data", (chunk) => {
      read += chunk.toString("utf8");
      if (!read.endsWith(MESSAGE.body)) return;
      requests.push(read);
      answer(socket, read);
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => void server.close());
  const { port } = server.address() as AddressInfo; // it listens on a port
  const stop = new AbortController();
  const post = createPost({
    resolve: () => new Promise(() => {}),
    own: () => new Promise(() => {}),
    clock,
    timeoutMs: 10_000,
    allowPrivate: true,
  });
  const url = new URL(`http://127.0.0.1:${port}/a/b?c=d`);
  return {
    clock,
    port,
    stop,
    requests,
    post: () => post({ kind: "remote", url, hostname: url.hostname }, MESSAGE, stop.signal),
    postTo: (target: Parameters<typeof post>[0]) => post(target, MESSAGE, stop.signal),
  };
}

describe("a try", () => {
  it("is one POST with the body and its length, on a connection of its own", async () => {
    const { post, port, requests } = await open((socket) =>
      socket.end("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"),
    );
    expect(await post()).toEqual({ kind: "delivered", status: 200 });
    const [head = "", body] = (requests[0] ?? "").split("\r\n\r\n");
    const [line, ...headers] = head.split("\r\n");
    expect(line).toBe("POST /a/b?c=d HTTP/1.1");
    expect(headers.map((header) => header.toLowerCase()).sort()).toEqual([
      "connection: close",
      "content-length: 8",
      "content-type: application/json",
      `host: 127.0.0.1:${port}`,
      "x-a: b",
    ]);
    expect(body).toBe(MESSAGE.body);
  });

  it.each([
    ["200 OK", { kind: "delivered", status: 200 }],
    ["202 Accepted", { kind: "delivered", status: 202 }],
    ["204 No Content", { kind: "delivered", status: 204 }],
    ["301 Moved Permanently", { kind: "failed", reason: "answered with 301" }],
    ["304 Not Modified", { kind: "failed", reason: "answered with 304" }],
    ["400 Bad Request", { kind: "failed", reason: "answered with 400" }],
    ["503 Service Unavailable", { kind: "failed", reason: "answered with 503" }],
  ] as const)("that is answered with %s", async (status, result) => {
    const { post } = await open((socket) => socket.end(`HTTP/1.1 ${status}\r\nlocation: http://127.0.0.1:1/\r\n\r\n`));
    expect(await post()).toEqual(result);
  });

  it.each<readonly [string, (socket: Socket) => void]>([
    ["closes the connection", (socket) => socket.end()],
    ["resets it", (socket) => socket.resetAndDestroy()],
    ["says what is no HTTP", (socket) => socket.end("hello\r\n\r\n")],
    ["breaks off in its headers", (socket) => socket.end("HTTP/1.1 200 OK\r\ncontent-")],
    [
      "changes the protocol",
      (socket) => socket.end("HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"),
    ],
    ["has endless headers", (socket) => socket.end(`HTTP/1.1 200 OK\r\n${"x: y\r\n".repeat(10_000)}\r\n`)],
  ])("fails when the receiver %s", async (_what, answer) => {
    const { post } = await open(answer);
    expect(await post()).toEqual({ kind: "failed", reason: expect.stringMatching(/\w/) });
  });

  it("fails when nobody listens", async () => {
    const { postTo } = await open(() => {});
    const url = new URL("http://127.0.0.1:1/");
    expect(await postTo({ kind: "remote", url, hostname: url.hostname })).toMatchObject({ kind: "failed" });
  });
});

describe("ten seconds", () => {
  const NO_ANSWER: PostResult = { kind: "failed", reason: "no answer within 10 s" };

  it("are what a receiver has that takes the request and says nothing", async () => {
    const kit = await open(() => kit.clock.advance(10_000));
    expect(await kit.post()).toEqual(NO_ANSWER);
    expect(kit.clock.pending()).toBe(0);
  });

  it("are what one has that says it slowly", async () => {
    const kit = await open((socket) => {
      socket.write("HTTP/1.1 200 OK\r\nx-slow: ");
      kit.clock.advance(10_000);
    });
    expect(await kit.post()).toEqual(NO_ANSWER);
  });

  it("are what a name has to be resolved, and what a path of the gateway's own has", async () => {
    const { postTo, clock } = await open(() => {});
    const url = new URL("http://nobody.example/");
    const named = postTo({ kind: "remote", url, hostname: url.hostname });
    clock.advance(10_000);
    expect(await named).toEqual(NO_ANSWER);
    const own = postTo({ kind: "own", path: "/runs" });
    clock.advance(10_000);
    expect(await own).toEqual(NO_ANSWER);
  });

  it("do not take back a 2xx whose body does not end", async () => {
    const answered = channel("http.client.response.finish"); // when the headers of an answer are there
    const kit = await open((socket) => void socket.write("HTTP/1.1 200 OK\r\n\r\nand"));
    const onAnswer = (): void => void setImmediate(() => kit.clock.advance(10_000));
    answered.subscribe(onAnswer);
    onTestFinished(() => void answered.unsubscribe(onAnswer));
    expect(await kit.post()).toEqual({ kind: "delivered", status: 200 });
    expect(kit.clock.pending()).toBe(0);
  });
});

describe("an answer without an end", () => {
  it("is read no further than 64 KB, and counts by its status", async () => {
    let written = 0;
    const { post } = await open((socket) => {
      socket.write("HTTP/1.1 200 OK\r\n\r\n");
      const pour = (): void => {
        if (!socket.writable) return;
        written += 1_024;
        socket.write("x".repeat(1_024), pour);
      };
      pour();
    });
    expect(await post()).toEqual({ kind: "delivered", status: 200 });
    expect(written).toBeLessThan(16 * 1_024 ** 2); // and what the system's buffers took
  });
});

describe("a stop", () => {
  it("cuts off what is under way, and nothing begins after it", async () => {
    const kit = await open(() => kit.stop.abort());
    expect(await kit.post()).toEqual({ kind: "stopped" });
    expect(await kit.post()).toEqual({ kind: "stopped" });
    expect(kit.requests).toHaveLength(1);
  });
});
