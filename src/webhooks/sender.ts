/**
 * Sends what the outbox holds until it was received or given up.
 *
 * 1. At least once: a webhook leaves the outbox after a 2xx, after its last try, or when it may not be sent at all. Every
 *    try bears the same id, by which receivers know what they have had.
 * 2. Runs never wait for it: what it does begins with a row that a run left.
 * 3. Receivers do not wait for each other: of each host a few are sent at a time, and only one while its last try failed.
 * 4. A try that the stop cuts off did not happen: the next start makes it again.
 */
import type { Clock } from "../core/clock.js";
import type { Log } from "../core/log.js";
import type { Metrics } from "../core/metrics.js";
import type { WebhookDelivery, WebhookOutbox } from "../storage/ports/webhooks.js";
import type { Post, PostResult } from "./post.js";
import { nextTryAt } from "./retry-plan.js";
import { signatureHeaders } from "./signature.js";
import { targetOf, type UrlPolicy } from "./url-policy.js";

export interface WebhookSenderDeps {
  readonly outbox: WebhookOutbox;
  /** Calls back after a row was written. A hint: a row that nobody tells of is sent with the next. */
  readonly onEnqueued: (wake: () => void) => () => void;
  readonly post: Post;
  /** The JSON that is sent. */
  readonly render: (delivery: WebhookDelivery, sentAt: number) => string;
  readonly policy: UrlPolicy;
  /** Of every webhook, besides those of the message. */
  readonly headers: Readonly<Record<string, string>>;
  readonly secrets: readonly string[];
  readonly clock: Clock;
  /** What others take for the time: receivers refuse signatures whose time is not theirs. */
  readonly shownTime: () => number;
  /** From 0 to 1. */
  readonly random: () => number;
  readonly log: Log;
  readonly metrics: Pick<Metrics, "webhookTries">;
}

export interface WebhookSender {
  start(): Promise<void>;
  /** Sends nothing more; what is being sent has a moment to be answered. Resolves when nothing is being sent. */
  stop(): Promise<void>;
}

/** Sent at the same time, over all and to one host. */
const MAX_SENDING = 16;
const MAX_SENDING_TO_HOST = 4;

/** Longer than a try may take. */
const LEASE_MS = 30_000;
const CLAIM_AGAIN_MS = 1_000;
const STOP_GRACE_MS = 2_000;

/** A try that is under way. */
interface Sending {
  readonly host: string;
  readonly cut: AbortController;
  readonly done: Promise<void>;
}

/** What became of a try, as metrics count it. */
type TryOutcome = "delivered" | "retried" | "failed" | "refused" | "stopped";

