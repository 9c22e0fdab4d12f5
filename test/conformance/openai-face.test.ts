/** The OpenAI face, spoken to by OpenAI's own client. */
import OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { BABBLE } from "../support/chat-graphs.js";
import { arrivedAt, openGate } from "../support/gates.js";
import { NEEDS_CLOCK, ON_CLUSTER, startTestGateway, type TestGateway } from "../support/gateway.js";
import { hurriedClock } from "../support/hurried-clock.js";

let gateway: TestGateway;
let openai: OpenAI;

type Params = Omit<OpenAI.ChatCompletionCreateParamsNonStreaming, "stream">;
type Message = OpenAI.ChatCompletionMessageParam;

beforeAll(async () => {
  const from = (file: string, names: readonly string[]) =>
    Object.fromEntries(names.map((name) => [name, `./test/support/${file}.ts:${name}`]));
  gateway = await startTestGateway({
    config: {
      graphs: {
        ...from("graphs", ["echo"]),
        ...from("run-graphs", ["talk", "duet", "story"]),
        ...from("chat-graphs", [
          "mirror",
          "panel",
          "greeter",
          "thinker",
          "faulty",
          "patient",
          "terse",
          "weather",
          "delegating",
          "babbler",
          "verbose",
          "described",
        ]),
      },
      runs: { disconnect_grace_seconds: 0 },
    },
  });
  openai = new OpenAI({ apiKey: "none", baseURL: `${gateway.url}/v1`, maxRetries: 0 });
});
afterAll(() => gateway?.stop());

const user = (content: string): Message => ({ role: "user", content });

function ask(model: string, messages: readonly Message[], more: object = {}, options: OpenAI.RequestOptions = {}) {
  const params = { model, messages: [...messages], ...more };
  return openai.chat.completions.create(params as Params, options) as Promise<OpenAI.ChatCompletion>;
}

async function stream(model: string, messages: readonly Message[], more: object = {}) {
  const chunks: OpenAI.ChatCompletionChunk[] = [];
  const params = { model, messages: [...messages], stream: true, ...more };
  for await (const chunk of await openai.chat.completions.create(
    params as OpenAI.ChatCompletionCreateParamsStreaming,
  )) {
    chunks.push(chunk);
  }
  return chunks;
}

const deltas = (chunks: readonly OpenAI.ChatCompletionChunk[]) =>
  chunks.flatMap(({ choices }) => choices.map(({ delta }) => delta.content ?? "")).filter((text) => text !== "");
const messageOf = (completion: OpenAI.ChatCompletion) => completion.choices[0]?.message;

/** What a client sends back: the whole conversation, with an answer to each question by its position. */
function answered(
  messages: readonly Message[],
  completion: OpenAI.ChatCompletion,
  answers: readonly string[],
): Message[] {
  const message = messageOf(completion);
  const results = (message?.tool_calls ?? []).flatMap((call, index): Message[] => {
    const content = answers[index];
    return content === undefined ? [] : [{ role: "tool", tool_call_id: call.id, content }];
  });
  return [...messages, message as Message, ...results];
}

describe("models", () => {
  it("are the assistants, by name where that is theirs alone", async () => {
    const twins = await Promise.all(
      [1, 2].map(() => gateway.client.assistants.create({ graphId: "echo", name: "twin" })),
    );
    const named = await gateway.client.assistants.create({ graphId: "echo", name: "The one / only" });
    const models = (await openai.models.list()).data;
    const ids = models.map(({ id }) => id);
    expect(ids).toEqual(expect.arrayContaining(["echo", "The one / only", ...twins.map((twin) => twin.assistant_id)]));
    expect(ids).not.toContain("twin");
    expect(models).toContainEqual({ id: "echo", object: "model", created: expect.any(Number), owned_by: "heddle" });
    for (const model of ["echo", "The one / only", named.assistant_id, `${named.assistant_id}@1`]) {
      expect(await openai.models.retrieve(model)).toMatchObject({ id: model, object: "model" });
    }
    await expect(openai.models.retrieve("nobody")).rejects.toMatchObject({ status: 404, code: "model_not_found" });
    await expect(openai.models.retrieve("echo@7")).rejects.toMatchObject({ status: 404 });
  });

  it("can be pinned to a version", async () => {
    const { assistant_id: id } = await gateway.client.assistants.create({
      graphId: "talk",
      name: "pinned",
      config: { configurable: { flavour: 1 } },
    });
    await gateway.client.assistants.update(id, { graphId: "echo" });
    expect(messageOf(await ask("pinned", [user("hi")]))?.content).toBe("echo: hi");
    expect(messageOf(await ask("pinned@1", [user("hi")]))?.content).toBe("hi");
    await expect(ask("pinned@3", [user("hi")])).rejects.toMatchObject({ status: 404 });
  });
});

