/** Clients of event streams as plain sockets, for what `fetch` does not do: read nothing at all, or be a thousand. */
import { once } from "node:events";
import { connect, type Socket } from "node:net";

/** A client that asks for a stream and never reads a byte of it. */
export async function openUnread(url: string, path: string): Promise<Socket> {
  const socket = await request(url, path);
  socket.pause();
  return socket;
}

export interface IdleStream {
  /** How many heartbeats have come. */
  readonly beats: () => number;
  /** Whether the gateway has ended or cut it. */
  readonly isLost: () => boolean;
  close(): Promise<void>;
}

/** A client that reads whatever comes. */
export async function openIdle(url: string, path: string): Promise<IdleStream> {
  const socket = await request(url, path);
  let beats = 0;
  let isLost = false;
  socket.setEncoding("latin1");
  socket.on("data", (text: string) => {
    beats += text.split(": heartbeat\n").length - 1;
  });
  const closed = once(socket, "close").then(() => {
    isLost = true;
  });
  return {
    beats: () => beats,
    isLost: () => isLost,
    async close() {
      socket.destroy();
      await closed;
    },
  };
}

async function request(url: string, path: string): Promise<Socket> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  socket.on("error", () => {}); // `close` follows
  await once(socket, "connect");
  socket.write(`GET ${path} HTTP/1.1\r\nhost: ${hostname}\r\n\r\n`);
  return socket;
}
