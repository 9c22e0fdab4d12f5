/** What must be true of the react-chat page on every hook, over every transport and through every proxy. */
import { expect } from "vitest";
import type { ChatPage } from "./chat-page.js";
import {
  type ChatGateway,
  counted,
  expectGrowth,
  type Suite,
  shows,
  WEATHER,
  WEATHER_ANSWERS,
} from "./react-chat-target.js";

const RESTART_MS = 180_000;

/** Between two tokens: slow enough for a busy machine to paint each, and to act before the answer is over. */
const UNHURRIED_MS = 100;

/** Defines the tests of one mode. */
export function describeEssentials({ it, threadStatus }: Suite): void {
  it("shows the answer growing token by token", async ({ open }) => {
    const chat = await open(UNHURRIED_MS);
    await chat.send("Count to 100");
    await chat.reaches("idle");

    const final = counted(100);
    expect(await chat.answers()).toEqual([final]);
    const seen = await chat.seen();
    expect(seen.length).toBeGreaterThan(20);
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
    const chat = await open(UNHURRIED_MS);
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
    await shows(chat, [kept, "So far you have said:\n1. “Count to 900”"]);
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

  it("shows a second tab the same answer while it grows, and the same end", async ({ open }) => {
    const first = await open(UNHURRIED_MS);
    await first.send("Count to 300");
    await first.saidWords(5);
    const second = await open(UNHURRIED_MS, { threadId: first.threadId() });
    await second.reaches("streaming");
    await second.pictures(6);
    await Promise.all([first.reaches("idle"), second.reaches("idle")]);

    const [answer = ""] = await first.answers();
    expect(answer).toBe(counted(300));
    expect(await second.answers()).toEqual([answer]);
    expectGrowth(await second.seen(), [answer]);
  });

  it("shows the agents that the agent hands its work to, what they say as they say it, and after a reload", async ({
    open,
  }) => {
    const chat = await open(300, { graph: "crew" });
    await chat.send("weaving");
    const agents = chat.get("subagent");
    const historian = agents.nth(0).getByTestId("subagent-messages");
    await historian.getByText("I have looked").waitFor();
    await agents.nth(1).getByText("critic").waitFor();
    const [half = ""] = await historian.locator(".text").allTextContents();
    await chat.reaches("idle");

    expect(await chat.answers()).toEqual(CREW_ANSWERS);
    expect(await agents.evaluateAll((cards) => cards.map(({ dataset }) => [dataset.name, dataset.done]))).toEqual([
      ["historian", "true"],
      ["critic", "true"],
    ]);
    await chat.page.reload();
    await chat.reaches("idle");
    await agents.nth(0).locator("summary").click();
    await historian.getByText("from somebody else.").waitFor();
    const [whole = ""] = await historian.locator(".text").allTextContents();
    expect(whole.startsWith(half)).toBe(true);
    expect(half.length).toBeLessThan(whole.length);
  });
}

/** For a gateway that can be killed. */
export function describeRestart({ it, mode, gateway }: Suite): void {
  const restart: NonNullable<ChatGateway["restart"]> = (meanwhile) => {
    const { restart: ofTarget } = gateway();
    if (ofTarget === undefined) throw new Error("this target cannot be restarted");
    return ofTarget(meanwhile);
  };

  async function expectWhole(chat: ChatPage): Promise<void> {
    await chat.page.getByText("89, 90.").waitFor({ timeout: RESTART_MS });
    await chat.reaches("idle");
    expect(await chat.answers()).toEqual([counted(90)]);
    expectGrowth(await chat.seen(), [counted(90)]);
    await chat.send("Count to 3");
    await shows(chat, [counted(90), counted(3)]);
  }

  it("goes on by itself when the gateway dies in mid-answer and comes back", { timeout: RESTART_MS }, async ({
    open,
  }) => {
    const chat = await open(UNHURRIED_MS);
    await chat.send("Count to 90");
    await chat.saidWords(30);
    await restart();

    await expectWhole(chat);
  });

  // The hook of event streaming waits longer than a test should.
  if (mode.hook !== "legacy") return;
  it("goes on by itself when the gateway comes back after the hook has lost patience", { timeout: RESTART_MS }, async ({
    open,
  }) => {
    const chat = await open(UNHURRIED_MS);
    await chat.send("Count to 90");
    await chat.saidWords(30);
    const joinsFromTheStart = chat.page.waitForRequest((request) => request.headers()["last-event-id"] === "-1", {
      timeout: RESTART_MS,
    });
    await restart(() => joinsFromTheStart);

    await expectWhole(chat);
  });
}

const CREW_ANSWERS = [
  "I will ask the historian and the critic about weaving.",
  "Both have reported. In short: it is old, it is hard, and we should go on with it.",
];