describe("a completion", () => {
  it("is the answer of a run, and leaves nothing behind", async () => {
    const completion = await ask("echo", [user("hi")]);
    expect(completion).toEqual({
      id: expect.stringMatching(/^chatcmpl-/),
      object: "chat.completion",
      created: expect.any(Number),
      model: "echo",
      choices: [
        {
          index: 0,
          message: { role: "assistant", content: "echo: hi", refusal: null },
          logprobs: null,
          finish_reason: "stop",
        },
      ],
      usage: { prompt_tokens: 0, completion_tokens: 0, total_tokens: 0 },
    });
    expect(await gateway.client.threads.search()).toEqual([]);
  });

  it("gives the graph all messages as they are", async () => {
    const messages: Message[] = [
      { role: "developer", content: "Be brief" },
      user("hi"),
      {
        role: "assistant",
        content: null,
        tool_calls: [{ id: "c1", type: "function", function: { name: "look", arguments: '{"at":1}' } }],
      },
      { role: "tool", tool_call_id: "c1", content: "a cat" },
      {
        role: "user",
        content: [
          { type: "text", text: "so?" },
          { type: "image_url", image_url: { url: "data:," } },
        ],
      },
    ];
    const { seen, params } = JSON.parse(
      messageOf(await ask("mirror", messages, { temperature: 0.5, max_completion_tokens: 9, stop: null }))?.content ??
        "",
    );
    expect(seen).toMatchObject([
      { type: "system", content: "Be brief" },
      { type: "human", content: "hi" },
      { type: "ai", content: "", tool_calls: [{ id: "c1", name: "look", args: { at: 1 } }] },
      { type: "tool", content: "a cat", tool_call_id: "c1" },
      {
        type: "human",
        content: [
          { type: "text", text: "so?" },
          { type: "image_url", image_url: { url: "data:," } },
        ],
      },
    ]);
    expect(params).toEqual({ temperature: 0.5, max_completion_tokens: 9 });
  });

  it("says thoughts, usage and limits", async () => {
    const completion = await ask("thinker", [user("hi")]);
    expect(messageOf(completion)).toMatchObject({ content: "Forty-two", reasoning_content: "Let me think" });
    expect(completion.choices[0]?.finish_reason).toBe("length");
    expect(completion.usage).toEqual({ prompt_tokens: 5, completion_tokens: 7, total_tokens: 12 });
  });

  it("of a graph that streams nothing is what its state says", async () => {
    expect(messageOf(await ask("terse", [user("hi")]))?.content).toBe("plain");
    expect(deltas(await stream("terse", [user("hi")]))).toEqual(["plain"]);
  });

  it.each([
    ["delegating", "from inside"],
    ["verbose", "new"],
  ])("of a graph that returns the whole conversation (%s) is only what is new", async (model, answer) => {
    const history: Message[] = [user("one"), { role: "assistant", content: "old" }, user("two")];
    expect(messageOf(await ask(model, history))?.content).toBe(answer);
    expect(deltas(await stream(model, history)).join("")).toBe(answer);
    const { thread_id: threadId } = await gateway.client.threads.create();
    for (const _turn of ["first", "second"]) {
      expect(messageOf(await ask(model, history, { thread_id: threadId }))?.content).toBe(answer);
    }
    await gateway.client.threads.delete(threadId);
  });

  it("of a graph that fails is an error that clients do not repeat", async () => {
    const failed = ask("faulty", [user("hi")]);
    await expect(failed).rejects.toMatchObject({
      status: 422,
      type: "run_error",
      code: "RangeError",
      error: { message: "out of range", param: null },
    });
    await expect(failed).rejects.toSatisfy(
      (error) => (error as InstanceType<typeof OpenAI.APIError>).headers?.get("x-should-retry") === "false",
    );
  });

  it("with a key is made once", async () => {
    const { thread_id: threadId } = await gateway.client.threads.create();
    const options = { headers: { "Idempotency-Key": "once", "X-Thread-Id": threadId } };
    const first = await ask("echo", [user("hi")], {}, options);
    const second = await ask("echo", [user("hi")], {}, options);
    expect(second).toEqual(first);
    expect(await gateway.client.runs.list(threadId)).toHaveLength(1);
    await gateway.client.threads.delete(threadId);
  });
});

