/** What the react-chat page shows on the hook that speaks event streaming, and the legacy hook does not. */
import { expect } from "vitest";
import type { ChatPage } from "./chat-page.js";
import { counted, expectGrowth, type Suite } from "./react-chat-target.js";

/** Defines the tests of one mode. */
export function describeEventStreaming({ it, mode, gateway, threadStatus }: Suite): void {
  /** As curl would. */
  async function startByRest(chat: ChatPage, text: string): Promise<void> {
    const response = await fetch(`${gateway().apiUrl}/threads/${chat.threadId()}/runs`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({
        assistant_id: "agent",
        input: { messages: [{ role: "user", content: text }] },
        config: { configurable: { token_delay_ms: 100 } },
      }),
    });
    expect(response.status).toBe(200);
  }

  it("shows a run that REST started, token by token, and stops it", async ({ open }) => {
    const chat = await open(0);
    await chat.send("Count to 3");
    await chat.reaches("idle");
    await startByRest(chat, "Count to 40");
    await chat.reaches("streaming");
    await chat.page.getByText("39, 40.").waitFor();
    await chat.reaches("idle");

    expect(await chat.said()).toEqual(["Count to 3", "Count to 40"]);
    expect(await chat.answers()).toEqual([counted(3), counted(40)]);
    const seen = (await chat.seen()).filter((answers) => answers.length === 2);
    expect(seen.length).toBeGreaterThan(10);
    expectGrowth(seen, [counted(3), counted(40)]);

    await startByRest(chat, "Count to 900");
    await chat.page.getByText("1, 2, 3, 4, 5, 6, 7,").nth(1).waitFor();
    await chat.get("stop").click();
    await chat.reaches("idle");
    expect(await threadStatus(chat)).toBe("idle");
    expect((await chat.answers())[2]).toMatch(/^1, 2, 3, 4, 5, 6, 7,/);
  });

  it("shows the graphs inside a graph, and what the innermost says as it says it", async ({ open }) => {
    const chat = await open(200, { graph: "subgraphs" });
    await chat.send("looms");
    const writer = chat.get("subgraph-messages").nth(1);
    await writer.getByText("Three lines").waitFor();
    expect(await writer.textContent()).not.toContain("not one of them lost.");
    await chat.reaches("idle");

    const graphs = chat.get("subgraph");
    expect(await graphs.evaluateAll((cards) => cards.map(({ dataset }) => [dataset.name, dataset.done]))).toEqual([
      ["team", "true"],
      ["writer", "true"],
    ]);
    expect((await chat.answers()).at(-1)).toMatch(/^Three lines about looms:.*not one of them lost\.$/s);
  });

  it("keeps what is said meanwhile, until it is sent or taken back", async ({ open }) => {
    const chat = await open(60);
    await chat.send("Count to 200");
    for (const text of ["Count to 5", "Count to 6"]) {
      await chat.get("composer-input").fill(text);
      await chat.get("send").click();
    }
    await chat.get("queued").nth(1).waitFor();
    await chat.get("cancel-queued").nth(1).click();
    await chat.page.getByText("1, 2, 3, 4, 5.", { exact: true }).waitFor();
    await chat.reaches("idle");

    expect(await chat.get("queued").count()).toBe(0);
    expect(await chat.answers()).toEqual([counted(200), counted(5)]);
  });

  // Over a WebSocket the answer itself needs the stream.
  if (mode.transport === "sse") {
    it("takes the answer to what a reloaded thread asks before its stream has begun", async ({ open }) => {
      const chat = await open(0);
      await chat.send("Delete the old drafts");
      await chat.reaches("asking");
      let letGo: () => void = () => undefined;
      const isLetGo = new Promise<void>((resolve) => {
        letGo = resolve;
      });
      await chat.page.route("**/stream/events", async (route) => {
        await isLetGo;
        await route.continue();
      });
      await chat.page.reload();
      await chat.reaches("asking");
      const answered = chat.page.waitForResponse("**/commands");
      await chat.get("reject").click();
      expect((await answered).status()).toBe(200);
      letGo();
      await chat.reaches("idle");

      expect((await chat.answers()).at(-1)).toMatch(/^Understood, I have not deleted the old drafts/);
      expect(await threadStatus(chat)).toBe("idle");
    });

    it("says that an answer did not arrive, and takes it once more", async ({ open }) => {
      const chat = await open(0);
      await chat.send("Delete the old drafts");
      await chat.reaches("asking");
      await chat.page.route("**/commands", (route) => route.fulfill({ status: 503, json: { detail: "too busy" } }));
      await chat.get("reject").click();
      await chat.get("error").getByText("too busy").waitFor();
      await chat.reaches("asking");
      await chat.page.unroute("**/commands");
      await chat.get("reject").click();
      await chat.reaches("idle");

      expect((await chat.answers()).at(-1)).toMatch(/^Understood, I have not deleted the old drafts/);
      expect(await chat.get("error").count()).toBe(0);
    });
  }
}
