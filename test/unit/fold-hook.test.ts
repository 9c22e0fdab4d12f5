/** The stock hook ends in the same state whether a tape was folded or not, and wherever it had come to before. */
import { AIMessage, AIMessageChunk, HumanMessage, RemoveMessage, ToolMessage } from "@langchain/core/messages";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { StreamEvent } from "../../src/bridge/bridge.js";
import { type FoldedEvent, fold, foldedAfter, unfolded } from "../../src/bridge/fold.js";
import { createChunkConverter, type GraphChunk, type Streamed } from "../../src/graphs/chunks.js";
import type { GraphEvent } from "../../src/graphs/host.js";
import { isShown } from "../../src/runs/reading.js";
import { scaled } from "../support/scale.js";
import { decoded, readWithHook } from "../support/stock-hook.js";

const SEED = Number(process.env.HEDDLE_SEED ?? Date.now() % 2 ** 31);
const RUNS = scaled({ quick: 60, full: 3_000 });

// The hook warns of chunks that do not fit; some are made not to.
beforeEach(() => {
  vi.spyOn(console, "warn").mockImplementation(() => {});
  vi.spyOn(console, "error").mockImplementation(() => {});
});
afterEach(() => vi.restoreAllMocks());

// ---- what graphs stream

interface Op {
  readonly fence?: true;
  readonly chunks?: readonly GraphChunk[];
  readonly event?: Pick<StreamEvent, "event" | "namespace" | "data">;
}

const IDS = ["m1", "m2", "m3"];
const NAMESPACES = [[], [], [], ["sub:1"], ["sub:2"], ["tools:t1"]];
const id = fc.constantFrom(...IDS);
const namespace = fc.constantFrom(...NAMESPACES);
const METADATA = [
  { langgraph_node: "agent", langgraph_checkpoint_ns: "agent:1" },
  { langgraph_node: "agent", langgraph_checkpoint_ns: "agent:1" },
  { langgraph_node: "tools", langgraph_checkpoint_ns: "tools:t1" },
  { langgraph_node: "1e21", big: 1e21, list: [1, { a: "\u2028" }] },
];
const metadata = fc.constantFrom(...METADATA);

/** A text cut anywhere, also inside of a character. */
function pieces(text: fc.Arbitrary<string>): fc.Arbitrary<readonly string[]> {
  return fc.tuple(text, fc.array(fc.nat(40), { maxLength: 6 })).map(([whole, cuts]) => {
    const places = [...new Set([0, ...cuts.map((cut) => Math.min(cut, whole.length)), whole.length])].sort(
      (a, b) => a - b,
    );
    return places.slice(1).map((place, index) => whole.slice(places[index], place));
  });
}

const text = fc.oneof(
  fc.string({ maxLength: 30, unit: "grapheme" }),
  fc.string({ maxLength: 30, unit: "binary" }),
  fc.constantFrom('say "hi"\\n', "😀😀 \ud83d", "\u0000\u2028\\", "hello there, world"),
);

type Fields = ConstructorParameters<typeof AIMessageChunk>[0] & object;
const chunk = (fields: Fields) => new AIMessageChunk(fields);

const textAnswer = fc
  .tuple(
    pieces(text),
    fc.constantFrom<object>({}, { model_provider: "openai" }, { model: "x" }, { n: 1 }),
    fc.boolean(),
  )
  .map(([parts, response_metadata, named]) =>
    parts.map(
      (content): Fields => ({
        content,
        response_metadata: { ...response_metadata },
        ...(named ? { name: "bot" } : {}),
      }),
    ),
  );

const toolAnswer = fc
  .tuple(fc.nat(2), fc.constantFrom("search", "task"), pieces(fc.json({ maxDepth: 1 })), fc.boolean())
  .map(([index, name, args, legacy]) =>
    ["", ...args].map((each, place): Fields => {
      const call = place === 0 ? { id: `call${index}`, name } : {};
      const old = {
        index,
        ...(place === 0 ? { id: `call${index}`, type: "function" } : {}),
        function: { arguments: each },
      };
      return {
        content: "",
        tool_call_chunks: [{ ...call, args: each, index, type: "tool_call_chunk" }],
        ...(legacy ? { additional_kwargs: { tool_calls: [old] as never } } : {}),
      };
    }),
  );

