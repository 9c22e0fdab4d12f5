/** The sender with a clock and receivers of the test's own: what is tried when, what it says, and what becomes of it. */
import { Webhook } from "standardwebhooks";
import { describe, expect, it, onTestFinished } from "vitest";
import { webhookBody } from "../../src/api/webhook-body.js";
import { createMemorySignals } from "../../src/bridge/memory.js";
import { silentLog } from "../../src/core/log.js";
import { createMetrics } from "../../src/core/metrics.js";
import { SqlWebhookOutbox } from "../../src/storage/webhook-outbox.js";
import type { Message, Post, PostResult } from "../../src/webhooks/post.js";
import { nextTryAt } from "../../src/webhooks/retry-plan.js";
import { createWebhookSender, type WebhookSenderDeps } from "../../src/webhooks/sender.js";
import { settle } from "../support/run-kit.js";
import { admission, claim, leaseOf, openSqlStores, outcome, PAYLOAD } from "../support/sql-stores.js";

const SECRET = `whsec_${Buffer.alloc(32, 7).toString("base64")}`;
const OTHER_SECRET = `whsec_${Buffer.alloc(24, 9).toString("base64")}`;
const HOOK = "https://hooks.example/a";
const POLICY = {
  requireHttps: true,
  allowedDomains: [],
  allowedPorts: [],
  maxUrlLength: 4_096,
  disableLoopback: true,
  allowPrivate: false,
};
const FAILED: PostResult = { kind: "failed", reason: "answered with 500" };
const DELIVERED: PostResult = { kind: "delivered", status: 200 };

interface Try extends Message {
  readonly url: string;
  readonly at: number;
  answer(result: PostResult): Promise<void>;
}

async function open(options: Partial<WebhookSenderDeps> = {}) {
  const stores = await openSqlStores();
  const { clock, runs } = stores;
  const outbox = new SqlWebhookOutbox(stores);
  const signals = createMemorySignals();
  const metrics = createMetrics();
  const tries: Try[] = [];
  const post: Post = (target, message, stop) =>
    new Promise((resolve) => {
      stop.addEventListener("abort", () => resolve({ kind: "stopped" }));
      const url = target.kind === "own" ? target.path : target.url.href;
      const answer = async (result: PostResult): Promise<void> => {
        resolve(result);
        await settled();
      };
      tries.push({ ...message, url, at: clock.now(), answer });
    });
  const logged: { readonly message: string; readonly fields: Record<string, unknown> }[] = [];
  const note = (fields: object, message: string): void => void logged.push({ message, fields: { ...fields } });
  const sender = createWebhookSender({
    outbox,
    onEnqueued: (wake) => signals.on("webhooks", wake),
    post,
    render: webhookBody,
    policy: POLICY,
    headers: {},
    secrets: [SECRET],
    clock,
    shownTime: () => clock.now(),
    random: () => 0,
    log: Object.assign(Object.create(silentLog), { info: note, warn: note }) as WebhookSenderDeps["log"],
    metrics,
    ...options,
  });
  onTestFinished(() => stop());

  async function stop(): Promise<void> {
    let isStopped = false;
    const stopped = sender.stop().finally(() => {
      isStopped = true;
    });
    while (!isStopped) {
      await settle();
      clock.advance(2_000);
    }
    await stopped;
  }
  /** Ends a run with a webhook, and tells the sender. */
  async function end(runId: string, url = HOOK): Promise<void> {
    await runs.admit(admission({ runId, threadId: `t-${runId}`, payload: { ...PAYLOAD, webhook: url } }));
    await runs.finish(leaseOf(await claim(stores)), outcome());
    signals.send("webhooks");
    await settled();
  }
  async function pass(ms: number): Promise<void> {
    clock.advance(ms);
    await settled();
  }
  return {
    stores,
    clock,
    outbox,
    metrics,
    sender,
    tries,
    logged,
    stop,
    end,
    pass,
    /** Answers the newest try, and goes on to the next. */
    async answerAndWait(result: PostResult): Promise<void> {
      await tries.at(-1)?.answer(result);
      const dueAt = await outbox.nextDueAt([]);
      if (dueAt !== undefined) await pass(dueAt - clock.now());
    },
    waiting: () => outbox.nextDueAt([]),
  };
}

/** Several commits may follow each other. */
async function settled(): Promise<void> {
  for (let turn = 0; turn < 4; turn++) await settle();
}

const hostsOf = (tries: readonly Try[]) => tries.map(({ url }) => new URL(url).host);

