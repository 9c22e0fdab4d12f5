/**
 * Ports of a test's own that stay its own while nobody listens there: below what systems give to outgoing connections
 * (Linux from 32768, others from 49152).
 */
import { randomInt } from "node:crypto";
import { once } from "node:events";
import { createServer, type Server } from "node:net";

/** Listens on this machine only; resolves with the port. */
export async function listenOnOwnPort(server: Server): Promise<number> {
  for (;;) {
    const port = randomInt(20_000, 32_000);
    server.listen(port, "127.0.0.1");
    try {
      await once(server, "listening");
      return port;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EADDRINUSE") throw error;
    }
  }
}

/** One where nobody listens. */
export async function ownPort(): Promise<number> {
  const server = createServer();
  const port = await listenOnOwnPort(server);
  server.close();
  await once(server, "close");
  return port;
}
