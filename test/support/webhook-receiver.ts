/** Somebody who receives webhooks on this machine, well or badly. */
import { once } from "node:events";
import { createServer, type IncomingHttpHeaders } from "node:http";
import type { AddressInfo, Socket } from "node:net";

/** What a receiver does with a request that it has read. */
export type Reaction = "ok" | "error" | "hang" | "reset" | "redirect" | "flood";

export interface ReceivedWebhook {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
  readonly reaction: Reaction;
  /** `performance.now()` */
  readonly at: number;
}

export interface WebhookReceiver {
  readonly url: string;
  /** Without brackets and port. */
  readonly port: number;
  readonly received: readonly ReceivedWebhook[];
  /** How many connections were made to it. */
  connections(): number;
  /** Resolves with the first webhook that fits. */
  next(fits?: (webhook: ReceivedWebhook) => boolean): Promise<ReceivedWebhook>;
  stop(): Promise<void>;
}

export interface ReceiverOptions {
  readonly react?: (request: { readonly headers: IncomingHttpHeaders }) => Reaction;
  /** Where `redirect` points. */
  readonly elsewhere?: string;
  readonly host?: string;
}

/** Says `ok` unless told otherwise. */
export async function startReceiver(options: ReceiverOptions = {}): Promise<WebhookReceiver> {
  const { react = () => "ok", elsewhere = "http://169.254.169.254/latest/meta-data/", host = "127.0.0.1" } = options;
  const received: ReceivedWebhook[] = [];
  const waiting = new Set<() => void>();
  const sockets = new Set<Socket>();
  let connections = 0;

  const server = createServer(async (request, response) => {
    const body = Buffer.concat(await request.toArray()).toString("utf8");
    const reaction = react(request);
    received.push({ path: request.url ?? "", headers: request.headers, body, reaction, at: performance.now() });
    for (const look of waiting) look();
    switch (reaction) {
      case "ok":
        response.writeHead(204).end();
        break;
      case "error":
        response.writeHead(500).end("out of order");
        break;
      case "redirect":
        response.writeHead(307, { location: elsewhere }).end();
        break;
      case "reset":
        request.socket.resetAndDestroy();
        break;
      case "flood": {
        response.writeHead(200);
        const pour = (): void => void (response.writable && response.write("x".repeat(16_384), pour));
        pour();
        break;
      }
      case "hang":
        break;
    }
  });
  server.on("connection", (socket) => {
    connections++;
    sockets.add(socket);
    socket.on("error", () => {}); // it is cut off, too
    socket.on("close", () => sockets.delete(socket));
  });
  server.listen(0, host);
  await once(server, "listening");
  const { port } = server.address() as AddressInfo; // it listens on a port
  return {
    url: `http://${host}:${port}/hook`,
    port,
    received,
    connections: () => connections,
    next: (fits = () => true) =>
      new Promise((resolve) => {
        const look = (): void => {
          const found = received.find(fits);
          if (found === undefined) return;
          waiting.delete(look);
          resolve(found);
        };
        waiting.add(look);
        look();
      }),
    async stop() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}
