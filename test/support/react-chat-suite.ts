/**
 * What a person does on the react-chat page, against whatever gateway it is pointed at, in each of the page's modes.
 *
 * The gateway must serve the graphs of `example-agent.ts` and keep the words of a stopped answer
 * (`runs.keep_partial_on_cancel`). Nothing here knows whether a proxy stands between.
 */
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, beforeEach, describe, type TestAPI, test } from "vitest";
import { CHROMIUM, CHROMIUM_MISSING, launchBrowser, type ServedPage, serveReactChat } from "./browser.js";
import { type ChatMode, type ChatPage, newProfile, openChat } from "./chat-page.js";
import { describeEssentials, describeRestart } from "./react-chat-essentials.js";
import { describeEventStreaming } from "./react-chat-events.js";
import type { ChatGateway, Suite } from "./react-chat-target.js";
import { describeThreads } from "./react-chat-threads.js";

export interface ReactChatTarget {
  /** Called once, before the first test. */
  start(): Promise<ChatGateway>;
  /** Whether what `start` starts can be killed and started again. */
  readonly restarts?: true;
  /** What this target needs and the machine lacks; the suite is then skipped, on CI it fails. */
  readonly missing?: string | undefined;
  /** `essentials` leaves out what another target or another transport proves as well. */
  readonly modes: readonly (ChatMode & { readonly scope: "all" | "essentials" })[];
}

type Fixtures = Suite["it"] extends TestAPI<infer F> ? F : never;

/** Defines the suite for one target. */
export function describeReactChat(name: string, target: ReactChatTarget): void {
  const missing = CHROMIUM === undefined ? CHROMIUM_MISSING : target.missing;

  describe(name, () => {
    let gateway: ChatGateway;
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

    async function threadStatus(chat: ChatPage): Promise<unknown> {
      const response = await fetch(`${gateway.apiUrl}/threads/${chat.threadId()}`);
      return ((await response.json()) as { status?: unknown }).status;
    }

    for (const { scope, ...mode } of target.modes) {
      const it = test.extend<Fixtures>({
        // biome-ignore lint/correctness/noEmptyPattern: vitest reads the dependencies of a fixture from its pattern
        open: async ({}, use) => {
          const profile = await newProfile(browser);
          await use((tokenDelayMs, address) =>
            openChat(profile, { pageUrl: served.url, apiUrl: gateway.apiUrl, tokenDelayMs, ...mode, ...address }),
          );
          await profile.close();
        },
      });
      const suite: Suite = { it, mode, gateway: () => gateway, threadStatus };

      const title = `on the ${mode.hook} hook over ${mode.transport}`;
      // What a page waits for is mostly time: the graph speaks slowly.
      describe(title, { concurrent: true }, () => {
        describeEssentials(suite);
        if (scope === "all") describeThreads(suite);
        if (mode.hook === "event-streaming") describeEventStreaming(suite);
      });
      if (target.restarts === true) describe(title, () => describeRestart(suite)); // nobody else is there then
    }
  });
}
