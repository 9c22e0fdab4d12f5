/**
 * T12: a receiver that mostly fails. Runs go through the worker, their webhooks through real connections; only the clock is
 * the test's own, so that hours of back-off take no time. It stands still while runs execute: nothing that a receiver
 * keeps waiting can be what a run waits for.
 */
import { channel } from "node:diagnostics_channel";
import { Webhook } from "standardwebhooks";
import { expect, it } from "vitest";
import { webhookBody } from "../../src/api/webhook-body.js";
import { SqlWebhookOutbox } from "../../src/storage/webhook-outbox.js";
import { createPost, type Post } from "../../src/webhooks/post.js";
import { createWebhookSender } from "../../src/webhooks/sender.js";
import { createRandom } from "../support/random.js";
import { openRunKit, settle } from "../support/run-kit.js";
import { runRequest } from "../support/run-request.js";
import { report, scaled } from "../support/scale.js";
import { projection } from "../support/sql-stores.js";
import { type Reaction, type ReceivedWebhook, startReceiver } from "../support/webhook-receiver.js";

const RUNS = scaled({ quick: 100, full: 1_000 });
const SECRET = `whsec_${Buffer.alloc(32, 7).toString("base64")}`;
const TIMEOUT_MS = 10_000;

/** Of ten tries three are answered with 500, two never, one is cut off, one is sent elsewhere. */
const REACTIONS = [
  ...(["error", "error", "error", "hang", "hang", "reset", "redirect"] as const),
  ...(["ok", "ok", "ok"] as const),
] as const;
/** By chance one in twenty webhooks would have eight bad tries, after which it may be given up. */
const MAX_BAD_TRIES = 7;

