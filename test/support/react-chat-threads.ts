/** What else the react-chat page promises of threads: branches, reloads, failures, the list. */
import { expect } from "vitest";
import type { Answers } from "./chat-page.js";
import { expectGrowth, type Suite, shows, WEATHER, WEATHER_ANSWERS } from "./react-chat-target.js";

const RELOAD_POSITIONS = Array.from({ length: 20 }, (_, position) => position);

/** Defines the tests of one mode. */
export function describeThreads({ it, threadStatus }: Suite): void {
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
    const said = `So far you have said:\n1. “${WEATHER}”\n2. “Count to 3”`;
    await shows(chat, [...WEATHER_ANSWERS, "1, 2, 3.", said]);
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

  it("lists threads by their first words, opens them, and starts new ones", async ({ open }) => {
    const chat = await open(0);
    await chat.send("Count to 11");
    await chat.reaches("idle");
    const first = chat.threadId();
    await chat.get("new-thread").click();
    await chat.get("welcome").waitFor();
    await chat.send("Count to 12");
    await chat.reaches("idle");

    // The newest comes first; what others of the suite began is there, too.
    const newest = (text: string) => chat.get("thread-item").filter({ hasText: text }).first();
    await newest("Count to 12").waitFor();
    expect(chat.threadId()).not.toBe(first);
    await newest("Count to 11").click();
    await chat.page.getByText("1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11.", { exact: true }).waitFor();
    expect(chat.threadId()).toBe(first);
  });

  it("shows why a run failed, and recovers", async ({ open }) => {
    const failing = await open(-1); // the graph refuses a negative delay
    await failing.send("Count to 3");
    await failing.get("error").waitFor();
    expect(await failing.get("error").textContent()).toContain("token_delay_ms");
    expect(await threadStatus(failing)).toBe("error");

    const chat = await open(0, { threadId: failing.threadId() });
    await chat.send("Count to 4");
    await chat.reaches("idle");
    expect(await chat.answers()).toEqual(["1, 2, 3, 4."]);
    expect(await threadStatus(chat)).toBe("idle");
  });
}
