/**
 * Chunks of one message as one event: what a client makes of them, and each of them again.
 *
 * Merging is done by the class that clients use. A chunk that differs from one before only in its text is neither parsed
 * nor merged: texts are added up, after it was tried that merging does the same for this kind of chunk.
 */
import { MessageTupleManager } from "@langchain/langgraph-sdk/ui";
import { flattenMessage, isMessage } from "../core/json.js";
import type { ChunkDict } from "./message-shape.js";

/** Raw chunks, each as what differs from the first of them. */
export interface ChunkParts {
  /** The first chunk's data. */
  readonly base: string;
  readonly runs: readonly ChunkRun[];
}

/** Chunks with the seqs `seq`, `seq + 1`, …: each is `start` characters of the base, its text, and the base's last `end`. */
export interface ChunkRun {
  readonly seq: number;
  readonly start: number;
  readonly end: number;
  readonly texts: readonly string[];
}

export interface RawChunk {
  readonly seq: number;
  readonly data: string;
}

/** A chunk, and the rest of its tuple as text: the same text for all chunks of a group. */
export interface ReadChunk {
  readonly messageId: string;
  readonly chunk: ChunkDict;
  readonly rest: string;
}

export interface ChunkGroup {
  readonly messageId: string;
  readonly rest: string;
  /** How many raw chunks it holds. */
  readonly size: number;
  /** About what it takes in memory. */
  readonly bytes: number;
  /** As they are now. */
  readonly parts: ChunkParts;
  /** The text by which `data` differs from a chunk of the group, as it stands between quotes; undefined: by more. */
  textOf(data: string): string | undefined;
  /** Adds a chunk of which `textOf` told the text. */
  addText(raw: RawChunk, text: string): void;
  /** Adds a chunk; false when clients cannot merge it either: the group is as before. */
  add(raw: RawChunk, chunk: ChunkDict): boolean;
  /** Adds chunks that follow and were folded before. */
  addGroup(other: ChunkGroup): boolean;
  /** All chunks as one event's data. */
  data(): string;
}

const CHUNK_TYPE = "AIMessageChunk";
const HEAD = `[{"type":"${CHUNK_TYPE}","content":"`;

/** Reads the data of a `messages` event; undefined for what is no chunk with an id in plain JSON. */
export function readChunk(tuple: unknown, data: string): ReadChunk | undefined {
  if (!Array.isArray(tuple) || tuple.length !== 2) return undefined;
  const [chunk, metadata] = tuple as [ChunkDict | null, unknown];
  if (chunk?.type !== CHUNK_TYPE || typeof chunk.id !== "string" || chunk.id === "") return undefined;
  const rest = `,${JSON.stringify(metadata)}]`;
  return data.endsWith(rest) ? { messageId: chunk.id, chunk, rest } : undefined;
}

/** The chunk in `data`; undefined when what follows it is not `rest`. */
export function readChunkBefore(rest: string, data: string): ReadChunk | undefined {
  if (!data.endsWith(rest)) return undefined;
  try {
    const chunk = JSON.parse(data.slice(1, -rest.length)) as ChunkDict;
    return chunk.type === CHUNK_TYPE && typeof chunk.id === "string" && chunk.id !== ""
      ? { messageId: chunk.id, chunk, rest }
      : undefined;
  } catch {
    return undefined; // the metadata end alike, and are not the same
  }
}

/** The raw chunks that `parts` tells of. */
export function* chunksOf({ base, runs }: ChunkParts): Generator<RawChunk> {
  for (const { seq, start, end, texts } of runs) {
    const [head, tail] = [base.slice(0, start), base.slice(base.length - end)];
    for (const [index, text] of texts.entries()) yield { seq: seq + index, data: head + text + tail };
  }
}