const blockAnswer = fc
  .tuple(fc.nat(2), pieces(text), fc.constantFrom("text", "thinking", "input_json_delta"))
  .map(([index, parts, type]) => [
    ...(type === "input_json_delta"
      ? [
          {
            content: [{ index, type: "tool_use", id: `call${index}`, name: "search", input: "" }],
            tool_call_chunks: [{ index, id: `call${index}`, name: "search", args: "", type: "tool_call_chunk" }],
          } as Fields,
        ]
      : [{ content: [{ index, type, [type]: "" }] } as Fields]),
    ...parts.map(
      (each): Fields => ({
        content: [
          { index, type: type === "text" ? "text_delta" : type, [type === "input_json_delta" ? "input" : type]: each },
        ] as never,
        ...(type === "input_json_delta" ? { tool_call_chunks: [{ index, args: each, type: "tool_call_chunk" }] } : {}),
      }),
    ),
  ]);

const usage = fc.tuple(fc.nat(9), fc.nat(9)).map(([input, output]): readonly Fields[] => [
  {
    content: "",
    usage_metadata: {
      input_tokens: input,
      output_tokens: output,
      total_tokens: input + output,
      input_token_details: { cache_read: 1 },
    },
    response_metadata: { finish_reason: "stop" },
  },
]);

/** Whatever a broken integration may say. */
const strange = fc
  .record(
    {
      content: fc.constantFrom<unknown>(
        "",
        "x",
        [],
        [{ type: "text", text: "y" }],
        [{ type: "text", text: "" }],
        [{ index: 0, type: "text", text: "" }],
        [{ index: 0, type: "text", text: "z" }],
        [{ index: 1, type: "text", text: "z", citations: [] }],
        [{ index: 0, id: "b", type: "image" }],
        [
          { index: 0, text: "n" },
          { index: 0, text: "m" },
        ],
        [{ id: "q", type: "text", text: "i" }],
        [{ type: "tool_use", id: "call0", name: "search", input: { a: 1 } }],
      ),
      additional_kwargs: fc.constantFrom<unknown>(
        {},
        { n: 0.1 },
        { n: 0.2 },
        { n: 1 },
        { s: "a" },
        { s: 1 },
        { l: [{ index: 0, id: "k" }] },
        { l: [{ index: 0, v: "w" }] },
        { l: ["p"] },
        { d: { deep: "e", index: 3 } },
        { z: null },
      ),
      response_metadata: fc.constantFrom<unknown>(
        {},
        { logprobs: { content: [{ token: "t", logprob: -0.5 }] } },
        { finish_reason: "stop" },
        { usage: {} },
      ),
      tool_call_chunks: fc.constantFrom<unknown>(
        [],
        [{ index: 0, id: "other", name: "search", args: "{}", type: "tool_call_chunk" }],
        [{ index: 0, args: '"a"', type: "tool_call_chunk" }],
        [{ args: "x", type: "tool_call_chunk" }],
        [
          { index: 0, args: "1" },
          { index: 0, args: "2" },
        ],
      ),
      tool_calls: fc.constantFrom<unknown>(
        [],
        [{ id: "whole", name: "task", args: { subagent_type: "helper", description: "d" }, type: "tool_call" }],
        [{ id: "whole", name: "task", args: { n: 1 }, type: "tool_call" }],
      ),
      usage_metadata: fc.constantFrom<unknown>(
        undefined,
        { input_tokens: 1, output_tokens: 2, total_tokens: 3 },
        { input_tokens: 0.1, output_tokens: 2, total_tokens: 3 },
      ),
      name: fc.constantFrom("bot", "other"),
    },
    { requiredKeys: ["content"] },
  )
  .map((fields) => [fields as Fields]);

const answer = fc.oneof(
  { arbitrary: textAnswer, weight: 5 },
  { arbitrary: toolAnswer, weight: 3 },
  { arbitrary: blockAnswer, weight: 3 },
  { arbitrary: usage, weight: 2 },
  { arbitrary: strange, weight: 1 },
);

const streamed: fc.Arbitrary<Op> = fc.tuple(answer, id, namespace, metadata).map(([fields, messageId, ns, meta]) => ({
  chunks: fields.map((each) => ({
    namespace: ns,
    mode: "messages",
    payload: [chunk({ ...each, id: messageId }), meta],
  })),
}));

/** Two messages at once: a chunk of one, a chunk of the other. */
const interleaved: fc.Arbitrary<Op> = fc.tuple(streamed, streamed).map(([{ chunks: a = [] }, { chunks: b = [] }]) => ({
  chunks: Array.from({ length: Math.max(a.length, b.length) }, (_, index) => [a[index], b[index]])
    .flat()
    .filter((each) => each !== undefined),
}));

