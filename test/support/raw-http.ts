/**
 * HTTP/1.1 as bytes on a socket, for requests that no client library sends.
 *
 * Connections are kept and used again for requests that leave them in order; a request that does not gets its own.
 */
import { once } from "node:events";
import { connect, type Socket } from "node:net";

export interface RawResponse {
  readonly status: number;
  /** By lower-case name; the last of several. */
  readonly headers: ReadonlyMap<string, string>;
  readonly body: string;
  /** False when it was cut at the deadline. */
  readonly complete: boolean;
}

export interface RawRequest {
  readonly bytes: Buffer;
  /** The request says that no body follows its answer. */
  readonly isHead: boolean;
  /** What it leaves on its connection cannot be told: it gets one of its own. */
  readonly isAlone: boolean;
  /** When to stop reading what goes on, and to leave. */
  readonly deadlineMs: number;
}

export interface RawClient {
  /** undefined when the connection ended, or the deadline came, before there was an answer. */
  send(request: RawRequest): Promise<RawResponse | undefined>;
  close(): void;
}

export function createRawClient(url: string): RawClient {
  const { hostname, port } = new URL(url);
  const idle: Socket[] = [];

  async function open(): Promise<Socket> {
    const socket = connect({ host: hostname, port: Number(port), noDelay: true });
    socket.on("error", () => {}); // what it means is told by what was read
    await Promise.race([once(socket, "connect"), once(socket, "close")]);
    return socket;
  }

  async function exchange(socket: Socket, request: RawRequest): Promise<RawResponse | undefined> {
    const response = await answerTo(socket, request);
    const isReusable = response?.complete && !request.isAlone && response.headers.get("connection") !== "close";
    if (isReusable) idle.push(socket);
    else socket.destroy();
    return response;
  }

  return {
    async send(request) {
      const kept = request.isAlone ? undefined : idle.pop();
      if (kept !== undefined && !kept.destroyed) {
        const response = await exchange(kept, request);
        if (response !== undefined) return response; // else the server had closed it meanwhile
      }
      return exchange(await open(), request);
    },
    close() {
      for (const socket of idle) socket.destroy();
    },
  };
}

function answerTo(socket: Socket, request: RawRequest): Promise<RawResponse | undefined> {
  return new Promise((resolve) => {
    let received = Buffer.alloc(0);
    const settle = (isOver: boolean): void => {
      const response = parseResponse(received, { isHead: request.isHead, isOver });
      if (response === undefined && !isOver) return;
      clearTimeout(timer);
      socket.off("data", onData);
      socket.off("close", onClose);
      resolve(response);
    };
    const onData = (chunk: Buffer): void => {
      received = Buffer.concat([received, chunk]);
      settle(false);
    };
    const onClose = (): void => settle(true);
    const timer = setTimeout(onClose, request.deadlineMs);
    socket.on("data", onData);
    socket.on("close", onClose);
    if (socket.destroyed) settle(true);
    else socket.write(request.bytes);
  });
}

/** undefined while it is not whole, unless nothing more will come. */
function parseResponse(
  bytes: Buffer,
  { isHead, isOver }: { readonly isHead: boolean; readonly isOver: boolean },
): RawResponse | undefined {
  const end = bytes.indexOf("\r\n\r\n");
  if (end === -1) return undefined;
  const [statusLine = "", ...lines] = bytes.subarray(0, end).toString("latin1").split("\r\n");
  const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(statusLine)?.[1]);
  const rest = bytes.subarray(end + 4);
  if (status < 200) return parseResponse(rest, { isHead, isOver });
  const headers = new Map(
    lines.map((line): [string, string] => {
      const colon = line.indexOf(":");
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
    }),
  );
  const body = isHead || status === 204 || status === 304 ? Buffer.alloc(0) : readBody(rest, headers);
  if (body === undefined && !isOver) return undefined;
  return { status, headers, body: (body ?? rest).toString("utf8"), complete: body !== undefined };
}

function readBody(bytes: Buffer, headers: ReadonlyMap<string, string>): Buffer | undefined {
  if (headers.get("transfer-encoding") === "chunked") return readChunks(bytes);
  const length = headers.get("content-length");
  if (length === undefined) return undefined; // until the connection ends
  return bytes.length < Number(length) ? undefined : bytes.subarray(0, Number(length));
}

function readChunks(bytes: Buffer): Buffer | undefined {
  const chunks: Buffer[] = [];
  for (let at = 0; ; ) {
    const lineEnd = bytes.indexOf("\r\n", at);
    if (lineEnd === -1) return undefined;
    const size = Number.parseInt(bytes.subarray(at, lineEnd).toString("latin1"), 16);
    const start = lineEnd + 2;
    if (bytes.length < start + size + 2) return undefined;
    if (size === 0) return Buffer.concat(chunks);
    chunks.push(bytes.subarray(start, start + size));
    at = start + size + 2;
  }
}
