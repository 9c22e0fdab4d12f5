/**
 * Places where toy graphs wait until their test lets them go on. Graphs are loaded as modules of their own, maybe on a
 * thread of their own, so the places are kept where all sides find them: on the global object, and across threads by
 * messages to the test's thread.
 */
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
  const { arrive, opened } = gate(name);
  arrive();
  // After the turn in which events of the graph leave its thread.
  if (!isMainThread) setTimeout(() => gates().channel.postMessage({ arrived: name }), 30);
  return new Promise((resolve, reject) => {
    if (signal?.aborted) reject(signal.reason);
    signal?.addEventListener("abort", () => reject(signal.reason));
    void opened.then(resolve);
  });
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
