/** What the audit of a run's transitions shows: R1, R3, R4, R7, R8, R13, R18. */

import { isInFlight, type RunStatus } from "../../src/core/model.js";
import type { AuditRow } from "./history-data.js";
import { type EventPlace, placeOf } from "./history-streams.js";
import type { Finder, HistoryView } from "./history-view.js";
import { isTerminal } from "./history-view.js";

/** R1 */
export const runsOverlap: Finder = function* ({ audit }) {
  const running = new Map<string, Set<string>>();
  for (const { seq, threadId, runId, newStatus } of audit) {
    const ofThread = running.get(threadId) ?? new Set();
    running.set(threadId, ofThread);
    if (newStatus !== "running") ofThread.delete(runId);
    else if (!ofThread.has(runId)) {
      ofThread.add(runId);
      if (ofThread.size > 1) yield `thread ${threadId}: ${[...ofThread].join(" and ")} run at once (audit ${seq})`;
    }
  }
};

/** R1, in what is left */
export const runsOverlapInDump: Finder = function* ({ dump }) {
  const running = new Map<string, string>();
  for (const { threadId, runId, status } of dump.runs) {
    if (status !== "running") continue;
    const other = running.get(threadId);
    if (other !== undefined) yield `thread ${threadId}: ${other} and ${runId} are both running in the dump`;
    running.set(threadId, runId);
  }
};

/** R3: one end, and every step begins where the one before ended. */
export const endsTwice: Finder = function* ({ timelines, runs }) {
  for (const [runId, rows] of timelines) {
    let status: RunStatus | null | undefined;
    for (const row of rows) {
      const before = status ?? null;
      if (row.oldStatus !== before) yield `run ${runId}: it was ${before}, audit ${row.seq} changes ${row.oldStatus}`;
      else if (status === null) yield `run ${runId} came back after its row was deleted (audit ${row.seq})`;
      else if (isTerminal(before) && row.newStatus !== null) {
        yield `run ${runId} had ended as ${before} and became ${row.newStatus} (audit ${row.seq})`;
      }
      status = row.newStatus;
    }
    const dumped = runs.get(runId)?.status;
    if (dumped !== undefined && dumped !== status)
      yield `run ${runId}: the audit ends with ${status}, the row is ${dumped}`;
  }
};

/** R4 */
export const neverEnds: Finder = function* ({ dump }) {
  for (const { runId, status, runAfter } of dump.runs) {
    if (isInFlight(status) && runAfter <= dump.takenAt) yield `run ${runId} is ${status} at the end`;
  }
};

/** R4, in time: what was admitted and due when the last fault came. */
export const endsLate: Finder = function* ({ history, timelines, runs }) {
  const lastFaultAt = Math.max(...(history.faults ?? []).map(({ at, until }) => until ?? at));
  const limit = lastFaultAt + (history.recoveryMs ?? Number.POSITIVE_INFINITY);
  for (const [runId, rows] of timelines) {
    const [first] = rows;
    const runAfter = runs.get(runId)?.runAfter ?? Number.NEGATIVE_INFINITY;
    if (first === undefined || first.at > lastFaultAt || runAfter > lastFaultAt) continue;
    const end = rows.find(({ newStatus }) => isTerminal(newStatus));
    if (end !== undefined && end.at > limit) {
      yield `run ${runId} ended ${end.at - lastFaultAt} ms after the last fault`;
    }
  }
};

/** R7: every claim takes a new fence, and none comes back. */
export const fenceGoesBack: Finder = function* ({ timelines }) {
  for (const [runId, rows] of timelines) {
    let fence = 0;
    for (const row of rows) {
      const isClaim = row.newStatus === "running" && (row.oldStatus !== "running" || row.fence !== fence);
      if (row.fence < fence || (isClaim && row.fence === fence)) {
        yield `run ${runId}: audit ${row.seq} (${row.newStatus}) has fence ${row.fence} after ${fence}`;
      }
      fence = Math.max(fence, row.fence);
    }
  }
};

/** R7: of what readers saw, nothing is of an older claim than what they had seen, or of one that never was. */
export const eventOfOldFence: Finder = function* ({ readers, timelines }) {
  const newest = new Map<string, EventPlace>();
  for (const { reader, runId, cursor, events } of readers) {
    const key = `${reader} ${runId}`;
    const start = cursor === null ? undefined : placeOf(cursor);
    if (start === undefined) newest.delete(key); // from the start again
    const claimed = timelines.get(runId)?.reduce((most, { fence }) => Math.max(most, fence), 0);
    for (const { id, event } of events) {
      const place = id === null ? undefined : placeOf(id);
      if (place === undefined) continue;
      const before = newest.get(key);
      if (before !== undefined && place.fence < before.fence) {
        yield `run ${runId}: ${reader} saw ${id} after an event of fence ${before.fence}`;
      }
      // Who tells the end of a run that nobody holds does so as its next claim would.
      if (claimed !== undefined && place.fence > claimed && !["metadata", "end", "error"].includes(event)) {
        yield `run ${runId}: ${reader} saw ${event} ${id}, but its last claim has fence ${claimed}`;
      }
      if (before === undefined || place.fence > before.fence) newest.set(key, place);
    }
  }
};