export function createWebhookSender(deps: WebhookSenderDeps): WebhookSender {
  const { outbox, clock, log } = deps;
  const sending = new Set<Sending>();
  const failing = new Set<string>();
  let stopListening = (): void => {};
  let forgetTimer = (): void => {};
  let isWorking = false;
  let claiming: Promise<void> | undefined;
  let claimAgain = false;

  /** One claim loop at a time; a wake-up during it makes it look once more. */
  function wake(): void {
    claimAgain = true;
    claiming ??= claimAll()
      .catch((error: unknown) => {
        log.error({ err: error }, "claiming webhooks failed; trying again");
        wakeAfter(CLAIM_AGAIN_MS);
      })
      .finally(() => {
        claiming = undefined;
        if (isWorking && claimAgain) wake();
      });
  }

  function wakeAfter(delayMs: number): void {
    forgetTimer();
    if (isWorking) forgetTimer = clock.after(delayMs, wake);
  }

  function sendingTo(host: string): number {
    return [...sending].filter((each) => each.host === host).length;
  }

  /** 3 */
  function roomOf(host: string): number {
    return (failing.has(host) ? 1 : MAX_SENDING_TO_HOST) - sendingTo(host);
  }

  async function claimAll(): Promise<void> {
    while (isWorking && sending.size < MAX_SENDING) {
      claimAgain = false;
      const claimed = await outbox.claim(LEASE_MS, { limit: MAX_SENDING - sending.size, roomOf });
      for (const delivery of claimed) begin(delivery);
      if (claimAgain) continue;
      // What is full wakes this up by itself.
      const full = [...new Set([...sending].map(({ host }) => host))].filter((host) => roomOf(host) <= 0);
      const dueAt = await outbox.nextDueAt(full);
      if (dueAt === undefined) return;
      if (dueAt > clock.now()) return wakeAfter(dueAt - clock.now());
      // It fell due between the two questions, or there is more than was asked for.
    }
    claimAgain = false; // the next one that ends looks again
  }

  function begin(delivery: WebhookDelivery): void {
    const cut = new AbortController();
    const done = attend(delivery, cut.signal)
      .catch((error: unknown) => {
        const { runId } = delivery.ended.run;
        log.error({ err: error, runId }, "what became of a webhook could not be written down; it is sent again");
      })
      .finally(() => {
        sending.delete(attempt);
        if (isWorking) wake();
      });
    const attempt: Sending = { host: delivery.host, cut, done };
    sending.add(attempt);
  }

  async function attend(delivery: WebhookDelivery, cut: AbortSignal): Promise<void> {
    const result = await send(delivery, cut);
    if (result.kind === "failed") failing.add(delivery.host);
    const { outcome, isHeld } = await settle(delivery, result);
    const isDone = outcome !== "retried" && outcome !== "stopped";
    if (isDone) failing.delete(delivery.host); // it holds no host that nothing waits for
    deps.metrics.webhookTries.inc({ outcome });
    const { run } = delivery.ended;
    const ids = { runId: run.runId, threadId: run.threadId, host: delivery.host, tries: delivery.tries };
    const details = { ...ids, ...("reason" in result ? { reason: result.reason } : {}) };
    if (!isHeld) log.info(ids, "a webhook was dropped while it was being sent");
    else if (outcome === "delivered") log.info(ids, "webhook delivered");
    else if (outcome === "retried") log.info(details, "webhook not delivered; it is sent again");
    else if (outcome !== "stopped") log.warn(details, `webhook ${outcome}; it is not sent again`);
  }

  async function send(delivery: WebhookDelivery, cut: AbortSignal): Promise<PostResult> {
    let target: ReturnType<typeof targetOf>;
    try {
      target = targetOf(delivery.url, deps.policy);
    } catch (error) {
      return { kind: "refused", reason: (error as Error).message }; // it throws GatewayErrors
    }
    const sentAt = deps.shownTime();
    const body = deps.render(delivery, sentAt);
    const id = `msg_${delivery.ended.run.runId}`; // 1: a run ends once
    const signature = signatureHeaders({ id, sentAt, body }, deps.secrets);
    const headers = { ...deps.headers, "content-type": "application/json", ...signature };
    return deps.post(target, { headers, body, user: delivery.ended.run.payload.user ?? null }, cut);
  }

  /** What the row becomes. */
  async function settle(
    delivery: WebhookDelivery,
    result: PostResult,
  ): Promise<{ readonly outcome: TryOutcome; readonly isHeld: boolean }> {
    switch (result.kind) {
      case "stopped":
        return { outcome: "stopped", isHeld: await outbox.release(delivery) }; // 4
      case "delivered":
      case "refused":
        return { outcome: result.kind, isHeld: await outbox.remove(delivery) };
      case "failed": {
        const { endedAt } = delivery.ended;
        const at = nextTryAt(delivery.tries, { endedAt, now: clock.now(), chance: deps.random() });
        if (at === null) return { outcome: "failed", isHeld: await outbox.remove(delivery) };
        return { outcome: "retried", isHeld: await outbox.retryAt(delivery, at) };
      }
    }
  }

  return {
    async start() {
      await outbox.rebase();
      isWorking = true;
      stopListening = deps.onEnqueued(wake);
      wake();
    },

    async stop() {
      isWorking = false;
      stopListening();
      forgetTimer();
      await claiming;
      const forgetGrace = clock.after(STOP_GRACE_MS, () => {
        for (const { cut } of sending) cut.abort();
      });
      await Promise.all([...sending].map(({ done }) => done));
      forgetGrace();
    },
  };
}
