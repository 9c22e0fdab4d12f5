/**
 * WebSockets of the event-streaming protocol: `GET /threads/{thread_id}/stream/events` with `Upgrade: websocket`, under
 * every base path. Pages of other origins are refused as they are for requests.
 */
import { type IncomingMessage, STATUS_CODES } from "node:http";
import type { Duplex } from "node:stream";
import { type WebSocket, WebSocketServer } from "ws";
import type { Authenticate } from "../core/caller.js";
import { PROBE_PATHS } from "../core/doctor-probe.js";
import type { Metrics } from "../core/metrics.js";
import type { Upgrade } from "./app.js";
import { openProbeSocket } from "./doctor.js";
import { answerFor } from "./errors.js";
import { type CorsRules, originRule } from "./origins.js";
import { id as threadIdSchema } from "./schemas.js";
import { openSocketSession, type SocketClient, type SocketSession, type SocketSessionDeps } from "./socket-session.js";

export interface SocketServer {
  /** For the `upgrade` event of Node's server. */
  readonly upgrade: (request: IncomingMessage, socket: Duplex, head: Buffer) => void;
  /** Closes every socket and takes no new ones. */
  close(): void;
}

export interface SocketServerDeps extends SocketSessionDeps {
  readonly basePaths: readonly string[];
  readonly cors: CorsRules;
  readonly bodyLimit: number;
  readonly authenticate: Authenticate;
  /** What the project's own app makes of the request; null without one. */
  readonly askApp: ((request: Request) => Promise<Upgrade | Response>) | null;
  readonly metrics: Metrics;
  /** Who may have `heddle doctor`'s socket. */
  readonly admitTicket: Authenticate;
}

/** Clients of the protocol take the codes from 4400 to 4499 for final. */
const INVALID = 4422;
const FLUSH_MS = 1_000;

export function createSocketServer(deps: SocketServerDeps): SocketServer {
  const server = new WebSocketServer({ noServer: true, maxPayload: deps.bodyLimit, perMessageDeflate: false });
  const isAllowed = originRule(deps.cors);
  const sessions = new Map<WebSocket, SocketSession>();
  /** What Node's server has let go of, whatever became of it. */
  const connections = new Set<Duplex>();
  let isClosed = false;
  server.on("wsClientError", (error, socket) => refuse(socket, 400, error.message));

  function open(socket: WebSocket, text: string, client: Pick<SocketClient, "headers" | "caller">): void {
    const threadId = threadIdSchema.safeParse(text);
    if (!threadId.success) {
      socket.on("error", () => socket.terminate()); // nothing that it sends is read
      socket.close(INVALID, "malformed thread id");
      return;
    }
    const startedAt = deps.clock.now();
    deps.metrics.openStreams.inc();
    deps.log.info({ threadId: threadId.data }, "socket opened");
    socket.on("close", (code) => {
      sessions.delete(socket);
      deps.metrics.openStreams.dec();
      deps.log.info({ threadId: threadId.data, code, ms: deps.clock.now() - startedAt }, "socket closed");
    });
    sessions.set(socket, openSocketSession(deps, { socket, threadId: threadId.data, ...client }));
  }

  async function admit(request: IncomingMessage, socket: Duplex, head: Buffer, threadId: string): Promise<void> {
    const asked = requestOf(request);
    const upgrade = await (deps.askApp?.(asked) ?? upgradeOf(asked));
    if (socket.destroyed) return;
    if (isClosed) return refuse(socket, 503, "the gateway stops");
    if (upgrade instanceof Response) return refuse(socket, upgrade.status, await detailOf(upgrade));
    const { headers, caller } = upgrade;
    socket.once("close", caller.enterStream());
    server.handleUpgrade(request, socket, head, (webSocket) => open(webSocket, threadId, { headers, caller }));
  }

  async function admitProbe(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    const caller = await deps.admitTicket(requestOf(request));
    if (socket.destroyed) return;
    socket.once("close", caller.enterStream());
    server.handleUpgrade(request, socket, head, (webSocket) => openProbeSocket(webSocket, deps.clock));
  }

  async function upgradeOf(asked: Request): Promise<Upgrade> {
    return { headers: asked.headers, caller: await deps.authenticate(asked) };
  }

  function refuseFor(socket: Duplex, error: unknown): void {
    const { status, body, headers, unexpected } = answerFor(error, 409);
    if (unexpected) deps.log.error({ err: error }, "a socket could not be opened");
    refuse(socket, status, body.detail, headers);
  }

  return {
    upgrade(request, socket, head) {
      connections.add(socket);
      socket.on("close", () => connections.delete(socket));
      const path = pathUnder(deps.basePaths, request.url ?? "", [THREAD_SOCKET, PROBE_SOCKET]);
      const { origin, host } = request.headers;
      if (path === undefined) return refuse(socket, 404, "no such WebSocket");
      if (origin !== undefined && !isSameOrigin(origin, host) && !isAllowed(origin)) {
        return refuse(socket, 403, `pages of ${JSON.stringify(origin)} may not use this gateway: see server.cors`);
      }
      const [, threadId] = path;
      const admitted =
        threadId === undefined ? admitProbe(request, socket, head) : admit(request, socket, head, decoded(threadId));
      admitted.catch((error: unknown) => refuseFor(socket, error));
    },

    close() {
      isClosed = true;
      for (const session of sessions.values()) session.stop();
      deps.clock.after(FLUSH_MS, () => {
        for (const socket of connections) socket.destroy();
      });
    },
  };
}

