/**
 * A run as somebody hears it who only wants its answer: its words as they come, then how it ended.
 *
 * The words are those of the run's `messages-tuple` events; a graph that says nothing that way answers with the closing
 * messages of its state. So a stream and a whole answer always say the same.
 */
import type { Interrupt, Json, JsonObject, RunError, StreamMode } from "../core/model.js";
import { isObject, objectsIn, parseObject } from "../protocol/json-object.js";
import type { RunReading, StreamItem } from "../runs/reading.js";
import { closingWords } from "./message-text.js";
import { createSpeech, type Usage, type Words } from "./speech.js";

/** How a run ended, as its result tells. */
export interface RunResultView {
  /** `paused`: it waits for answers to `questions`. One that stopped at a breakpoint of its own has finished. */
  readonly kind: "finished" | "paused" | "cancelled" | "failed";
  readonly questions: readonly Interrupt[];
  readonly error: RunError | null;
  /** The output of the graph; empty when it failed. */
  readonly values: JsonObject;
}

export interface RunEnd extends RunResultView {
  readonly usage: Usage;
  /** Whether the model that spoke last was stopped by its limit. */
  readonly isCutShort: boolean;
}

/** `begin`: a worker has taken the run up. */
export type AnswerPart = { readonly kind: "begin" } | Words | { readonly kind: "end"; readonly end: RunEnd };

/** What a run that is heard must stream. */
export const HEARD_MODES: readonly StreamMode[] = ["messages-tuple"];

export interface Heard {
  readonly reading: RunReading;
  /** The ids of messages that the thread had before the run. */
  readonly known: ReadonlySet<Json>;
}

/**
 * Batches of parts, the last of which is the end. Returns without one when `signal` aborts, and throws
 * `StreamBrokenError` when the gateway stops first.
 */
export async function* followAnswer(
  { reading, known }: Heard,
  signal: AbortSignal,
): AsyncGenerator<readonly AnswerPart[], void> {
  const speech = createSpeech();
  let hasText = false;
  let claims = 0;
  let status: Json | undefined;

  function heard(words: readonly Words[]): readonly Words[] {
    hasText ||= words.some(({ kind }) => kind === "text");
    return words;
  }
  function endOf(view: RunResultView): AnswerPart {
    return { kind: "end", end: { ...view, usage: speech.usage, isCutShort: speech.isCutShort } };
  }

  for await (const items of reading.follow({ cursor: { from: "start" }, signal })) {
    const parts: AnswerPart[] = [];
    for (const item of items) {
      if (isSnapshot(item)) {
        yield [...parts, endOf(FALLEN_BEHIND)];
        return;
      }
      if (item.event === "messages") parts.push(...heard(speech.take(item.data)));
      if (item.event === "metadata") {
        if (claims++ === 0) parts.push({ kind: "begin" });
        else speech.restart();
      }
      if (item.event === "end") status = parseObject(item.data)?.status;
    }
    if (parts.length > 0) yield parts;
  }
  const result = await reading.result(signal);
  if (signal.aborted || result === undefined) return;
  const view = viewOfResult(result, status);
  const rest = heard(speech.finish());
  const closing = hasText || view.kind === "failed" ? "" : closingWords(view.values, known).join("\n\n");
  yield [...rest, ...(closing === "" ? [] : [{ kind: "text" as const, text: closing }]), endOf(view)];
}

/** The whole answer at once; undefined when `signal` aborts first. */
export async function readAnswer(
  heard: Heard,
  signal: AbortSignal,
): Promise<{ readonly text: string; readonly reasoning: string; readonly end: RunEnd } | undefined> {
  const said = { text: "", reasoning: "" };
  for await (const parts of followAnswer(heard, signal)) {
    for (const part of parts) {
      if (part.kind === "end") return { ...said, end: part.end };
      if (part.kind !== "begin") said[part.kind] += part.text;
    }
  }
  return undefined;
}

/** Of the JSON that waiters get, and the status that the run's stream ended with where that is known. */
export function viewOfResult(resultJson: string, status?: Json): RunResultView {
  const { __error__: error, __interrupt__: asked, ...values } = parseObject(resultJson) ?? {};
  if (isObject(error)) {
    const { error: name, message } = error;
    return { kind: "failed", error: { error: String(name), message: String(message) }, questions: [], values: {} };
  }
  const questions = objectsIn(asked).map(({ id, value }) => ({ id: String(id), value: value ?? null }));
  const isCancelled = status === "interrupted" || status === "rollback";
  const kind = isCancelled ? "cancelled" : questions.length > 0 ? "paused" : "finished";
  return { kind, error: null, questions, values };
}

/** What stands for events that are kept no more. */
function isSnapshot({ id, event }: StreamItem): boolean {
  return id === null && event === "values";
}

const FALLEN_BEHIND: RunResultView = {
  kind: "failed",
  questions: [],
  error: { error: "EventsTrimmed", message: "the answer was read too slowly: a part of it is kept no more" },
  values: {},
};
