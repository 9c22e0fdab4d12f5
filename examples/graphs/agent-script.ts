/**
 * What the example agent says when no real model is configured: a pure function from the conversation to the reply.
 *
 * The first rule that matches the last message wins. No rule looks at a clock or at chance, so a conversation that is
 * repeated, resumed or branched gets the same words again.
 */
import type { BaseMessage } from "@langchain/core/messages";
import { type ScriptedReply, textOf } from "./scripted-model.js";

interface Rule {
  readonly pattern: RegExp;
  reply(match: RegExpExecArray, messages: readonly BaseMessage[]): ScriptedReply;
}

const rules: readonly Rule[] = [
  {
    pattern:
      /\bweather\b.*?\b(?:in|for|at)\s+(\p{L}[\p{L}\s.'-]*?)\s*(?:\b(?:today|tomorrow|now|right now)\b.*)?[?!.]*$/iu,
    reply: ([, city = ""]) => ({
      text: `Let me look up the weather in ${city}.`,
      toolCalls: [{ name: "get_weather", args: { city } }],
    }),
  },
  {
    pattern: /\b(?:send|e-?mail|forward)\s+(.+?)(?:\s+to\s+(.+?))?\s*[?!.]*$/iu,
    reply: ([, what = "", to = "the team"]) => ({
      text: `I can send ${what} to ${to}, but I need your approval first.`,
      toolCalls: [{ name: "send_message", args: { what, to } }],
    }),
  },
  {
    pattern: /\b(?:delete|remove)\s+(.+?)\s*[?!.]*$/iu,
    reply: ([, what = ""]) => ({
      text: `Deleting ${what} cannot be undone, so I need your approval first.`,
      toolCalls: [{ name: "delete_item", args: { what } }],
    }),
  },
  {
    pattern: /\bcount\b.*?\bto\s+(\d+)/iu,
    reply: ([, last = "0"]) => ({ text: countTo(Math.min(Number(last), 1000)) }),
  },
  { pattern: /\bstory\b/iu, reply: () => ({ text: STORY }) },
  {
    pattern: /\bwhat (?:did|have) I (?:say|said|ask|asked|tell|told)\b/iu,
    reply: (_, messages) => ({ text: recap(messages) }),
  },
];

/** The next reply of the example agent: a tool call, an answer that uses the tool's result, or plain words. */
export function agentScript(messages: readonly BaseMessage[]): ScriptedReply {
  const last = messages.at(-1);
  if (last?.getType() === "tool") return { text: afterTools(messages) };
  const said = textOf(last).trim();
  for (const rule of rules) {
    const match = rule.pattern.exec(said);
    if (match !== null) return rule.reply(match, messages);
  }
  return { text: introduction(said) };
}

/** One sentence per tool result since the model last spoke. */
function afterTools(messages: readonly BaseMessage[]): string {
  const spokeAt = messages.findLastIndex((message) => message.getType() === "ai");
  return messages
    .slice(spokeAt + 1)
    .map(outcomeOf)
    .join(" ");
}

function outcomeOf(message: BaseMessage): string {
  const result = readResult(textOf(message));
  if (result === undefined) return `That did not work, and nothing was changed. The tool said: ${textOf(message)}`;
  if (message.name === "get_weather") {
    return `It is ${result.temperature_c} °C in ${result.city} at the moment, with ${result.condition}. Shall I check another city?`;
  }
  const what = message.name === "send_message" ? `${result.what} to ${result.to}` : `${result.what}`;
  const verb = message.name === "send_message" ? "sent" : "deleted";
  if (result.status === "done") return `Done: I have ${verb} ${what}.`;
  const because = typeof result.reason === "string" ? ` You said: “${result.reason}”.` : "";
  return `Understood, I have not ${verb} ${what}.${because} Tell me if you change your mind.`;
}

function readResult(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? { ...value } : undefined;
  } catch {
    return undefined; // Not JSON: the tool failed, and the text says why.
  }
}

function countTo(last: number): string {
  return Array.from({ length: last }, (_, index) => `${index + 1}`)
    .join(", ")
    .concat(".");
}

function recap(messages: readonly BaseMessage[]): string {
  const earlier = messages.slice(0, -1).filter((message) => message.getType() === "human");
  if (earlier.length === 0) return "Nothing yet: this is the first thing you have said to me in this thread.";
  return ["So far you have said:", ...earlier.map((message, index) => `${index + 1}. “${textOf(message)}”`)].join("\n");
}

function introduction(said: string): string {
  const opening = said === "" ? "Hello!" : `You said: “${said}”.`;
  return `${opening} I am the example agent. I follow a script, so I run without a network and always give the same answers. Here is what you can try:

• “What is the weather in Lisbon?” calls a tool and answers with its result.
• “Send the report to Ada” pauses until you approve it, change it or turn it down.
• “Delete the old drafts” asks for approval too.
• “Tell me a story” is long enough to stop me, or to reload the page in the middle.
• “Count to 100” is longer still.
• “What did I say?” shows that this thread remembers.

Edit one of your messages to branch the thread at that point. For a real model, set OPENAI_API_KEY or ANTHROPIC_API_KEY.`;
}

const STORY = `In a village between two rivers there lived a weaver named Imre, whose loom was older than anyone could say. Every thread of the warp passed through the eye of a heddle, and Imre knew each of them by touch: this one ran true, that one liked to slip, and the third from the left had to be coaxed on rainy days.

One evening, in the middle of a long blue cloth, the lamp went out. Imre did not unpick a single row. The heddles had kept every thread in its place, so there was nothing to look for and nothing to guess: the morning came, the shuttle crossed, and the cloth went on from exactly where it had stopped.

“How do you remember where you were?” asked a child who had been watching from the door.

“I do not,” said Imre. “I only make sure that the threads do.”

And if you look at the cloth today, you will not find the place where the light went out.`;
