/**
 * From what a run said to the events of the protocol: a pure function of the run's log, whoever started the run and
 * whatever it was asked to stream.
 *
 * 1. The root is `running` when the first claim begins, and ends exactly once; nothing follows.
 * 2. A checkpoint is told before the state that belongs to it, the last state before the end.
 * 3. Every question is asked once. A question that waited before the run and waits still is asked again at its end.
 * 4. What a claim began to say and the next says anew is taken back (`taken-back.ts`).
 * 5. What an entry of the log becomes depends on the entries before it, but never on states that folding may leave out.
 */
import { convertToProtocolEvent } from "@langchain/langgraph/stream";
import type { EventId, StreamEvent } from "../bridge/bridge.js";
import { toJson } from "../core/json.js";
import type { Interrupt, Json, JsonObject, Run, RunError } from "../core/model.js";
import { claimNumber, type ProtocolEvent, seqOf } from "./event.js";
import { createLifecycles, type GraphLife, type LifecycleEvent, type LoggedTask } from "./lifecycle.js";
import { createMessageProjection, type MessageEvent } from "./messages.js";
import { protocolValues } from "./state-values.js";
import { createTakenBack } from "./taken-back.js";

export interface Projection {
  /** The events that an entry of the log becomes; entries are given in order, each once. */
  push(entry: StreamEvent): readonly ProtocolEvent[];
  /** What the run's graphs are doing, the root first. */
  tree(): readonly GraphLife[];
}

/** What of a run its events tell. */
export type ProjectedRun = Pick<Run, "runId" | "graphId" | "payload"> & { readonly firstClaim: number };

/** An event without its place. */
type Said = Pick<ProtocolEvent, "method" | "namespace" | "node" | "data"> & {
  readonly channel?: string;
  readonly id?: string;
};

const ROOT: readonly string[] = [];

export function createProjection({ runId, graphId, payload, firstClaim }: ProjectedRun): Projection {
  const messages = createMessageProjection();
  const lifecycles = createLifecycles();
  const takenBack = createTakenBack();
  const asked = new Set<string>();
  const root: GraphLife = { namespace: ROOT, graphName: graphId, status: "started" };
  /** LangGraph tells the checkpoint after the state where it was asked for checkpoints as well. */
  const tellsStateFirst = payload.streamModes.includes("checkpoints");
  const heldStates = new Map<string, Said>();
  let isPaused = false;
  let isAnswered = false;

  function* said(entry: StreamEvent): Generator<Said> {
    const { event, namespace, data } = entry;
    switch (event.startsWith("#") ? event.slice(1) : event) {
      case "metadata":
        return yield* begin();
      case "values":
        return yield* state(namespace, data);
      case "checkpoint":
        yield* reach(namespace);
        yield { method: "checkpoints", namespace, data };
        return yield* heldState(namespace);
      case "messages":
        for (const message of messages.tuple(data)) yield* ofMessage(message);
        return;
      case "message-end":
        for (const message of messages.finish(JSON.parse(data) as string)) yield* ofMessage(message);
        return;
      case "updates":
        yield* reach(namespace);
        return yield* update(namespace, JSON.parse(data) as Json);
      case "custom":
        yield* reach(namespace);
        return yield* converted("custom", namespace, data);
      case "tools":
        if (namespace.length === 0) return; // told to REST without its namespace, and again with it
        yield* reach(namespace);
        return yield* converted("tools", namespace, data);
      case "tasks":
        yield* reach(namespace);
        return yield { method: "tasks", namespace, data };
      case "task":
        return yield* task(namespace, JSON.parse(data) as LoggedTask);
      case "answered":
        if (isAnswered) return; // by the claim before, which came no further
        isAnswered = true;
        return yield {
          method: "input.answered",
          channel: "input",
          namespace: ROOT,
          data: `{"interrupt_ids":${data}}`,
          id: synthetic("answered"),
        };
      case "cause": {
        const cause = JSON.parse(data) as JsonObject | null;
        if (cause !== null) lifecycles.causedBy(namespace, cause);
        return yield* reach(namespace);
      }
      case "said": {
        yield* reach(namespace);
        const { method, node, data: told } = JSON.parse(data) as { method: string; node?: string; data: Json };
        return yield { method, namespace, node, data: toJson(told) };
      }
      case "paused":
        isPaused = true;
        for (const interrupt of JSON.parse(data) as readonly Interrupt[]) yield* question(ROOT, interrupt);
        return;
      case "end":
        return yield* finish(isPaused || statusOf(data) !== "success" ? "interrupted" : "completed");
      case "error":
        return yield* finish("failed", JSON.parse(data) as RunError);
      default:
        yield* named(event, namespace, data);
    }
  }

  /** 1. A claim after the first goes on with the run: what the one before it was saying breaks off. */
  function* begin(): Generator<Said> {
    for (const message of messages.close(ROOT, RESTARTED)) yield* ofMessage(message);
    if (root.status !== "started") return takenBack.claim(); // 4
    root.status = "running";
    yield lifecycle({ namespace: ROOT, data: { event: "running", graph_name: graphId } });
  }

  function* state(namespace: readonly string[], data: string): Generator<Said> {
    const values = protocolValues(data);
    if (values === undefined) return;
    const event: Said = { method: "values", namespace, data: values };
    if (tellsStateFirst) {
      heldStates.set(namespace.join("|"), event); // and its graph begins with the checkpoint: a folded log may lack the state
    } else {
      yield* reach(namespace);
      yield event;
    }
    if (namespace.length > 0) return;
    for (const data of takenBack.behind(values)) yield { method: "values", namespace, data }; // 4
  }

  function* heldState(namespace: readonly string[]): Generator<Said> {
    const held = heldStates.get(namespace.join("|"));
    heldStates.delete(namespace.join("|"));
    if (held === undefined) return;
    yield* reach(namespace);
    yield held; // 2
  }

  /** What is left of states below a task, or of all, when it ends. */
  function* heldStatesWithin(path: readonly string[]): Generator<Said> {
    for (const { namespace } of [...heldStates.values()]) {
      if (path.every((segment, index) => namespace[index] === segment)) yield* heldState(namespace);
    }
  }

  function* update(namespace: readonly string[], payloadOfMode: Json): Generator<Said> {
    const interrupts = interruptsIn(payloadOfMode);
    if (interrupts !== undefined) {
      for (const interrupt of interrupts) yield* question(namespace, interrupt);
      return;
    }
    for (const [node, values] of entriesOf(payloadOfMode)) {
      yield { method: "updates", namespace, node, data: toJson({ node, values }) };
    }
  }

  function* question(namespace: readonly string[], { id, value }: Interrupt): Generator<Said> {
    if (asked.has(id)) return; // 3
    asked.add(id);
    const data = toJson({ interrupt_id: id, payload: value, value });
    yield { method: "input.requested", channel: "input", namespace, data };
  }

  function* task(namespace: readonly string[], logged: LoggedTask): Generator<Said> {
    if (logged.ended === undefined) {
      lifecycles.taskBegins(namespace, logged);
      return yield* reach(namespace);
    }
    if (logged.ended === "unclear") return;
    const path = [...namespace, `${logged.name}:${logged.id}`];
    for (const message of messages.close(path)) yield* ofMessage(message);
    yield* heldStatesWithin(path);
    for (const event of lifecycles.taskEnds(namespace, logged)) yield lifecycle(event);
  }

  /** 1. Graphs below the root end before it. */
  function* finish(status: "completed" | "failed" | "interrupted", error?: RunError): Generator<Said> {
    yield* heldStatesWithin(ROOT); // 2
    const failure = error === undefined ? undefined : { message: error.message, code: error.error };
    for (const message of messages.close(ROOT, failure)) yield* ofMessage(message);
    for (const event of lifecycles.end(status)) yield lifecycle(event);
    root.status = status;
    const data = { event: status, graph_name: graphId };
    const reason = error?.message === "" ? error.error : error?.message;
    yield lifecycle({ namespace: ROOT, data: reason === undefined ? data : { ...data, error: reason } });
  }

  function* reach(namespace: readonly string[]): Generator<Said> {
    for (const event of lifecycles.reach(namespace)) yield lifecycle(event);
  }

  function* ofMessage({ namespace, node, data }: MessageEvent): Generator<Said> {
    yield* reach(namespace);
    // As deep as the root's own messages lie.
    if (data.event === "message-start" && typeof data.id === "string" && namespace.length <= 1) takenBack.told(data.id);
    yield { method: "messages", namespace, node, data: toJson(data) };
  }

  function lifecycle({ namespace, data }: LifecycleEvent): Said {
    const own = { method: "lifecycle", namespace, data: toJson(data) };
    return namespace.length === 0 ? { ...own, id: synthetic(data.event) } : own;
  }

  /** The id of what is told of the run as a whole; clients read the run's id in it. */
  function synthetic(what: string): string {
    return `synth:${runId}:${what}`;
  }

  return {
    push(entry) {
      if (root.status === "completed" || root.status === "failed" || root.status === "interrupted") return []; // 1
      const claim = claimNumber(firstClaim, entry.id);
      return [...said(entry)].map((event, index) => placed(event, { claim, entry, index }));
    },
    tree: () => [root, ...lifecycles.tree()],
  };
}

