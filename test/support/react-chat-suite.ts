/**
 * What a person does on the react-chat page, against whatever gateway it is pointed at.
 *
 * The gateway must serve the example graph `agent` and keep the words of a stopped answer
 * (`runs.keep_partial_on_cancel`). Nothing here knows whether a proxy stands between.
 */
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { CHROMIUM, CHROMIUM_MISSING, launchBrowser, type ServedPage, serveReactChat } from "./browser.js";
import { type Answers, type ChatPage, newProfile, openChat } from "./chat-page.js";

export interface ServedGateway {
  /** As a browser on this machine reaches it, prefix included. */
  readonly apiUrl: string;
  stop(): Promise<void>;
}

export interface ReactChatTarget {
  /** Called once, before the first test. */
  start(): Promise<ServedGateway>;
  /** What this target needs and the machine lacks; the suite is then skipped, on CI it fails. */
  readonly missing?: string | undefined;
}

/** Opens the page in a new tab of the test's own browser profile. */
type OpenChat = (tokenDelayMs: number, threadId?: string) => Promise<ChatPage>;

const WEATHER = "What is the weather in Lisbon?";
const WEATHER_ANSWERS = [
  "Let me look up the weather in Lisbon.",
  "It is 26 °C in Lisbon at the moment, with a stiff breeze. Shall I check another city?",
];
const RELOAD_POSITIONS = Array.from({ length: 20 }, (_, position) => position);

