/**
 * Signals that reach every process.
 *
 * 1. Who listens in the process that sends is woken at once, whatever becomes of Redis.
 * 2. A listener is woken now and then although nobody sent anything: what was sent to it may have been lost. Every second
 *    while Redis is away, else every ten; for a topic of the whole gateway, of which there are few, always every second.
 */
import type { Clock } from "../core/clock.js";
import type { Signals } from "./bridge.js";
import { createMemorySignals } from "./memory.js";
import type { RedisHints } from "./redis-hints.js";
import type { RedisLink } from "./redis-link.js";

export interface RedisSignalsDeps {
  readonly link: Pick<RedisLink, "session">;
  readonly hints: RedisHints;
  readonly clock: Clock;
}

export interface RedisSignals extends Signals {
  close(): void;
}

const POLL_MS = 1_000;
const POLLS_PER_ROUND = 10;
/** Woken in one turn of the event loop: each may ask the database. */
const WOKEN_AT_ONCE = 50;

export function createRedisSignals({ link, hints, clock }: RedisSignalsDeps): RedisSignals {
  const local = createMemorySignals();
  const stopHearing = hints.on(
    "topic",
    (topic) => local.send(topic),
    () => void wake(local.topics()),
  );
  let polls = 0;
  let forgetPoll = (): void => {};
  let isClosed = false;

  async function wake(topics: readonly string[]): Promise<void> {
    for (let index = 0; index < topics.length && !isClosed; index += WOKEN_AT_ONCE) {
      for (const topic of topics.slice(index, index + WOKEN_AT_ONCE)) local.send(topic);
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  function pollLater(): void {
    forgetPoll = clock.after(POLL_MS, () => {
      polls++;
      const isDue = (topic: string, index: number): boolean =>
        link.session === undefined || !topic.includes(":") || index % POLLS_PER_ROUND === polls % POLLS_PER_ROUND;
      void wake(local.topics().filter(isDue)).then(() => isClosed || pollLater()); // 2
    });
  }
  pollLater();

  return {
    send(topic) {
      local.send(topic); // 1
      hints.send("topic", topic);
    },
    on: (topic, listener) => local.on(topic, listener),
    close() {
      isClosed = true;
      forgetPoll();
      stopHearing();
    },
  };
}
