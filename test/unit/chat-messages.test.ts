/** OpenAI's messages ↔ LangGraph's, and questions as calls. */
import { describe, expect, it } from "vitest";
import {
  answersIn,
  type ChatMessage,
  newestOf,
  questionCall,
  toGraphMessages,
  userText,
} from "../../src/faces/chat-messages.js";

const ID = "0123456789abcdef0123456789abcdef";
const call = questionCall("thread-1", { id: ID, value: { q: "Go on?" } });
const asked: ChatMessage = {
  role: "assistant",
  content: null,
  tool_calls: [{ id: call.id, function: { name: "human_input", arguments: {} } }],
};
const answer = (content: string, id = call.id): ChatMessage => ({ role: "tool", content, tool_call_id: id });
const user = (content: ChatMessage["content"]): ChatMessage => ({ role: "user", content });

describe("a question", () => {
  it("is a call whose id says where the answer belongs", () => {
    expect(call).toEqual({
      id: `intr_${ID}.thread-1`,
      type: "function",
      function: { name: "human_input", arguments: '{"q":"Go on?"}' },
    });
    const answers = answersIn([user("hi"), asked, answer("yes")]);
    expect(answers?.threadId).toBe("thread-1");
    expect([...(answers?.texts ?? [])]).toEqual([[ID, "yes"]]);
  });

  it("that was answered long ago is answered no more", () => {
    const messages: ChatMessage[] = [
      user("hi"),
      asked,
      answer("yes"),
      { role: "assistant", content: "Done" },
      user("ok"),
    ];
    expect(answersIn(messages)).toBeUndefined();
    expect(toGraphMessages(messages)).toEqual([
      { type: "human", content: "hi" },
      { type: "ai", content: "Done" },
      { type: "human", content: "ok" },
    ]);
  });

  it("is answered by nothing but answers of one thread", () => {
    expect(() => answersIn([asked, answer("yes"), user("and more")])).toThrow("nothing else");
    expect(() => answersIn([asked, answer("a"), answer("b", `intr_${ID}.thread-2`)])).toThrow("different threads");
  });
});

describe("messages", () => {
  it("keep their roles, names, parts and calls", () => {
    const image = { type: "image_url", image_url: { url: "https://example.com/a.png" } };
    expect(
      toGraphMessages([
        { role: "developer", content: "Be brief" },
        { role: "system", content: [{ type: "text", text: "Really" }] },
        { ...user([{ type: "text", text: "What is it?" }, image]), name: "ann" },
        {
          role: "assistant",
          content: null,
          tool_calls: [{ id: "c1", function: { name: "look", arguments: { at: 1 } } }],
        },
        { role: "tool", content: "a cat", tool_call_id: "c1" },
      ]),
    ).toEqual([
      { type: "system", content: "Be brief" },
      { type: "system", content: [{ type: "text", text: "Really" }] },
      { type: "human", content: [{ type: "text", text: "What is it?" }, image], name: "ann" },
      { type: "ai", content: "", tool_calls: [{ id: "c1", name: "look", args: { at: 1 }, type: "tool_call" }] },
      { type: "tool", content: "a cat", tool_call_id: "c1" },
    ]);
  });

  it("that are new follow the assistant's last", () => {
    expect(newestOf([user("a"), { role: "assistant", content: "b" }, user("c")])).toEqual([user("c")]);
    expect(newestOf([user("a")])).toEqual([user("a")]);
  });

  it("are words of the user when they are one text", () => {
    expect(userText([user("yes")])).toBe("yes");
    expect(userText([user([{ type: "text", text: "yes" }])])).toBe("yes");
    expect(userText([user([{ type: "image_url", image_url: { url: "x" } }])])).toBeUndefined();
    expect(userText([user("a"), user("b")])).toBeUndefined();
    expect(userText([])).toBeUndefined();
  });
});
