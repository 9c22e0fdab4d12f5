/**
 * Notes what a graph's execution does, from LangChain's callbacks: its supersteps, nodes, tool calls and model calls.
 *
 * 1. What passes through the graph is noted only where content is asked for, and cut there.
 * 2. Everything that begins has an end, at the latest that of the execution.
 * 3. Notes that nobody takes are bounded: a graph that makes more is noted in part.
 */
import { describeError } from "../core/errors.js";
import { toJson } from "../core/json.js";
import type { SpanAttributes, SpanNote, SpanRecording } from "../core/tracing.js";

export interface SpanRecorder {
  /** To be called back by LangChain during the execution, whichever copy of it the graph uses. */
  readonly handler: object;
  /** The notes since the last time, as JSON; undefined for none. */
  take(): string | undefined;
  /** Ends what is open. */
  end(): void;
}

const MAX_NOTES = 10_000;
const MAX_CONTENT_CHARS = 16_384;
/** Thrown to leave a node, not because it failed. */
const INTERRUPTIONS: ReadonlySet<string> = new Set([
  "GraphInterrupt",
  "NodeInterrupt",
  "GraphBubbleUp",
  "ParentCommand",
]);

type Metadata = Readonly<Record<string, unknown>> | undefined;

interface Superstep {
  readonly id: string;
  endedAt: number;
}

export function createSpanRecorder({ content }: SpanRecording, now: () => number): SpanRecorder {
  let notes: SpanNote[] = [];
  const open = new Set<string>();
  /** By call: the span that what it calls belongs to; null for the run. */
  const owners = new Map<string, string | null>();
  /** By the call of a graph: the superstep that it is in. */
  const supersteps = new Map<string, Superstep>();
  /** By node: the superstep that it is a part of. */
  const steps = new Map<string, Superstep>();

  function start(note: Omit<Extract<SpanNote, { type: "start" }>, "type" | "at">): void {
    if (notes.length >= MAX_NOTES) return; // 3
    open.add(note.id);
    notes.push({ type: "start", at: now(), ...note });
  }

  function end(id: string, attributes: SpanAttributes, { error = null, at = now() }: EndOptions = {}): void {
    if (open.delete(id)) notes.push({ type: "end", id, at, attributes, error });
  }

  const told = (name: "input" | "output" | "error", value: unknown): SpanAttributes =>
    content ? { [`${name}.value`]: toJson(value).slice(0, MAX_CONTENT_CHARS) } : {}; // 1

  const ownerOf = (parentId: string | undefined): string | null =>
    parentId === undefined ? null : (owners.get(parentId) ?? null);

  function superstepOf(graphCall: string, step: number): Superstep {
    const id = `${graphCall}/${step}`;
    const current = supersteps.get(graphCall);
    if (current?.id === id) return current;
    endSuperstep(graphCall);
    const begun = { id, endedAt: now() };
    supersteps.set(graphCall, begun);
    const attributes = { "langgraph.step": step };
    start({ id, parent: ownerOf(graphCall), kind: "internal", name: `superstep ${step}`, attributes });
    return begun;
  }

  /** With its last node: what comes between two supersteps is no part of either. */
  function endSuperstep(graphCall: string): void {
    const current = supersteps.get(graphCall);
    supersteps.delete(graphCall);
    if (current !== undefined) end(current.id, {}, { at: current.endedAt });
  }

  function startNode(call: Call, step: number, input: unknown): void {
    const superstep = superstepOf(call.parentId ?? "", step);
    steps.set(call.id, superstep);
    const attributes = {
      "langgraph.node": call.name,
      "langgraph.step": step,
      ...textOf("langgraph.checkpoint_ns", call.metadata?.langgraph_checkpoint_ns),
      ...told("input", input),
    };
    start({ id: call.id, parent: superstep.id, kind: "internal", name: `node ${call.name}`, attributes });
  }

  function endCall(id: string, attributes: SpanAttributes, error: string | null = null): void {
    endSuperstep(id);
    owners.delete(id);
    const superstep = steps.get(id);
    steps.delete(id);
    if (superstep !== undefined) superstep.endedAt = now();
    end(id, attributes, { error });
  }

  function fail(thrown: unknown, id: string): void {
    const { error, message } = describeError(thrown);
    if (INTERRUPTIONS.has(error)) endCall(id, { "langgraph.interrupted": true });
    else endCall(id, { "error.type": error, ...told("error", message) }, error);
  }

  function startModel(call: Call, operation: "chat" | "text_completion", input: unknown): void {
    const model = call.metadata?.ls_model_name;
    const name = typeof model === "string" ? model : call.name;
    const attributes = {
      "gen_ai.operation.name": operation,
      ...textOf("gen_ai.request.model", model),
      ...textOf("gen_ai.provider.name", call.metadata?.ls_provider),
      ...told("input", input),
    };
    owners.set(call.id, call.id);
    start({ id: call.id, parent: ownerOf(call.parentId), kind: "client", name: `${operation} ${name}`, attributes });
  }

  return {
    handler: {
      awaitHandlers: true, // their time is noted
      handleChainStart(
        chain: unknown,
        input: unknown,
        id: string,
        parentId?: string,
        tags: readonly string[] = [],
        metadata?: Metadata,
        _type?: string,
        name?: string,
      ) {
        const step = stepIn(tags);
        const isNode = step !== undefined && !tags.includes("langsmith:hidden");
        if (isNode) startNode({ id, parentId, metadata, name: nameOf(chain, name) }, step, input);
        owners.set(id, isNode ? id : ownerOf(parentId));
      },
      handleChainEnd: (output: unknown, id: string) => endCall(id, steps.has(id) ? told("output", output) : {}),
      handleChainError: fail,
      handleToolStart(
        tool: unknown,
        input: string,
        id: string,
        parentId?: string,
        _tags?: unknown,
        _metadata?: Metadata,
        runName?: string,
      ) {
        const name = nameOf(tool, runName);
        const attributes = {
          "gen_ai.operation.name": "execute_tool",
          "gen_ai.tool.name": name,
          ...told("input", input),
        };
        owners.set(id, id);
        start({ id, parent: ownerOf(parentId), kind: "internal", name: `execute_tool ${name}`, attributes });
      },
      handleToolEnd: (output: unknown, id: string) => endCall(id, told("output", output)),
      handleToolError: fail,
      handleChatModelStart(
        model: unknown,
        messages: unknown,
        id: string,
        parentId?: string,
        _extra?: unknown,
        _tags?: unknown,
        metadata?: Metadata,
        name?: string,
      ) {
        startModel({ id, parentId, metadata, name: nameOf(model, name) }, "chat", messages);
      },
      handleLLMStart(
        model: unknown,
        prompts: unknown,
        id: string,
        parentId?: string,
        _extra?: unknown,
        _tags?: unknown,
        metadata?: Metadata,
        name?: string,
      ) {
        startModel({ id, parentId, metadata, name: nameOf(model, name) }, "text_completion", prompts);
      },
      handleLLMEnd: (output: unknown, id: string) => endCall(id, { ...usageOf(output), ...told("output", output) }),
      handleLLMError: fail,
    },

    take() {
      if (notes.length === 0) return undefined;
      const taken = notes;
      notes = [];
      return JSON.stringify(taken);
    },

    end() {
      for (const graphCall of [...supersteps.keys()].reverse()) endSuperstep(graphCall);
      for (const id of [...open].reverse()) end(id, {}); // 2
    },
  };
}

