/** The events that the log's messages become, beside LangGraph's own, and in the hands of the SDK. */
import { AIMessage, type BaseMessage } from "@langchain/core/messages";
import { MessageAssembler } from "@langchain/langgraph-sdk/client";
import { assembledMessageToBaseMessage } from "@langchain/langgraph-sdk/stream";
import { describe, expect, it } from "vitest";
import { fold } from "../../src/bridge/fold.js";
import { toJson } from "../../src/core/json.js";
import type { Json, JsonObject } from "../../src/core/model.js";
import { createMessageProjection, type MessageEvent } from "../../src/protocol/messages.js";
import { protocolValues } from "../../src/protocol/state-values.js";
import {
  ANTHROPIC_CALL,
  AUDIO,
  BROKEN_CALL,
  CALLS,
  type ChunkFields,
  eventsOf,
  GENERATED_IMAGE,
  IMAGE,
  logOf,
  type MessageGraph,
  pushed,
  REASONING,
  returned,
  returnedHuman,
  ScriptedModel,
  saying,
  streaming,
  TEXT,
  THINKING,
  USAGE,
} from "../support/message-graphs.js";

function project(log: readonly string[]): readonly MessageEvent[] {
  const projection = createMessageProjection();
  return [...log.flatMap((data) => projection.tuple(data)), ...projection.close([])];
}

const both = async (graph: MessageGraph) => ({
  ours: project((await logOf(graph)).log),
  theirs: await eventsOf(graph),
});

type Block = { readonly type: string; readonly [key: string]: Json };

const dataOf = (event: MessageEvent) => event.data as { readonly [key: string]: Json } & { readonly event: string };
const finishedBlocks = (events: readonly MessageEvent[]) =>
  events.map(dataOf).flatMap((data) => (data.event === "content-block-finish" ? [data.content as Block] : []));

describe("LangGraph's own events", () => {
  /** Ids of tasks and runs differ by run; what we say besides is left out. */
  function comparable(events: readonly MessageEvent[]): readonly unknown[] {
    return events.map(({ namespace, node, data }) => {
      const { metadata, role, responseMetadata, run_id: runId, id, ...rest } = data;
      const said = { id: id === `run-${runId}` ? "the call's" : id, role: role === "ai" ? undefined : role };
      return { namespace: namespace.map((segment) => segment.split(":")[0]), node, data: { ...rest, ...said } };
    });
  }

  it.each<[string, MessageGraph]>([
    ["a text", streaming(TEXT)],
    ["a message that a node returns", returned],
    ["a human message that a node returns", returnedHuman],
  ])("are the same for %s, but that we say more of the model", async (_, graph) => {
    const { ours, theirs } = await both(graph);
    expect(comparable(ours)).toEqual(comparable(theirs));
  });

  it("tell a call that is no JSON as we do", async () => {
    const { ours, theirs } = await both(streaming(BROKEN_CALL));
    expect(ours.map(({ data }) => data.event)).toEqual(theirs.map(({ data }) => data.event));
    expect(finishedBlocks(ours)).toEqual(finishedBlocks(theirs));
  });

  it("tell a message that is pushed twice each time, as we do", async () => {
    const { ours, theirs } = await both(pushed);
    expect(comparable(ours)).toEqual(comparable(theirs));
  });

  it("finish all blocks in the end, where we finish each before the next, and begin with the first piece", async () => {
    const { ours, theirs } = await both(streaming(REASONING));
    const names = ({ data }: MessageEvent) => `${data.event} ${data.index ?? ""}`.trim();
    expect(theirs.map(names).slice(-3)).toEqual(["content-block-finish 0", "content-block-finish 1", "message-finish"]);
    expect(ours.map(names)).toEqual([
      "message-start",
      ...["start", "delta", "delta", "finish"].map((event) => `content-block-${event} 0`),
      ...["start", "delta", "delta", "finish"].map((event) => `content-block-${event} 1`),
      "message-finish",
    ]);
    expect(finishedBlocks(ours)).toEqual(finishedBlocks(theirs).map(({ index: _, ...block }) => block));
  });

  it.each<[string, readonly ChunkFields[]]>([
    ["thoughts", THINKING],
    ["images", IMAGE],
    ["audio", AUDIO],
    ["generated images", GENERATED_IMAGE],
  ])("spell %s as the provider does, where we spell them as the protocol does", async (_, chunks) => {
    const { ours, theirs } = await both(streaming(chunks));
    const respelt = finishedBlocks(theirs).map(({ index: _, thinking, data, mimeType, ...block }) => ({
      ...block,
      ...(thinking === undefined ? {} : { type: "reasoning", reasoning: thinking }),
      ...(data === undefined ? {} : { base64: data }),
      ...(mimeType === undefined ? {} : { mime_type: mimeType }),
    }));
    expect(finishedBlocks(ours)).toEqual(respelt);
  });

  it("tell usage as it grows, where we tell the sum once, with what the model says of itself", async () => {
    const { ours, theirs } = await both(streaming(USAGE));
    const last = (events: readonly MessageEvent[]) => events.at(-1)?.data;
    expect(last(ours)?.usage).toEqual(last(theirs)?.usage);
    expect(theirs.some(({ data }) => data.event === "usage")).toBe(true);
    expect(last(ours)).toMatchObject({ reason: "length", responseMetadata: { model_name: "m" } });
  });

  it("mix a text and a call that are both counted from 0, where we keep them apart", async () => {
    const { ours, theirs } = await both(streaming(CALLS));
    expect(finishedBlocks(theirs)[0]).toMatchObject({ type: "text", text: "I look", name: "search" });
    expect(finishedBlocks(ours)).toEqual([
      { type: "text", text: "I look" },
      { type: "tool_call", id: "c1", name: "search", args: { q: "a" } },
      { type: "tool_call", id: "c2", name: "open", args: { n: 1 } },
    ]);
  });

  it("leave a call of Anthropic's models in pieces, where we tell the call", async () => {
    const { ours, theirs } = await both(streaming(ANTHROPIC_CALL));
    expect(finishedBlocks(theirs)[1]).toMatchObject({ type: "input_json_delta" });
    expect(finishedBlocks(ours)).toEqual([
      { type: "text", text: "I look" },
      { type: "tool_call", id: "c1", name: "search", args: { q: "a" } },
    ]);
  });

  it("leave out the calls of a message that did not stream, where we tell them", async () => {
    const call = { type: "tool_call" as const, id: "c1", name: "search", args: { q: "a" } };
    const graph = saying(() => [new AIMessage({ id: "w1", content: "I look", tool_calls: [call] })]);
    const { ours, theirs } = await both(graph);
    expect(finishedBlocks(theirs)).toEqual([{ type: "text", text: "I look" }]);
    expect(finishedBlocks(ours)).toEqual([{ type: "text", text: "I look" }, call]);
  });
});

