/**
 * The HTTP server of Node around a fetch handler: limits in time and number, and an end that loses no answer.
 *
 * Stopping takes three steps, because what is under way in between is not the listener's business: `refuse`, then
 * whatever ends the open answers, then `closeConnections`.
 */
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import type { Duplex } from "node:stream";
import { getRequestListener } from "@hono/node-server";
import { answerUnreadable, refuseUnreadable } from "./api/unreadable.js";
import type { Clock } from "./core/clock.js";
import type { Log } from "./core/log.js";

export interface ListenerOptions {
  readonly fetch: Parameters<typeof getRequestListener>[0];
  /** Takes over connections that ask for another protocol. */
  readonly upgrade: (request: IncomingMessage, socket: Duplex, head: Buffer) => void;
  /** How long a client may take to send a whole request; 0: for as long as it wants. */
  readonly requestTimeoutMs: number;
  readonly maxConnections: number;
  readonly clock: Clock;
  readonly log: Log;
}

export interface Listener {
  /** Resolves with `http://HOST:PORT` once requests are answered; rejects when the address cannot be had. */
  listen(host: string, port: number): Promise<string>;
  /** Takes no new connections; what is open goes on. */
  refuse(): void;
  /** Lets complete answers leave, then cuts what is left. Resolves when no connection is open. */
  closeConnections(): Promise<void>;
}

/** How long a client may take to send the head of a request. */
const HEADERS_MS = 10_000;
const LOOK_FOR_SLOW_MS = 1_000;
/** Longer than proxies keep idle connections to their upstream, so that it is them who close. */
const KEEP_ALIVE_MS = 75_000;
/** How long answers that are complete may take to reach their clients. */
const FLUSH_MS = 1_000;
const LOOK_AGAIN_MS = 10;

export function createListener({
  fetch,
  upgrade,
  requestTimeoutMs,
  maxConnections,
  clock,
  log,
}: ListenerOptions): Listener {
  const onRequest = getRequestListener(fetch, { errorHandler: answerUnreadable(log) });
  // Without a Host header Node itself would refuse a request, without saying why.
  const server = createServer({ requireHostHeader: false, connectionsCheckingInterval: LOOK_FOR_SLOW_MS }, onRequest);
  // Node takes the longer of both for the request.
  server.headersTimeout = requestTimeoutMs === 0 ? HEADERS_MS : Math.min(HEADERS_MS, requestTimeoutMs);
  server.requestTimeout = requestTimeoutMs;
  server.maxConnections = maxConnections;
  server.keepAliveTimeout = KEEP_ALIVE_MS;
  refuseUnreadable(server, { requestTimeoutMs, clock });
  server.on("upgrade", (request, socket, head) => {
    const isWebSocket = request.method === "GET" && request.headers.upgrade?.toLowerCase() === "websocket";
    if (isWebSocket) return upgrade(request, socket, head);
    // Clients that offer another protocol (HTTP/2, for example) go on with this one where they are not taken up on it.
    socket.unshift(Buffer.concat([headWithoutUpgrade(request), head]));
    server.emit("connection", socket);
  });

  return {
    async listen(host, port) {
      await new Promise<void>((resolve, reject) => {
        server.once("error", reject);
        server.listen(port, host, () => resolve());
      });
      const address = server.address() as AddressInfo; // listening on TCP
      const shown = address.family === "IPv6" ? `[${address.address}]` : address.address;
      return `http://${shown}:${address.port}`;
    },

    refuse() {
      server.close();
      server.closeIdleConnections();
    },

    async closeConnections() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve())); // also when it is closed already
      const until = clock.now() + FLUSH_MS;
      const look = (): void => {
        if (clock.now() >= until) server.closeAllConnections();
        else server.closeIdleConnections();
        forgetLook = clock.after(LOOK_AGAIN_MS, look);
      };
      let forgetLook = (): void => {};
      look();
      await closed;
      forgetLook();
    },
  };
}

/** The request's head as it came, without the offer to change the protocol. */
function headWithoutUpgrade({ method, url, httpVersion, rawHeaders }: IncomingMessage): Buffer {
  const lines = [`${method} ${url} HTTP/${httpVersion}`];
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] ?? "";
    if (!/^(upgrade|connection|http2-settings)$/i.test(name)) lines.push(`${name}: ${rawHeaders[at + 1]}`);
  }
  return Buffer.from(`${lines.join("\r\n")}\r\n\r\n`, "latin1"); // as Node reads them
}
