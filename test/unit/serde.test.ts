import { deepStrictEqual } from "node:assert/strict";
import * as messages from "@langchain/core/messages";
import { Command, Overwrite, Send } from "@langchain/langgraph";
import fc from "fast-check";
import { describe, expect, it, vi } from "vitest";
import { hostKit, type MessageKit } from "../../src/core/kit.js";
import { createSerde, MAX_DEPTH } from "../../src/storage/serde.js";
import { doubled, HOSTILE_VALUES } from "../support/hostile-values.js";

const serde = createSerde(hostKit);

function roundTrip(value: unknown): unknown {
  const { type, data } = serde.dumps(value);
  return serde.loads(type, data);
}

function nested(depth: number): unknown {
  let value: unknown = "core";
  for (let level = 0; level < depth; level++) value = level % 2 === 0 ? [value] : { value };
  return value;
}

describe("the serializer", () => {
  it("stores plain JSON as it is", () => {
    const value = { a: [1, "two", null, true, { b: {} }], "~m": "~m" };
    expect(serde.dumps(value)).toEqual({ type: "json", data: JSON.stringify(value) });
    expect(roundTrip(value)).toStrictEqual(value);
  });

  it("serves as LangGraph's SerializerProtocol", async () => {
    const value = { when: new Date(5), text: "é\u0000\ud800" };
    const [type, bytes] = await serde.dumpsTyped(value);
    expect(bytes).toBeInstanceOf(Uint8Array);
    expect(await serde.loadsTyped(type, bytes)).toStrictEqual(value);
    expect(await serde.loadsTyped(type, Buffer.from(bytes).toString("utf8"))).toStrictEqual(value);
    expect(await serde.loadsTyped(...(await serde.dumpsTyped(Uint8Array.of(0, 255))))).toStrictEqual(
      Uint8Array.of(0, 255),
    );
    await expect(serde.loadsTyped("msgpack", bytes)).rejects.toThrow('unknown type "msgpack"');
  });

  it("brings back what JSON has no word for", () => {
    const value = {
      bytes: Uint8Array.from([0, 1, 255]),
      date: new Date("2026-01-02T03:04:05.678Z"),
      map: new Map<unknown, unknown>([
        ["k", new Set([1n])],
        [{ object: "key" }, [undefined]],
      ]),
      set: new Set<unknown>([1, "1", new Date(0)]),
      regexp: /a"b\/c/giu,
      big: -(2n ** 70n),
      missing: undefined,
      holes: [1, undefined, 3],
      numbers: [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, -0, 0, 1e308],
    };
    expect(roundTrip(value)).toStrictEqual(value);
    expect(Object.is((roundTrip([-0]) as number[])[0], -0)).toBe(true);
    expect((roundTrip(new Date(Number.NaN)) as Date).getTime()).toBeNaN();
    expect(roundTrip(undefined)).toBeUndefined();
    expect(roundTrip(Buffer.from("abc"))).toStrictEqual(Uint8Array.from([97, 98, 99]));
  });

  it("brings back errors with name, message and cause, but without the paths in their stack", () => {
    const cause = new RangeError("inner");
    const error = Object.assign(new TypeError("outer", { cause }), { name: "Special" });
    const back = roundTrip(error) as Error;
    expect(back).toBeInstanceOf(Error);
    expect([back.name, back.message, back.stack]).toEqual(["Special", "outer", "Special: outer"]);
    expect(back.cause).toMatchObject({ name: "RangeError", message: "inner" });
    expect("cause" in (roundTrip(new Error("alone")) as Error)).toBe(false);
  });

  it("drops functions and symbols, and makes other class instances plain", () => {
    class Point {
      readonly x = 1;
      readonly #secret = 2;
      sum() {
        return this.x + this.#secret;
      }
    }
    const value = {
      f: () => 1,
      s: Symbol("s"),
      list: [() => 1, 2],
      point: new Point(),
      url: new URL("http://a/b"),
      boxed: Object(5),
    };
    expect(roundTrip(value)).toStrictEqual({ list: [null, 2], point: { x: 1 }, url: "http://a/b", boxed: 5 });
    expect(roundTrip({ toJSON: () => ({ when: new Date(1) }) })).toStrictEqual({ when: new Date(1) });
    expect(roundTrip(() => 1)).toBeNull();
    expect(roundTrip(new Overwrite(["x"]))).toStrictEqual({ __overwrite__: ["x"] });
  });

  it("never changes what it is given", () => {
    const value = Object.freeze({ list: Object.freeze([undefined, Object.freeze({ d: new Date(1) })]) });
    expect(roundTrip(value)).toStrictEqual({ list: [undefined, { d: new Date(1) }] });
  });
});