/** A group of one chunk, or, with `parts`, of those that were folded into it. */
export function createChunkGroup(
  first: RawChunk,
  { messageId, chunk, rest }: ReadChunk,
  parts?: ChunkParts,
): ChunkGroup {
  const record = createRecord(first, parts);
  let merged: MessageTupleManager | undefined;
  let data: string | undefined = first.data;
  let kind: TextKind | undefined;
  /** The last chunk that was parsed, as long as it was not tried whether others like it need that. */
  let example: { readonly chunk: ChunkDict; readonly tail: string } | undefined;
  /** Chunks of `kind` that are not merged yet, as one text. */
  let pending: { text: string } | undefined;

  /** All so far; of one chunk nothing is made before there is a second. */
  function all(): MessageTupleManager {
    if (merged === undefined) {
      merged = new MessageTupleManager();
      addTo(merged, chunk);
    }
    if (pending !== undefined && kind !== undefined) {
      addTo(merged, { ...kind.chunk, content: JSON.parse(`"${pending.text}"`) });
      pending = undefined;
    }
    return merged;
  }

  function merge(next: ChunkDict): boolean {
    try {
      addTo(all(), next);
    } catch {
      return false;
    }
    data = undefined;
    return true;
  }

  function remember(next: ChunkDict, raw: string): void {
    const tail = textTail(raw);
    if (tail !== undefined && tail !== kind?.tail) example = { chunk: next, tail };
  }

  function textOf(raw: string): string | undefined {
    const known = kind === undefined ? undefined : textBetween(raw, kind.tail);
    if (known !== undefined || example === undefined) return known;
    const text = textBetween(raw, example.tail);
    if (text === undefined) return undefined;
    const learnt = textKindOf(example.chunk, example.tail);
    example = undefined;
    if (learnt === undefined) return undefined;
    all(); // the texts that wait are of the kind before
    kind = learnt;
    return text;
  }

  if (parts === undefined) remember(chunk, first.data);

  return {
    messageId,
    rest,
    get size() {
      return record.size;
    },
    get bytes() {
      return record.bytes;
    },
    get parts() {
      return record.parts;
    },
    textOf,
    addText(raw, text) {
      pending ??= { text: "" };
      pending.text += text;
      data = undefined;
      record.add(raw);
    },
    add(raw, next) {
      if (!merge(next)) return false;
      remember(next, raw.data);
      record.add(raw);
      return true;
    },
    addGroup(other) {
      const read = readChunkBefore(rest, other.data());
      if (read === undefined || !merge(read.chunk)) return false;
      for (const raw of chunksOf(other.parts)) record.add(raw);
      return true;
    },
    data() {
      if (data === undefined) {
        data = `[${messageJson(all(), messageId)}${rest}`;
      }
      return data;
    },
  };
}

// ---- merging, as clients do it

function addTo(manager: MessageTupleManager, chunk: ChunkDict): void {
  // The class takes what came over the wire and renames its type in place.
  manager.add({ ...chunk } as unknown as Parameters<MessageTupleManager["add"]>[0], undefined);
}

function messageJson(manager: MessageTupleManager, messageId: string): string {
  const message = manager.get(messageId)?.chunk;
  if (!isMessage(message)) throw new Error(`the chunks of ${messageId} make no message`);
  return JSON.stringify({ ...flattenMessage(message), type: CHUNK_TYPE });
}

// ---- chunks that differ in their text only

interface TextKind {
  readonly chunk: ChunkDict;
  /** What follows the text. */
  readonly tail: string;
}

/** The kind of a chunk whose texts may be added up, because all else stays as it is when such chunks are merged. */
function textKindOf(chunk: ChunkDict, tail: string): TextKind | undefined {
  if (typeof chunk.id !== "string" || !isPlain(chunk)) return undefined;
  const manager = new MessageTupleManager();
  addTo(manager, { ...chunk, content: "" });
  addTo(manager, { ...chunk, content: "" });
  const twice = messageJson(manager, chunk.id);
  addTo(manager, { ...chunk, content: "" });
  return twice === messageJson(manager, chunk.id) ? { chunk, tail } : undefined;
}

