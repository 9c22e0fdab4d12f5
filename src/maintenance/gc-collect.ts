/** Deletes and prunes what is expired, as a gateway's own sweeps do, whatever database it is in. */
import { setTimeout as wait } from "node:timers/promises";
import type { Config } from "../config.js";
import type { Clock } from "../core/clock.js";
import type { Log } from "../core/log.js";
import { createCommitGroup } from "../storage/commit-group.js";
import type { Database } from "../storage/database.js";
import { deleteGarbage } from "../storage/garbage.js";
import type { Checkpoints } from "../storage/ports/checkpoints.js";
import { SqlRunLedger } from "../storage/run-ledger.js";
import { SqlRunStore } from "../storage/runs.js";
import { SqlThreadStore } from "../storage/threads.js";
import { createDeletion } from "../threads/deletion.js";
import { createRetention } from "../threads/retention.js";
import { number } from "./gc-report.js";

export interface GcDeps {
  readonly config: Pick<Config, "dataDir" | "runLedger"> & {
    /** `url`: of PostgreSQL; null for the folder. */
    readonly database: Pick<Config["database"], "url">;
    readonly checkpointer: Pick<Config["checkpointer"], "url">;
  };
  readonly log: Log;
  readonly print: (line: string) => void;
}

interface CollectDeps extends Pick<GcDeps, "config" | "log"> {
  readonly database: Database;
  readonly checkpoints: Checkpoints;
  readonly clock: Clock;
  /** Whether no gateway uses the databases. */
  readonly isAlone: boolean;
}

const DAY_MS = 24 * 60 * 60_000;
/** After each batch: a gateway may write to the same tables. */
const PAUSE_MS = 50;

export const pause = (): Promise<void> => wait(PAUSE_MS);

export function ledgerMsOf({ runLedger }: Pick<GcDeps["config"], "runLedger">): number {
  return runLedger.retentionDays * DAY_MS;
}

/** Returns what went, in words. */
export async function collect(deps: CollectDeps): Promise<readonly string[]> {
  const { config, log, database, checkpoints, clock, isAlone } = deps;
  const commits = createCommitGroup(database);
  const stores = { database, commits, clock };
  const threads = new SqlThreadStore(stores);
  const finishDeletion = createDeletion({
    threads,
    runs: new SqlRunStore(stores),
    checkpoints,
    bridge: { drop: async () => {} }, // no logs in this process
  });
  let deleted = 0;
  let pruned = 0;
  // Beside a gateway, such a mark may be a deletion or a copy that it has under way.
  for (const threadId of isAlone ? await threads.listDeleting() : []) {
    await finishDeletion(threadId);
    deleted++;
  }
  const sweep = createRetention({ threads, checkpoints, finishDeletion, log }, { limit: Number.POSITIVE_INFINITY });
  for (let more = true; more; await pause()) {
    const swept = await sweep();
    deleted += swept.deleted;
    pruned += swept.pruned;
    more = swept.more;
  }
  const garbage = await deleteGarbage(
    { commits, ledger: new SqlRunLedger(stores) },
    { now: clock.now(), ledgerMs: ledgerMsOf(config), pause },
  );
  return [
    `deleted: ${number(deleted)} threads; pruned: ${number(pruned)} threads`,
    `deleted: ${garbage.map(({ what, count }) => `${number(count)} ${what}`).join(", ")}`,
  ];
}