it(`${RUNS} runs are told to a hostile receiver, each at least once, and nobody else is called`, {
  timeout: 600_000,
}, async () => {
  const random = createRandom(12);
  const heard = new Map<string, { count: number; reaction: Reaction }>();
  const trap = await startReceiver();
  const receiver = await startReceiver({
    elsewhere: trap.url,
    react({ headers }) {
      const id = String(headers["webhook-id"]);
      const count = (heard.get(id)?.count ?? 0) + 1;
      const reaction = count > MAX_BAD_TRIES ? "ok" : random.pick(REACTIONS);
      heard.set(id, { count, reaction });
      return reaction;
    },
  });
  const sockets: unknown[] = [];
  const onSocket = (message: unknown): void => void sockets.push(message);
  channel("net.client.socket").subscribe(onSocket);

  const kit = await openRunKit({ concurrency: 10 });
  const { clock, host, manager, metrics, signals, log } = kit;
  const outbox = new SqlWebhookOutbox(kit);
  /** By id, the tries that are under way: which one of its webhook's it is. */
  const open = new Map<string, number>();
  const begun = new Map<string, number>();
  const realPost = createPost({
    resolve: async () => [],
    own: async () => new Response(null),
    clock,
    timeoutMs: TIMEOUT_MS,
    allowPrivate: true,
  });
  const post: Post = async (target, message, stop) => {
    const id = message.headers["webhook-id"] ?? "";
    const count = (begun.get(id) ?? 0) + 1;
    begun.set(id, count);
    open.set(id, count);
    try {
      return await realPost(target, message, stop);
    } finally {
      open.delete(id);
    }
  };
  const startSender = async () => {
    const url = {
      requireHttps: false,
      allowedDomains: [],
      allowedPorts: [],
      maxUrlLength: 99,
      disableLoopback: true,
      allowPrivate: true,
    };
    const sender = createWebhookSender({
      outbox,
      onEnqueued: (wake) => signals.on("webhooks", wake),
      post,
      render: webhookBody,
      policy: url,
      headers: {},
      secrets: [SECRET],
      clock,
      shownTime: () => clock.now(),
      random: () => random.next(),
      log,
      metrics,
    });
    await sender.start();
    return sender;
  };
  /** Whether nothing but time can end what is under way. */
  const onlyHanging = (): boolean =>
    [...open].every(([id, count]) => heard.get(id)?.count === count && heard.get(id)?.reaction === "hang");
  const allDelivered = async (): Promise<void> => {
    for (;;) {
      await settled();
      if (open.size > 0) {
        if (onlyHanging()) clock.advance(TIMEOUT_MS);
        continue;
      }
      const dueAt = await outbox.nextDueAt([]);
      if (open.size > 0) continue;
      if (dueAt === undefined) return;
      if (dueAt > clock.now()) clock.advance(dueAt - clock.now());
    }
  };

  // Runs, half of them on threads that go with them.
  let sender = await startSender();
  kit.worker.start();
  const startedAt = clock.now();
  const executed = (async () => {
    for (let run = 0; run < RUNS; run++) {
      const { request, end } = await host.next();
      end({ kind: "finished", projection: projection({ valuesJson: JSON.stringify({ of: request.runId }) }) });
    }
  })();
  const runIds: string[] = [];
  for (let run = 0; run < RUNS; run++) {
    const threadId = run % 2 === 0 ? null : `thread-${run}`;
    const request = runRequest({ webhook: receiver.url, ifNotExists: "create" });
    runIds.push((await manager.create(threadId, request)).runId);
  }
  await executed;
  await Promise.all(runIds.map((runId) => manager.ended(runId, new AbortController().signal)));
  expect(clock.now()).toBe(startedAt); // no run waited for a receiver, of which some hang by now
  expect(receiver.received.filter(({ reaction }) => reaction === "hang").length).toBeGreaterThan(0);

  // A restart in the middle: what was being sent is cut off.
  let isStopped = false;
  const stopped = sender.stop().finally(() => {
    isStopped = true;
  });
  while (!isStopped) {
    await settled();
    clock.advance(2_000);
  }
  await stopped;
  sender = await startSender();
  await allDelivered();
  await sender.stop();
  channel("net.client.socket").unsubscribe(onSocket);

  const byRun = new Map<string, ReceivedWebhook[]>();
  for (const webhook of receiver.received) {
    const body = verified(webhook) as { run_id: string; values: object; status: string };
    expect(body).toMatchObject({ status: "success", values: { of: body.run_id } });
    expect(webhook.headers["webhook-id"]).toBe(`msg_${body.run_id}`);
    byRun.set(body.run_id, [...(byRun.get(body.run_id) ?? []), webhook]);
  }
  expect([...byRun.keys()].sort()).toEqual([...runIds].sort());
  const good = [...byRun.values()].map((tries) => tries.filter(({ reaction }) => reaction === "ok").length);
  expect(good.filter((count) => count === 0)).toEqual([]);
  expect(trap.connections()).toBe(0);
  expect(sockets).toHaveLength(receiver.connections());
  const outcomes = (await metrics.webhookTries.get()).values.map(({ labels, value }) => [labels.outcome, value]);
  expect(Object.fromEntries(outcomes)).toMatchObject({ delivered: RUNS });

  await receiver.stop();
  await trap.stop();
  const reactions = receiver.received.map(({ reaction }) => reaction);
  report("T12 webhooks", {
    runs: RUNS,
    tries: reactions.length,
    ...Object.fromEntries(
      [...new Set(reactions)].map((each) => [each, reactions.filter((other) => other === each).length]),
    ),
    delivered: good.length,
    repeated: good.filter((count) => count > 1).length,
    "internal connections": trap.connections(),
  });
});

/** Several commits may follow each other. */
async function settled(): Promise<void> {
  for (let turn = 0; turn < 3; turn++) await settle();
}

/** What the receiver would take. The clock of the test is years ahead of the machine's. */
function verified({ body, headers }: ReceivedWebhook): unknown {
  const now = Date.now;
  Date.now = () => Number(headers["webhook-timestamp"]) * 1_000;
  try {
    return new Webhook(SECRET).verify(body, headers as Record<string, string>);
  } finally {
    Date.now = now;
  }
}