function isPlain({ tool_call_chunks: chunks, tool_calls: calls, usage_metadata: usage }: ChunkDict): boolean {
  const isEmpty = (list: unknown) => list === undefined || (Array.isArray(list) && list.length === 0);
  return isEmpty(chunks) && isEmpty(calls) && usage === undefined;
}

/** What follows the text of a chunk whose content is one. */
function textTail(data: string): string | undefined {
  if (!data.startsWith(HEAD)) return undefined;
  const inside = /[^"\\]*(?:\\.[^"\\]*)*/y;
  inside.lastIndex = HEAD.length;
  return inside.test(data) ? data.slice(inside.lastIndex) : undefined;
}

/** The text of a chunk that ends with `tail`. */
function textBetween(data: string, tail: string): string | undefined {
  if (data.length < HEAD.length + tail.length || !data.startsWith(HEAD) || !data.endsWith(tail)) return undefined;
  const text = data.slice(HEAD.length, data.length - tail.length);
  return /^[^"\\]*(?:\\.[^"\\]*)*$/.test(text) ? text : undefined;
}

// ---- what the raw chunks were

interface ChunkRecord {
  readonly size: number;
  readonly bytes: number;
  readonly parts: ChunkParts;
  add(raw: RawChunk): void;
}

/** Depends on nothing but the raw chunks in their order, so that folding in steps records the same. */
function createRecord(first: RawChunk, before: ChunkParts | undefined): ChunkRecord {
  const base = before?.base ?? first.data;
  const baseTail = textTail(base);
  const runs = (before?.runs ?? []).map((run) => ({ ...run, texts: [...run.texts] }));
  /** Of the last run. */
  let frame = frameOf(base, runs.at(-1));
  let [size, bytes] = [0, 3 * base.length];
  for (const { texts } of runs) for (const text of texts) count(text);

  /** A text is kept here and in the whole. */
  function count(text: string): void {
    size++;
    bytes += 2 * text.length + 16;
  }

  function add({ seq, data }: RawChunk): void {
    const last = runs.at(-1);
    if (last === undefined || frame === undefined || last.seq + last.texts.length !== seq || !frame.fits(data)) {
      const inText = baseTail === undefined ? undefined : { start: HEAD.length, end: baseTail.length };
      const ends = frameOf(base, inText)?.fits(data) === true && inText !== undefined ? inText : commonEnds(base, data);
      frame = frameOf(base, ends);
      runs.push({ seq, ...ends, texts: [] });
    }
    const run = runs.at(-1);
    if (run === undefined) return;
    const text = data.slice(run.start, data.length - run.end);
    run.texts.push(text);
    count(text);
  }

  if (before === undefined) add(first);
  return {
    get size() {
      return size;
    },
    get bytes() {
      return bytes;
    },
    get parts() {
      return { base, runs: runs.map((run) => ({ ...run, texts: [...run.texts] })) };
    },
    add,
  };
}

type Ends = Pick<ChunkRun, "start" | "end">;

/** Tells which chunks have these ends of the base around their text. */
function frameOf(base: string, ends: Ends | undefined): { fits(data: string): boolean } | undefined {
  if (ends === undefined) return undefined;
  const [head, tail] = [base.slice(0, ends.start), base.slice(base.length - ends.end)];
  return {
    fits: (data) => data.length >= head.length + tail.length && data.startsWith(head) && data.endsWith(tail),
  };
}

function commonEnds(base: string, data: string): Ends {
  const shorter = Math.min(base.length, data.length);
  let start = 0;
  while (start < shorter && base.charCodeAt(start) === data.charCodeAt(start)) start++;
  let end = 0;
  while (end < shorter - start && base.charCodeAt(base.length - 1 - end) === data.charCodeAt(data.length - 1 - end))
    end++;
  return { start, end };
}
