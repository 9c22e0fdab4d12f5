/** Webhooks: sent from the outbox, to addresses elsewhere or to a path of the gateway itself. `server.ts` starts and stops it. */
import { webhookBody } from "../api/webhook-body.js";
import type { OwnRequests } from "../auth/own-requests.js";
import type { Config } from "../config.js";
import type { SystemClock } from "../core/clock.js";
import type { Log } from "../core/log.js";
import type { Metrics } from "../core/metrics.js";
import { SqlWebhookOutbox } from "../storage/webhook-outbox.js";
import { createPost } from "../webhooks/post.js";
import { createResolve } from "../webhooks/resolve.js";
import { createWebhookSender } from "../webhooks/sender.js";
import type { App } from "./app.js";
import type { RunLog } from "./run-log.js";
import type { Storage } from "./storage.js";
import { versions } from "./versions.js";

interface WebhooksDeps {
  readonly config: Config;
  readonly storage: Pick<Storage, "database" | "commits" | "clock">;
  readonly app: App;
  readonly ownRequests: OwnRequests;
  readonly signals: RunLog["signals"];
  readonly shownClock: SystemClock;
  readonly log: Log;
  readonly metrics: Metrics;
}

const TIMEOUT_MS = 10_000;

export function createWebhooks(deps: WebhooksDeps) {
  const { config, storage, app, ownRequests, signals, shownClock, log, metrics } = deps;
  const { database, commits, clock } = storage;
  const { headers, secret: secrets, url: urlPolicy } = config.webhooks;
  return createWebhookSender({
    outbox: new SqlWebhookOutbox({ database, commits, clock }),
    onEnqueued: (wake) => signals.on("webhooks", wake),
    post: createPost({
      resolve: createResolve(),
      own: async (request, user) => app.fetch(ownRequests.attribute(request, user)),
      clock,
      timeoutMs: TIMEOUT_MS,
      allowPrivate: urlPolicy.allowPrivate,
    }),
    render: webhookBody,
    policy: urlPolicy,
    headers: { "user-agent": `heddle/${versions().version}`, ...headers },
    secrets,
    clock,
    shownTime: () => shownClock.now(),
    random: Math.random,
    log,
    metrics,
  });
}
