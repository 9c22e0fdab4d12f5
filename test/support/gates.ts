/**
 * Places where toy graphs wait until their test lets them go on. Graphs are loaded as modules of their own, maybe on a
 * thread of their own, so the places are kept where all sides find them: on the global object, and across threads by
 * messages to the test's thread. Graphs of other processes ask the test's for it (`serveGates`).
 */
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { BroadcastChannel, isMainThread } from "node:worker_threads";

interface Gate {
  readonly arrived: Promise<void>;
  readonly opened: Promise<void>;
  isOpen: boolean;
  arrive(): void;
  open(): void;
}

type Message = { readonly arrived: string } | { readonly opened: string };

const PLACE = Symbol.for("heddle.test.gates");

interface Gates {
  readonly byName: Map<string, Gate>;
  readonly channel: BroadcastChannel;
}

function gates(): Gates {
  const holder = globalThis as { [PLACE]?: Gates };
  holder[PLACE] ??= openGates();
  return holder[PLACE];
}

function openGates(): Gates {
  const channel = new BroadcastChannel("heddle.test.gates");
  channel.onmessage = (event) => {
    const message = (event as { data: Message }).data; // only this module uses the channel
    if ("opened" in message) gate(message.opened).open();
    else if (isMainThread) {
      const reached = gate(message.arrived);
      if (reached.isOpen) channel.postMessage({ opened: message.arrived });
      setImmediate(() => setImmediate(reached.arrive)); // what the graph said and stored before is here by then
    }
  };
  channel.unref();
  return { byName: new Map(), channel };
}

function gate(name: string): Gate {
  const { byName } = gates();
  let found = byName.get(name);
  if (found === undefined) {
    let arrive = (): void => {};
    let resolveOpened = (): void => {};
    const arrived = new Promise<void>((resolve) => {
      arrive = resolve;
    });
    const opened = new Promise<void>((resolve) => {
      resolveOpened = resolve;
    });
    const made: Gate = {
      arrived,
      opened,
      isOpen: false,
      arrive,
      open() {
        made.isOpen = true;
        resolveOpened();
      },
    };
    byName.set(name, made);
    found = made;
  }
  return found;
}

/** For graphs: waits until the gate is opened; rejects with the reason of `signal`. No name, no gate. */
export function passGate(name: unknown, signal?: AbortSignal): Promise<void> {
  if (typeof name !== "string" || name === "") return Promise.resolve();
  const { [GATES_PORT]: port } = process.env;
  if (port !== undefined) return passServed(Number(port), name, signal);
  const { arrive, opened } = gate(name);
  arrive();
  if (!isMainThread) setTimeout(() => gates().channel.postMessage({ arrived: name }), TURN_MS);
  return new Promise((resolve, reject) => {
    if (signal?.aborted) reject(signal.reason);
    signal?.addEventListener("abort", () => reject(signal.reason));
    void opened.then(resolve);
  });
}

/** After the turn in which events of the graph leave its thread. */
const TURN_MS = 30;

/** The gate is in another process: a connection stands before it, and is ended when it opens. */
function passServed(port: number, name: string, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const socket = connect({ host: "127.0.0.1", port });
    const stop = (): void => {
      socket.destroy();
      reject(signal?.reason);
    };
    signal?.addEventListener("abort", stop, { once: true });
    setTimeout(() => socket.destroyed || socket.write(`${name}\n`), TURN_MS);
    socket.resume();
    socket.on("error", reject);
    socket.on("end", () => {
      signal?.removeEventListener("abort", stop);
      socket.end();
      resolve();
    });
  });
}

/** For programs that a test starts: what tells their graphs where its gates are. */
export const GATES_PORT = "HEDDLE_TEST_GATES";

/** For tests: graphs of other processes, which have the port as `GATES_PORT`, wait at the gates of this one. */
export async function serveGates(): Promise<{ readonly port: number; close(): void }> {
  const waiting = new Set<Socket>();
  const server = createServer((socket) => {
    waiting.add(socket);
    socket.on("error", () => {}); // of a graph that was killed
    socket.on("close", () => waiting.delete(socket));
    socket.setEncoding("utf8").once("data", (line: string) => {
      const { arrive, opened } = gate(line.trimEnd());
      arrive();
      void opened.then(() => socket.end());
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo; // listens on TCP
  return {
    port,
    close() {
      server.close();
      for (const socket of waiting) socket.destroy();
    },
  };
}

/** For tests: resolves when a graph waits, or has waited, at the gate. */
export function arrivedAt(name: string): Promise<void> {
  return gate(name).arrived;
}

/** For tests: lets everybody pass, now and later. */
export function openGate(name: string): void {
  gate(name).open();
  gates().channel.postMessage({ opened: name });
}

gates(); // from now on arrivals on other threads are heard of