describe("messages", () => {
  const usage = { input_tokens: 1, output_tokens: 2, total_tokens: 3, input_token_details: { cache_read: 1 } };
  const call = { type: "tool_call" as const, id: "c1", name: "search", args: { q: "x", deep: [{ y: null }] } };
  const examples: Readonly<Record<string, messages.BaseMessage>> = {
    human: new messages.HumanMessage({ content: "hi", id: "h1", name: "ann", additional_kwargs: { a: { b: 1 } } }),
    "human with content blocks": new messages.HumanMessage({
      content: [
        { type: "text", text: "see" },
        { type: "image_url", image_url: { url: "data:," } },
      ],
    }),
    ai: new messages.AIMessage({
      content: "",
      id: "a1",
      tool_calls: [call],
      invalid_tool_calls: [{ type: "invalid_tool_call", id: "c2", name: "x", args: "{", error: "bad" }],
      usage_metadata: usage,
      response_metadata: { finish_reason: "tool_calls", at: new Date(7) },
    }),
    "ai with raw tool calls": new messages.AIMessage({
      content: "x",
      tool_calls: [call],
      additional_kwargs: { tool_calls: [{ id: "r1", type: "function", function: { name: "f", arguments: "{}" } }] },
    }),
    "ai in output version v1": new messages.AIMessage({
      contentBlocks: [{ type: "text", text: "hello" }],
      tool_calls: [call],
      response_metadata: { output_version: "v1" },
    }),
    "ai chunk": new messages.AIMessageChunk({
      content: "part",
      id: "a2",
      tool_call_chunks: [{ type: "tool_call_chunk", index: 0, id: "c3", name: "f", args: '{"a"' }],
      usage_metadata: usage,
    }),
    system: new messages.SystemMessage({ content: "be nice", id: "s1" }),
    tool: new messages.ToolMessage({
      content: "42",
      tool_call_id: "c1",
      name: "search",
      status: "error",
      artifact: { bytes: Uint8Array.of(1), none: undefined },
      metadata: { source: "web" },
    }),
    "tool chunk": new messages.ToolMessageChunk({ content: "4", tool_call_id: "c1", artifact: {} }),
    function: new messages.FunctionMessage({ content: "1", name: "f" }),
    chat: new messages.ChatMessage({ content: "hello", role: "critic" }),
    remove: new messages.RemoveMessage({ id: "h1" }),
    "with an unknown argument": new messages.HumanMessage({ content: "x", example: { deep: [1n] } } as never), // as LangChain's own older messages
  };

  for (const [name, message] of Object.entries(examples)) {
    it(`come back whole: ${name}`, () => {
      const back = roundTrip({ list: [message] }) as { list: messages.BaseMessage[] };
      const [revived] = back.list;
      expect(revived).toBeInstanceOf(message.constructor);
      expect(Object.getPrototypeOf(revived)).toBe(Object.getPrototypeOf(message));
      expect({ ...revived, lc_kwargs: null }).toEqual({ ...message, lc_kwargs: null });
      const { content_blocks: _sameAsContent, ...data } = message.toDict().data as unknown as Record<string, unknown>;
      expect(revived?.toDict()).toMatchObject({ type: message.type, data });
    });
  }

  it("keep what was changed after they were made", () => {
    const message = new messages.AIMessage({ content: "draft" });
    message.content = "final";
    message.id = "late";
    message.tool_calls = [{ id: "c9", name: "f", args: {} }];
    expect(roundTrip(message)).toMatchObject({ content: "final", id: "late", tool_calls: [{ id: "c9" }] });
    expect(roundTrip(roundTrip(message))).toEqual(roundTrip(message));
  });

  it("come back without LangChain's warning about raw tool calls", () => {
    const warn = vi.spyOn(console, "warn").mockImplementation(() => {});
    const raw = [{ id: "1", type: "function" as const, function: { name: "f", arguments: "{}" } }];
    const message = new messages.AIMessage({ content: "", tool_calls: [], additional_kwargs: { tool_calls: raw } });
    expect(warn).toHaveBeenCalledOnce();
    expect(roundTrip(message)).toMatchObject({ tool_calls: [], additional_kwargs: { tool_calls: raw } });
    expect(warn).toHaveBeenCalledOnce();
    warn.mockRestore();
  });

  it("of a user's subclass come back as the class of LangChain that it extends", () => {
    class Question extends messages.HumanMessage {
      static override lc_name() {
        return "Question";
      }
    }
    const back = roundTrip(new Question("why?"));
    expect(Object.getPrototypeOf(back)).toBe(messages.HumanMessage.prototype);
    expect(back).toMatchObject({ content: "why?" });
  });

  it("are built with the graph's own copy of LangChain", () => {
    class OwnHuman extends messages.HumanMessage {}
    class OwnSend extends Send {}
    class OwnCommand extends Command {}
    const kit = {
      messages: { ...messages, HumanMessage: OwnHuman },
      Send: OwnSend,
      Command: OwnCommand,
    } as unknown as MessageKit; // a copy of the packages, as far as the serializer can tell
    const { type, data } = serde.dumps([new messages.HumanMessage("x"), new Send("n", 1), new Command({ goto: "n" })]);
    const [human, send, command] = createSerde(kit).loads(type, data) as object[];
    expect(Object.getPrototypeOf(human)).toBe(OwnHuman.prototype);
    expect(Object.getPrototypeOf(send)).toBe(OwnSend.prototype);
    expect(Object.getPrototypeOf(command)).toBe(OwnCommand.prototype);
  });
});

