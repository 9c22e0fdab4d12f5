/** What folding a tape does to its events, and what it costs. */
import { describe, expect, it, vi } from "vitest";
import type { StreamEvent } from "../../src/bridge/bridge.js";
import { type FoldedEvent, fold, foldedAfter } from "../../src/bridge/fold.js";

type Draft = Pick<StreamEvent, "event" | "namespace" | "data">;

const METADATA = { langgraph_node: "agent", langgraph_checkpoint_ns: "agent:1", note: "x".repeat(300) };
const EMPTY = { additional_kwargs: {}, response_metadata: {}, tool_calls: [], invalid_tool_calls: [] };

function chunk(content: unknown, fields: Record<string, unknown> = {}, namespace: readonly string[] = []): Draft {
  const message = { type: "AIMessageChunk", content, ...EMPTY, id: "m1", tool_call_chunks: [], ...fields };
  return { event: "messages", namespace, data: JSON.stringify([message, METADATA]) };
}

function draft(event: string, data: unknown, namespace: readonly string[] = []): Draft {
  return { event, namespace, data: JSON.stringify(data) };
}

const values = (messages: number, namespace: readonly string[] = []) =>
  draft("values", { messages: Array.from({ length: messages }, (_, index) => ({ id: `s${index}` })) }, namespace);

/** A run's log; `"claim"` begins the next claim of the run. */
function tapeOf(...drafts: readonly (Draft | "claim")[]): readonly StreamEvent[] {
  const events: StreamEvent[] = [];
  let [fence, seq] = [1, 0];
  for (const each of drafts) {
    if (each === "claim") [fence, seq] = [fence + 1, 0];
    else events.push({ id: { fence, seq: ++seq }, ...each, at: events.length });
  }
  return events;
}

/** `first-last:event content`, short enough to compare tapes by eye. */
function shown(tape: readonly FoldedEvent[] | undefined): readonly string[] | undefined {
  return tape?.map(({ firstId, id, event, data }) => {
    const range = firstId === undefined ? `${id.seq}` : `${firstId.seq}-${id.seq}`;
    const content = event === "messages" ? ` ${(JSON.parse(data) as [{ content: string }])[0].content}` : "";
    return `${range}:${event}${content}`;
  });
}

describe("token chunks", () => {
  it("of one message that follow each other become one, with the id of the last", () => {
    const tape = tapeOf(draft("metadata", {}), chunk("one "), chunk("two "), chunk("three"), draft("end", {}));
    expect(shown(fold(tape))).toEqual(["1:metadata", "2-4:messages one two three", "5:end"]);
  });

  it("of one message that do not follow each other stay apart", () => {
    const tape = tapeOf(chunk("a"), draft("custom", 1), chunk("b"), chunk("x", { id: "m2" }), chunk("c"));
    expect(shown(fold(tape))).toEqual(["1:messages a", "2:custom", "3:messages b", "4:messages x", "5:messages c"]);
  });

  it.each<[string, Draft, number]>([
    ["without an id", chunk("b", { id: undefined }), 3],
    ["that are whole messages", chunk("b", { type: "ai" }), 3],
    ["of another namespace", chunk("b", {}, ["sub:1"]), 2],
    ["with other metadata", { ...chunk("b"), data: chunk("b").data.replace("agent:1", "agent:2") }, 2],
  ])("%s do not join others", (_, other, count) => {
    expect(fold(tapeOf(chunk("a"), other, other))).toHaveLength(count);
  });

  it("of two claims stay apart", () => {
    const tape = tapeOf(chunk("a"), chunk("b"), "claim", chunk("a"), chunk("b"));
    expect(shown(fold(tape))).toEqual(["1-2:messages ab", "1-2:messages ab"]);
  });

  it("put a character together that was cut in two", () => {
    const [folded] = fold(tapeOf(chunk("so \ud83d"), chunk('\ude00 "')));
    expect(folded?.data).toContain('"so 😀 \\""');
  });

  it("add up what they carry besides text", () => {
    const call = { name: "search", id: "c1", index: 0, type: "tool_call_chunk" };
    const usage_metadata = { input_tokens: 3, output_tokens: 2, total_tokens: 5 };
    const tape = tapeOf(
      chunk("", { tool_call_chunks: [{ ...call, args: "" }] }),
      chunk("", { tool_call_chunks: [{ index: 0, args: '{"q":', type: "tool_call_chunk" }] }),
      chunk("", { tool_call_chunks: [{ index: 0, args: '"é"}', type: "tool_call_chunk" }] }),
      chunk("", { usage_metadata, response_metadata: { finish_reason: "stop" } }),
    );
    const [folded, ...others] = fold(tape);
    expect(others).toEqual([]);
    const [message, metadata] = JSON.parse(folded?.data ?? "") as [unknown, unknown];
    expect(message).toMatchObject({
      type: "AIMessageChunk",
      id: "m1",
      tool_call_chunks: [{ ...call, args: '{"q":"é"}' }],
      tool_calls: [{ name: "search", id: "c1", args: { q: "é" } }],
      usage_metadata,
      response_metadata: { finish_reason: "stop" },
    });
    expect(metadata).toEqual(METADATA);
  });

  it("stay apart where clients would not merge them the same in another order", () => {
    expect(fold(tapeOf(chunk("a"), chunk([{ type: "text", text: "b" }]), chunk("c"), chunk("d")))).toHaveLength(4);
  });
});

