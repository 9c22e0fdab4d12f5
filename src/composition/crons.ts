/** Crons: those who make and change them, and the scheduler that fires them, which `server.ts` starts last and stops first. */

import type { Config } from "../config.js";
import type { RecallCaller } from "../core/caller.js";
import type { Log } from "../core/log.js";
import type { Metrics } from "../core/metrics.js";
import { createCronService } from "../crons/crons.js";
import { createCronScheduler } from "../crons/scheduler.js";
import type { AssistantServices } from "../graphs/assistants.js";
import { SqlCronStore } from "../storage/crons.js";
import type { RunLog } from "./run-log.js";
import type { Runs } from "./runs.js";
import type { Storage } from "./storage.js";
import type { Threads } from "./threads.js";

interface CronsDeps {
  readonly config: Config;
  readonly storage: Pick<Storage, "database" | "commits" | "clock">;
  readonly assistants: AssistantServices;
  readonly threadService: Threads["threadService"];
  readonly runs: Pick<Runs, "manager" | "requireWebhook">;
  /** Whoever made a cron is who its runs are started by. */
  readonly recall: RecallCaller;
  readonly signals: RunLog["signals"];
  readonly log: Log;
  readonly metrics: Metrics;
}

export type Crons = ReturnType<typeof openCrons>;

export function openCrons(deps: CronsDeps) {
  const { config, storage, assistants, threadService, runs, recall, signals, log, metrics } = deps;
  const { database, commits, clock } = storage;
  const { manager, requireWebhook } = runs;
  const crons = new SqlCronStore({ database, commits, clock });
  const cronService = createCronService({
    crons,
    findAssistant: (caller, idOrGraphId) => assistants.as(caller).requireForRun(idOrGraphId),
    requireThread: (caller, threadId) => threadService.as(caller).require(threadId),
    requireWebhook,
    signals,
    clock,
    options: { minIntervalMs: config.crons.minIntervalSeconds * 1_000, maxCrons: config.crons.maxPerGateway },
  });
  const cronScheduler = createCronScheduler({ crons, manager, recall, signals, clock, log, metrics });
  return { cronService, cronScheduler };
}
