/** When a message that a model streams counts as complete. */
import { AIMessage, AIMessageChunk } from "@langchain/core/messages";
import { describe, expect, it } from "vitest";
import { createMessageEnds, type MessageEnds } from "../../src/graphs/message-ends.js";

/** What a model says, as LangChain tells it. */
function say(ends: MessageEnds, callId: string, id?: string): void {
  const message = new AIMessageChunk({ content: "a", ...(id === undefined ? {} : { id }) });
  ends.handler.handleLLMNewToken("a", undefined, callId, undefined, undefined, { chunk: { message } });
}

/** What comes out of the graph. */
const comeOut = (ends: MessageEnds, id: string) => ends.out([new AIMessageChunk({ content: "a", id }), {}]);
const end = (ends: MessageEnds, callId: string) => ends.handler.handleLLMEnd({}, callId);

describe("a message is complete", () => {
  it("when its call has ended and all that it said has come out, and once", () => {
    const ends = createMessageEnds();
    say(ends, "c1", "m1");
    say(ends, "c1", "m1");
    comeOut(ends, "m1");
    expect(ends.take()).toEqual([]);
    end(ends, "c1");
    expect(ends.take()).toEqual([]);
    comeOut(ends, "m1");
    expect(ends.take()).toEqual(["m1"]);
    expect(ends.take()).toEqual([]);
  });

  it("when everything came out before the call ended", () => {
    const ends = createMessageEnds();
    say(ends, "c1", "m1");
    comeOut(ends, "m1");
    expect(ends.take()).toEqual([]);
    end(ends, "c1");
    expect(ends.take()).toEqual(["m1"]);
  });

  it("by itself: others that stream go on", () => {
    const ends = createMessageEnds();
    for (const each of ["1", "2", "3"]) say(ends, `c${each}`, `m${each}`);
    for (const each of ["3", "1"]) end(ends, `c${each}`);
    for (const each of ["1", "2", "3"]) comeOut(ends, `m${each}`);
    expect(ends.take()).toEqual(["m3", "m1"]);
    end(ends, "c2");
    expect(ends.take()).toEqual(["m2"]);
  });

  it("under the name that LangGraph gives it when the model has told a token before it named it", () => {
    const ends = createMessageEnds();
    say(ends, "c1");
    say(ends, "c1");
    end(ends, "c1");
    comeOut(ends, "run-c1");
    comeOut(ends, "run-c1");
    expect(ends.take()).toEqual(["run-c1"]);
  });

  it("each time that a call streams under the same id", () => {
    const ends = createMessageEnds();
    for (const call of ["c1", "c2"]) {
      say(ends, call, "m1");
      comeOut(ends, "m1");
      end(ends, call);
      expect(ends.take()).toEqual(["m1"]);
    }
  });
});

describe("nothing is told", () => {
  it("of a call that does not stream", () => {
    const ends = createMessageEnds();
    end(ends, "c1");
    ends.out([new AIMessage({ content: "whole", id: "m1" }), {}]);
    expect(ends.take()).toEqual([]);
  });

  it("of one whose tokens the graph does not let out", () => {
    const ends = createMessageEnds();
    say(ends, "c1", "m1");
    end(ends, "c1");
    expect(ends.take()).toEqual([]);
  });

  it("of one that fails", () => {
    const ends = createMessageEnds();
    say(ends, "c1", "m1");
    comeOut(ends, "m1");
    ends.handler.handleLLMError(new Error("lost for words"), "c1");
    end(ends, "c1");
    expect(ends.take()).toEqual([]);
  });
});
