/** What the shipped nginx.conf does to traffic, seen from a server behind it that shows exactly what arrives. */
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { NGINX, NGINX_CONF, NGINX_MISSING, type Nginx, startNginx } from "../support/nginx.js";
import { runProgram } from "../support/process.js";

const MEGABYTE = 1_024 ** 2;

beforeEach((context) => context.skip(NGINX === undefined, NGINX_MISSING));

describe("nginx.conf as shipped", () => {
  it("is accepted as it stands and keeps its files under the folder of -p", async () => {
    const folder = mkdtempSync(join(tmpdir(), "heddle-nginx-"));
    const end = await runProgram(NGINX ?? "", ["-t", "-e", "stderr", "-p", folder, "-c", NGINX_CONF]);
    rmSync(folder, { recursive: true });

    expect(end.stderr.join("\n")).toContain("test is successful");
    expect(end.code).toBe(0);
  });
});

describe("between a client and the gateway", () => {
  let upstream: Server;
  let answer: (request: IncomingMessage, response: ServerResponse) => void;
  let nginx: Nginx;

  beforeEach(async () => {
    upstream = createServer((request, response) => answer(request, response));
    await new Promise<void>((resolve) => upstream.listen(0, "127.0.0.1", resolve));
    nginx = await startNginx((upstream.address() as AddressInfo).port); // listens on TCP
  });

  afterEach(async () => {
    upstream?.closeAllConnections();
    upstream?.close();
    await nginx?.stop();
  });

  it("maps /api/langgraph/* to /api/* and leaves everything else alone", async () => {
    answer = (request, response) => response.end(request.url);
    const seen = (path: string) => fetch(nginx.url + path).then((response) => response.text());

    expect(await seen("/api/langgraph/threads/t1/runs?limit=2&q=a%2Fb%20c")).toBe(
      "/api/threads/t1/runs?limit=2&q=a%2Fb%20c",
    );
    expect(await seen("/api/threads")).toBe("/api/threads");
    expect(await seen("/threads/a%3Ab/state")).toBe("/threads/a%3Ab/state");
    expect(await seen("/ok")).toBe("/ok");
  });

  it("leaves Location and Content-Location as paths without the prefix", async () => {
    const location = "/threads/t1/runs/r1/stream";
    answer = (_, response) => {
      response.writeHead(200, { location, "content-location": "/threads/t1/runs/r1" }).end();
    };

    const { headers } = await fetch(`${nginx.url}/api/langgraph/threads/t1/runs/stream`, { method: "POST" });

    expect(headers.get("location")).toBe(location);
    expect(headers.get("content-location")).toBe("/threads/t1/runs/r1");
  });

  it("passes every token on before the next one exists, uncompressed", async () => {
    let next: () => void = () => {};
    answer = async (_, response) => {
      response.writeHead(200, { "content-type": "text/event-stream" }).flushHeaders();
      for (let token = 0; token < 50; token++) {
        await new Promise<void>((resolve) => {
          next = resolve;
        });
        response.write(`data: ${token}\n\n`);
      }
      response.end();
    };
    const response = await fetch(`${nginx.url}/api/langgraph/x`, { headers: { "accept-encoding": "gzip" } });
    const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();

    const seen: (string | undefined)[] = [];
    for (let token = 0; token < 50; token++) {
      next(); // only now is the token written
      seen.push((await reader?.read())?.value);
    }

    expect(seen).toEqual(Array.from({ length: 50 }, (_, token) => `data: ${token}\n\n`));
    expect(response.headers.get("content-encoding")).toBeNull();
  });

  it("tells the gateway within a second that a client went away in mid-stream", async () => {
    const noticed = new Promise<number>((resolve) => {
      answer = (_, response) => {
        response.on("close", () => resolve(Date.now()));
        response.writeHead(200, { "content-type": "text/event-stream" });
        response.write("data: 1\n\n");
      };
    });
    const leave = new AbortController();
    const response = await fetch(`${nginx.url}/threads/t/runs/stream`, {
      method: "POST",
      body: "{}",
      signal: leave.signal,
    });
    await response.body?.getReader().read();

    const leftAt = Date.now();
    leave.abort();

    expect((await noticed) - leftAt).toBeLessThan(1_000);
  });

  it("tells it before the first byte of the answer, too", async () => {
    const leave = new AbortController();
    const noticed = new Promise<void>((resolve) => {
      answer = (request, response) => {
        response.on("close", resolve);
        request.resume().on("end", () => leave.abort());
      };
    });

    const answered = fetch(`${nginx.url}/runs/wait`, { method: "POST", body: "{}", signal: leave.signal });

    await expect(answered).rejects.toThrow("aborted");
    await noticed;
  });

  it("hands a stream that the gateway breaks on as broken, not as ended", async () => {
    answer = (_, response) => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.write("data: 1\n\n", () => response.destroy());
    };

    const response = await fetch(`${nginx.url}/threads/t/runs/stream`, { method: "POST" });

    await expect(response.text()).rejects.toThrow("terminated");
  });

  it("never sends a POST twice, not even over a kept connection that died", async () => {
    const posts: number[] = [];
    answer = (request, response) => {
      if (request.method === "GET") {
        response.end("ok");
        return;
      }
      posts.push(request.socket.remotePort ?? 0);
      request.resume().on("end", () => request.socket.destroy());
    };
    let keptPort = 0;
    upstream.once("connection", (socket) => {
      keptPort = socket.remotePort ?? 0;
    });
    await fetch(nginx.url).then((response) => response.text()); // nginx keeps this connection

    const response = await fetch(`${nginx.url}/threads/t/runs`, { method: "POST", body: "{}" });

    expect(response.status).toBe(502);
    expect(await response.json()).toEqual({ detail: "the gateway does not answer" });
    expect(posts).toEqual([keptPort]);
  });

  it("answers as the API does when there is no gateway", async () => {
    upstream.close();
    const response = await fetch(`${nginx.url}/threads`);

    expect(response.status).toBe(502);
    expect(await response.json()).toEqual({ detail: "the gateway does not answer" });
  });

  it("passes a body of 20 MB on while it comes", async () => {
    const half = Buffer.alloc(10 * MEGABYTE, "x");
    let firstHalfArrived: () => void = () => {};
    answer = (request, response) => {
      let received = 0;
      request.on("data", (chunk: Buffer) => {
        received += chunk.length;
        if (received === half.length) firstHalfArrived();
      });
      request.on("end", () => response.end(String(received)));
    };
    const headers = { "content-length": 2 * half.length };
    const upload = request(`${nginx.url}/threads/t/runs`, { method: "POST", headers });
    const arrived = new Promise<void>((resolve) => {
      firstHalfArrived = resolve;
    });

    upload.write(half);
    await arrived; // the second half has not been sent yet
    upload.end(half);
    const [response] = (await once(upload, "response")) as [IncomingMessage];

    expect(Buffer.concat(await response.toArray()).toString()).toBe(String(20 * MEGABYTE));
  });

  it("refuses a larger body as the API does", async () => {
    answer = (_, response) => response.end("arrived");
    const headers = { "content-length": 20 * MEGABYTE + 1 };
    const upload = request(`${nginx.url}/threads/t/runs`, { method: "POST", headers });
    upload.flushHeaders();
    const [response] = (await once(upload, "response")) as [IncomingMessage];
    const body: unknown = JSON.parse(Buffer.concat(await response.toArray()).toString());
    upload.destroy();

    expect(response.statusCode).toBe(413);
    expect(body).toEqual({ detail: "the request body is larger than 20 MB" });
  });

  it("lets WebSockets through in both directions", async () => {
    const asked = new Promise<string>((resolve) => {
      upstream.on("upgrade", (request, socket) => {
        resolve(`${request.url} ${request.headers.upgrade}`);
        socket.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
        socket.pipe(socket);
      });
    });
    const headers = { connection: "Upgrade", upgrade: "websocket" };
    const client = request(`${nginx.url}/api/langgraph/threads/t/stream`, { headers }).end();
    const [, socket] = (await once(client, "upgrade")) as [IncomingMessage, Socket];

    socket.write("ping");
    const [echo] = (await once(socket, "data")) as [Buffer];
    socket.destroy();

    expect(await asked).toBe("/api/threads/t/stream websocket");
    expect(echo.toString()).toBe("ping");
  });

  it("says where a request came from and which host was asked", async () => {
    answer = ({ headers }, response) => response.end(JSON.stringify(headers));
    const headers = { "x-forwarded-proto": "https", "x-forwarded-for": "192.0.2.1" };
    const seen = await fetch(nginx.url, { headers }).then((response) => response.json());

    expect(seen).toMatchObject({
      host: new URL(nginx.url).host,
      "x-forwarded-proto": "https",
      "x-forwarded-for": "192.0.2.1, 127.0.0.1",
    });
  });
});
