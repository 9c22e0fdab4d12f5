/**
 * What the runs of a thread say, one after the other, as one stream of protocol events that goes on for as long as somebody
 * reads it.
 *
 * 1. Runs come in the order of their first claims; what happened is told first, then what happens, without a seam.
 * 2. Without `since` the newest run that has started is told from its beginning.
 * 3. What is kept nowhere any more is told by the state at the thread's head, and the run's row tells how it ended: never a
 *    silent gap, never an end that does not come.
 */
import type { Signals, StreamEvent } from "../bridge/bridge.js";
import { unfolded } from "../bridge/fold.js";
import { toJson } from "../core/json.js";
import { isInFlight, type Json, type Run, type ThreadState } from "../core/model.js";
import { newestStarted, type StartedRun, startedRuns } from "../runs/started-runs.js";
import type { RunTape } from "../runs/tape.js";
import type { Scoped } from "../storage/ports/page.js";
import type { RunStore } from "../storage/ports/runs.js";
import { claimNumber, claimOf, lastSeqOf, lastSeqOfClaim, type ProtocolEvent } from "./event.js";
import type { GraphLife } from "./lifecycle.js";
import { createProjection, type Projection } from "./projection.js";
import { createSharedProjections } from "./shared-projection.js";
import { protocolValues } from "./state-values.js";

export interface ThreadLogDeps {
  readonly runs: Pick<RunStore, "get" | "newestStarted" | "nextStarted" | "within">;
  readonly tape: RunTape;
  /** The state at the thread's head. */
  readonly headOf: (threadId: string) => Promise<ThreadState>;
  readonly signals: Signals;
}

export interface ReadOptions {
  readonly since?: number | undefined;
  readonly until?: number | undefined;
  readonly signal: AbortSignal;
}

/** One that is opened in a scope has no run of a thread that is not in it. */
export interface ThreadLog extends Scoped<ThreadLog> {
  /**
   * Batches of events with a greater `seq` than `since`. A thread that does not exist yet is waited for. Ends when the
   * signal aborts, and behind `until`, which is not waited for; throws `StreamBrokenError` when the gateway stops.
   */
  read(threadId: string, options: ReadOptions): AsyncGenerator<readonly ProtocolEvent[]>;
  /** The `seq` that everything said so far is at or below, and nothing that will be said. */
  end(threadId: string): Promise<number>;
  /** The graphs of a run as they are now, the root first. */
  tree(run: Run): Promise<readonly GraphLife[]>;
}

export function createThreadLog(deps: ThreadLogDeps): ThreadLog {
  return openThreadLog(deps, createSharedProjections());
}

