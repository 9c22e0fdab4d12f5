/**
 * A TCP proxy that does to connections what networks and dying servers do: for HTTP, PostgreSQL, Redis, anything.
 *
 * Its weather can change at any moment and concerns open connections as well as new ones.
 */
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { listenOnOwnPort } from "./ports.js";

export type Weather =
  /** Every byte arrives, and where `delayMs` is given so much later, either way. */
  | { readonly kind: "clear"; readonly delayMs?: number }
  /** Nobody listens, and whoever was connected is reset. */
  | { readonly kind: "refuse" }
  /**
   * Nothing arrives that is sent that way and nobody is told, not even of an end; it arrives when the weather is another.
   * Connecting succeeds: only a kernel can leave that unanswered.
   */
  | { readonly kind: "silent"; readonly way: "both" | "to-target" | "to-client" }
  /** Connection number n, from 0, is reset after so many more bytes of answer; undefined leaves it alone. */
  | { readonly kind: "cutting"; readonly afterBytes: (connection: number) => number | undefined };

export const CLEAR: Weather = { kind: "clear" };

export interface FaultProxy {
  /** `127.0.0.1:port`, to stand in any address. */
  readonly host: string;
  /** For HTTP. */
  readonly url: string;
  /** How many connections there have been. */
  readonly connections: number;
  /** Resolves when it is so. */
  become(weather: Weather): Promise<void>;
  /** Resets every open connection, on both sides. */
  cut(): void;
  /** Of every open connection the target is gone, and the client is never told: what it sends goes nowhere. */
  abandon(): void;
  close(): Promise<void>;
}

/** Each connection goes to what `target` is when it comes: an address of any scheme, with a port. */
export async function startFaultProxy(target: string | (() => string), weather: Weather = CLEAR): Promise<FaultProxy> {
  let current = weather;
  let connections = 0;
  const open = new Set<Passage>();
  const server = createServer({ allowHalfOpen: true }, (client) => {
    const passage = createPassage(client, {
      target: new URL(typeof target === "string" ? target : target()),
      number: connections++,
      weather: current,
      onClose: () => open.delete(passage),
    });
    open.add(passage);
  });
  const port = await listenOnOwnPort(server);
  const cut = (): void => {
    for (const passage of open) passage.cut();
  };
  return {
    host: `127.0.0.1:${port}`,
    url: `http://127.0.0.1:${port}`,
    get connections() {
      return connections;
    },
    async become(next) {
      current = next;
      if (next.kind === "refuse") {
        server.close();
        cut();
      } else if (!server.listening) {
        server.listen(port, "127.0.0.1");
        await once(server, "listening");
      }
      for (const passage of open) passage.become(next);
    },
    cut,
    abandon() {
      for (const passage of open) passage.abandon();
    },
    async close() {
      cut();
      await new Promise((resolve) => server.close(resolve)); // also where it listens no more
    },
  };
}

interface Passage {
  become(weather: Weather): void;
  cut(): void;
  abandon(): void;
}

/** One connection of a client and the one to the target that stands behind it. */
function createPassage(
  client: Socket,
  options: {
    readonly target: URL;
    readonly number: number;
    readonly weather: Weather;
    readonly onClose: () => void;
  },
): Passage {
  const { hostname, port } = options.target;
  const upstream = connect({ host: hostname, port: Number(port), allowHalfOpen: true });
  const toTarget = createFlow(client, upstream);
  const toClient = createFlow(upstream, client);
  let isAbandoned = false;
  const cut = (): void => {
    client.resetAndDestroy();
    upstream.resetAndDestroy();
  };
  for (const [socket, other] of [
    [client, upstream],
    [upstream, client],
  ] as const) {
    socket.setNoDelay(true);
    socket.on("error", () => {}); // `close` follows and says so
    socket.on("close", (hadError) => {
      if (hadError && !isAbandoned) other.resetAndDestroy();
      if (other.destroyed) options.onClose();
    });
  }
  const become = (weather: Weather): void => {
    if (isAbandoned) return;
    const isSilent = (way: "to-target" | "to-client"): boolean =>
      weather.kind === "silent" && (weather.way === "both" || weather.way === way);
    const delayMs = weather.kind === "clear" ? (weather.delayMs ?? 0) : 0;
    const limit = weather.kind === "cutting" ? weather.afterBytes(options.number) : undefined;
    toTarget.become({ isSilent: isSilent("to-target"), delayMs });
    toClient.become({ isSilent: isSilent("to-client"), delayMs, limit, onLimit: cut });
  };
  become(options.weather);
  return {
    become,
    cut,
    abandon() {
      isAbandoned = true;
      toTarget.stop();
      toClient.stop();
      upstream.resetAndDestroy();
      client.on("end", () => client.destroy());
      client.resume();
    },
  };
}

interface FlowWeather {
  readonly isSilent: boolean;
  readonly delayMs: number;
  /** After so many more bytes, `onLimit`. */
  readonly limit?: number | undefined;
  readonly onLimit?: () => void;
}

/** What goes one way. Order is kept whatever the weather was when a part of it came. */
function createFlow(from: Socket, to: Socket) {
  const waiting: { readonly data: Buffer | "end"; readonly dueAt: number }[] = [];
  let weather: FlowWeather = { isSilent: false, delayMs: 0 };
  let left = Number.POSITIVE_INFINITY;
  let timer: NodeJS.Timeout | undefined;

  function pass(data: Buffer | "end"): void {
    if (data === "end") return void to.end();
    const part = data.subarray(0, left);
    left -= part.length;
    const isTaken = left > 0 ? to.write(part) : to.write(part, weather.onLimit); // what came before the cut arrives
    if (!isTaken) from.pause();
  }

  function move(): void {
    clearTimeout(timer);
    for (let next = waiting[0]; next !== undefined; next = waiting[0]) {
      if (weather.isSilent || to.destroyed || left === 0) return;
      const delayMs = next.dueAt - performance.now();
      if (delayMs > 0) {
        timer = setTimeout(move, Math.ceil(delayMs));
        return;
      }
      waiting.shift();
      pass(next.data);
    }
  }

  const take = (data: Buffer | "end"): void => {
    waiting.push({ data, dueAt: performance.now() + weather.delayMs });
    move();
  };
  const takeEnd = (): void => take("end");
  from.on("data", take);
  from.on("end", takeEnd);
  to.on("drain", () => {
    if (!weather.isSilent) from.resume();
  });
  to.on("close", () => clearTimeout(timer));
  return {
    become(next: FlowWeather): void {
      weather = next;
      left = next.limit ?? Number.POSITIVE_INFINITY;
      if (next.isSilent) from.pause();
      else from.resume();
      move();
    },
    /** Nothing goes any more. */
    stop(): void {
      from.off("data", take);
      from.off("end", takeEnd);
      waiting.length = 0;
      clearTimeout(timer);
    },
  };
}