describe("a stream", () => {
  it("says the role, the tokens, why it ends, and then that it is done", async () => {
    const chunks = await stream("talk", [user("one two three")]);
    expect(chunks[0]?.choices[0]?.delta).toEqual({ role: "assistant", content: "" });
    expect(deltas(chunks)).toEqual(["one", " two", " three"]);
    expect(chunks.at(-1)?.choices[0]).toMatchObject({ delta: {}, finish_reason: "stop" });
    expect(new Set(chunks.map(({ id }) => id)).size).toBe(1);
    for (const chunk of chunks) expect(chunk).toMatchObject({ object: "chat.completion.chunk", model: "talk" });
    expect(chunks[0]).not.toHaveProperty("usage");
  });

  it("is what the client's own helper puts together", async () => {
    const helped = openai.chat.completions.stream({ model: "talk", messages: [user("one two")] });
    expect(await helped.finalContent()).toBe("one two");
  });

  it("says each token when it comes", async () => {
    const { assistant_id: id } = await gateway.client.assistants.create({
      graphId: "talk",
      config: { configurable: { gate: "openai-live", hold_at: 1 } },
    });
    const live = await openai.chat.completions.create({ model: id, messages: [user("one two")], stream: true });
    const words: string[] = [];
    for await (const { choices } of live) {
      const word = choices[0]?.delta.content ?? "";
      if (word === "") continue;
      words.push(word);
      openGate("openai-live"); // it waits until the first word was here
    }
    expect(words).toEqual(["one", " two"]);
  });

  it("keeps two that speak at once apart, and says the same as a whole answer", async () => {
    expect(deltas(await stream("duet", [user("la la")])).join("")).toBe("la la\n\nla la");
    expect(messageOf(await ask("duet", [user("la la")]))?.content).toBe("la la\n\nla la");
  });

  it("counts tokens when it is asked to", async () => {
    const chunks = await stream("thinker", [user("hi")], { stream_options: { include_usage: true } });
    expect(chunks.at(-1)).toMatchObject({
      choices: [],
      usage: { prompt_tokens: 5, completion_tokens: 7, total_tokens: 12 },
    });
    expect(chunks.slice(0, -1).every(({ usage }) => usage === null)).toBe(true);
  });

  it("of a graph that fails tells its words, the error, and that it is done", async () => {
    const said: string[] = [];
    const live = await openai.chat.completions.create({ model: "faulty", messages: [user("hi")], stream: true });
    const reading = (async () => {
      for await (const { choices } of live) said.push(choices[0]?.delta.content ?? "");
    })();
    await expect(reading).rejects.toMatchObject({ type: "run_error", code: "RangeError", message: "out of range" });
    expect(said).toEqual(["", "Well"]);
    const response = await fetch(`${gateway.url}/v1/chat/completions`, {
      method: "POST",
      body: JSON.stringify({ model: "faulty", messages: [user("hi")], stream: true }),
    });
    expect(response.headers.get("content-type")).toBe("text/event-stream");
    const frames = (await response.text()).trimEnd().split("\n\n");
    expect(frames.at(-1)).toBe("data: [DONE]");
    expect(frames.every((frame) => frame.startsWith("data: ") && !frame.includes("\n"))).toBe(true);
  });

  it("that is aborted cancels its run", async () => {
    const { assistant_id: id } = await gateway.client.assistants.create({
      graphId: "talk",
      config: { configurable: { gate: "openai-abort", hold_at: 1 } },
    });
    const live = await openai.chat.completions.create({ model: id, messages: [user("one two")], stream: true });
    await arrivedAt("openai-abort");
    live.controller.abort();
    await expect.poll(() => gateway.client.threads.search()).toEqual([]); // its thread goes with the run
  });
});

