/**
 * Graphs that misbehave in every way that is known to have taken a server down, one act each: the text of the input says
 * which. What they do to the process they do for real, so they run only in child processes (`npm run hostile`).
 */
import { createServer } from "node:http";
import { isMainThread, parentPort } from "node:worker_threads";
import {
  Annotation,
  Command,
  END,
  interrupt,
  type LangGraphRunnableConfig,
  Send,
  START,
  StateGraph,
} from "@langchain/langgraph";
import { z } from "zod";
import { HOSTILE_ERRORS, HOSTILE_VALUES } from "./hostile-values.js";

const last = <T>(initial: T) => Annotation<T>({ reducer: (_, next) => next, default: () => initial });
const list = <T>() => Annotation<T[]>({ reducer: (a, b) => [...a, ...b], default: () => [] });
const Steps = Annotation.Root({ input: last<string>(""), value: last<unknown>(null), steps: list<string>() });

const MB = 1024 ** 2;

type Act = (word: string, config: LangGraphRunnableConfig) => unknown;

const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));
const done = { steps: ["done"] };

function spin(): never {
  for (;;);
}

/** Whoever calls what it replaced hears of it. */
function broken(): never {
  throw new Error("a built-in was replaced");
}

function replaceMember(owner: object, name: PropertyKey, value: unknown): void {
  Object.defineProperty(owner, name, { value, configurable: true, writable: true });
}

/** By name: what it does to the built-ins of its realm. */
const VANDALISM: Readonly<Record<string, () => void>> = {
  "JSON.stringify": () => replaceMember(JSON, "stringify", broken),
  "JSON.parse": () => replaceMember(JSON, "parse", () => ({ hacked: true })),
  "Array.prototype.map": () => replaceMember(Array.prototype, "map", broken),
  "Array.prototype.push": () => replaceMember(Array.prototype, "push", () => 0),
  "Array iterator": () => replaceMember(Array.prototype, Symbol.iterator, broken),
  "Map.prototype.get": () => replaceMember(Map.prototype, "get", () => undefined),
  "Promise.prototype.then": () => replaceMember(Promise.prototype, "then", broken),
  Promise: () => replaceMember(globalThis, "Promise", undefined),
  "Date.now": () => replaceMember(Date, "now", () => Number.NaN),
  fetch: () => replaceMember(globalThis, "fetch", broken),
  setTimeout: () => replaceMember(globalThis, "setTimeout", () => 0),
  "Object.prototype.toJSON": () => replaceMember(Object.prototype, "toJSON", broken),
  "Object.prototype.polluted": () => {
    Object.defineProperty(Object.prototype, "polluted", {
      value: { evil: true },
      enumerable: true,
      configurable: true,
    });
  },
  "frozen prototypes": () => {
    for (const { prototype } of [Object, Array, Function, Error, Promise, Map]) Object.freeze(prototype);
  },
  "deleted globals": () => {
    for (const name of [
      "Buffer",
      "URL",
      "AbortController",
      "TextEncoder",
      "TextDecoder",
      "structuredClone",
      "console",
    ]) {
      Reflect.deleteProperty(globalThis, name);
    }
  },
  "Error.prepareStackTrace": () => replaceMember(Error, "prepareStackTrace", broken),
  "process.nextTick": () => replaceMember(process, "nextTick", () => undefined),
  "process.env": () => replaceMember(process, "env", {}),
};

