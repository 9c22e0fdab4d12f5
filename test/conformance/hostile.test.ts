/** Graphs that return, write, ask and throw what JSON has no word for: no 5xx, no lost run, and the next run works (docs/data.md). */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startTestGateway, type TestGateway } from "../support/gateway.js";
import { type Send, sender } from "../support/http.js";
import { openSse, type SsePart } from "../support/sse-client.js";

let gateway: TestGateway;
let send: Send;

beforeAll(async () => {
  gateway = await startTestGateway({ storage: "sqlite" });
  send = sender(gateway.url);
});
afterAll(() => gateway.stop());

const MODES = ["values", "updates", "tasks", "checkpoints", "debug", "custom", "messages-tuple"];

/** Streams a run of `graph`, and holds the thread to what must be true after any run. */
async function strike(graph: string, input: unknown) {
  const { thread_id: threadId } = await gateway.client.threads.create();
  const stream = await openSse(`${gateway.url}/threads/${threadId}/runs/stream`, {
    json: { assistant_id: graph, input: { input }, stream_mode: MODES },
  });
  const parts = await stream.rest();
  const runId = stream.headers.get("content-location")?.split("/").at(-1) ?? "";
  const get = async <T>(path: string): Promise<T> => {
    const { status, body } = await send("GET", `/threads/${threadId}${path}`);
    expect(status).toBe(200);
    return body as T;
  };
  const thread = await get<{ status: string; values: unknown; interrupts: Record<string, { value: unknown }[]> }>("");
  const { values } = await get<{ values: unknown }>("/state");
  const { status } = await get<{ status: string }>(`/runs/${runId}`);
  const joined = await get(`/runs/${runId}/join`);
  await get("/history");
  await get("/runs");
  expect(thread.values).toEqual(values);
  const next = await gateway.client.runs.wait(threadId, "custom", { input: { input: "next" } });
  expect(next).toMatchObject({ input: "next", steps: expect.arrayContaining(["worked"]) });
  return { parts, values, thread, status, joined };
}

const last = (parts: readonly SsePart[]) => parts.at(-1);

const SHOWN: Record<string, unknown> = {
  bigint: "10",
  nan: [null, null, 0],
  functions: { kept: true },
  collections: { map: { a: 1 }, set: [1], date: "1970-01-01T00:00:00.000Z", bytes: "AQI=" },
  toJSON: { shown: true },
  nul: "a\u0000b\ud800c",
};

describe("a node that returns", () => {
  it.each(Object.entries(SHOWN))("%s: stored, and shown as JSON can", async (kind, shown) => {
    const { parts, values, status, joined, thread } = await strike("spill", `return ${kind}`);
    expect([values, status, thread.status]).toEqual([{ input: shown, steps: [] }, "success", "idle"]);
    expect(joined).toEqual(values);
    expect(parts.filter(({ event }) => event === "updates").at(-1)?.data).toEqual({ spill: { input: shown } });
    expect(last(parts)?.event).toBe("end");
  });

  it("something 900 levels deep: stored", async () => {
    const { values, status } = await strike("hostile", "900");
    let depth = 0;
    for (let value = (values as { input: unknown }).input; Array.isArray(value); value = value[0]) depth++;
    expect([depth, status]).toEqual([900, "success"]);
  });

  it.each([
    ["circular", /channel "input".*refers to itself/],
    ["deep", /channel "input".*deeper than 1000 levels/],
    ["unreadable", /channel "input".*do not look/],
  ])("%s: the run fails, saying why", async (kind, message) => {
    const input = `return ${kind}`;
    const { parts, values, status, joined, thread } = await strike("spill", input);
    expect([values, status, thread.status]).toEqual([{ input, steps: [] }, "error", "error"]);
    const error = { error: "TypeError", message: expect.stringMatching(message) };
    expect(joined).toEqual({ __error__: error });
    expect(last(parts)).toMatchObject({ event: "error", data: error });
  });
});

