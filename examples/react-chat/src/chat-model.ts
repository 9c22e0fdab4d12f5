/** What the view shows and does, whichever hook is behind it: `use-legacy-chat.ts` or `use-event-streaming-chat.ts`. */
import type { Client, Message } from "@langchain/langgraph-sdk";
import type { ApprovalRequest } from "./approval.js";
import type { Settings } from "./settings.js";

/** The part of the graph's state that the page shows. */
export type ChatState = { messages: Message[] };

export interface ChatOptions {
  readonly client: Client;
  readonly settings: Settings;
  readonly threadId: string | null;
  readonly initialValues: ChatState | undefined;
  onThreadId(threadId: string): void;
  /** A run began or ended. */
  onActivity(): void;
  /** Asks for a fresh hook that reads the thread anew and shows `values` until it has. */
  onResync(threadId: string | null, values: ChatState): void;
}

/** The state and the actions of one thread, or of a new one. */
export interface Chat {
  readonly messages: readonly Message[];
  readonly isBusy: boolean;
  readonly isLoadingThread: boolean;
  readonly error: unknown;
  /** The open question, if the run waits for an answer or was stopped between two steps. */
  readonly question: Question | undefined;
  /** False until the gateway has named the run. */
  readonly canStop: boolean;
  /** In the order in which they began. */
  readonly parts: readonly Part[];
  /** Undefined where a message has to wait in the composer until the run is over. */
  readonly queue: Queue | undefined;
  setBranch(branch: string): void;
  send(text: string): void;
  answer(resume: unknown): void;
  proceed(): void;
  stop(): void;
  placeOf(message: Message, index: number): MessagePlace;
}

export interface Question {
  readonly id?: string | undefined;
  /** Undefined when the run merely stopped between two steps. */
  readonly value?: ApprovalRequest | undefined;
}

/** An agent or a graph inside the run. */
export interface Part {
  /** Of an agent: the id of the tool call that it works for. */
  readonly id: string;
  readonly kind: "subagent" | "subgraph";
  readonly name: string;
  readonly isRunning: boolean;
  /** A hook, for the component that shows this part: only what is on the screen is streamed. */
  useMessages(): readonly Message[];
}

/** Messages that are sent when the run is over. */
export interface Queue {
  readonly entries: readonly QueuedMessage[];
  cancel(id: string): void;
}

export interface QueuedMessage {
  readonly id: string;
  readonly text: string;
}

/** Where a message stands among the branches of its thread, and how to change it. */
export interface MessagePlace {
  readonly branch: string | undefined;
  readonly branchOptions: readonly string[] | undefined;
  /** Undefined while the message cannot be edited. */
  readonly onEdit: ((text: string) => void) | undefined;
}

/** The text of a message, without its images and other blocks. */
export function textOf({ content }: Pick<Message, "content">): string {
  if (typeof content === "string") return content;
  return content.map((block) => (block.type === "text" ? block.text : "")).join("");
}

/** A new thread takes its title from its first words. */
export function titleFor(text: string): string {
  return text.slice(0, 80);
}