/** By the first word of the input; the rest is theirs. */
const ACTS: Readonly<Record<string, Act>> = {
  throw: (name, { configurable }) => {
    throw HOSTILE_ERRORS[name]?.(Number(configurable?.size ?? MB));
  },
  reject: (name) => Promise.reject(HOSTILE_ERRORS[name]?.(MB)),
  return: (name) => ({ value: HOSTILE_VALUES[name]?.(), ...done }),
  update: (name) => HOSTILE_ERRORS[name]?.(MB),
  write: (name, { writer }) => {
    writer?.(HOSTILE_VALUES[name]?.());
    return done;
  },
  ask: (name) => ({ value: interrupt(HOSTILE_VALUES[name]?.()) }),
  size: (characters) => ({ value: "x".repeat(Number(characters)), ...done }),
  goto: (node) => new Command({ goto: node === "send" ? new Send("nowhere", {}) : "nowhere" }),
  thenable: (kind) =>
    // biome-ignore lint/suspicious/noThenProperty: what a node may return
    kind === "endless" ? endlessThenable() : { then: () => broken() },
  overflow: () => {
    const deeper = (): unknown => [deeper()];
    return deeper();
  },
  recursion: () => new Command({ goto: "strike" }),
  config: (_word, config) => {
    for (const key of Object.keys(config.configurable ?? {})) Reflect.deleteProperty(config.configurable ?? {}, key);
    for (const key of Object.keys(config)) replaceMember(config, key, broken);
    return done;
  },

  // ---- where nobody awaits it
  forgotten: async (kind) => {
    setTimeout(() => {
      if (kind === "throw") broken();
      if (kind === "hostile") throw HOSTILE_ERRORS["wall of a Proxy"]?.(0);
      if (kind === "frozen") void Promise.reject(HOSTILE_ERRORS.frozen?.(0));
      else void Promise.reject(new RangeError("a forgotten promise"));
    }, 20);
    await sleep(100);
    return done;
  },
  late: (kind) => {
    setTimeout(() => {
      if (kind === "throw") broken();
      else void Promise.reject(HOSTILE_ERRORS[kind]?.(0));
    }, 50);
    return done;
  },
  microtask: async () => {
    queueMicrotask(broken);
    await sleep(50);
    return done;
  },

  // ---- too much
  flood: async (count, { writer }) => {
    for (let index = 0; index < Number(count); index++) {
      writer?.({ index });
      if (index % 1_000 === 999) await new Promise(setImmediate);
    }
    return done;
  },
  burst: (count, { writer }) => {
    for (let index = 0; index < Number(count); index++) writer?.({ index });
    return done;
  },
  store: async (count, { store }) => {
    const puts = Array.from({ length: Number(count) }, (_, index) => store?.put(["flood"], String(index), { index }));
    await Promise.all(puts);
    return done;
  },
  interval: () => {
    setInterval(() => {}, 1);
    return done;
  },
  server: async () => {
    await new Promise<void>((resolve) => createServer(() => {}).listen(0, "127.0.0.1", resolve));
    return done;
  },

  // ---- never ends
  never: () => new Promise(() => {}),
  deaf: async (_word, { writer }) => {
    writer?.({ deaf: true });
    for (let slept = 0; slept < 400; slept++) await sleep(20);
    return done;
  },
  spin,
  regex: () => ({ value: /^(a+)+$/.test(`${"a".repeat(60)}!`) }),
  sleep: () => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0),
  microtasks: async () => {
    for (;;) await null;
  },
  ticks: () => {
    const tick = (): void => process.nextTick(tick);
    tick();
    return new Promise(() => {});
  },
  allocate: () => {
    const held: unknown[] = [];
    for (;;) held.push(Array.from({ length: 10_000 }, (_, index) => ({ index })));
  },

  // ---- the process
  exit: (code) => process.exit(Number(code)),
  "exit-late": (code) => {
    setTimeout(() => process.exit(Number(code)), 20);
    return done;
  },
  abort: () => process.abort(),
  chdir: (folder) => {
    process.chdir(folder);
    return done;
  },
  end: (name) => {
    process[name === "stderr" ? "stderr" : "stdout"].end();
    return done;
  },
  listeners: () => {
    process.removeAllListeners();
    return done;
  },
  port: (how) => {
    if (isMainThread || parentPort === null) throw new Error("there is no port to the main thread");
    if (how === "close") parentPort.close();
    else if (how === "unlisten") parentPort.removeAllListeners();
    else
      for (const garbage of [null, "text", { kind: "x" }, [1], { id: 1, result: "forged" }])
        parentPort.postMessage(garbage);
    return done;
  },
  vandalise: async (name) => {
    VANDALISM[name]?.();
    return done;
  },
};

