/** A run's words: whose they are, in which order, how they end. */
import { describe, expect, it } from "vitest";
import { createSpeech, type Words } from "../../src/faces/speech.js";

interface Said {
  readonly id?: string;
  readonly type?: string;
  readonly step?: number;
  readonly stop?: string;
  readonly usage?: [number, number];
}

function tuple(content: unknown, { id = "m1", type = "AIMessageChunk", step = 1, stop, usage }: Said = {}): string {
  const [input, output] = usage ?? [0, 0];
  const message = {
    type,
    id,
    content,
    ...(stop === undefined ? {} : { response_metadata: { finish_reason: stop } }),
    ...(usage === undefined ? {} : { usage_metadata: { input_tokens: input, output_tokens: output } }),
  };
  return JSON.stringify([message, { langgraph_step: step }]);
}

const text = (words: readonly Words[]): string => words.map((word) => word.text).join("");

describe("speech", () => {
  it("says tokens as they come", () => {
    const speech = createSpeech();
    expect(speech.take(tuple("Hel"))).toEqual([{ kind: "text", text: "Hel" }]);
    expect(speech.take(tuple("lo"))).toEqual([{ kind: "text", text: "lo" }]);
    expect(speech.take(tuple(""))).toEqual([]);
    expect(speech.finish()).toEqual([]);
  });

  it("leaves out what people and tools say, and calls", () => {
    const speech = createSpeech();
    expect(speech.take(tuple("hi", { type: "human" }))).toEqual([]);
    expect(speech.take(tuple("42", { type: "tool" }))).toEqual([]);
    expect(speech.take(tuple([{ type: "tool_use", id: "c", name: "n", input: "" }]))).toEqual([]);
    expect(speech.finish()).toEqual([]);
  });

  it("says a whole message once, also when it was streamed before", () => {
    const speech = createSpeech();
    speech.take(tuple("whole"));
    expect(speech.take(tuple("whole", { type: "ai" }))).toEqual([]);
    expect(text(speech.take(tuple("other", { type: "ai", id: "m2", step: 2 })))).toBe("\n\nother");
  });

  it("puts a blank line between messages of two steps", () => {
    const speech = createSpeech();
    const said = [tuple("one"), tuple("two", { id: "m2", step: 2 }), tuple("!", { id: "m2", step: 2 })];
    expect(text([...said.flatMap(speech.take), ...speech.finish()])).toBe("one\n\ntwo!");
  });

  it("keeps messages that are mixed apart, and in the order in which they began", () => {
    const speech = createSpeech();
    const first = [tuple("a"), tuple("x", { id: "m2" }), tuple("b"), tuple("y", { id: "m2" })].flatMap(speech.take);
    expect(text(first)).toBe("ab");
    expect(text(speech.take(tuple("c", { stop: "stop" })))).toBe("c\n\nxy");
    expect(text(speech.take(tuple("z", { id: "m2" })))).toBe("z");
  });

  it("says what was held back when the run is over", () => {
    const speech = createSpeech();
    for (const data of [tuple("a"), tuple("x", { id: "m2" })]) speech.take(data);
    expect(text(speech.finish())).toBe("\n\nx");
  });

  it("drops what was held back when the run begins again", () => {
    const speech = createSpeech();
    for (const data of [tuple("a"), tuple("x", { id: "m2" })]) speech.take(data);
    speech.restart();
    expect(text([...speech.take(tuple("b", { id: "m3" })), ...speech.finish()])).toBe("\n\nb");
  });

  it("tells reasoning apart", () => {
    const speech = createSpeech();
    expect(speech.take(tuple([{ type: "thinking", thinking: "Hm" }]))).toEqual([{ kind: "reasoning", text: "Hm" }]);
    expect(speech.take(tuple([{ type: "text", text: "Yes" }]))).toEqual([{ kind: "text", text: "Yes" }]);
  });

  it("counts the tokens of all messages, and knows when the last was cut short", () => {
    const speech = createSpeech();
    speech.take(tuple("a", { usage: [5, 0], stop: "length" }));
    expect(speech.isCutShort).toBe(true);
    speech.take(tuple("b", { id: "m2", step: 2, usage: [1, 2], stop: "stop" }));
    expect(speech.usage).toEqual({ input: 6, output: 2 });
    expect(speech.isCutShort).toBe(false);
  });
});