describe("a completion that is aborted", () => {
  const waiting = async (gate: string) => {
    const { assistant_id: id } = await gateway.client.assistants.create({
      graphId: "patient",
      config: { configurable: { gate } },
    });
    return id;
  };

  it("cancels its run", async () => {
    const abort = new AbortController();
    const asked = ask(await waiting("openai-left"), [user("hi")], {}, { signal: abort.signal });
    await arrivedAt("openai-left");
    abort.abort();
    await expect(asked).rejects.toThrow("aborted");
    await expect.poll(() => gateway.client.threads.search()).toEqual([]);
  });

  it("on a thread of the client's goes on", async () => {
    const { thread_id: threadId } = await gateway.client.threads.create();
    const abort = new AbortController();
    const options = { signal: abort.signal, headers: { "X-Thread-Id": threadId } };
    const asked = ask(await waiting("openai-goes-on"), [user("hi")], {}, options);
    await arrivedAt("openai-goes-on");
    abort.abort();
    await expect(asked).rejects.toThrow("aborted");
    openGate("openai-goes-on");
    const [run] = await gateway.client.runs.list(threadId);
    await gateway.client.runs.join(threadId, run?.run_id ?? "");
    expect((await gateway.client.runs.list(threadId))[0]?.status).toBe("success");
    await gateway.client.threads.delete(threadId);
  });

  it("that somebody cancels is an error", async () => {
    const { thread_id: threadId } = await gateway.client.threads.create();
    const asked = ask(await waiting("openai-cancelled"), [user("hi")], { thread_id: threadId });
    asked.catch(() => {}); // looked at below
    await arrivedAt("openai-cancelled");
    const [run] = await gateway.client.runs.list(threadId);
    await gateway.client.runs.cancel(threadId, run?.run_id ?? "");
    await expect(asked).rejects.toMatchObject({ status: 422, code: "cancelled" });
    await gateway.client.threads.delete(threadId);
  });
});

