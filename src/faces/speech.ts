/**
 * What a run says in words, made of its `messages` events. Pure.
 *
 * 1. Only what the model says counts: what people and tools say, and calls of tools, are the graph's business.
 * 2. Messages come one after the other, in the order in which they began, however their tokens were mixed: the words of
 *    one that speaks beside another wait until that one is over.
 * 3. A message is over when the model said why it stopped, when a later step of the graph speaks, or with the run.
 * 4. Between two messages stands a blank line.
 * 5. After a restart of the run what was held back is dropped: it is said again.
 */
import type { JsonObject } from "../core/model.js";
import { partsOf } from "../protocol/chunk-parts.js";
import { isObject, objectsIn, textIn } from "../protocol/json-object.js";

export interface Words {
  readonly kind: "text" | "reasoning";
  readonly text: string;
}

/** In tokens, as models count them; zeros where none of them did. */
export interface Usage {
  readonly input: number;
  readonly output: number;
}

export interface Speech {
  /** The data of a `messages` event; returns what can be said now. */
  take(data: string): readonly Words[];
  /** The run begins again. */
  restart(): void;
  /** Everything is over: returns what was held back. */
  finish(): readonly Words[];
  readonly usage: Usage;
  /** Whether the model that spoke last was stopped by its limit. */
  readonly isCutShort: boolean;
}

interface Speaker {
  readonly id: string | undefined;
  readonly step: number;
  held: Words[];
  hasText: boolean;
  isOver: boolean;
}

export function createSpeech(): Speech {
  const ids = new Map<string, Speaker>();
  /** The first one is heard, the others wait. */
  const speaking: Speaker[] = [];
  let hasSpoken = false;
  let usage: Usage = { input: 0, output: 0 };
  let isCutShort = false;

  function speakerOf(id: string | undefined, step: number): Speaker {
    const known = id === undefined ? undefined : ids.get(id);
    if (known !== undefined) return known;
    const speaker = { id, step, held: [], hasText: false, isOver: false };
    for (const other of speaking) if (other.step < step) other.isOver = true; // 3
    speaking.push(speaker);
    if (id !== undefined) ids.set(id, speaker);
    return speaker;
  }

  function hear(speaker: Speaker, words: readonly Words[]): void {
    for (const { kind, text } of words) {
      const begins = kind === "text" && !speaker.hasText;
      speaker.hasText ||= begins;
      speaker.held.push({ kind, text: begins ? `${SEPARATOR}${text}` : text });
    }
  }

  function said(): readonly Words[] {
    const words: Words[] = [];
    for (let first = speaking[0]; first !== undefined; first = speaking[0]) {
      for (const { kind, text } of first.held) {
        const isFirst = kind === "text" && !hasSpoken;
        words.push({ kind, text: isFirst ? text.slice(SEPARATOR.length) : text });
        hasSpoken ||= isFirst;
      }
      first.held = [];
      if (!first.isOver || speaking.length === 1) break;
      speaking.shift();
    }
    return words;
  }

  return {
    take(data) {
      const tuple = readTuple(data);
      if (tuple === undefined) return [];
      const { message, metadata } = tuple;
      const id = textIn(message.id);
      const isChunk = message.type === "AIMessageChunk";
      if (!isChunk && id !== undefined && ids.has(id)) return []; // it was streamed
      const speaker = speakerOf(id, Number(metadata.langgraph_step ?? 0));
      if (speaker.isOver && !speaking.includes(speaker)) speaking.push(speaker); // it had more to say
      usage = add(usage, message.usage_metadata);
      const stopped = stopReasonOf(message);
      if (stopped !== undefined) isCutShort = CUT_SHORT.has(stopped);
      hear(speaker, wordsOf(message));
      if (!isChunk || stopped !== undefined) speaker.isOver = true;
      return said();
    },

    restart() {
      for (const speaker of speaking) {
        speaker.held = [];
        speaker.isOver = true;
      }
    },

    finish() {
      for (const speaker of speaking) speaker.isOver = true;
      return said();
    },

    get usage() {
      return usage;
    },

    get isCutShort() {
      return isCutShort;
    },
  };
}

const SEPARATOR = "\n\n";

/** Undefined for what is not the model's. */
function readTuple(data: string): { readonly message: JsonObject; readonly metadata: JsonObject } | undefined {
  const [message, metadata] = objectsIn(JSON.parse(data)); // an event's data is JSON
  if (message === undefined || (message.type !== "ai" && message.type !== "AIMessageChunk")) return undefined;
  return { message, metadata: metadata ?? {} };
}

function wordsOf(message: JsonObject): readonly Words[] {
  return partsOf(message).flatMap(({ block }): readonly Words[] => {
    if (block.type === "text" && typeof block.text === "string" && block.text !== "") {
      return [{ kind: "text", text: block.text }];
    }
    if (block.type === "reasoning" && typeof block.reasoning === "string" && block.reasoning !== "") {
      return [{ kind: "reasoning", text: block.reasoning }];
    }
    return [];
  });
}

function add(usage: Usage, counted: JsonObject[string] | undefined): Usage {
  if (!isObject(counted)) return usage;
  const { input_tokens: input, output_tokens: output } = counted;
  return { input: usage.input + (Number(input) || 0), output: usage.output + (Number(output) || 0) };
}

/** As providers name it. */
function stopReasonOf({ response_metadata: metadata }: JsonObject): string | undefined {
  if (!isObject(metadata)) return undefined;
  return textIn(metadata.finish_reason) ?? textIn(metadata.stop_reason) ?? textIn(metadata.finishReason);
}

const CUT_SHORT: ReadonlySet<string> = new Set(["length", "max_tokens", "MAX_TOKENS"]);