function openThreadLog(deps: ThreadLogDeps, projectionFor: ReturnType<typeof createSharedProjections>): ThreadLog {
  const { runs, tape, headOf, signals } = deps;

  async function* read(
    threadId: string,
    { since, until, signal }: ReadOptions,
  ): AsyncGenerator<readonly ProtocolEvent[]> {
    const first = await newestStarted({ runs }, threadId, since === undefined ? undefined : claimOf(since));
    const after = first === undefined ? 0 : first.firstClaim - 1; // 2
    for await (const run of startedRuns({ runs, signals }, threadId, { after, signal })) {
      if (until !== undefined && (run === null || run.firstClaim > claimOf(until))) return;
      if (run === null) continue;
      for await (const batch of readRun(run, signal)) {
        const wanted = batch.filter(({ seq }) => seq > (since ?? -1) && seq <= (until ?? Number.POSITIVE_INFINITY));
        if (wanted.length > 0) yield wanted;
        if (until !== undefined && (batch.at(-1)?.seq ?? 0) >= until) return;
      }
    }
  }

  async function* readRun(run: StartedRun, signal: AbortSignal): AsyncGenerator<readonly ProtocolEvent[]> {
    const projection = projectionFor(run);
    let last: ProtocolEvent | undefined;
    let isBehindGap = false;
    for await (const batch of tape.read(run, { cursor: { from: "start" }, signal })) {
      isBehindGap = batch.kind === "gap";
      const events = batch.kind === "gap" ? await snapshot(run, last) : project(projection, batch.events);
      last = events.at(-1) ?? last;
      if (events.length > 0) yield events;
    }
    if (isBehindGap && !signal.aborted) yield* endOf(run, projection);
  }

  /** 3 */
  async function snapshot(run: StartedRun, last: ProtocolEvent | undefined): Promise<readonly ProtocolEvent[]> {
    const head = await headOf(run.threadId);
    const values = head.checkpoint === null ? undefined : protocolValues(toJson(head.values));
    if (values === undefined) return [];
    const seq = last?.seq ?? lastSeqOf(run.firstClaim, 0);
    const place = { seq, namespace: [], timestamp: run.updatedAt };
    const id = `${run.firstClaim}-gap-${seq}`;
    return [
      { ...place, id: `${id}.c`, method: "checkpoints", channel: "checkpoints", data: toJson(checkpointOf(head)) },
      { ...place, id, method: "values", channel: "values", data: values },
    ];
  }

  /** 3. Told as a log would end: there is nothing else to tell it from. */
  async function* endOf(run: StartedRun, projection: Projection): AsyncGenerator<readonly ProtocolEvent[]> {
    const row = await runs.get(run.threadId, run.runId);
    if (row === undefined || isInFlight(row.status)) return;
    const end =
      row.error === null
        ? { event: "end", data: toJson({ run_id: row.runId, status: row.status }) }
        : { event: "error", data: toJson(row.error) };
    const seq = lastSeqOfClaim(claimNumber(run.firstClaim, row));
    const entry = { ...end, id: { fence: row.fence, seq: Number.MAX_SAFE_INTEGER }, namespace: [], at: row.updatedAt };
    yield projection.push(entry).map((event) => ({ ...event, seq }));
  }

  return {
    read,
    within: (scope) => openThreadLog({ ...deps, runs: runs.within(scope) }, projectionFor),

    async end(threadId) {
      const run = await newestStarted({ runs }, threadId);
      if (run === undefined) return 0;
      const { last, isComplete } = await tape.end(run);
      if (isComplete) return lastSeqOfClaim(claimNumber(run.firstClaim, run));
      if (last === undefined) return lastSeqOfClaim(run.firstClaim - 1); // claimed, and silent until now
      return lastSeqOf(claimNumber(run.firstClaim, last), last.seq);
    },

    async tree(run) {
      const { firstClaim } = run;
      if (firstClaim === null) return [];
      const projection = createProjection({ ...run, firstClaim });
      const { last } = await tape.end(run);
      if (last === undefined) return projection.tree();
      const stop = new AbortController();
      for await (const batch of tape.read(run, { cursor: { from: "start" }, signal: stop.signal })) {
        if (batch.kind === "gap") continue;
        project(projection, batch.events);
        const { fence, seq } = batch.events.at(-1)?.id ?? last;
        if (fence > last.fence || (fence === last.fence && seq >= last.seq)) break;
      }
      stop.abort();
      return projection.tree();
    },
  };
}

function project(projection: Projection, entries: readonly StreamEvent[]): readonly ProtocolEvent[] {
  return entries.flatMap((entry) => unfolded(entry).flatMap((raw) => projection.push(raw)));
}

/** As the protocol's `checkpoints` channel tells it. */
function checkpointOf({ checkpoint, parentCheckpoint, metadata }: ThreadState): object {
  const id = idIn(checkpoint);
  const parentId = idIn(parentCheckpoint);
  return {
    ...(id === undefined ? {} : { id }),
    ...(parentId === undefined ? {} : { parent_id: parentId }),
    step: metadata.step ?? 0,
    source: metadata.source ?? "loop",
  };
}

function idIn(pointer: Json): string | undefined {
  const id =
    typeof pointer === "object" && pointer !== null && "checkpoint_id" in pointer ? pointer.checkpoint_id : null;
  return typeof id === "string" ? id : undefined;
}
