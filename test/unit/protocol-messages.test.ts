/** From the log's messages to the protocol's. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { JsonObject } from "../../src/core/model.js";
import { createMessageProjection, type MessageEvent, type MessageProjection } from "../../src/protocol/messages.js";

const METADATA = { langgraph_node: "agent", langgraph_checkpoint_ns: "agent:1", ls_provider: "openai", run_id: "r1" };

function tuple(message: object, metadata: object = METADATA): string {
  return JSON.stringify([{ additional_kwargs: {}, response_metadata: {}, ...message }, metadata]);
}

function chunk(content: unknown, fields: object = {}, metadata: object = METADATA): string {
  const empty = { additional_kwargs: {}, response_metadata: {}, id: "m1", tool_calls: [], tool_call_chunks: [] };
  return JSON.stringify([{ type: "AIMessageChunk", content, ...empty, ...fields }, metadata]);
}

const call = (index: number, args: string, fields: object = {}) =>
  chunk("", { tool_call_chunks: [{ type: "tool_call_chunk", index, args, ...fields }] });

/** Short enough to compare by eye: `start 0 text`, `+ 0 "Hi"`, `finish 0 text`. */
function told(events: readonly MessageEvent[]): readonly string[] {
  return events.map(({ data }) => {
    const { event, index, content, delta, id } = data as Record<string, JsonObject | undefined>;
    const text = delta?.text ?? delta?.reasoning ?? delta?.data ?? delta?.fields;
    if (delta !== undefined) return `+ ${index} ${JSON.stringify(text)}`;
    if (content !== undefined) return `${String(event).replace("content-block-", "")} ${index} ${content.type}`;
    return id === undefined ? String(event) : `${event} ${id}`;
  });
}

function run(...log: readonly string[]): readonly MessageEvent[] {
  const projection = createMessageProjection();
  return [...log.flatMap((data) => projection.tuple(data)), ...projection.close([])];
}

const blocksOf = (events: readonly MessageEvent[]) =>
  events.flatMap(({ data }) => (data.event === "content-block-finish" ? [data.content] : []));

describe("a message that streams", () => {
  it("starts with its first token and is told as it comes", () => {
    const projection = createMessageProjection();
    expect(told(projection.tuple(chunk("")))).toEqual(["message-start m1"]);
    expect(told(projection.tuple(chunk("Hi")))).toEqual(["start 0 text", '+ 0 "Hi"']);
    expect(told(projection.tuple(chunk(' "you"\n')))).toEqual(['+ 0 " \\"you\\"\\n"']);
    expect(told(projection.finish("m1"))).toEqual(["finish 0 text", "message-finish"]);
    expect(projection.finish("m1")).toEqual([]);
  });

  it("has its task as namespace, its node, and what is known of the model", () => {
    const metadata = { ...METADATA, langgraph_checkpoint_ns: "team:1|agent:2", ls_model_name: "gpt", thread_id: "t1" };
    const [start, ...others] = run(chunk("Hi", {}, metadata));
    expect(start).toEqual({
      namespace: ["team:1", "agent:2"],
      node: "agent",
      data: {
        event: "message-start",
        id: "m1",
        role: "ai",
        metadata: { provider: "openai", model: "gpt", run_id: "r1", thread_id: "t1" },
        run_id: "m1",
      },
    });
    expect(others.every(({ namespace, node }) => namespace.length === 2 && node === "agent")).toBe(true);
  });

  it("is named by its model call, so that those of one node are told apart", () => {
    const events = run(chunk("a", { id: "run-1" }), chunk("b", { id: "run-2" }), chunk("c", { id: "run-1" }));
    expect(events.map(({ data }) => data.run_id)).toEqual(["1", "1", "1", "2", "2", "2", "1", "1", "1", "2", "2"]);
  });

  it("is apart from one with its id in another place", () => {
    const elsewhere = { ...METADATA, langgraph_checkpoint_ns: "agent:2" };
    const events = run(chunk("a"), chunk("x", {}, elsewhere), chunk("b"), chunk("y", {}, elsewhere));
    const texts = (task: string) => blocksOf(events.filter(({ namespace }) => namespace[0] === task));
    expect(texts("agent:1")).toEqual([{ type: "text", text: "ab" }]);
    expect(texts("agent:2")).toEqual([{ type: "text", text: "xy" }]);
  });

  it("tells all that its tokens used in the end, and why it stopped", () => {
    const usage = (input: number, output: number, cached: number) => ({
      usage_metadata: {
        input_tokens: input,
        output_tokens: output,
        total_tokens: input + output,
        input_token_details: { cache_read: cached },
      },
    });
    const last = { ...usage(0, 4, 1), response_metadata: { stop_reason: "max_tokens" } };
    expect(run(chunk("a", usage(3, 0, 2)), chunk("", last)).at(-1)?.data).toMatchObject({
      reason: "length",
      usage: { input_tokens: 3, output_tokens: 4, total_tokens: 7, input_token_details: { cache_read: 3 } },
      responseMetadata: { stop_reason: "max_tokens" },
    });
  });

  it("starts anew when its id comes again after its end", () => {
    const projection = createMessageProjection();
    const events = [chunk("a"), chunk("b")].flatMap((data) => [...projection.tuple(data), ...projection.close([])]);
    expect(told(events).filter((line) => line.startsWith("message"))).toEqual([
      "message-start m1",
      "message-finish",
      "message-start m1",
      "message-finish",
    ]);
  });

  it("brings what a token has besides text, even when others like it were text only", () => {
    const events = run(chunk("a"), chunk("b"), chunk("c", { tool_call_chunks: [{ index: 0, id: "c1", args: "{}" }] }));
    expect(blocksOf(events)).toEqual([
      { type: "text", text: "abc" },
      { type: "tool_call", id: "c1", name: "", args: {} },
    ]);
  });
});

