/**
 * Reads the data of the log's `messages` events.
 *
 * Most of such a text is metadata, the same for all tokens of a model call: it is parsed once, and the message alone
 * where the text after it is one that was seen.
 */
import type { Json, JsonObject } from "../core/model.js";
import { isObject, parseObject, textIn } from "./json-object.js";
import { createRecent, endsWith } from "./recent.js";

export interface MessageTuple {
  readonly message: JsonObject;
  readonly source: MessageSource;
}

/** Who said a message: one and the same object for all of its tokens. */
export interface MessageSource {
  readonly namespace: readonly string[];
  readonly node: string | undefined;
  readonly runId: string | undefined;
  /** What the protocol tells about the model. */
  readonly metadata: JsonObject;
}

export interface TupleReader {
  /** Undefined for what is no tuple. */
  read(data: string): MessageTuple | undefined;
}

export function createTupleReader(): TupleReader {
  const seen = createRecent<{ readonly rest: string; readonly source: MessageSource }>();

  function readMessage(data: string): MessageTuple | undefined {
    const known = seen.find(({ rest }) => endsWith(data, rest));
    // JSON before a comma and more JSON in brackets: there is one way to read it.
    const message = known === undefined ? undefined : parseObject(data.slice(1, -known.rest.length));
    return known === undefined || message === undefined ? undefined : { message, source: known.source };
  }

  function readAll(data: string): MessageTuple | undefined {
    const tuple = parseObject(`{"tuple":${data}}`)?.tuple;
    if (!Array.isArray(tuple)) return undefined;
    const [message, metadata] = tuple as readonly Json[];
    if (!isObject(message) || !isObject(metadata)) return undefined;
    const source = sourceOf(metadata);
    const rest = `,${JSON.stringify(metadata)}]`;
    if (data.startsWith("[") && endsWith(data, rest)) seen.add({ rest, source });
    return { message, source };
  }

  return { read: (data) => readMessage(data) ?? readAll(data) };
}

function sourceOf(metadata: JsonObject): MessageSource {
  const task = textIn(metadata.langgraph_checkpoint_ns) ?? textIn(metadata.checkpoint_ns);
  const told = TOLD.flatMap(([name, key]) => (isScalar(metadata[key]) ? [[name, metadata[key]] as const] : []));
  return {
    namespace: task === undefined ? [] : task.split("|"),
    node: textIn(metadata.langgraph_node),
    runId: textIn(metadata.run_id),
    metadata: Object.fromEntries(told),
  };
}

/** The protocol's name, and LangGraph's. */
const TOLD: readonly (readonly [string, string])[] = [
  ["provider", "ls_provider"],
  ["model", "ls_model_name"],
  ["model_type", "ls_model_type"],
  ["run_id", "run_id"],
  ["thread_id", "thread_id"],
];

function isScalar(value: Json | undefined): value is string | number | boolean {
  return value !== undefined && value !== null && typeof value !== "object";
}
