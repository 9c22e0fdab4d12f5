/** A TCP proxy that cuts connections in the middle of an answer, as networks do. */
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";

export interface CuttingProxy {
  readonly url: string;
  /** How many connections there have been. */
  readonly connections: number;
  close(): Promise<void>;
}

/**
 * `cutAfter` says after how many bytes of answer connection number n (from 0) is cut; undefined leaves it alone. Each
 * connection goes to what `target` is at that moment.
 */
export async function startCuttingProxy(
  target: string | (() => string),
  cutAfter: (connection: number) => number | undefined = () => undefined,
): Promise<CuttingProxy> {
  const sockets = new Set<Socket>();
  let connections = 0;
  const server = createServer((client) => {
    const limit = cutAfter(connections++) ?? Number.POSITIVE_INFINITY;
    const { hostname, port } = new URL(typeof target === "string" ? target : target());
    const upstream = connect(Number(port), hostname);
    let passed = 0;
    const cut = (): void => {
      client.resetAndDestroy();
      upstream.destroy();
    };
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on("error", cut); // the other side went first
      socket.on("close", () => {
        sockets.delete(socket);
        cut();
      });
    }
    client.pipe(upstream);
    upstream.on("data", (data) => {
      const rest = data.subarray(0, Math.max(0, limit - passed));
      passed += data.length;
      if (passed < limit) client.write(rest);
      else client.write(rest, cut); // what came before the cut arrives
    });
    upstream.on("end", () => client.end());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    get connections() {
      return connections;
    },
    async close() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}
