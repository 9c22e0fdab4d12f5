/** What a crash left is put right before anything is served: runs first, then the threads that they were on. */
import type { Log } from "../core/log.js";
import { takeBack } from "../runs/ending.js";
import type { Storage } from "./storage.js";
import type { Threads } from "./threads.js";

interface AftermathDeps {
  readonly storage: Pick<Storage, "runs" | "checkpoints">;
  readonly threads: Pick<Threads, "threadService" | "state">;
  readonly log: Log;
}

export async function putRight({ storage, threads, log }: AftermathDeps): Promise<void> {
  const { runs, checkpoints } = storage;
  for (const run of await runs.recoverOrphans())
    log.warn({ runId: run.runId, threadId: run.threadId }, "run recovered");
  for (const run of await runs.listRollingBack()) await takeBack({ runs, checkpoints }, run);
  await threads.threadService.finishDeletions();
  await threads.state.finishUpdates();
}