describe("what ends", () => {
  function twoOpen(): MessageProjection {
    const projection = createMessageProjection();
    projection.tuple(chunk("a"));
    projection.tuple(chunk("b", { id: "m2" }, { ...METADATA, langgraph_checkpoint_ns: "agent:1|inner:2" }));
    return projection;
  }

  it("is what is at the namespace or below it", () => {
    expect(told(twoOpen().close(["agent:1", "inner:2"]))).toEqual(["finish 0 text", "message-finish"]);
    expect(twoOpen().close(["agent:1"])).toHaveLength(4);
    expect(twoOpen().close(["agent:2"])).toEqual([]);
  });

  it("can break off, and then says why", () => {
    const projection = twoOpen();
    const failure = { message: "no more", code: "E" };
    expect(projection.close([], failure).map(({ data }) => data)).toEqual([
      { event: "error", ...failure, run_id: "m1" },
      { event: "error", ...failure, run_id: "m2" },
    ]);
    expect(projection.close([])).toEqual([]);
  });
});

describe("blocks", () => {
  it("do not interleave when a model calls two tools at once: the second waits until the first is whole", () => {
    const events = run(
      call(0, '{"a":', { id: "c1", name: "f" }),
      call(1, '{"b":', { id: "c2" }),
      call(0, "1}"),
      call(1, "2}"),
    );
    expect(told(events)).toEqual([
      "message-start m1",
      "start 0 tool_call_chunk",
      '+ 0 {"type":"tool_call_chunk","id":"c1","name":"f","args":"{\\"a\\":"}',
      '+ 0 {"type":"tool_call_chunk","id":"c1","name":"f","args":"{\\"a\\":1}"}',
      "finish 0 tool_call",
      "start 1 tool_call_chunk",
      '+ 1 {"type":"tool_call_chunk","id":"c2","args":"{\\"b\\":"}',
      '+ 1 {"type":"tool_call_chunk","id":"c2","args":"{\\"b\\":2}"}',
      "finish 1 tool_call",
      "message-finish",
    ]);
  });

  it("go on as others where a model comes back to a text that is over", () => {
    const text = (index: number, said: string) => chunk([{ type: "text", text: said, index }]);
    expect(blocksOf(run(text(0, "a"), text(1, "b"), text(0, "c")))).toEqual([
      { type: "text", text: "a" },
      { type: "text", text: "b" },
      { type: "text", text: "c" },
    ]);
  });

  it("are two calls when one index has two ids", () => {
    const events = run(call(0, '{"a":1}', { id: "c1" }), call(0, '{"b":2}', { id: "c2" }));
    expect(blocksOf(events)).toMatchObject([{ id: "c1" }, { id: "c2" }]);
  });

  it("of a call without arguments have none, and of a call that is cut off say so", () => {
    const [none, cut] = blocksOf(run(call(0, "", { id: "c1", name: "f" }), call(1, '{"a', { id: "c2", name: "g" })));
    expect(none).toEqual({ type: "tool_call", id: "c1", name: "f", args: {} });
    expect(cut).toMatchObject({ type: "invalid_tool_call", id: "c2", name: "g", args: '{"a' });
  });

  it("take texts without an index as one, and the protocol's names for all else", () => {
    const parts = [
      { type: "text", text: "a" },
      { type: "text", text: "b", annotations: [{ type: "citation" }] },
      { type: "image_url", image_url: { url: "https://x/y.png", detail: "low" } },
      { type: "input_audio", input_audio: { data: "QUJD", format: "mp3" } },
      { type: "image", source: { type: "base64", media_type: "image/png", data: "QUJD" } },
      { type: "file", source_type: "base64", mimeType: "application/pdf", data: "QUJD" },
      { type: "server_tool_use", id: "s1", name: "web_search", input: { query: "q" } },
      { type: "web_search_tool_result", tool_use_id: "s1", content: [{ url: "u" }] },
      { type: "redacted_thinking", data: "x", index: 9 },
    ];
    expect(blocksOf(run(...parts.map((part) => chunk([part]))))).toEqual([
      { type: "text", text: "ab", annotations: [{ type: "citation" }] },
      { type: "image", url: "https://x/y.png", detail: "low" },
      { type: "audio", base64: "QUJD", mime_type: "audio/mpeg" },
      { type: "image", base64: "QUJD", mime_type: "image/png" },
      { type: "file", base64: "QUJD", mime_type: "application/pdf" },
      { type: "server_tool_call", id: "s1", name: "web_search", args: { query: "q" } },
      { type: "server_tool_result", tool_call_id: "s1", status: "success", output: [{ url: "u" }] },
      { type: "non_standard", value: { type: "redacted_thinking", data: "x" } },
    ]);
  });

  it("of generated images are told once, however often the chunks repeat them", () => {
    const output = { type: "image_generation_call", id: "g1", result: "QUJD" };
    const image = chunk("", { additional_kwargs: { tool_outputs: [output] } });
    expect(blocksOf(run(image, image))).toEqual([{ type: "image", id: "g1", base64: "QUJD", mime_type: "image/png" }]);
  });
});

