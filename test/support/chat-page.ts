/** The react-chat page as a person uses it; every wait is for something that the page shows. */
import type { Browser, BrowserContext, Locator, Page } from "playwright-core";

/** The texts of the agent's messages, in order. */
export type Answers = readonly string[];

export type ChatState = "idle" | "streaming" | "asking";

export interface ChatPage {
  readonly page: Page;
  /** What a reload or a second tab has to open. */
  address(): string;
  threadId(): string;
  /** Sends from the composer and returns once the run has begun; it may be over by then. */
  send(text: string): Promise<void>;
  /** Returns once the page shows this state; `idle` and `asking` only with the thread as the gateway has it. */
  reaches(state: ChatState): Promise<void>;
  /** Returns once the gateway has named a run of this page: from then on a reload finds it again. */
  hasRun(): Promise<void>;
  /** Returns once the agent has said at least this many words, over all of its messages. */
  saidWords(atLeast: number): Promise<void>;
  answers(): Promise<Answers>;
  said(): Promise<readonly string[]>;
  /** Everything that the agent's messages have looked like since the page was (re)loaded. */
  seen(): Promise<readonly Answers[]>;
  /** Returns once they have looked at least this many ways. */
  pictures(atLeast: number): Promise<void>;
  get(testId: string): Locator;
  /** Errors that nothing on the page caught. */
  readonly uncaught: readonly string[];
}

/** Which of the SDK's hooks the page is on, and how that talks to the gateway. */
export interface ChatMode {
  readonly hook: "legacy" | "event-streaming";
  readonly transport: "sse" | "websocket";
}

export interface ChatAddress extends ChatMode {
  readonly pageUrl: string;
  readonly apiUrl: string;
  /** Else the page's own choice. */
  readonly graph?: string | undefined;
  readonly tokenDelayMs: number;
  readonly threadId?: string | undefined;
}

/** A browser profile of its own: nothing is shared with other tests. */
export function newProfile(browser: Browser): Promise<BrowserContext> {
  // Without a GPU the page's animations cost more than all the rest of it.
  return browser.newContext({ viewport: { width: 1100, height: 760 }, reducedMotion: "reduce" });
}

/** Opens the page in a new tab of the profile. */
export async function openChat(profile: BrowserContext, address: ChatAddress): Promise<ChatPage> {
  const page = await profile.newPage();
  page.setDefaultTimeout(60_000); // below vitest's, so that a failure names what was waited for
  const uncaught: string[] = [];
  page.on("pageerror", (error) => uncaught.push(error.message));
  await page.addInitScript(RECORDER);
  const url = new URL(address.pageUrl);
  url.searchParams.set("api", address.apiUrl);
  url.searchParams.set("delay", String(address.tokenDelayMs));
  url.searchParams.set("hook", address.hook);
  url.searchParams.set("transport", address.transport);
  if (address.graph !== undefined) url.searchParams.set("graph", address.graph);
  if (address.threadId !== undefined) url.searchParams.set("thread", address.threadId);
  await page.goto(url.href);
  const get = (testId: string) => page.getByTestId(testId);
  const reaches = (state: ChatState) => page.locator(`[data-testid=chat][data-state=${state}]`).waitFor();
  return {
    page,
    uncaught,
    get,
    reaches,
    address: () => page.url(),
    threadId: () => new URL(page.url()).searchParams.get("thread") ?? "",
    async send(text) {
      const before = await page.evaluate<number>("recorder.runs");
      await get("composer-input").fill(text);
      await get("send").click();
      await page.waitForFunction(`recorder.runs > ${before}`);
    },
    async hasRun() {
      await page.waitForFunction("recorder.hasRun");
    },
    async saidWords(atLeast) {
      await page.waitForFunction(`recorder.words() >= ${atLeast}`, undefined, { polling: "raf" });
    },
    answers: () => page.evaluate<Answers>("recorder.answers()"),
    said: () => page.locator("[data-testid=message-human] [data-testid=message-text]").allTextContents(),
    seen: () => page.evaluate<Answers[]>("recorder.seen"),
    async pictures(atLeast) {
      await page.waitForFunction(`recorder.seen.length >= ${atLeast}`, undefined, { polling: "raf" });
    },
  };
}

/** Runs in the page before its own scripts: counts runs, and notes what the agent's messages look like. */
const RECORDER = `
  const recorder = (globalThis.recorder = {
    seen: [],
    runs: 0,
    streaming: false,
    hasRun: false,
    answers: () =>
      [...document.querySelectorAll("[data-testid=message-ai] [data-testid=message-text]")].map((text) => text.textContent),
    words: () => recorder.answers().join(" ").split(/\\s+/).filter(Boolean).length,
    note() {
      const streaming = document.querySelector("[data-testid=chat]")?.dataset.state === "streaming";
      if (streaming && !recorder.streaming) recorder.runs += 1;
      recorder.streaming = streaming;
      recorder.hasRun ||= document.querySelector("[data-testid=stop]:enabled") !== null;
      const now = recorder.answers();
      if (JSON.stringify(now) !== JSON.stringify(recorder.seen.at(-1) ?? [])) recorder.seen.push(now);
    },
  });
  new MutationObserver(recorder.note).observe(document, {
    attributes: true, childList: true, characterData: true, subtree: true,
  });
`;