const stateMessages = fc.array(
  fc.constantFrom(
    new HumanMessage({ id: "h", content: "hi" }),
    new AIMessage({ id: "m1", content: "hello" }),
    new AIMessage({ id: "m2", content: "there" }),
    new ToolMessage({ id: "t", content: "found", tool_call_id: "call0" }),
  ),
  { maxLength: 4 },
);

const values: fc.Arbitrary<Op> = fc
  .tuple(
    namespace,
    fc.oneof(
      stateMessages.map((messages) => ({ messages, n: 1 })),
      fc.constantFrom({ n: 1 }, {}, null),
    ),
  )
  .map(([ns, payload]) => ({ chunks: [{ namespace: ns, mode: "values", payload }] }));

const interrupts: fc.Arbitrary<Op> = fc
  .tuple(
    namespace,
    fc.array(fc.constantFrom({ id: "i1", value: 1 }, { id: "i2", value: 2 }, { value: 3 }), { maxLength: 2 }),
    fc.boolean(),
  )
  .map(([ns, list, withState]) => ({
    chunks: [
      { namespace: ns, mode: "values", payload: { ...(withState ? { messages: [], n: 5 } : {}), __interrupt__: list } },
    ],
  }));

const other: fc.Arbitrary<Op> = fc.oneof(
  fc.tuple(namespace, fc.nat(9)).map(([ns, payload]) => ({ chunks: [{ namespace: ns, mode: "custom", payload }] })),
  fc
    .tuple(namespace, stateMessages)
    .map(([ns, messages]) => ({ chunks: [{ namespace: ns, mode: "updates", payload: { agent: { messages } } }] })),
  fc
    .tuple(
      namespace,
      metadata,
      fc.constantFrom(
        new ToolMessage({ id: "t", content: "found", tool_call_id: "call0" }),
        new HumanMessage({ id: "h2", content: "yes" }),
        new RemoveMessage({ id: "m1" }),
        new HumanMessage("without id"),
        new AIMessage({ id: "m1", content: "whole" }),
        new AIMessageChunk("without id"),
      ),
    )
    .map(([ns, meta, message]) => ({ chunks: [{ namespace: ns, mode: "messages", payload: [message, meta] }] })),
  fc.constantFrom<Op>(
    { fence: true },
    { event: { event: "__result__", namespace: [], data: "{}" } },
    { event: { event: "#message-end", namespace: [], data: '"m1"' } },
    { event: { event: "#task", namespace: ["sub:1"], data: '{"id":"1","name":"inner"}' } },
    { event: { event: "messages/complete", namespace: [], data: '[{"type":"ai","content":"x","id":"m1"}]' } },
    { event: { event: "values", namespace: [], data: '{"note":"__interrupt__","deep":{"__interrupt__":[]}}' } },
  ),
);

const op = fc.oneof(
  { arbitrary: streamed, weight: 6 },
  { arbitrary: interleaved, weight: 2 },
  { arbitrary: values, weight: 4 },
  { arbitrary: interrupts, weight: 1 },
  { arbitrary: other, weight: 4 },
);

/** What REST asked for; with event streaming all else is there too, where REST does not see it. */
const asked: fc.Arbitrary<Streamed> = fc.record({
  streamModes: fc
    .subarray(["messages-tuple", "messages", "values", "updates"] as const)
    .map((modes) => [...modes, "custom" as const]),
  subgraphs: fc.boolean(),
  eventStreaming: fc.boolean(),
});

/** A run's log: ids count up in each claim, which begins with `metadata`. */
const tapes: fc.Arbitrary<readonly StreamEvent[]> = fc
  .tuple(asked, fc.array(op, { maxLength: 14 }), fc.boolean())
  .map(([wanted, ops, again]) => {
    const events: StreamEvent[] = [];
    let fence = 0;
    let converter = createChunkConverter(wanted);
    const publish = ({ event, namespace: ns, data }: Pick<StreamEvent, "event" | "namespace" | "data">) => {
      const last = events.at(-1)?.id;
      const seq = last?.fence === fence ? last.seq + 1 : 1;
      events.push({ id: { fence, seq }, event, namespace: ns, data, at: events.length });
    };
    const claim = () => {
      fence++;
      converter = createChunkConverter(wanted);
      publish({ event: "metadata", namespace: [], data: `{"attempt":${fence}}` });
    };
    claim();
    const converted = (graphChunk: GraphChunk): readonly GraphEvent[] => {
      try {
        return [...converter.convert(graphChunk)];
      } catch {
        return []; // chunks that cannot be merged fail their run where messages are accumulated
      }
    };
    const run = (each: Op) => {
      if (each.fence === true) claim();
      if (each.event !== undefined) publish(each.event);
      for (const graphChunk of each.chunks ?? []) for (const event of converted(graphChunk)) publish(event);
    };
    for (const each of ops) run(each);
    if (again) {
      claim();
      for (const each of ops) run(each);
    }
    return events;
  });