describe("on a thread", () => {
  const threadOf = async () => (await gateway.client.threads.create()).thread_id;
  const stateOf = async (threadId: string) =>
    (await gateway.client.threads.getState<{ messages: { content: string }[] }>(threadId)).values.messages.map(
      ({ content }) => content,
    );

  it("a conversation goes on without being doubled, however the thread is named", async () => {
    const threadId = await threadOf();
    const history: Message[] = [user("one")];
    const say = async (more: object, options: OpenAI.RequestOptions = {}) => {
      const { data, response } = await openai.chat.completions
        .create({ model: "echo", messages: history, ...more } as Params, options)
        .withResponse();
      expect(response.headers.get("x-thread-id")).toBe(threadId);
      expect(data).toMatchObject({ metadata: { thread_id: threadId } });
      history.push({ role: "assistant", content: messageOf(data as OpenAI.ChatCompletion)?.content ?? "" });
    };
    await say({}, { headers: { "X-Thread-Id": threadId } });
    history.push(user("two"));
    await say({ metadata: { thread_id: threadId, topic: "numbers" } });
    history.push(user("three"));
    await say({ thread_id: threadId });
    expect(await stateOf(threadId)).toEqual(["one", "echo: one", "two", "echo: two", "three", "echo: three"]);
    const runs = await gateway.client.runs.list(threadId);
    expect(runs[1]?.metadata).toMatchObject({ topic: "numbers" });
    await gateway.client.threads.delete(threadId);
  });

  it("a new one gets the whole history", async () => {
    const threadId = await threadOf();
    const history: Message[] = [user("one"), { role: "assistant", content: "1" }, user("two")];
    await ask("echo", history, { thread_id: threadId });
    expect(await stateOf(threadId)).toEqual(["one", "1", "two", "echo: two"]);
    await expect(ask("echo", history.slice(0, 2), { thread_id: threadId })).rejects.toMatchObject({ status: 400 });
    await gateway.client.threads.delete(threadId);
  });

  it("one at a time, unless the request says otherwise", async () => {
    const threadId = await threadOf();
    const { assistant_id: id } = await gateway.client.assistants.create({
      graphId: "patient",
      config: { configurable: { gate: "openai-busy" } },
    });
    const first = ask(id, [user("hi")], { thread_id: threadId });
    await arrivedAt("openai-busy");
    await expect(ask("echo", [user("hi")], { thread_id: threadId })).rejects.toMatchObject({
      status: 409,
      code: "thread_busy",
    });
    const next = ask("echo", [user("hi")], { thread_id: threadId, multitask_strategy: "enqueue" });
    openGate("openai-busy");
    expect(messageOf(await first)?.content).toBe("At last");
    expect(messageOf(await next)?.content).toBe("echo: hi");
    await gateway.client.threads.delete(threadId);
  });

  it("that is not there is an error", async () => {
    await expect(ask("echo", [user("hi")], { thread_id: "nowhere" })).rejects.toMatchObject({ status: 404 });
  });

  it("that waits, a text answers one simple question", async () => {
    const threadId = await threadOf();
    const asked = await ask("greeter", [user("hi")], { thread_id: threadId });
    expect(asked.choices[0]?.finish_reason).toBe("tool_calls");
    expect(messageOf(await ask("greeter", [user("hi"), user("Ada")].slice(1), { thread_id: threadId }))?.content).toBe(
      "Hello Ada!",
    );
    await ask("panel", [user("hi")], { thread_id: threadId });
    await expect(ask("panel", [user("Ada")], { thread_id: threadId })).rejects.toMatchObject({
      status: 409,
      code: "waiting_for_input",
    });
    await gateway.client.threads.delete(threadId);
  });
});

describe("a question of the graph", () => {
  it("is a call that any client can answer", async () => {
    const messages = [user("hi")];
    const asked = await ask("story", messages);
    expect(asked.choices[0]?.finish_reason).toBe("tool_calls");
    expect(messageOf(asked)).toMatchObject({
      content: "h e l l o",
      tool_calls: [{ type: "function", function: { name: "human_input", arguments: '{"q":"Go on?"}' } }],
    });
    const [waiting] = await gateway.client.threads.search();
    expect(waiting).toMatchObject({ status: "interrupted" });
    const expiring = await fetch(`${gateway.url}/threads/${waiting?.thread_id}?include=ttl`);
    expect(await expiring.json()).toMatchObject({ ttl: { strategy: "delete", ttl_minutes: 60 } });
    const reply = answered(messages, asked, ['{"go":true}']);
    const done = await ask("story", reply);
    expect(messageOf(done)?.content).toBe("");
    expect(done.choices[0]?.finish_reason).toBe("stop");
    const state = await gateway.client.threads.getState<{ answer: unknown }>(waiting?.thread_id ?? "");
    expect(state.values.answer).toEqual({ go: true });
    await expect(ask("story", reply)).rejects.toMatchObject({ status: 409, code: "not_waiting" });
    await gateway.client.threads.delete(waiting?.thread_id ?? "");
  });

  it("among two is answered alone or with the other", async () => {
    const messages = [user("hi")];
    const asked = await ask("panel", messages);
    const calls = messageOf(asked)?.tool_calls ?? [];
    expect(calls.map((call) => call.type === "function" && JSON.parse(call.function.arguments))).toEqual(
      expect.arrayContaining(["Your name?", { question: "Your age?", unit: "years" }]),
    );
    const byQuestion = (texts: { name: string; age: string }) =>
      calls.map((call) => (JSON.stringify(call).includes("name?") ? texts.name : texts.age));
    const one = answered(messages, { ...asked }, byQuestion({ name: "Ada", age: "36" })).slice(0, 3);
    const half = await ask("panel", one);
    expect(half.choices[0]?.finish_reason).toBe("tool_calls");
    expect(messageOf(half)?.tool_calls).toHaveLength(1);
    const other = JSON.stringify(messageOf(half)?.tool_calls).includes("name?") ? "Ada" : "36";
    const done = await ask("panel", answered(one, half, [other]));
    expect(JSON.parse(messageOf(done)?.content ?? "")).toEqual(expect.arrayContaining([{ name: "Ada" }, { age: 36 }]));
    for (const { thread_id: id } of await gateway.client.threads.search()) await gateway.client.threads.delete(id);
  });

  it("streams as a call, too", async () => {
    const chunks = await stream("greeter", [user("hi")]);
    const [call] = chunks.flatMap(({ choices }) => choices[0]?.delta.tool_calls ?? []);
    expect(call).toMatchObject({ index: 0, function: { name: "human_input" } });
    expect(chunks.at(-1)?.choices[0]?.finish_reason).toBe("tool_calls");
    const id = call?.id ?? "";
    const said: Message = {
      role: "assistant",
      tool_calls: [{ id, type: "function", function: { name: "human_input", arguments: "" } }],
    };
    const done = await stream("greeter", [user("hi"), said, { role: "tool", tool_call_id: id, content: "Ada" }]);
    expect(deltas(done)).toEqual(["Hello Ada!"]);
    for (const { thread_id: id } of await gateway.client.threads.search()) await gateway.client.threads.delete(id);
  });
});