describe("Send and Command", () => {
  it("come back with everything in them", () => {
    const message = new messages.HumanMessage("x");
    const send = new Send("work", { item: 1, message, when: new Date(1) }, { timeout: 5_000 });
    const backSend = roundTrip(send) as Send;
    expect(backSend).toBeInstanceOf(Send);
    expect({ ...backSend }).toEqual({ ...send });
    expect(roundTrip(new Send("work", undefined))).toBeInstanceOf(Send);

    const command = new Command({
      graph: Command.PARENT,
      update: { list: [message] },
      resume: { id: 1 },
      goto: [send, "other"],
    });
    const backCommand = roundTrip({ command }) as { command: Command };
    expect(backCommand.command).toBeInstanceOf(Command);
    expect({ ...backCommand.command }).toEqual({ ...command });
    expect(backCommand.command.graph).toBe(Command.PARENT);
  });

  it("are never made from data that looks like them", () => {
    const data = [
      { lg_name: "Send", node: "n", args: {} },
      { lg_name: "Command", update: {}, goto: ["n"] },
      { node: "n", args: { node: "inner", args: 1 } },
      { id: "i1", value: { question: "?" } },
    ];
    expect(roundTrip(data)).toStrictEqual(data);
    const send = new Send<string, unknown>("n", null);
    send.args = { node: "looks", args: "like one" };
    expect((roundTrip(send) as Send).args).toStrictEqual({ node: "looks", args: "like one" });
  });
});

describe("data", () => {
  it("never makes itself into an object, whatever it looks like", () => {
    const hostile = [
      { lc: 1, type: "constructor", id: ["langchain_core", "messages", "HumanMessage"], kwargs: { content: "x" } },
      { lc: 1, type: "secret", id: ["HOME"] },
      {
        lc: 2,
        type: "constructor",
        id: ["Uint8Array"],
        method: "constructor",
        args: ["return process.exit()"],
        kwargs: {},
      },
      { lc: 2, type: "undefined" },
      { lc: 2, type: "delta_snapshot", value: [] },
      { __lc_escaped__: { lc: 1 } },
      { content: "x", getType: "human", lc_kwargs: {}, type: "human" },
      ["~m", "HumanMessage", { content: "x" }, {}],
      ["~x", "constructor", {}, {}],
      ["~a", ["~a", "~u"]],
      ["~"],
      ["~e", "Error", "x"],
      ["~unknown"],
    ];
    expect(roundTrip(hostile)).toStrictEqual(hostile);
    for (const value of hostile) expect(roundTrip(value)).toStrictEqual(value);
    expect(roundTrip({ hostile, date: new Date(1) })).toStrictEqual({ hostile, date: new Date(1) });
    expect(roundTrip(new Map<unknown, unknown>([["~u", ["~u"]]]))).toStrictEqual(
      new Map<unknown, unknown>([["~u", ["~u"]]]),
    );
  });

  it("keeps the key __proto__ a key", () => {
    for (const text of ['{"__proto__":{"polluted":true}}', '{"a":{"__proto__":["~u"]},"b":1}']) {
      const value = { data: JSON.parse(text), date: new Date(1), missing: undefined };
      const back = roundTrip(value) as typeof value;
      expect(JSON.stringify(back.data)).toBe(text);
      expect(Object.getPrototypeOf(back.data)).toBe(Object.prototype);
    }
    expect(({} as { polluted?: unknown }).polluted).toBeUndefined();
    const own = JSON.parse('{"__proto__":1}');
    own.missing = undefined;
    const back = roundTrip(own) as object;
    expect(Object.keys(back)).toEqual(["__proto__", "missing"]);
  });

  it("comes back equal, for any value of any shape", () => {
    const key = fc.oneof(
      fc.string(),
      fc.constantFrom("__proto__", "lc", "type", "id", "~m", "toString", "constructor"),
    );
    const text = fc.oneof(
      fc.string({ unit: "binary" }),
      fc.string().map((rest) => `~${rest}`),
      fc.constantFrom("~m", "~x", "~a", "~u", "~d", "~"),
    );
    const { value } = fc.letrec<{ value: unknown }>((tie) => ({
      value: fc.oneof(
        { maxDepth: 5, withCrossShrink: true },
        fc.oneof(
          text,
          fc.double(),
          fc.bigInt(),
          fc.constantFrom(null, undefined, true, false),
          fc.date({ noInvalidDate: true }),
          fc.uint8Array({ maxLength: 8 }),
          fc.record(
            { lc: fc.constantFrom(1, 2), type: fc.constantFrom("constructor", "undefined"), id: fc.array(text) },
            { noNullPrototype: true },
          ),
        ),
        fc.array(tie("value"), { maxLength: 5 }),
        fc.tuple(text, tie("value"), tie("value")),
        fc.array(fc.tuple(key, tie("value")), { maxLength: 5 }).map((entries) => Object.fromEntries(entries)),
        fc.array(fc.tuple(tie("value"), tie("value")), { maxLength: 3 }).map((entries) => new Map(entries)),
        fc.array(tie("value"), { maxLength: 3 }).map((items) => new Set(items)),
      ),
    }));
    fc.assert(
      fc.property(value, (original) => {
        deepStrictEqual(roundTrip(original), original); // vitest's own takes a key "constructor" for a class
      }),
      { numRuns: 2_000 },
    );
  });
});