describe("a webhook that nobody takes", () => {
  it("is tried eight times, further and further apart, and then given up, which is told", async () => {
    const kit = await open();
    await kit.sender.start();
    await kit.end("r1");
    for (let count = 0; count < 20; count++) await kit.answerAndWait(FAILED);
    const delays = kit.tries.slice(1).map(({ at }, index) => (at - (kit.tries[index]?.at ?? 0)) / 1_000);
    expect(delays).toEqual([5, 30, 300, 1_800, 7_200, 18_000, 43_200]);
    expect(await kit.waiting()).toBeUndefined();
    expect(kit.logged.at(-1)).toEqual({
      message: "webhook failed; it is not sent again",
      fields: { runId: "r1", threadId: "t-r1", host: "hooks.example", tries: 8, reason: "answered with 500" },
    });
    const counted = (await kit.metrics.webhookTries.get()).values.map(({ labels, value }) => [labels.outcome, value]);
    expect(Object.fromEntries(counted)).toEqual({ retried: 7, failed: 1 });
  });

  it("is given up within 24 hours, whatever chance adds", () => {
    let now = 0;
    let tries = 1;
    for (let at = nextTryAt(tries, { endedAt: 0, now, chance: 1 }); at !== null; tries++) {
      now = at + 10_000; // and each try takes as long as it may
      at = nextTryAt(tries + 1, { endedAt: 0, now, chance: 1 });
    }
    expect(tries).toBe(8);
    expect(now).toBeLessThan(24 * 3_600_000);
  });

  it("is tried once more when 24 hours are over, if its turn came late", () => {
    const HOUR = 3_600_000;
    expect(nextTryAt(7, { endedAt: 0, now: 13 * HOUR, chance: 0 })).toBe(24 * HOUR);
    expect(nextTryAt(7, { endedAt: 0, now: 24 * HOUR, chance: 0 })).toBeNull();
  });

  it("has a last try, and no other, when nobody could try it for a day", async () => {
    const kit = await open();
    await kit.end("r1");
    await kit.pass(2 * 24 * 3_600_000);
    await kit.sender.start();
    await settled();
    expect(kit.tries).toHaveLength(1);
    await kit.tries[0]?.answer(FAILED);
    expect(await kit.waiting()).toBeUndefined();
  });
});

describe("every try", () => {
  it("bears the same id, a time of its own, and a signature that receivers can verify", async () => {
    const kit = await open();
    await kit.sender.start();
    await kit.end("r1");
    await kit.answerAndWait(FAILED);
    await kit.answerAndWait(FAILED);
    expect(kit.tries).toHaveLength(3);
    expect(kit.tries.map(({ headers }) => headers["webhook-id"])).toEqual(["msg_r1", "msg_r1", "msg_r1"]);
    for (const { headers, body, at } of kit.tries) {
      expect(headers["webhook-timestamp"]).toBe(String(Math.floor(at / 1_000)));
      expect(verifies(SECRET, body, headers)).toMatchObject({ run_id: "r1", status: "success" });
      expect(() => verifies(OTHER_SECRET, body, headers)).toThrow();
      expect(() => verifies(SECRET, `${body} `, headers)).toThrow();
    }
    const [first, second] = kit.tries.map(({ body }) => JSON.parse(body) as Record<string, unknown>);
    expect(second).toEqual({ ...first, webhook_sent_at: new Date(kit.tries[1]?.at ?? 0).toISOString() });
  });

  it("is signed with each of several secrets", async () => {
    const kit = await open({ secrets: [SECRET, OTHER_SECRET] });
    await kit.sender.start();
    await kit.end("r1");
    const [{ body, headers } = { body: "", headers: {} }] = kit.tries;
    expect(verifies(SECRET, body, headers)).toEqual(verifies(OTHER_SECRET, body, headers));
  });

  it("is not signed without a secret, and still has its id and time", async () => {
    const kit = await open({ secrets: [] });
    await kit.sender.start();
    await kit.end("r1");
    expect(Object.keys(kit.tries[0]?.headers ?? {}).sort()).toEqual([
      "content-type",
      "webhook-id",
      "webhook-timestamp",
    ]);
  });

  it("tells the time that others have, not that of a clock that does not go back", async () => {
    const kit = await open({ shownTime: () => 1_000_000 });
    await kit.sender.start();
    await kit.end("r1");
    expect(kit.tries[0]?.headers["webhook-timestamp"]).toBe("1000");
  });

  it("has the configured headers", async () => {
    const kit = await open({ headers: { "user-agent": "heddle/1", "x-token": "t" } });
    await kit.sender.start();
    await kit.end("r1");
    expect(kit.tries[0]?.headers).toMatchObject({ "user-agent": "heddle/1", "x-token": "t" });
  });
});

describe("a webhook that is taken", () => {
  it("is not sent again, and nothing of it is kept", async () => {
    const kit = await open();
    await kit.sender.start();
    await kit.end("r1");
    await kit.answerAndWait(FAILED);
    await kit.answerAndWait(DELIVERED);
    expect(await kit.waiting()).toBeUndefined();
    expect(kit.tries).toHaveLength(2);
    expect(kit.logged.at(-1)).toMatchObject({ message: "webhook delivered", fields: { tries: 2 } });
  });
});

describe("a webhook that may not be sent", () => {
  it("is given up at once when its host turns out to lead inside", async () => {
    const kit = await open();
    await kit.sender.start();
    await kit.end("r1");
    await kit.tries[0]?.answer({ kind: "refused", reason: "10.0.0.1 is not a public address (private)" });
    expect(await kit.waiting()).toBeUndefined();
    expect(kit.logged.at(-1)).toMatchObject({ message: "webhook refused; it is not sent again" });
  });

  it("is given up without a try when the rules have changed since", async () => {
    const kit = await open({ policy: { ...POLICY, allowedDomains: ["elsewhere.example"] } });
    await kit.sender.start();
    await kit.end("r1");
    expect(kit.tries).toEqual([]);
    expect(await kit.waiting()).toBeUndefined();
    expect(kit.logged.at(-1)?.fields).toMatchObject({ reason: expect.stringContaining("allowed_domains") });
  });
});