/** Defines the suite for one target. */
export function describeReactChat(name: string, target: ReactChatTarget): void {
  const missing = CHROMIUM === undefined ? CHROMIUM_MISSING : target.missing;

  describe(name, () => {
    let gateway: ServedGateway;
    let served: ServedPage;
    let browser: Browser;

    beforeAll(async () => {
      if (missing !== undefined && process.env.CI !== undefined) throw new Error(missing);
      if (missing !== undefined) return;
      [gateway, served, browser] = await Promise.all([target.start(), serveReactChat(), launchBrowser()]);
    });

    afterAll(async () => {
      await browser?.close();
      await served?.close();
      await gateway?.stop();
    });

    beforeEach(({ skip }) => skip(missing !== undefined, missing));

    const it = test.extend<{ open: OpenChat }>({
      // biome-ignore lint/correctness/noEmptyPattern: vitest reads the dependencies of a fixture from its pattern
      open: async ({}, use) => {
        const profile = await newProfile(browser);
        await use((tokenDelayMs, threadId) =>
          openChat(profile, { pageUrl: served.url, apiUrl: gateway.apiUrl, tokenDelayMs, threadId }),
        );
        await profile.close();
      },
    });

    async function threadStatus(chat: ChatPage): Promise<unknown> {
      const response = await fetch(`${gateway.apiUrl}/threads/${chat.threadId()}`);
      return ((await response.json()) as { status?: unknown }).status;
    }

    it("shows the answer growing token by token", async ({ open }) => {
      const chat = await open(25);
      await chat.send("Count to 40");
      await chat.reaches("idle");

      const final = Array.from({ length: 40 }, (_, index) => `${index + 1}`)
        .join(", ")
        .concat(".");
      expect(await chat.answers()).toEqual([final]);
      const seen = await chat.seen();
      expect(seen.length).toBeGreaterThan(20); // a busy machine may paint two at once
      expectGrowth(seen, [final]);
      expect(await threadStatus(chat)).toBe("idle");
      expect(chat.uncaught).toEqual([]);
    });

    it("calls a tool and shows its result with the call", async ({ open }) => {
      const chat = await open(0);
      await chat.send(WEATHER);
      await chat.reaches("idle");

      expect(await chat.answers()).toEqual(WEATHER_ANSWERS);
      await chat.get("tool-call").click();
      expect(JSON.parse((await chat.get("tool-result").textContent()) ?? "")).toMatchObject({ city: "Lisbon" });
    });

    it("stops an answer, keeps its words, and takes the next message", async ({ open }) => {
      const chat = await open(10);
      await chat.send("Count to 900");
      await chat.saidWords(20);
      await chat.get("stop").click();
      await chat.reaches("idle");

      const [kept = ""] = await chat.answers();
      expect(kept).toMatch(/^1, 2, 3, .*\b20,/);
      expect(kept).not.toContain("900");
      expect(await threadStatus(chat)).toBe("idle");
      expectGrowth(await chat.seen(), [kept]);

      await chat.page.reload();
      await chat.reaches("idle");
      await chat.saidWords(20);
      expect(await chat.answers()).toEqual([kept]);

      await chat.send("What did I say?");
      await chat.reaches("idle");
      expect(await chat.answers()).toEqual([kept, "So far you have said:\n1. “Count to 900”"]);
    });

    it("approves what the agent asks for, with changed arguments", async ({ open }) => {
      const chat = await open(0);
      await chat.send("Send the report to Ada");
      await chat.reaches("asking");
      expect(await chat.get("approval-question").textContent()).toBe("Shall I send the report to Ada?");
      expect(await threadStatus(chat)).toBe("interrupted");

      await chat.get("approval-arg-to").fill("Grace");
      await chat.get("approve").click();
      await chat.reaches("idle");

      expect((await chat.answers()).at(-1)).toBe("Done: I have sent the report to Grace.");
      expect(await chat.get("approval").count()).toBe(0);
      expect(await threadStatus(chat)).toBe("idle");
    });

    it("rejects what the agent asks for, even after a reload", async ({ open }) => {
      const chat = await open(0);
      await chat.send("Delete the old drafts");
      await chat.reaches("asking");
      await chat.page.reload();
      await chat.reaches("asking");
      await chat.get("reject").click();
      await chat.reaches("idle");

      expect((await chat.answers()).at(-1)).toBe(
        "Understood, I have not deleted the old drafts. Tell me if you change your mind.",
      );
      expect(await threadStatus(chat)).toBe("idle");
    });

    it("branches at an edited message, switches back, and goes on from there", async ({ open }) => {
      const chat = await open(0);
      await chat.send(WEATHER);
      await chat.reaches("idle");
      await chat.send("Count to 3");
      await chat.reaches("idle");

      await chat.get("edit").first().click();
      await chat.get("edit-input").fill("Count to 5");
      await chat.get("edit-save").click();
      await chat.get("branch-label").getByText("2 / 2").waitFor();
      expect(await chat.said()).toEqual(["Count to 5"]);
      expect(await chat.answers()).toEqual(["1, 2, 3, 4, 5."]);

      await chat.get("branch-prev").click();
      await chat.get("branch-label").getByText("1 / 2").waitFor();
      expect(await chat.said()).toEqual([WEATHER, "Count to 3"]);
      expect(await chat.answers()).toEqual([...WEATHER_ANSWERS, "1, 2, 3."]);

      await chat.send("What did I say?");
      await chat.reaches("idle");
      expect((await chat.answers()).at(-1)).toBe(`So far you have said:\n1. “${WEATHER}”\n2. “Count to 3”`);
    });

    // The run has a tool call in its middle and about 30 events; late positions find it finished after the reload.
    it.for(RELOAD_POSITIONS)(
      "after a reload at event position %i the answer is the uninterrupted one",
      async (position, { open }) => {
        const chat = await open(30);
        await chat.send(WEATHER);
        await chat.hasRun();
        await chat.saidWords(position);
        const threadId = chat.threadId();
        await chat.page.reload();
        await chat.saidWords(WEATHER_ANSWERS.join(" ").split(" ").length);
        await chat.reaches("idle");

        expect(chat.threadId()).toBe(threadId);
        expect(await chat.said()).toEqual([WEATHER]);
        expect(await chat.answers()).toEqual(WEATHER_ANSWERS);
        expectGrowth(await chat.seen(), WEATHER_ANSWERS);
        expect(chat.uncaught).toEqual([]);
      },
    );

    it("survives several reloads in one long answer", async ({ open }) => {
      const chat = await open(20);
      const seen: Answers[] = [];
      await chat.send("Tell me a story");
      for (const words of [10, 60, 110]) {
        await chat.saidWords(words);
        seen.push(...(await chat.seen()));
        await chat.page.reload();
      }
      await chat.page.getByText("where the light went out.").waitFor();
      await chat.reaches("idle");

      const [story = ""] = await chat.answers();
      expect(story).toMatch(/^In a village between two rivers/);
      expect(story).toMatch(/where the light went out\.$/);
      expectGrowth([...seen, ...(await chat.seen())], [story]);
    });

    it("shows a second tab the same answer while it grows, and the same end", async ({ open }) => {
      const first = await open(30);
      await first.send("Count to 150");
      await first.saidWords(5);
      const second = await open(30, first.threadId());
      await second.reaches("streaming");
      await Promise.all([first.reaches("idle"), second.reaches("idle")]);

      const [answer = ""] = await first.answers();
      expect(answer).toMatch(/ 150\.$/);
      expect(await second.answers()).toEqual([answer]);
      expect((await second.seen()).length).toBeGreaterThan(5);
      expectGrowth(await second.seen(), [answer]);
    });

    it("lists threads by their first words, opens them, and starts new ones", async ({ open }) => {
      const chat = await open(0);
      await chat.send("Count to 11");
      await chat.reaches("idle");
      const first = chat.threadId();
      await chat.get("new-thread").click();
      await chat.get("welcome").waitFor();
      await chat.send("Count to 12");
      await chat.reaches("idle");

      const items = chat.get("thread-item");
      await items.filter({ hasText: "Count to 12" }).waitFor();
      expect(chat.threadId()).not.toBe(first);
      await items.filter({ hasText: "Count to 11" }).click();
      await chat.page.getByText("1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11.", { exact: true }).waitFor();
      expect(chat.threadId()).toBe(first);
    });

    it("shows why a run failed, and recovers", async ({ open }) => {
      const failing = await open(-1); // the graph refuses a negative delay
      await failing.send("Count to 3");
      await failing.get("error").waitFor();
      expect(await failing.get("error").textContent()).toContain("token_delay_ms");
      expect(await threadStatus(failing)).toBe("error");

      const chat = await open(0, failing.threadId());
      await chat.send("Count to 4");
      await chat.reaches("idle");
      expect(await chat.answers()).toEqual(["1, 2, 3, 4."]);
      expect(await threadStatus(chat)).toBe("idle");
    });
  });
}

/** Every picture of the answers was a beginning of the final ones: nothing doubled, nothing out of order. */
function expectGrowth(seen: readonly Answers[], final: Answers): void {
  const wrong = seen.filter(
    (answers) => answers.length > final.length || answers.some((text, index) => !final[index]?.startsWith(text)),
  );
  expect(wrong).toEqual([]);
}
