/** The example graphs run offline, stream, stop, ask and resume as examples/README.md promises. */
import { AIMessageChunk, type BaseMessage, HumanMessage } from "@langchain/core/messages";
import { Command, isInterrupted, MemorySaver } from "@langchain/langgraph";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { graph as agent } from "../../examples/graphs/agent.js";
import { graph as echo } from "../../examples/graphs/echo.js";
import { graph as research } from "../../examples/graphs/research.js";
import { graph as subgraphs } from "../../examples/graphs/subgraphs.js";

const fast = { token_delay_ms: 0 };

beforeEach(() => {
  vi.stubEnv("AGENT_MODEL", "scripted");
});

afterEach(() => {
  vi.unstubAllEnvs();
});

describe("the agent example", () => {
  it("answers with what the user can try", async () => {
    const { messages } = await agent.invoke(human("Hello there"), { configurable: fast });
    expect(lastText(messages)).toContain("You said: “Hello there”");
    expect(lastText(messages)).toContain("What is the weather in Lisbon?");
  });

  it("gives the same words for the same conversation", async () => {
    const ask = async () => lastText((await agent.invoke(human("Tell me a story"), { configurable: fast })).messages);
    expect(await ask()).toBe(await ask());
  });

  it("streams its answer in tokens that add up to the final message", async () => {
    const stream = await agent.stream(human("Count to 40"), {
      configurable: fast,
      streamMode: ["messages", "values"],
    });
    const tokens: string[] = [];
    let final = "";
    for await (const [mode, payload] of stream) {
      if (mode === "values") final = lastText(payload.messages);
      else if (AIMessageChunk.isInstance(payload[0])) tokens.push(payload[0].text);
    }
    expect(tokens.filter((token) => token !== "")).toHaveLength(40);
    expect(tokens.join("")).toBe(final);
    expect(final).toMatch(/^1, 2, 3, .*, 40\.$/);
  });

  it("counts the tokens it read and wrote", async () => {
    const { messages } = await agent.invoke(human("Count to 3"), { configurable: fast });
    expect(messages.at(-1)).toMatchObject({
      usage_metadata: { input_tokens: 3, output_tokens: 3, total_tokens: 6 },
      response_metadata: { finish_reason: "stop" },
    });
  });

  it("streams a tool call in chunks, runs the tool and answers with its result", async () => {
    const stream = await agent.stream(human("What is the weather in New York today?"), {
      configurable: fast,
      streamMode: ["messages", "values"],
    });
    let argumentJson = "";
    let messages: BaseMessage[] = [];
    for await (const [mode, payload] of stream) {
      if (mode === "values") messages = payload.messages;
      else if (AIMessageChunk.isInstance(payload[0])) {
        argumentJson += (payload[0].tool_call_chunks ?? []).map((chunk) => chunk.args).join("");
      }
    }
    expect(JSON.parse(argumentJson)).toEqual({ city: "New York" });
    expect(messages.map((message) => message.getType())).toEqual(["human", "ai", "tool", "ai"]);
    expect(messages[1]).toMatchObject({ tool_calls: [{ name: "get_weather", args: { city: "New York" } }] });
    expect(lastText(messages)).toMatch(/^It is \d+ °C in New York at the moment/);
  });

  it.each([
    ["Send the report to Ada", "send_message", { what: "the report", to: "Ada" }, "Shall I send the report to Ada?"],
    ["Please delete the old drafts.", "delete_item", { what: "the old drafts" }, "Shall I delete the old drafts?"],
  ])("%s: asks a human first", async (said, action, args, question) => {
    const { result } = await askAgent(said);
    expect(isInterrupted(result) && result.__interrupt__.map(({ value }) => value)).toEqual([
      { action, args, question },
    ]);
  });

  it.each([
    ["true", true, "Done: I have sent the report to Ada."],
    ["false", false, "Understood, I have not sent the report to Ada. Tell me if you change your mind."],
    ["an approval", { approved: true }, "Done: I have sent the report to Ada."],
    ["edited arguments", { approved: true, args: { to: "Grace" } }, "Done: I have sent the report to Grace."],
    [
      "a refusal with a reason",
      { approved: false, reason: "not today" },
      "Understood, I have not sent the report to Ada. You said: “not today”. Tell me if you change your mind.",
    ],
  ])("resumes with %s", async (_name, resume, answer) => {
    const { bound, config, result } = await askAgent("Send the report to Ada");
    const { messages } = await bound.invoke(new Command(answerTo(result, resume)), config);
    expect(lastText(messages)).toBe(answer);
  });

  it.each([
    ["an answer it does not understand", "maybe"],
    ["edited arguments of the wrong type", { approved: true, args: { to: 7 } }],
  ])("does nothing on %s", async (_name, resume) => {
    const { bound, config, result } = await askAgent("Send the report to Ada");
    const { messages } = await bound.invoke(new Command(answerTo(result, resume)), config);
    expect(lastText(messages)).toContain("That did not work, and nothing was changed.");
    expect(messages.find((message) => message.getType() === "tool")).toMatchObject({ status: "error" });
  });

  it("remembers earlier turns of its thread", async () => {
    const { bound, config } = await askAgent("My loom is blue");
    const { messages } = await bound.invoke(human("What did I say?"), config);
    expect(lastText(messages)).toBe("So far you have said:\n1. “My loom is blue”");
  });

  it("stops between two tokens when the run is aborted", async () => {
    const abort = new AbortController();
    const stream = await agent.stream(human("Count to 500"), {
      configurable: { token_delay_ms: 1 },
      streamMode: "messages",
      signal: abort.signal,
    });
    let tokens = 0;
    const read = async () => {
      for await (const _ of stream) if (++tokens === 5) abort.abort();
    };
    await expect(read()).rejects.toThrow(/abort/i);
    expect(tokens).toBeLessThan(10);
  });

  it("refuses a token delay that is none", async () => {
    await expect(agent.invoke(human("hi"), { configurable: { token_delay_ms: "slow" } })).rejects.toThrow(
      "token_delay_ms",
    );
  });

  it.each([
    ["OPENAI_API_KEY", "@langchain/openai"],
    ["ANTHROPIC_API_KEY", "@langchain/anthropic"],
  ])("says what to install when %s is set and the provider is missing", async (key, packageName) => {
    vi.stubEnv("AGENT_MODEL", "");
    vi.stubEnv("OPENAI_API_KEY", "");
    vi.stubEnv("ANTHROPIC_API_KEY", "");
    vi.stubEnv(key, "not-a-real-key");
    await expect(agent.invoke(human("hi"), { configurable: fast })).rejects.toThrow(
      `${key} is set, but ${packageName} could not be loaded. Run "npm install ${packageName}", or set AGENT_MODEL=scripted`,
    );
  });

  it("refuses a model it does not know", async () => {
    vi.stubEnv("AGENT_MODEL", "hal:9000");
    await expect(agent.invoke(human("hi"))).rejects.toThrow("AGENT_MODEL=hal:9000 is not known");
  });
});