/** R7: no checkpoint of a run is from a time when nobody held it. */
export const checkpointOfNobody: Finder = function* ({ dump, timelines }) {
  for (const { threadId, runId, checkpointId, kind } of dump.checkpoints) {
    const rows = timelines.get(runId);
    const at = timeOfCheckpoint(checkpointId);
    // A copied thread has checkpoints of the other thread's runs; a write has no time of its own.
    if (kind === "write" || at === undefined || rows?.[0]?.threadId !== threadId) continue;
    if (!holdings(rows).some(({ from, to }) => from <= at && at <= to)) {
      yield `thread ${threadId}: checkpoint ${checkpointId} was written when nobody held run ${runId}`;
    }
  }
};

/** From a claim to what came after it. */
function holdings(rows: readonly AuditRow[]): { readonly from: number; readonly to: number }[] {
  return rows.flatMap((row, index) =>
    row.newStatus === "running" ? [{ from: row.at, to: rows[index + 1]?.at ?? Number.POSITIVE_INFINITY }] : [],
  );
}

const GREGORIAN_OFFSET_MS = 12_219_292_800_000n;

/** Of a uuid6, the only kind that LangGraph mints; undefined for others, and where a graph broke the clock (time 0). */
function timeOfCheckpoint(checkpointId: string): number | undefined {
  const parts = /^([0-9a-f]{8})-([0-9a-f]{4})-6([0-9a-f]{3})-/.exec(checkpointId);
  if (parts === null || checkpointId.startsWith("00000000-0000-6000-")) return undefined;
  return Number(BigInt(`0x${parts[1]}${parts[2]}${parts[3]}`) / 10_000n - GREGORIAN_OFFSET_MS);
}

/** R8: what was claimed before comes first. */
export const startsOutOfOrder: Finder = function* ({ audit, runs }) {
  const pending = new Map<string, Set<string>>();
  const claimed = new Set<string>();
  for (const { seq, at, threadId, runId, oldStatus, newStatus } of audit) {
    const waiting = pending.get(threadId) ?? new Set();
    pending.set(threadId, waiting);
    waiting.delete(runId);
    if (newStatus === "pending") waiting.add(runId);
    const run = runs.get(runId);
    if (newStatus !== "running" || oldStatus === "running" || run === undefined) continue;
    if (run.runAfter > at) yield `run ${runId} started ${run.runAfter - at} ms before it was due (audit ${seq})`;
    if (claimed.has(runId)) continue;
    claimed.add(runId);
    for (const otherId of waiting) {
      const other = runs.get(otherId);
      if (other === undefined) continue; // its row went, and its place in the line with it
      const isEarlier = other.runAfter < run.runAfter || (other.runAfter === run.runAfter && other.seq < run.seq);
      if (isEarlier || claimed.has(otherId)) {
        yield `thread ${threadId}: run ${runId} started before ${otherId} (audit ${seq})`;
      }
    }
  }
};

/** R13: a run that was never claimed executes no node. */
export const unclaimedExecutes: Finder = function* (view) {
  for (const { runId, node } of view.history.executions ?? []) {
    if (wasNeverClaimed(view, runId)) yield `run ${runId} executed ${node ?? "a node"} although nobody claimed it`;
  }
};

/** R13 */
export const unclaimedSpeaks: Finder = function* (view) {
  for (const { runId, events } of view.readers) {
    const said = events.find(({ id, event }) => id !== null && !["metadata", "end", "error"].includes(event));
    if (said !== undefined && wasNeverClaimed(view, runId)) {
      yield `run ${runId} published ${said.event} ${said.id} although nobody claimed it`;
    }
  }
};

function wasNeverClaimed({ timelines }: HistoryView, runId: string): boolean {
  return timelines.get(runId)?.every(({ newStatus }) => newStatus !== "running") ?? false;
}

/** R18: attempts are counted by claims, and only a death between a claim and the return to the queue spends one. */
export const attemptsMiscounted: Finder = function* ({ timelines }) {
  for (const [runId, rows] of timelines) {
    let attempt = 0;
    for (const row of rows) {
      const isClaim = row.newStatus === "running" && row.oldStatus !== "running";
      const isReturn = row.newStatus === "pending" && row.oldStatus === "running";
      if (isClaim && row.attempt !== attempt + 1) {
        yield `run ${runId}: a claim made attempt ${attempt} to ${row.attempt} (audit ${row.seq})`;
      }
      if (isReturn && row.attempt !== attempt && row.attempt !== attempt - 1) {
        yield `run ${runId}: its return made attempt ${attempt} to ${row.attempt} (audit ${row.seq})`;
      }
      attempt = row.attempt;
    }
  }
};

/** R18 */
export const attemptSpentWithoutDeath: Finder = function* ({ history, timelines }) {
  const losses = (history.faults ?? []).filter(({ kind }) => kind === "kill" || kind === "loss");
  for (const [runId, rows] of timelines) {
    for (const [index, row] of rows.entries()) {
      const claim = rows[index - 1];
      const isReturn = row.newStatus === "pending" && row.oldStatus === "running";
      if (!isReturn || claim === undefined || row.attempt !== claim.attempt) continue;
      if (!losses.some(({ at, until = at }) => claim.at <= until && at <= row.at)) {
        yield `run ${runId}: its return spent attempt ${row.attempt}, but nothing was killed or cut off (audit ${row.seq})`;
      }
    }
  }
};

/** R18 */
export const claimWhileDraining: Finder = function* ({ history, audit }) {
  for (const { kind, at, until } of history.faults ?? []) {
    if (kind !== "drain" || until === undefined) continue;
    for (const { runId, seq, newStatus, at: claimedAt } of audit) {
      if (newStatus === "running" && at < claimedAt && claimedAt < until) {
        yield `run ${runId} was claimed while the gateway was stopping (audit ${seq})`;
      }
    }
  }
};