describe("what cannot be stored", () => {
  it("is refused when it refers to itself, before the stack or the time is used up", () => {
    const circular: Record<string, unknown> = { big: Array.from({ length: 1_000 }, (_, index) => ({ index })) };
    circular.self = { list: [circular] };
    expect(() => serde.dumps(circular)).toThrow("refers to itself");
    const map = new Map<string, unknown>();
    map.set("self", map);
    expect(() => serde.dumps({ map })).toThrow("refers to itself");
    const shared = { once: 1 };
    expect(roundTrip([shared, shared])).toStrictEqual([shared, shared]);
  });

  it("keeps binary data of every kind, and takes only its part of a shared buffer", () => {
    const bytes = Uint8Array.from([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 255]);
    const views = [
      new Float32Array([1.5, -2]),
      new Float64Array([Math.PI]),
      new Int16Array(bytes.buffer, 2, 3),
      new BigUint64Array([2n ** 64n - 1n]),
      new Uint8ClampedArray([300]),
      new DataView(bytes.buffer, 4, 8),
      bytes.buffer,
    ];
    expect(roundTrip({ views })).toStrictEqual({ views });
    expect(roundTrip(views[2])).toHaveProperty("buffer.byteLength", 6);
    expect(roundTrip(new SharedArrayBuffer(2))).toStrictEqual(new ArrayBuffer(2));
  });

  it("is refused when it has more parts than can be walked", () => {
    expect(() => serde.dumps({ doubled: doubled(60) })).toThrow("more than 10000000 parts");
    expect(() => serde.dumps(HOSTILE_VALUES["sparse array"]?.())).toThrow("more than 10000000 parts");
  });

  it.each(Object.entries(HOSTILE_VALUES))("is stored or refused with an Error: %s", (_name, make) => {
    for (const value of [make(), { value: make() }]) {
      try {
        roundTrip(value);
      } catch (error) {
        expect(error).toBeInstanceOf(Error);
      }
    }
  });

  it("is refused when it is nested too deeply, and works up to there", () => {
    expect(roundTrip(nested(MAX_DEPTH))).toStrictEqual(nested(MAX_DEPTH));
    const tagged = (depth: number) => ({ deep: nested(depth), date: new Date(1) });
    expect(roundTrip(tagged(MAX_DEPTH - 1))).toStrictEqual(tagged(MAX_DEPTH - 1));
    expect(() => serde.dumps(nested(MAX_DEPTH + 1))).toThrow(`deeper than ${MAX_DEPTH}`);
    for (const depth of [5_000, 100_000]) expect(() => serde.dumps(nested(depth))).toThrow("nested deeper");
    expect(() =>
      serde.dumps(new messages.HumanMessage({ content: "x", additional_kwargs: { deep: nested(5_000) } })),
    ).toThrow("nested deeper");
  });

  it("fails as the user's own code fails", () => {
    const value = {
      get broken(): never {
        throw new Error("no such luck");
      },
    };
    expect(() => serde.dumps(value)).toThrow("no such luck");
  });
});