const RESTARTED = { message: "the run was interrupted, and goes on from its last checkpoint", code: "restarted" };

interface Place {
  readonly claim: number;
  readonly entry: { readonly id: EventId; readonly at: number };
  readonly index: number;
}

function placed({ id, channel, ...event }: Said, { claim, entry, index }: Place): ProtocolEvent {
  const { seq } = entry.id;
  return {
    ...event,
    id: id ?? `${claim}-${seq}${index === 0 ? "" : `.${index}`}`,
    seq: seqOf(claim, seq, index),
    channel: channel ?? event.method,
    timestamp: entry.at,
  };
}

/** LangGraph's own conversion of a mode's payload. */
function* converted(mode: "custom" | "tools", namespace: readonly string[], data: string): Generator<Said> {
  const events = convertToProtocolEvent({ namespace: [...namespace], mode, payload: JSON.parse(data), seq: 0 });
  for (const { params } of events) {
    const { name } = params.data as { readonly name?: unknown };
    const channel = mode === "custom" && name !== undefined && name !== null ? `custom:${name}` : mode;
    yield { method: mode, channel, namespace, data: toJson(params.data) };
  }
}

/** What a graph's own stream transformers say on channels of their own. */
function* named(event: string, namespace: readonly string[], data: string): Generator<Said> {
  const name = /^#channel:(.+)$/s.exec(event)?.[1];
  if (name === undefined) return; // REST's alone
  yield {
    method: "custom",
    channel: `custom:${name}`,
    namespace,
    data: `{"name":${JSON.stringify(name)},"payload":${data}}`,
  };
}

function interruptsIn(update: Json): readonly Interrupt[] | undefined {
  if (typeof update !== "object" || update === null || !("__interrupt__" in update)) return undefined;
  return update.__interrupt__ as unknown as readonly Interrupt[]; // as LangGraph writes it
}

function entriesOf(update: Json): readonly (readonly [string, Json])[] {
  if (typeof update !== "object" || update === null || Array.isArray(update)) return [];
  return Object.entries(update as JsonObject); // neither null nor a list
}

function statusOf(end: string): unknown {
  return (JSON.parse(end) as { readonly status: unknown }).status;
}