describe("a whole message", () => {
  const whole = (content: unknown, fields: object = {}) => tuple({ type: "ai", content, id: "w1", ...fields });

  it("is told once, with all that it says", () => {
    const calls = [{ type: "tool_call", id: "c1", name: "f", args: { a: 1 } }];
    const content = [
      { type: "text", text: "Hi" },
      { type: "tool_use", id: "c1", name: "f", input: '{"a":1}' },
    ];
    const events = run(
      whole(content, { tool_calls: calls, usage_metadata: { total_tokens: 1 } }),
      whole(content, { tool_calls: calls }),
    );
    expect(told(events)).toEqual([
      "message-start w1",
      "start 0 text",
      '+ 0 "Hi"',
      "finish 0 text",
      "start 1 tool_call_chunk",
      '+ 1 {"type":"tool_call_chunk","id":"c1","name":"f","args":"{\\"a\\":1}"}',
      "finish 1 tool_call",
      "message-finish",
    ]);
    expect(events.at(-1)?.data).toEqual({ event: "message-finish", usage: { total_tokens: 1 }, run_id: "r1" });
  });

  it("is told again when it says something else", () => {
    expect(blocksOf(run(whole("half"), whole("half"), whole("done")))).toMatchObject([
      { text: "half" },
      { text: "done" },
    ]);
  });

  it("ends the message that streamed with its id, and is not told again", () => {
    const projection = createMessageProjection();
    projection.tuple(chunk("Hi"));
    const again = tuple({ type: "ai", content: "Hi", id: "m1" });
    expect(told(projection.tuple(again))).toEqual(["finish 0 text", "message-finish"]);
    expect(projection.tuple(again)).toEqual([]);
  });

  it("says who said it", () => {
    const roles = ["ai", "human", "system"].map((type) => run(tuple({ type, content: "Hi" }))[0]?.data.role);
    expect(roles).toEqual(["ai", "human", "system"]);
  });

  it.each(["tool", "function", "remove", "ToolMessageChunk", "else"])("of type %s is none of these", (type) => {
    expect(run(tuple({ type, content: "x", id: "w1" }))).toEqual([]);
  });

  it("without an id is told, and so is a chunk without one", () => {
    expect(run(tuple({ type: "ai", content: "Hi" }))).toHaveLength(5);
    expect(run(chunk("Hi", { id: undefined }))).toHaveLength(5);
  });
});