describe("a node that throws", () => {
  it.each<[string, string, RegExp]>([
    ["hostile", "throw undefined", /./],
    ["hostile", "throw string", /just a string/],
    ["hostile", "throw circular", /./],
    ["spill", "throw null", /./],
    ["spill", "throw number", /42/],
    ["spill", "throw getter", /./],
    ["spill", "throw proxy", /./],
    ["spill", "throw long", /^x{8000}…$/],
  ])("%s %s: the run fails with a name and a message", async (graph, input, message) => {
    const { parts, values, status, joined } = await strike(graph, input);
    expect([values, status]).toEqual([{ input, steps: [] }, "error"]);
    const error = { error: expect.stringMatching(/^\w+$/), message: expect.stringMatching(message) };
    expect(joined).toEqual({ __error__: error });
    expect(last(parts)).toMatchObject({ event: "error", data: error });
  });
});

describe("an event that holds", () => {
  it.each([
    ...Object.entries(SHOWN),
    ["circular", { name: "circular", self: "[circular]" }],
    ["unreadable", "[unreadable]"],
  ])("%s is shown as JSON can", async (kind, shown) => {
    const { parts, status } = await strike("spill", `write ${kind}`);
    expect(parts.filter(({ event }) => event === "custom").map(({ data }) => data)).toEqual([shown]);
    expect(status).toBe("success");
  });

  it("5,000 levels is cut", async () => {
    const { parts, status } = await strike("spill", "write deep");
    const [custom] = parts.filter(({ event }) => event === "custom");
    let depth = 0;
    let value = custom?.data;
    for (; Array.isArray(value); value = value[0]) depth++;
    expect([depth, value, status]).toEqual([1_000, "[too deep]", "success"]);
  });
});

/** LangGraph puts the questions into the message of an error, as JSON. */
const UNASKABLE = ["bigint", "circular", "deep", "unreadable"];

describe("a question that holds", () => {
  it.each(Object.entries(SHOWN).filter(([kind]) => !UNASKABLE.includes(kind)))(
    "%s is asked as JSON can",
    async (kind, shown) => {
      const { thread, joined, status } = await strike("spill", `ask ${kind}`);
      expect(Object.values(thread.interrupts).flat()).toMatchObject([{ value: shown }]);
      expect(joined).toMatchObject({ __interrupt__: [{ value: shown }] });
      expect([thread.status, status]).toEqual(["interrupted", "success"]);
    },
  );

  it.each(UNASKABLE)("%s cannot be asked: the run fails", async (kind) => {
    const { status, thread } = await strike("spill", `ask ${kind}`);
    expect([status, thread.status]).toEqual(["error", "error"]);
  });
});

describe("an input", () => {
  it.each<[string, unknown]>([
    ["NUL and half a surrogate pair", "a\u0000b\ud800c"],
    ["a key that reaches for prototypes", { constructor: { prototype: 1 } }],
    ["large and small numbers", [1e308, -1e-308, 0.1 + 0.2, 2 ** 53]],
    ["line breaks of every kind", "a\r\nb\u2028c\u2029d\n\ndata: x\n\nevent: end"],
    ["LangGraph's own words", { __interrupt__: [], __error__: { error: "E", message: "m" }, lc: 1 }],
  ])("with %s comes back as it was", async (_title, input) => {
    const { parts } = await strike("custom", input);
    expect(parts.find(({ event }) => event === "values")?.data).toMatchObject({ input });
    const echoed = await gateway.client.runs.wait(null, "custom", { input: { input } });
    expect(echoed).toMatchObject({ input });
  });

  it.each([
    ["too deep", `{"assistant_id":"custom","input":{"input":${"[".repeat(201)}${"]".repeat(201)}}}`, 422],
    ["keyed by NUL", '{"assistant_id":"custom","input":{"input":{"k\\u0000":1}}}', 422],
    ["keyed by half a surrogate pair", '{"assistant_id":"custom","input":{"input":{"\\udc00":1}}}', 422],
    ["__proto__", '{"assistant_id":"custom","input":{"__proto__":{"x":1}}}', 422],
    ["a number beyond all", '{"assistant_id":"custom","input":{"input":1e999}}', 422],
    ["no JSON", '{"assistant_id":', 400],
  ])("that is %s is refused", async (_title, body, status) => {
    expect((await send("POST", "/runs/wait", body)).status).toBe(status);
  });
});