it.each<[string, readonly ChunkFields[]]>([
  ["a text", TEXT],
  ["thoughts", THINKING],
  ["two calls", CALLS],
  ["a call of Anthropic's", ANTHROPIC_CALL],
  ["an image", IMAGE],
  ["audio", AUDIO],
  ["usage", USAGE],
])("a log that was folded says the same in the end: %s", async (_, chunks) => {
  const { log } = await logOf(streaming(chunks));
  const tape = log.map((data, seq) => ({ id: { fence: 1, seq }, event: "messages", namespace: [], data, at: 0 }));
  const folded = fold(tape).map(({ data }) => data);
  expect(folded.length).toBeLessThan(log.length);
  expect(finishedBlocks(project(folded))).toEqual(finishedBlocks(project(log)));
  expect(project(folded).at(-1)?.data).toMatchObject({ ...project(log).at(-1)?.data });
});

describe("the SDK's assembler makes of the events", () => {
  /** As the hook does it. */
  function assemble(events: readonly MessageEvent[]): ReadonlyMap<string, BaseMessage> {
    const assembler = new MessageAssembler();
    const messages = new Map<string, BaseMessage>();
    for (const { namespace, node, data } of events) {
      const params = { namespace, node, timestamp: 0, data };
      const update = assembler.consume({ type: "event", method: "messages", params } as unknown as Parameters<
        MessageAssembler["consume"]
      >[0]);
      if (update === undefined) continue;
      messages.set(update.message.id, assembledMessageToBaseMessage(update.message, "ai"));
    }
    return messages;
  }

  function shownInState(message: BaseMessage | undefined): JsonObject {
    const json = protocolValues(toJson({ message }));
    return (JSON.parse(json ?? "null") as { message: JsonObject }).message;
  }

  function expectSame(assembled: BaseMessage | undefined, inState: BaseMessage | undefined): void {
    const shown = shownInState(inState);
    const { content, tool_calls: calls, usage_metadata: usage } = shown;
    expect(assembled?.text).toBe(inState?.text);
    expect((assembled as AIMessage).tool_calls).toEqual(calls);
    expect((assembled as AIMessage).usage_metadata ?? null).toMatchObject((usage ?? null) as object);
    const blocks = typeof content === "string" ? (content === "" ? [] : [{ type: "text", text: content }]) : content;
    const beside = (all: unknown) => (all as Block[]).filter(({ type }) => type !== "tool_call");
    expect(beside(assembled?.content)).toEqual(beside(blocks));
  }

  it.each<[string, readonly ChunkFields[]]>([
    ["a text", TEXT],
    ["reasoning", REASONING],
    ["thoughts", THINKING],
    ["two calls", CALLS],
    ["a call of Anthropic's", ANTHROPIC_CALL],
    ["an image", IMAGE],
  ])("the message that the state has: %s", async (_, chunks) => {
    const { log, messages } = await logOf(streaming(chunks));
    const [assembled] = assemble(project(log)).values();
    expectSame(assembled, messages[0]);
  });

  it("the message's use of tokens", async () => {
    const { log, messages } = await logOf(streaming(USAGE));
    const [assembled] = assemble(project(log)).values();
    expect(assembled).toMatchObject({ usage_metadata: { input_tokens: 5, output_tokens: 2, total_tokens: 7 } });
    expect(messages[0]).toMatchObject({ usage_metadata: { input_tokens: 5, output_tokens: 2, total_tokens: 7 } });
    expect(assembled?.response_metadata).toMatchObject({ finish_reason: "length", model_name: "m" });
  });

  it("each of the messages that stream in one node at one time", async () => {
    const graph = saying((config) =>
      Promise.all([REASONING, CALLS, TEXT].map((chunks) => new ScriptedModel(chunks).invoke([], config))),
    );
    const { log } = await logOf(graph);
    const ids = log.map((data) => (JSON.parse(data) as [{ id: string }])[0].id);
    expect(ids.findIndex((id, index) => id !== ids[0] && ids.indexOf(ids[0] ?? "", index) > index)).not.toBe(-1);
    const assembled = [...assemble(project(log)).values()];
    expect(assembled.map(({ text }) => text).sort()).toEqual(["Forty-two", "Hello", "I look"]);
    expect(assembled.map((message) => (message as AIMessage).tool_calls?.length).sort()).toEqual([0, 0, 2]);
  });
});