it.each([
  "",
  "{",
  "null",
  "[]",
  "[1,2]",
  '["a"]',
  "[{}]",
  "[{},{}]",
  '[{"type":"ai"},null]',
  "{}",
  '[[],{}],"x":[{},{}]',
])("what is no tuple is nothing: %s", (data) => {
  expect(run(chunk("a"), data)).toEqual(run(chunk("a")));
});

describe("any stream of tokens, cut anywhere", () => {
  const index = fc.option(fc.nat(2), { nil: undefined });
  const text = fc.string({ unit: "grapheme", maxLength: 3 });
  const part = fc.oneof(
    fc.record({ type: fc.constant("text"), text, index }),
    fc.record({ type: fc.constant("thinking"), thinking: text, index }),
    fc.record({ type: fc.constant("tool_use"), id: fc.constant("c0"), name: text, input: text, index }),
    fc.record({ type: fc.constant("input_json_delta"), input: text, index }),
    fc.record({ type: fc.constant("image"), data: fc.constant("QUJD"), index }),
    fc.jsonValue(),
  );
  const piece = fc.record({
    index,
    id: fc.option(fc.constantFrom("c1", "c2", ""), { nil: null }),
    args: fc.constantFrom("", "{", "}", '"a":1', "{}", null),
  });
  const token = fc.record({
    id: fc.constantFrom("m1", "m2"),
    content: fc.oneof(text, fc.array(part, { maxLength: 3 })),
    tool_call_chunks: fc.array(piece, { maxLength: 2 }),
    namespace: fc.constantFrom("a:1", "a:2"),
  });
  const message = fc.record({ content: text, id: fc.constantFrom("m1", "w1") });
  const entry = fc.oneof(
    token.map(({ content, namespace, ...fields }) =>
      chunk(content, fields, { ...METADATA, langgraph_checkpoint_ns: namespace }),
    ),
    message.map((fields) => tuple({ type: "ai", ...fields })),
  );

  /** By message: what may come next. */
  function expectWellFormed(events: readonly MessageEvent[]): void {
    const open = new Map<unknown, { block: unknown; next: number }>();
    for (const { namespace, data } of events) {
      const key = `${namespace} ${data.run_id}`;
      const message = open.get(key);
      if (data.event === "message-start") {
        expect(message).toBeUndefined();
        open.set(key, { block: undefined, next: 0 });
        continue;
      }
      if (message === undefined) throw new Error(`${data.event} before its message`);
      if (data.event === "content-block-start") {
        expect([message.block, data.index]).toEqual([undefined, message.next]);
        message.block = message.next++;
      } else if (data.event === "message-finish") {
        expect(message.block).toBeUndefined();
        open.delete(key);
      } else {
        expect(data.index).toBe(message.block);
        if (data.event === "content-block-finish") message.block = undefined;
      }
    }
    expect([...open]).toEqual([]);
  }

  it("is well formed: each message starts and ends once, and its blocks come one after the other", () => {
    fc.assert(
      fc.property(fc.array(entry, { maxLength: 12 }), fc.nat(12), (log, cut) => {
        expectWellFormed(run(...log.slice(0, cut)));
      }),
      { numRuns: 500 },
    );
  });

  const hostile = fc.string({ unit: fc.constantFrom('"', "\\", "\n", "a", "é", "\ud83d", "\u2028"), maxLength: 4 });
  it("tells the same text that the tokens have, in their order, however it is quoted", () => {
    fc.assert(
      fc.property(fc.array(hostile, { maxLength: 10 }), (texts) => {
        const said = blocksOf(run(...texts.map((each) => chunk(each))));
        expect(said).toEqual(texts.join("") === "" ? [] : [{ type: "text", text: texts.join("") }]);
      }),
    );
  });
});