/** With the thread's id as it is in the path. */
const THREAD_SOCKET = /^\/threads\/([^/]+)\/stream\/events\/?$/;
const PROBE_SOCKET = new RegExp(`^${PROBE_PATHS.socket}$`);

/** What of `patterns` the path of `url` is under any of `basePaths`. */
function pathUnder(
  basePaths: readonly string[],
  url: string,
  patterns: readonly RegExp[],
): RegExpExecArray | undefined {
  const path = url.split("?", 1)[0] ?? "";
  for (const base of basePaths) {
    const start = base === "/" ? "" : base;
    const rest = path.startsWith(`${start}/`) ? path.slice(start.length) : "";
    const found = patterns.map((pattern) => pattern.exec(rest)).find((match) => match !== null);
    if (found !== undefined) return found;
  }
  return undefined;
}

function decoded(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment; // refused as a thread id
  }
}

function isSameOrigin(origin: string, host: string | undefined): boolean {
  return host !== undefined && URL.canParse(origin) && new URL(origin).host === host;
}

/** What an answer says that is given instead of a socket. */
async function detailOf(response: Response): Promise<string> {
  const text = await response.text();
  const [, quoted] = /"detail"\s*:\s*("(?:[^"\\]|\\.)*")/.exec(text) ?? [];
  return quoted === undefined ? text.slice(0, MAX_DETAIL_CHARS) : (JSON.parse(quoted) as string); // a JSON string
}

const MAX_DETAIL_CHARS = 1_000;

/** As authentication sees it. */
function requestOf({ url = "/", headers: sent }: IncomingMessage): Request {
  const headers = new Headers();
  for (const [name, value] of Object.entries(sent)) {
    for (const each of Array.isArray(value) ? value : [value]) if (each !== undefined) headers.append(name, each);
  }
  return new Request(new URL(url, `http://${sent.host ?? "localhost"}`), { headers });
}

function refuse(socket: Duplex, status: number, detail: string, headers: Readonly<Record<string, string>> = {}): void {
  const body = JSON.stringify({ detail });
  const head = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? "Refused"}`,
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
    "content-type: application/json",
    `content-length: ${Buffer.byteLength(body)}`,
    "connection: close",
  ];
  socket.on("error", () => socket.destroy()); // the client went first
  socket.end(`${head.join("\r\n")}\r\n\r\n${body}`, () => socket.destroy()); // a client may keep its side open for ever
}