describe("refused, with the name of what is wrong", () => {
  it.each<[string, object, string]>([
    ["two answers", { n: 2 }, "n"],
    ["log probabilities", { logprobs: true }, "logprobs"],
    ["a format", { response_format: { type: "json_object" } }, "response_format"],
    ["tools of the client's", { tools: [{ type: "function", function: { name: "f" } }] }, "tools"],
    ["functions", { functions: [{ name: "f" }] }, "functions"],
    ["sound", { modalities: ["text", "audio"] }, "modalities"],
    ["what nobody knows", { surprise: 1 }, "surprise"],
    ["a temperature that is none", { temperature: "hot" }, "temperature"],
    ["no messages", { messages: [] }, "messages"],
    ["a role that is none", { messages: [{ role: "function", name: "f", content: "x" }] }, "messages.0.role"],
    ["a thread that can be none", { thread_id: "a/b" }, "thread_id"],
    ["two threads", { thread_id: "a", metadata: { thread_id: "b" } }, "thread_id"],
  ])("%s", async (_what, more, param) => {
    await expect(ask("echo", [user("hi")], more)).rejects.toMatchObject({
      status: 400,
      type: "invalid_request_error",
      param,
    });
  });

  it("arguments that are no object", async () => {
    const call = { id: "c", type: "function" as const, function: { name: "f", arguments: "[1]" } };
    const broken: Message[] = [{ role: "assistant", tool_calls: [call] }, user("hi")];
    await expect(ask("echo", broken)).rejects.toMatchObject({ status: 400, param: "messages" });
  });

  it("a graph that is not for chatting", async () => {
    await expect(ask("weather", [user("hi")])).rejects.toMatchObject({
      status: 400,
      code: "assistant_not_chat",
      param: "model",
    });
    expect(messageOf(await ask("described", [user("hi")]))?.content).toBe("plain: hi");
  });

  it("a model that is not there", async () => {
    await expect(ask("nobody", [user("hi")])).rejects.toMatchObject({ status: 404, code: "model_not_found" });
  });

  it("what is no JSON, in OpenAI's shape too", async () => {
    const response = await fetch(`${gateway.url}/v1/chat/completions`, { method: "POST", body: "{" });
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({ error: { type: "invalid_request_error", code: "bad_request" } });
  });

  it("but not what asks for nothing", async () => {
    const nothing = { n: 1, logprobs: false, tools: [], response_format: { type: "text" }, store: false, user: "me" };
    expect(messageOf(await ask("echo", [user("hi")], { ...nothing, prompt_cache_key: "k" }))?.content).toBe("echo: hi");
  });
});