describe("a host that does not answer", () => {
  it("is sent four at a time, and does not keep others waiting", async () => {
    const kit = await open();
    for (let run = 0; run < 30; run++) await kit.end(`dead${run}`, "https://dead.example/");
    await kit.end("r1", "https://alive.example/");
    await kit.sender.start();
    await settled();
    expect(hostsOf(kit.tries)).toEqual([...Array(4).fill("dead.example"), "alive.example"]);
    await kit.tries[4]?.answer(DELIVERED);
    await kit.end("r2", "https://alive.example/");
    expect(hostsOf(kit.tries).slice(5)).toEqual(["alive.example"]);
  });

  it("is sent one at a time while its last try failed, and four again after a good one", async () => {
    const kit = await open();
    for (let run = 0; run < 30; run++) await kit.end(`r${run}`);
    await kit.sender.start();
    await settled();
    expect(kit.tries).toHaveLength(4);
    for (const each of kit.tries.slice(0, 4)) await each.answer(FAILED);
    expect(kit.tries).toHaveLength(5);
    await kit.tries[4]?.answer(FAILED);
    expect(kit.tries).toHaveLength(6);
    await kit.tries[5]?.answer(DELIVERED);
    expect(kit.tries).toHaveLength(10);
  });

  it("leaves room for others however many hosts there are", async () => {
    const kit = await open();
    for (let run = 0; run < 40; run++) await kit.end(`r${run}`, `https://h${run}.example/`);
    await kit.sender.start();
    await settled();
    expect(kit.tries).toHaveLength(16);
    await kit.tries[0]?.answer(DELIVERED);
    expect(kit.tries).toHaveLength(17);
  });
});

describe("a stop", () => {
  it("waits for answers that come soon", async () => {
    const kit = await open();
    await kit.sender.start();
    await kit.end("r1");
    const stopped = kit.sender.stop();
    await kit.tries[0]?.answer(DELIVERED);
    await stopped;
    expect(await kit.waiting()).toBeUndefined();
  });

  it("cuts off what does not, which was no try then, and sends nothing more", async () => {
    const kit = await open();
    await kit.sender.start();
    await kit.end("r1");
    await kit.stop();
    await kit.end("r2");
    expect(kit.tries).toHaveLength(1);
    const again = await kit.outbox.claim(30_000, { limit: 9, roomOf: () => 9 });
    expect(again.map(({ ended, tries }) => [ended.run.runId, tries])).toEqual([
      ["r1", 1],
      ["r2", 1],
    ]);
  });
});

describe("a process that dies while it sends", () => {
  it("leaves a webhook that the next one sends with the same id, one try less to go", async () => {
    const kit = await open();
    await kit.end("r1");
    const [held] = await kit.outbox.claim(30_000, { limit: 1, roomOf: () => 1 });
    expect(held?.tries).toBe(1);
    await kit.sender.start();
    await settled();
    expect(kit.tries).toEqual([]);
    await kit.pass(30_000);
    expect(kit.tries.map(({ headers }) => headers["webhook-id"])).toEqual(["msg_r1"]);
    await kit.answerAndWait(FAILED);
    expect(kit.tries.at(-1)?.at).toBe((kit.tries[0]?.at ?? 0) + 30_000);
  });
});

describe("an outbox that cannot be written", () => {
  it("makes the sender try again, and loses nothing", async () => {
    const kit = await open();
    const broken = new Error("disk full");
    const claimOf = kit.outbox.claim.bind(kit.outbox);
    let failures = 2;
    kit.outbox.claim = (...args) => (failures-- > 0 ? Promise.reject(broken) : claimOf(...args));
    await kit.end("r1");
    await kit.sender.start();
    await settled();
    await kit.pass(1_000);
    expect(kit.tries).toEqual([]);
    await kit.pass(1_000);
    expect(kit.tries).toHaveLength(1);
    const removeOf = kit.outbox.remove.bind(kit.outbox);
    kit.outbox.remove = () => Promise.reject(broken);
    await kit.tries[0]?.answer(DELIVERED);
    kit.outbox.remove = removeOf;
    await kit.pass(30_000); // nobody knows that it was taken: it comes once more
    expect(kit.tries.map(({ headers }) => headers["webhook-id"])).toEqual(["msg_r1", "msg_r1"]);
  });
});

function verifies(secret: string, body: string, headers: Readonly<Record<string, string>>): unknown {
  const sentAt = Number(headers["webhook-timestamp"]) * 1_000;
  const now = Date.now;
  Date.now = () => sentAt; // the package compares with the time of the machine
  try {
    return new Webhook(secret).verify(body, headers);
  } finally {
    Date.now = now;
  }
}
