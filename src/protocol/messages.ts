/**
 * From the log's messages to the protocol's: message and block lifecycles.
 *
 * 1. A message starts once and ends once, and says all in between. A model call that streams under an id that is over
 *    is told as a message of its own; clients let it take the place of the first.
 * 2. Each event of a streamed message carries a `run_id` that no other message has: clients tell messages of one node by it.
 * 3. A whole message is told when nobody has seen it, or when it says something else than before.
 * 4. Results of tools are no messages here, nor are removals: the state and the `tools` channel tell them.
 */
import type { JsonObject } from "../core/model.js";
import { partsOf } from "./chunk-parts.js";
import { wholeContent } from "./content-blocks.js";
import { textIn } from "./json-object.js";
import { createMessageBlocks, type MessageBlocks, wholeBlockEvents } from "./message-blocks.js";
import { createMessageTotals, type MessageTotals, wholeFinish } from "./message-totals.js";
import { createTupleReader, type MessageSource, type MessageTuple } from "./message-tuple.js";
import { createTokenReader, type TextToken } from "./text-token.js";

/** An event of the `messages` channel; a message of the root has its node's task as namespace. */
export interface MessageEvent {
  readonly namespace: readonly string[];
  readonly node: string | undefined;
  readonly data: JsonObject;
}

export interface MessageFailure {
  readonly message: string;
  readonly code?: string;
}

export interface MessageProjection {
  /** The data of the log's `messages` event; what is no readable tuple yields nothing. */
  tuple(data: string): readonly MessageEvent[];
  /** The model call that streamed this message has ended. */
  finish(messageId: string): readonly MessageEvent[];
  /** Everything that is still open at or below this namespace ends here: finished, or broken off with the failure. */
  close(namespace: readonly string[], failure?: MessageFailure): readonly MessageEvent[];
}

/** A message that streams. */
interface OpenMessage {
  readonly id: string;
  readonly runId: string;
  readonly source: MessageSource;
  readonly blocks: MessageBlocks;
  readonly totals: MessageTotals;
}

export function createMessageProjection(): MessageProjection {
  const tuples = createTupleReader();
  const tokens = createTokenReader();
  /** In the order in which they started. */
  const open = new Set<OpenMessage>();
  /** By id what whole messages said, as JSON; undefined for those that streamed. */
  const told = new Map<string, string | undefined>();

  function stream({ message, source }: MessageTuple, id: string, role: string): readonly MessageEvent[] {
    const known = findOpen(id, source);
    const current = known ?? {
      id,
      runId: callOf(id),
      source,
      blocks: createMessageBlocks(),
      totals: createMessageTotals(),
    };
    const events = known === undefined ? [startData({ id, role, source })] : [];
    if (known === undefined) {
      open.add(current);
      told.set(id, undefined);
    }
    for (const part of partsOf(message)) events.push(...current.blocks.take(part));
    current.totals.add(message);
    return events.map((data) => eventOf(current.source, data, current.runId));
  }

  /** The same as `stream` for what nearly all tokens are. */
  function append({ id, source, text }: TextToken): MessageEvent | undefined {
    const message = text === "" ? undefined : findOpen(id, source);
    const index = message?.blocks.append(text);
    if (message === undefined || index === undefined) return undefined;
    const { namespace, node } = message.source;
    const delta = { type: "text-delta", text };
    return { namespace, node, data: { event: "content-block-delta", index, delta, run_id: message.runId } };
  }

  function findOpen(id: string, source: MessageSource): OpenMessage | undefined {
    for (const each of open) {
      if (each.id === id && (each.source === source || isSamePlace(each.source, source))) return each;
    }
    return undefined;
  }

  function whole({ message, source }: MessageTuple, id: string | undefined, role: string): readonly MessageEvent[] {
    const content = wholeContent(message);
    if (id !== undefined) {
      const said = JSON.stringify(content);
      const isKnown = told.has(id) && (told.get(id) ?? said) === said;
      if (isKnown) return finish(id);
      told.set(id, said);
    }
    const events = [startData({ id, role, source }), ...content.flatMap(wholeBlockEvents), wholeFinish(message)];
    return events.map((data) => eventOf(source, data, source.runId));
  }

  function finish(messageId: string): readonly MessageEvent[] {
    return [...open].filter(({ id }) => id === messageId).flatMap(end);
  }

  function end(message: OpenMessage): readonly MessageEvent[] {
    open.delete(message);
    const { blocks, totals, source, runId } = message;
    return [...blocks.finish(), totals.finish()].map((data) => eventOf(source, data, runId));
  }

  function fail(message: OpenMessage, failure: MessageFailure): MessageEvent {
    open.delete(message);
    return eventOf(message.source, { event: "error", ...failure }, message.runId);
  }

  return {
    tuple(data) {
      const token = tokens.read(data);
      const appended = token === undefined ? undefined : append(token);
      if (appended !== undefined) return [appended];
      const tuple = tuples.read(data);
      if (tuple === undefined) return [];
      tokens.learn(tuple, data);
      const id = textIn(tuple.message.id);
      const role = roleOf(tuple.message);
      if (role === undefined) return [];
      return role.isChunk && id !== undefined ? stream(tuple, id, role.name) : whole(tuple, id, role.name);
    },
    finish,
    close(namespace, failure) {
      const closed = [...open].filter(({ source }) => isWithin(source.namespace, namespace));
      return closed.flatMap((message) => (failure === undefined ? end(message) : fail(message, failure)));
    },
  };
}

interface Role {
  readonly name: string;
  readonly isChunk: boolean;
}

/** Undefined for what is not told here (4). */
function roleOf({ type }: JsonObject): Role | undefined {
  return typeof type === "string" ? ROLES.get(type) : undefined;
}

const ROLES: ReadonlyMap<string, Role> = new Map(
  [
    { types: ["ai", "generic"], name: "ai", isChunk: false },
    { types: ["human"], name: "human", isChunk: false },
    { types: ["system"], name: "system", isChunk: false },
    { types: ["AIMessageChunk", "ChatMessageChunk"], name: "ai", isChunk: true },
    { types: ["HumanMessageChunk"], name: "human", isChunk: true },
    { types: ["SystemMessageChunk"], name: "system", isChunk: true },
  ].flatMap(({ types, ...role }) => types.map((type) => [type, role] as const)),
);

interface Start {
  readonly id: string | undefined;
  readonly role: string;
  readonly source: MessageSource;
}

function startData({ id, role, source: { metadata } }: Start): JsonObject {
  return {
    event: "message-start",
    ...(id === undefined ? {} : { id }),
    role,
    ...(role === "ai" && Object.keys(metadata).length > 0 ? { metadata } : {}),
  };
}

/** LangChain names a message after its model call when the provider does not name it. */
function callOf(messageId: string): string {
  return messageId.startsWith("run-") ? messageId.slice("run-".length) : messageId;
}

function eventOf({ namespace, node }: MessageSource, data: JsonObject, runId: string | undefined): MessageEvent {
  return { namespace, node, data: runId === undefined ? data : { ...data, run_id: runId } };
}

function isSamePlace(one: MessageSource, other: MessageSource): boolean {
  return one.node === other.node && one.namespace.join("|") === other.namespace.join("|");
}

function isWithin(namespace: readonly string[], above: readonly string[]): boolean {
  return above.every((segment, index) => namespace[index] === segment);
}
