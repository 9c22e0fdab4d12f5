/**
 * Finds the copy of LangChain that a graph lives in.
 *
 * A graph's project may have its own `@langchain/langgraph` and `@langchain/core`, and a CommonJS module gets their
 * CommonJS builds, which are yet other classes. The copy that compiled the graph is known by its `Pregel`.
 */
import { createRequire } from "node:module";
import { createJiti } from "jiti";
import { hostKit, type MessageKit } from "../core/kit.js";
import type { CompiledGraph } from "./compiled-graph.js";

type Loader = (id: string) => unknown;

/** The kit of the copy that compiled `graph`, as the module at `file` sees it; heddle's own where none is found. */
export async function findKit(graph: CompiledGraph, file: string): Promise<MessageKit> {
  for (const load of loadersFrom(file)) {
    const pregel = await attempt(load, "@langchain/langgraph/pregel");
    if (!isInstance(graph, pregel?.Pregel)) continue;
    const langgraph = await attempt(load, "@langchain/langgraph");
    const messages = (await attempt(load, "@langchain/core/messages")) ?? hostKit.messages;
    return toKit({ ...langgraph, messages });
  }
  return hostKit;
}

/** As an ES module would import, then as a CommonJS module would; in both, as if `langchain` did. */
function loadersFrom(file: string): readonly Loader[] {
  const near = [file, resolved(file, "langchain")].filter((from) => from !== undefined);
  return [
    ...near.map((from): Loader => {
      const jiti = createJiti(from, { interopDefault: false, fsCache: false });
      return (id) => jiti.import(id);
    }),
    ...near.map((from): Loader => createRequire(from)),
  ];
}

function resolved(file: string, id: string): string | undefined {
  try {
    return createRequire(file).resolve(id);
  } catch {
    return undefined; // the project does not use it
  }
}

async function attempt(load: Loader, id: string): Promise<Record<string, unknown> | undefined> {
  try {
    return (await load(id)) as Record<string, unknown>; // a module namespace
  } catch {
    return undefined; // not to be had from there: the next loader is tried
  }
}

function isInstance(value: unknown, Class: unknown): boolean {
  return typeof Class === "function" && value instanceof Class;
}

/** heddle's own kit object where the copy is heddle's own. */
function toKit(found: Record<string, unknown>): MessageKit {
  const { messages, Command, Send } = found as unknown as MessageKit; // the same exports in every 1.x
  const same = messages === hostKit.messages && Command === hostKit.Command && Send === hostKit.Send;
  return same ? hostKit : { messages, Command, Send };
}
