/**
 * Keeping the words of a stopped answer (`runs.keep_partial_on_cancel`).
 *
 * When exactly one root-level task was streaming a message into the `messages` channel, the
 * accumulated message becomes that node's update, so `next` moves to its successors; otherwise nothing is kept. Tool
 * calls of an unfinished message were never made and go with it: no call is left dangling.
 */
import { isMessage, type MessageLike } from "../core/json.js";
import type { MessageKit } from "../core/kit.js";
import type { JsonObject } from "../core/model.js";
import type { GraphChunk } from "./chunks.js";
import { isChunk, taskOf } from "./message-chunks.js";

/** A message as a node of the root graph would have returned it. */
export interface PartialAnswer {
  readonly node: string;
  readonly message: object;
}

export interface PartialTracker {
  observe(chunk: GraphChunk): void;
  /** What may be kept now, built with the graph's own classes. */
  answer(kit: MessageKit): PartialAnswer | undefined;
}

interface Streaming {
  readonly node: string;
  message: MessageLike;
}

export function createPartialTracker(): PartialTracker {
  /** By root task: the message it streams now. */
  const streaming = new Map<string, Streaming>();

  return {
    observe({ namespace, mode, payload }) {
      if (mode === "values" && namespace.length === 0) streaming.clear(); // the superstep is over: its messages are state
      if (mode !== "messages") return;
      const [message, metadata] = payload as [MessageLike, JsonObject]; // LangGraph's messages mode yields this pair
      const task = taskOf(metadata);
      if (task === "" || task.includes("|") || !isChunk(message)) return;
      const before = streaming.get(task);
      const goesOn = before !== undefined && before.message.id === message.id && isChunk(before.message);
      streaming.set(task, {
        node: String(metadata.langgraph_node),
        message: goesOn && isChunk(before.message) ? before.message.concat(message) : message,
      });
    },

    answer(kit) {
      const [only, ...others] = streaming.values();
      if (only === undefined || others.length > 0 || !isMessage(only.message)) return undefined;
      const content = textOf(only.message.content);
      if (content.length === 0) return undefined;
      return { node: only.node, message: cancelledMessage(kit, only.message, content) };
    },
  };
}

function cancelledMessage(kit: MessageKit, message: MessageLike, content: string | object[]): object {
  const { response_metadata, usage_metadata } = message as MessageLike & {
    response_metadata?: Record<string, unknown>;
    usage_metadata?: never;
  };
  return new kit.messages.AIMessage({
    ...(message.id === undefined ? {} : { id: message.id }),
    content: content as string,
    response_metadata: { ...response_metadata, finish_reason: "cancelled" },
    ...(usage_metadata === undefined ? {} : { usage_metadata }),
  });
}

/** The content without blocks that belong to tool calls. */
function textOf(content: unknown): string | object[] {
  if (typeof content === "string") return content;
  if (!Array.isArray(content)) return "";
  return content.filter((block) => !String((block as { type?: unknown }).type).includes("tool"));
}
