/** What the suites of the react-chat page have in common (`react-chat-suite.ts`). */
import { expect, type TestAPI } from "vitest";
import type { Answers, ChatMode, ChatPage } from "./chat-page.js";

export interface ChatGateway {
  /** As a browser on this machine reaches it, prefix included. */
  readonly apiUrl: string;
  /** Kills it in the middle of whatever it does, and starts it again at the same address when `meanwhile` has happened. */
  restart?(meanwhile?: () => Promise<unknown>): Promise<void>;
  stop(): Promise<void>;
}

/** Opens the page in a new tab of the test's own browser profile. */
type OpenChat = (
  tokenDelayMs: number,
  address?: { readonly threadId?: string; readonly graph?: string },
) => Promise<ChatPage>;

/** What the tests of one mode are written with. */
export interface Suite {
  readonly it: TestAPI<{ open: OpenChat }>;
  readonly mode: ChatMode;
  gateway(): ChatGateway;
  threadStatus(chat: ChatPage): Promise<unknown>;
}

export const WEATHER = "What is the weather in Lisbon?";
export const WEATHER_ANSWERS = [
  "Let me look up the weather in Lisbon.",
  "It is 26 °C in Lisbon at the moment, with a stiff breeze. Shall I check another city?",
];

/** What the agent says when it is told to count. */
export function counted(last: number): string {
  return `${Array.from({ length: last }, (_, index) => index + 1).join(", ")}.`;
}

/** Every picture of the answers was a beginning of the final ones: nothing doubled, nothing out of order. */
export function expectGrowth(seen: readonly Answers[], final: Answers): void {
  const wrong = seen.filter(
    (answers) => answers.length > final.length || answers.some((text, index) => !final[index]?.startsWith(text)),
  );
  expect(wrong).toEqual([]);
}

/**
 * Returns once the page shows these answers and is idle. Not the other way round: a hook that has just come to a thread may
 * be told of the end of an earlier run after it was asked for the next one, and then is idle for a moment.
 */
export async function shows(chat: ChatPage, answers: Answers): Promise<void> {
  await expect.poll(() => chat.answers(), { timeout: 60_000 }).toEqual(answers);
  await chat.reaches("idle");
}