function endlessThenable(): unknown {
  // biome-ignore lint/suspicious/noThenProperty: what a node may return
  const thenable = { then: (resolve: (value: unknown) => void) => resolve(thenable) };
  return thenable;
}

/** Does what its input says: the name of an act, and a word for it. */
export const acts = new StateGraph(Steps)
  .addNode(
    "strike",
    ({ input }, config) => {
      const [name = "", word = ""] = input.split(/ (.*)/);
      const act = ACTS[name];
      if (act === undefined) throw new Error(`there is no act ${name}`);
      return act(word, config) as Partial<typeof Steps.State>; // hostile on purpose
    },
    { ends: ["strike"] },
  )
  .addEdge(START, "strike")
  .compile();

/** One step. */
export const next = new StateGraph(Steps)
  .addNode("work", () => ({ steps: ["worked"] }))
  .addEdge(START, "work")
  .compile();

const Ticks = Annotation.Root({ wanted: last(0), ticks: list<number>() });

/** Counts to `wanted`, one superstep and 10 ms each: one that minds its own business. */
export const witness = new StateGraph(Ticks)
  .addNode(
    "tick",
    async ({ ticks, wanted }, { signal }) => {
      await sleep(10);
      signal?.throwIfAborted();
      return new Command({ update: { ticks: [ticks.length] }, goto: ticks.length + 1 < wanted ? "tick" : [] });
    },
    { ends: ["tick"] },
  )
  .addEdge(START, "tick")
  .compile();

const Reduced = Annotation.Root({
  input: last(""),
  steps: Annotation<string[]>({
    reducer: (_, update) => {
      throw new RangeError(`the reducer refuses ${String(update)}`);
    },
    default: () => [],
  }),
});

export const badReducer = new StateGraph(Reduced)
  .addNode("work", () => ({ steps: ["worked"] }))
  .addEdge(START, "work")
  .compile();

export const badEdge = new StateGraph(Steps)
  .addNode("work", () => ({ steps: ["worked"] }))
  .addEdge(START, "work")
  .addConditionalEdges("work", ({ input }) => {
    if (input === "lost") return "nowhere";
    throw new RangeError("the edge leads nowhere");
  })
  .compile();

/** Can be loaded and described, not run. */
export function badFactory(_config: LangGraphRunnableConfig, runtime: { readonly accessContext: string }): unknown {
  if (runtime.accessContext !== "threads.create_run") return next;
  throw HOSTILE_ERRORS["name that throws"]?.(0);
}

/** Can be loaded and described; never answers a run. */
export function stuckFactory(_config: LangGraphRunnableConfig, runtime: { readonly accessContext: string }): unknown {
  return runtime.accessContext === "threads.create_run" ? new Promise(() => {}) : next;
}

/** Can be loaded, described and run; never answers for the state of a thread. */
export function stuckReader(_config: LangGraphRunnableConfig, runtime: { readonly accessContext: string }): unknown {
  return runtime.accessContext === "threads.read" ? new Promise(() => {}) : next;
}

/** Never comes to an end of a state update that tells it to. */
export const stuckEdge = new StateGraph(Steps)
  .addNode("work", () => ({ steps: ["worked"] }))
  .addEdge(START, "work")
  .addConditionalEdges("work", ({ input }) => (input === "never" ? new Promise<typeof END>(() => {}) : END))
  .compile();

/** Its state cannot be described. */
export const badSchema = new StateGraph(
  z.object({
    trap: z
      .lazy((): z.ZodType => {
        throw new RangeError("the schema is a trap");
      })
      .optional(),
    steps: z.array(z.string()).optional(),
  }),
)
  .addNode("work", () => ({ steps: ["worked"] }))
  .addEdge(START, "work")
  .compile();

const Named = Annotation.Root({ "nul\u0000\ud800": last(""), __proto__x: last(""), steps: list<string>() });

/** Names that break keys, frames and paths. */
export const badNames = new StateGraph(Named)
  .addNode("node\u0000\udc00\n", () => ({ "nul\u0000\ud800": "kept", steps: ["worked"] }))
  .addEdge(START, "node\u0000\udc00\n")
  .compile();