interface EndOptions {
  readonly error?: string | null;
  readonly at?: number;
}

interface Call {
  readonly id: string;
  readonly parentId: string | undefined;
  readonly metadata: Metadata;
  readonly name: string;
}

/** LangGraph tags the call of a node, and nothing inside of it, with its superstep. */
function stepIn(tags: readonly string[]): number | undefined {
  const tag = tags.find((each) => each.startsWith("graph:step:"));
  return tag === undefined ? undefined : Number(tag.slice("graph:step:".length));
}

function nameOf(serialized: unknown, name: string | undefined): string {
  if (typeof name === "string" && name !== "") return name;
  const { id } = (serialized ?? {}) as { readonly id?: unknown };
  return Array.isArray(id) ? String(id.at(-1)) : "unknown";
}

function textOf(name: string, value: unknown): SpanAttributes {
  return typeof value === "string" && value !== "" ? { [name]: value } : {};
}

/** How many tokens a model call took, where the model says so. */
function usageOf(output: unknown): SpanAttributes {
  const { generations } = (output ?? {}) as { generations?: { message?: { usage_metadata?: Usage } }[][] };
  const usage = generations?.[0]?.[0]?.message?.usage_metadata;
  const count = (name: string, value: unknown): SpanAttributes => (typeof value === "number" ? { [name]: value } : {});
  return {
    ...count("gen_ai.usage.input_tokens", usage?.input_tokens),
    ...count("gen_ai.usage.output_tokens", usage?.output_tokens),
  };
}

interface Usage {
  readonly input_tokens?: unknown;
  readonly output_tokens?: unknown;
}
