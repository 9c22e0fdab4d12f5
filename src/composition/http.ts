/** What connections meet: HTTP and WebSockets on one port. It is opened and closed by `server.ts`. */
import type { Upgrade } from "../api/app.js";
import { createSocketServer } from "../api/websocket.js";
import type { Config } from "../config.js";
import type { Authenticate } from "../core/caller.js";
import type { Log } from "../core/log.js";
import type { Metrics } from "../core/metrics.js";
import { createListener } from "../listener.js";
import type { App } from "./app.js";
import type { Routes } from "./routes.js";
import type { Storage } from "./storage.js";

interface HttpDeps {
  readonly config: Config;
  readonly app: App;
  readonly protocolDeps: Routes["protocolDeps"];
  readonly authenticate: Authenticate;
  readonly admitTicket: Authenticate;
  readonly clock: Storage["clock"];
  readonly log: Log;
  readonly metrics: Metrics;
}

export function createHttp({ config, app, protocolDeps, authenticate, admitTicket, clock, log, metrics }: HttpDeps) {
  const { server } = config;
  const { basePaths, cors, bodyLimit } = server;
  const sockets = createSocketServer({
    ...protocolDeps,
    basePaths,
    cors,
    bodyLimit,
    authenticate,
    admitTicket,
    askApp: app.custom === null ? null : (request) => askForUpgrade(app, request),
    clock,
    log,
    metrics,
  });
  const listener = createListener({
    fetch: (request, bindings) => app.fetch(request, bindings),
    upgrade: sockets.upgrade,
    requestTimeoutMs: server.requestTimeoutSeconds * 1_000,
    maxConnections: server.maxConnections,
    clock,
    log,
  });
  return { listener, sockets };
}

/** What connections meet at a replica that serves no clients: the answers of `app`, and no WebSockets. */
export function createBareListener({ config, app, clock, log }: Pick<HttpDeps, "config" | "app" | "clock" | "log">) {
  return createListener({
    fetch: (request, bindings) => app.fetch(request, bindings),
    upgrade: (_request, socket) =>
      socket.end("HTTP/1.1 404 Not Found\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"),
    requestTimeoutMs: config.server.requestTimeoutSeconds * 1_000,
    maxConnections: config.server.maxConnections,
    clock,
    log,
  });
}

/** From this machine: an address that stands for all of them is none to connect to everywhere. */
export function reachable(url: string): string {
  return url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:");
}

/** What the project's app makes of a request for a WebSocket. */
async function askForUpgrade(app: App, request: Request): Promise<Upgrade | Response> {
  let upgrade: Upgrade | undefined;
  const onUpgrade = (asked: Upgrade): void => {
    upgrade = asked;
  };
  const response = await app.fetch(request, { onUpgrade });
  return upgrade !== undefined && response.ok ? upgrade : response;
}