describe("when the gateway stops", () => {
  const stopping = async (stream: boolean) => {
    const own = await startTestGateway({
      config: {
        graphs: { patient: "./test/support/chat-graphs.ts:patient" },
        runs: { shutdown_grace_seconds: 0 },
      },
    });
    const gate = `openai-stop-${stream}`;
    const { assistant_id: model } = await own.client.assistants.create({
      graphId: "patient",
      config: { configurable: { gate } },
    });
    const answer = fetch(`${own.url}/v1/chat/completions`, {
      method: "POST",
      body: JSON.stringify({ model, messages: [user("hi")], stream }),
    });
    answer.catch(() => {}); // looked at by the tests
    await arrivedAt(gate);
    return { answer, stopped: own.stop() };
  };

  it("a stream is cut, and does not look done", async () => {
    const { answer, stopped } = await stopping(true);
    const reader = (await answer).body?.pipeThrough(new TextDecoderStream()).getReader();
    let said = "";
    const reading = (async () => {
      for (let step = await reader?.read(); step?.done === false; step = await reader?.read()) said += step.value;
    })();
    await expect(reading).rejects.toThrow();
    expect(said).toContain('"role":"assistant"');
    expect(said).not.toContain("[DONE]");
    await stopped;
  });

  it("a whole answer is an error that clients do not repeat: the run was made", async () => {
    const { answer, stopped } = await stopping(false);
    const response = await answer;
    expect([response.status, response.headers.get("x-should-retry")]).toEqual([503, "false"]);
    expect(await response.json()).toMatchObject({ error: { type: "overloaded_error", code: "unavailable" } });
    await stopped;
  });
});

it("a question waits for its answer over a restart, although nobody named a thread", async () => {
  const graphs = { greeter: "./test/support/chat-graphs.ts:greeter" };
  let own = await startTestGateway({ storage: "sqlite", config: { graphs } });
  const client = () => new OpenAI({ apiKey: "none", baseURL: `${own.url}/v1`, maxRetries: 0 });
  const messages = [user("hi")];
  const asked = await client().chat.completions.create({ model: "greeter", messages });
  own = await own.restart();
  const reply = answered(messages, asked, ["Ada"]);
  const done = await client().chat.completions.create({ model: "greeter", messages: reply });
  expect(messageOf(done)?.content).toBe("Hello Ada!");
  await own.stop();
});

describe("a reader", () => {
  const open = (url: string, body: object) =>
    fetch(`${url}/v1/chat/completions`, { method: "POST", body: JSON.stringify({ ...body, stream: true }) });

  it("that begins to read when all is said gets all of it", async () => {
    const { thread_id: threadId } = await gateway.client.threads.create();
    const response = await open(gateway.url, { model: "babbler", messages: [user("hi")], thread_id: threadId });
    await expect.poll(async () => (await gateway.client.runs.list(threadId))[0]?.status).toBe("success");
    const text = await response.text();
    expect(text.endsWith("data: [DONE]\n\n")).toBe(true);
    expect(text.split(BABBLE.piece)).toHaveLength(BABBLE.pieces + 1);
    await gateway.client.threads.delete(threadId);
  });

  it.skipIf(ON_CLUSTER)("is kept company while nothing is said, by comments on one line", NEEDS_CLOCK, async () => {
    const hurried = await startTestGateway({
      clock: hurriedClock,
      config: { graphs: { patient: "./test/support/chat-graphs.ts:patient" } },
    });
    const { assistant_id: model } = await hurried.client.assistants.create({
      graphId: "patient",
      config: { configurable: { gate: "openai-heartbeat" } },
    });
    const { body } = await open(hurried.url, { model, messages: [user("hi")] });
    const reader = body?.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    while (text.split(": heartbeat").length < 4) text += (await reader?.read())?.value ?? "";
    openGate("openai-heartbeat");
    for (let step = await reader?.read(); step?.done === false; step = await reader?.read()) text += step.value;
    expect(text).toMatch(/\n\n: heartbeat\n: heartbeat\n: heartbeat\n/);
    expect(text).not.toMatch(/: heartbeat\n\n/);
    expect(text).toContain("At last");
    await hurried.stop();
  });
});