const read = (...streams: readonly (readonly StreamEvent[])[]) =>
  readWithHook(
    streams.map((each) => each.filter(isShown).map(decoded)),
    { initialValues: { messages: [{ type: "human", id: "old", content: "before" }], kept: 1 } },
  );

const check = (
  property:
    | fc.IAsyncProperty<never>
    | fc.IAsyncProperty<[readonly StreamEvent[]]>
    | fc.IAsyncProperty<[readonly StreamEvent[], number]>,
) => fc.assert(property as fc.IAsyncProperty<unknown>, { seed: SEED, numRuns: RUNS });

describe(`the stock hook (HEDDLE_SEED=${SEED})`, () => {
  it("comes to the same state by the folded tape as by the raw one", async () => {
    await check(
      fc.asyncProperty(tapes, async (tape) => {
        expect(await read(fold(tape))).toEqual(await read(tape));
      }),
    );
  });

  it("comes to it from wherever it was: what is missing is exact", async () => {
    await check(
      fc.asyncProperty(tapes, fc.nat(), async (tape, place) => {
        const index = place % tape.length;
        const after = tape[index]?.id ?? { fence: 0, seq: 0 };
        const rest = foldedAfter(fold(tape), after) ?? [];
        const [seen, missing] = [tape.slice(0, index + 1), tape.slice(index + 1)];
        expect(await read([...seen, ...rest])).toEqual(await read(tape));
        expect(await read(seen, rest)).toEqual(await read(seen, missing));
      }),
    );
  });

  it("comes to it when what was folded is followed by live events", async () => {
    await check(
      fc.asyncProperty(tapes, fc.nat(), async (tape, place) => {
        const index = place % tape.length;
        expect(await read([...fold(tape.slice(0, index)), ...tape.slice(index)])).toEqual(await read(tape));
      }),
    );
  });
});

describe(`a folded tape (HEDDLE_SEED=${SEED})`, () => {
  it("gives back all that was there, but states and messages that a later one replaces", async () => {
    const timeless = (tape: readonly StreamEvent[]) =>
      tape.map(({ id: own, event, namespace: ns, data }) => ({ id: own, event, namespace: ns, data }));
    await check(
      fc.asyncProperty(tapes, async (tape) => {
        const given = timeless(fold(tape).flatMap(unfolded));
        const seqs = new Set(given.map(({ id: { fence, seq } }) => `${fence}-${seq}`));
        const isGiven = ({ id: { fence, seq } }: StreamEvent) => seqs.has(`${fence}-${seq}`);
        expect(given).toEqual(timeless(tape.filter(isGiven)));
        const gone = tape.filter((event) => !isGiven(event)).map(({ event }) => event);
        expect(gone.filter((event) => !["values", "#values", "messages/partial"].includes(event))).toEqual([]);
      }),
    );
  });

  it("has of states that REST does not see each graph's first and last", async () => {
    await check(
      fc.asyncProperty(tapes, async (tape) => {
        const ends = (events: readonly StreamEvent[]) => {
          const states = events.filter(({ event }) => event === "#values");
          const graphs = [...new Set(states.map(({ namespace: ns }) => ns.join("|")))].toSorted();
          const own = (graph: string) => states.filter(({ namespace: ns }) => ns.join("|") === graph);
          return graphs.map((graph) => [own(graph)[0]?.id, own(graph).at(-1)?.id]);
        };
        expect(ends(fold(tape))).toEqual(ends(tape));
      }),
    );
  });

  it("is the same however it was folded: at once, in steps, again", async () => {
    await check(
      fc.asyncProperty(tapes, fc.nat(), async (tape, place) => {
        const index = place % tape.length;
        const all = fold(tape);
        const stored = JSON.parse(JSON.stringify(fold(tape.slice(0, index)))) as readonly FoldedEvent[];
        expect(fold([...stored, ...tape.slice(index)])).toEqual(all);
        expect(fold(all)).toEqual(all);
      }),
    );
  });
});