describe("the echo example", () => {
  it("answers with the last message", async () => {
    const { messages } = await echo.invoke(human("ping"));
    expect(messages.map(({ text }) => text)).toEqual(["ping", "ping"]);
  });
});

describe("the subgraphs example", () => {
  it("streams a message from two levels down", async () => {
    const stream = await subgraphs.stream(human("rivers"), {
      configurable: fast,
      streamMode: ["messages", "custom"],
      subgraphs: true,
    });
    const levels = new Set<string>();
    let text = "";
    for await (const [namespace, mode, payload] of stream) {
      levels.add(`${mode}@${namespace.map((part) => part.split(":")[0]).join("/")}`);
      if (mode === "messages" && AIMessageChunk.isInstance(payload[0])) text += payload[0].text;
    }
    expect([...levels]).toEqual(expect.arrayContaining(["custom@", "custom@team", "messages@team/writer/compose"]));
    expect(text).toContain("Three lines about rivers");
  });

  it.each([
    [true, "Three lines about rivers"],
    [false, "nothing was written"],
  ])("asks first when told to, and %s decides", async (resume, expected) => {
    const bound = subgraphs.withConfig({});
    bound.checkpointer = new MemorySaver();
    const config = { configurable: { thread_id: "t", ...fast } };
    const paused = await bound.invoke({ ...human("rivers"), ask_first: true }, config);
    expect(isInterrupted(paused) && paused.__interrupt__[0]?.value).toEqual({
      question: "Shall I write about “rivers”?",
    });
    const { messages } = await bound.invoke(new Command(answerTo(paused, resume)), config);
    expect(lastText(messages)).toContain(expected);
  });
});

describe("the research example", () => {
  it("investigates in parallel, reports progress and joins in the order of the plan", async () => {
    const stream = await research.stream(human("silk"), { configurable: fast, streamMode: ["custom", "values"] });
    const progress: unknown[] = [];
    let messages: BaseMessage[] = [];
    for await (const [mode, payload] of stream) {
      if (mode === "custom") progress.push(payload);
      else messages = payload.messages;
    }
    expect(progress.slice(0, 3)).toEqual([
      expect.objectContaining({ branch: 0, step: "searching" }),
      expect.objectContaining({ branch: 1, step: "searching" }),
      expect.objectContaining({ branch: 2, step: "searching" }),
    ]);
    expect(progress).toHaveLength(12);
    expect(lastText(messages)).toMatch(/silk:\n\n1\. Where does silk[\s\S]*2\. How does silk[\s\S]*3\. Where is silk/);
  });

  it("starts every question of a thread from an empty desk", async () => {
    const bound = research.withConfig({});
    bound.checkpointer = new MemorySaver();
    const config = { configurable: { thread_id: "t", ...fast } };
    await bound.invoke(human("silk"), config);
    const { findings } = await bound.invoke(human("wool"), config);
    expect(findings.map(({ question }) => question)).toEqual([
      "Where does wool come from?",
      "How does wool work?",
      "Where is wool going?",
    ]);
  });
});

describe("every example", () => {
  it.each([
    ["agent", agent],
    ["echo", echo],
    ["subgraphs", subgraphs],
    ["research", research],
  ])("%s has no checkpointer of its own and describes itself", (name, graph) => {
    expect(graph.checkpointer).toBeUndefined();
    expect(graph.getName()).toBe(name);
    expect(graph.description).toMatch(/\.$/);
  });
});

function human(text: string): { messages: BaseMessage[] } {
  return { messages: [new HumanMessage(text)] };
}

function lastText(messages: readonly BaseMessage[]): string {
  return messages.at(-1)?.text ?? "";
}

async function askAgent(said: string) {
  const bound = agent.withConfig({});
  bound.checkpointer = new MemorySaver();
  const config = { configurable: { thread_id: "t", ...fast } };
  return { bound, config, result: await bound.invoke(human(said), config) };
}

/** By interrupt id, as the gateway resumes: LangGraph takes a bare `false` for no answer at all. */
function answerTo(paused: unknown, value: unknown): { resume: Record<string, unknown> } {
  const id = isInterrupted(paused) ? paused.__interrupt__[0]?.id : undefined;
  if (id === undefined) throw new Error("The run is not paused.");
  return { resume: { [id]: value } };
}