describe("state events", () => {
  it("go when a later one of the same graph says it all", () => {
    const tape = tapeOf(
      values(1),
      values(2),
      values(1, ["sub:1"]),
      draft("updates", {}),
      values(2, ["sub:1"]),
      values(3),
    );
    expect(shown(fold(tape))).toEqual(["1-4:updates", "5:values", "6:values"]);
  });

  it("with interrupts stay, and make no other superfluous: clients add them to the state", () => {
    const paused = draft("values", { __interrupt__: [{ id: "i", value: 1 }] });
    expect(shown(fold(tapeOf(values(1), paused, paused)))).toEqual(["1:values", "2:values", "3:values"]);
    expect(shown(fold(tapeOf(values(1), paused, values(2))))).toEqual(["1-2:values", "3:values"]);
  });

  it("stay where they place a message that begins after them, as the first does", () => {
    const tape = tapeOf(values(1), chunk("a"), values(2), chunk("b", { id: "m2" }), values(3));
    expect(shown(fold(tape))).toEqual(["1:values", "2:messages a", "3-4:messages b", "5:values"]);
  });

  it("that were between chunks of one message leave one event", () => {
    const tape = tapeOf(values(1), chunk("a"), values(2), chunk("b"), values(2));
    expect(shown(fold(tape))).toEqual(["1:values", "2-4:messages ab", "5:values"]);
  });

  it("that end a claim stay, and so do those that the next one goes on from", () => {
    const tape = tapeOf(values(1), values(2), "claim", values(3), values(4), values(5));
    expect(shown(fold(tape))).toEqual(["1-2:values", "1:values", "2-3:values"]);
  });
});

describe("accumulated messages", () => {
  it("leave the first, which gives a message its place, and the last", () => {
    const partial = (id: string, content: string) => draft("messages/partial", [{ type: "ai", content, id }]);
    const tape = tapeOf(
      partial("m1", "a"),
      partial("m2", "x"),
      partial("m1", "ab"),
      partial("m1", "abc"),
      partial("m2", "xy"),
    );
    expect(fold(tape).map(({ id, data }) => [id.seq, (JSON.parse(data) as [{ content: string }])[0].content])).toEqual([
      [1, "a"],
      [2, "x"],
      [4, "abc"],
      [5, "xy"],
    ]);
  });
});

it("every other event stays as it is, in order", () => {
  const kinds = [
    "metadata",
    "updates",
    "custom",
    "tasks",
    "debug",
    "checkpoints",
    "tools",
    "events",
    "messages/metadata",
    "messages/complete",
    "__result__",
    "error",
    "end",
    "whatever",
  ];
  const tape = tapeOf(...[...kinds, ...kinds].map((kind) => draft(kind, [{ id: "m1" }])));
  expect(fold(tape)).toEqual(tape);
});

describe("a cursor", () => {
  const tape = tapeOf(
    draft("metadata", {}),
    values(1),
    values(1),
    chunk("a"),
    chunk("b"),
    chunk("c"),
    values(2),
    "claim",
    draft("end", {}),
  );
  const folded = fold(tape);

  it.each<[string, [number, number], readonly string[]]>([
    ["at an event that went", [1, 2], ["3:values", "4-6:messages abc", "7:values", "1:end"]],
    ["before an answer", [1, 3], ["4-6:messages abc", "7:values", "1:end"]],
    ["within an answer", [1, 4], ["5-6:messages bc", "7:values", "1:end"]],
    ["before the last chunk", [1, 5], ["6:messages c", "7:values", "1:end"]],
    ["at the end of a claim", [1, 7], ["1:end"]],
    ["at the end", [2, 1], []],
  ])("%s brings what is missing", (_, [fence, seq], expected) => {
    expect(shown(foldedAfter(folded, { fence, seq }))).toEqual(expected);
  });

  it.each([
    [0, 9],
    [1, 0],
    [1, 8],
    [2, 2],
    [3, 1],
  ])("that points to nothing (%i-%i) is not guessed at", (fence, seq) => {
    expect(foldedAfter(folded, { fence, seq })).toBeUndefined();
  });

  it("before the last chunk brings that as it was", () => {
    expect(foldedAfter(folded, { fence: 1, seq: 5 })?.[0]?.data).toBe(tape[5]?.data);
  });
});

describe("the cost", () => {
  const COUNT = 5_000;
  const tokens = Array.from({ length: COUNT }, (_, index) => chunk(index % 7 === 0 ? `"${index}"\n` : ` word${index}`));

  it("of a long answer is a handful of parses, and its size a tenth", () => {
    const tape = tapeOf(values(1), ...tokens, values(2));
    const parse = vi.spyOn(JSON, "parse");
    const folded = fold(tape);
    const parses = parse.mock.calls.length;
    parse.mockRestore();
    expect(folded).toHaveLength(3);
    expect(parses).toBeLessThan(10);
    expect(JSON.stringify(folded).length).toBeLessThan(JSON.stringify(tape).length / 10);
  });

  it("of accumulated messages is not that of parsing each", () => {
    let content = "";
    const partials = tokens.slice(0, 500).map(({ data }) => {
      content += (JSON.parse(data) as [{ content: string }])[0].content;
      return draft("messages/partial", [{ type: "ai", content, id: "m1" }]);
    });
    const parse = vi.spyOn(JSON, "parse");
    const folded = fold(tapeOf(...partials));
    const parses = parse.mock.calls.length;
    parse.mockRestore();
    expect(folded).toHaveLength(2);
    expect(parses).toBe(1);
  });
});
