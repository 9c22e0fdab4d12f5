/**
 * Places where toy graphs wait until their test lets them go on. Graphs are loaded as modules of their own, so the places
 * are kept where both sides find them.
 */
interface Gate {
  readonly arrived: Promise<void>;
  readonly opened: Promise<void>;
  arrive(): void;
  open(): void;
}

const PLACE = Symbol.for("heddle.test.gates");

function gates(): Map<string, Gate> {
  const holder = globalThis as { [PLACE]?: Map<string, Gate> };
  holder[PLACE] ??= new Map();
  return holder[PLACE];
}

function gate(name: string): Gate {
  let found = gates().get(name);
  if (found === undefined) {
    let arrive = (): void => {};
    let open = (): void => {};
    const arrived = new Promise<void>((resolve) => {
      arrive = resolve;
    });
    const opened = new Promise<void>((resolve) => {
      open = resolve;
    });
    found = { arrived, opened, arrive, open };
    gates().set(name, found);
  }
  return found;
}

/** For graphs: waits until the gate is opened; rejects with the reason of `signal`. No name, no gate. */
export function passGate(name: unknown, signal?: AbortSignal): Promise<void> {
  if (typeof name !== "string" || name === "") return Promise.resolve();
  const { arrive, opened } = gate(name);
  arrive();
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
}
