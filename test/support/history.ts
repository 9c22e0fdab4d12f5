/**
 * Judges a history by the invariants of docs/reliability.md: R1 to R18, S1 and S7.
 *
 * Pure. A rule judges by those of its ways for which the history has the parts; `judgedRules` tells which rules did, so that
 * a test can require it: what is not judged was not promised.
 */
import type { History } from "./history-data.js";
import * as runs from "./history-runs.js";
import * as streams from "./history-streams.js";
import * as threads from "./history-threads.js";
import { type Judge, viewOf } from "./history-view.js";

export interface Violation {
  readonly rule: Rule;
  readonly what: string;
}

/** Each rule with what it promises, as far as a history shows it, and what it takes to judge it. */
const RULES = {
  /** At most one run of a thread is running, at every instant. */
  R1: [
    { needs: ["audit"], find: runs.runsOverlap },
    { needs: ["dump"], find: runs.runsOverlapInDump },
  ],
  /** What was acknowledged is there, unless clients wished it away: runs, threads, items. */
  R2: [
    { needs: ["calls", "dump"], find: threads.acknowledgedRunLost },
    { needs: ["calls", "dump"], find: threads.acknowledgedThreadLost },
    { needs: ["calls", "dump"], find: threads.acknowledgedItemLost },
  ],
  /** A run ends once; its end never changes. */
  R3: [{ needs: ["audit"], find: runs.endsTwice }],
  /** Every run that is due has ended, within `recoveryMs` after the last fault. */
  R4: [
    { needs: ["dump"], find: runs.neverEnds },
    { needs: ["audit", "dump", "faults", "recoveryMs"], find: runs.endsLate },
  ],
  /** Threads are in the state that is expected of them. */
  R5: [{ needs: ["expected", "dump"], find: threads.stateDiffers }],
  /** A question is answered only by a command that was meant for it. */
  R6: [{ needs: ["approvals", "calls"], find: threads.answeredByNobody }],
  /** After a claim, nothing of an older claim of the run: no audit row, event, or checkpoint. */
  R7: [
    { needs: ["audit"], find: runs.fenceGoesBack },
    { needs: ["readers"], find: runs.eventOfOldFence },
    { needs: ["audit", "dump", "clock"], find: runs.checkpointOfNobody },
  ],
  /** Runs of a thread start when they are due, by due time, then creation; none overtakes one that has started. */
  R8: [{ needs: ["audit", "dump"], find: runs.startsOutOfOrder }],
  /** What was refused left no run, what was rolled back no trace, and nobody lost a run that nobody cancelled. */
  R9: [
    { needs: ["calls", "dump"], find: threads.refusedRunExists },
    { needs: ["calls", "dump"], find: threads.interruptedByNobody },
    { needs: ["rollbacks"], find: threads.rollbackLeavesTraces },
    { needs: ["audit", "dump"], find: threads.rolledBackCheckpoints },
  ],
  /** A thread is busy if and only if a run of it is in flight. */
  R10: [{ needs: ["dump"], find: threads.statusDisagrees }],
  /** A deleted thread leaves no row in any table; no table has rows of a thread that does not exist. */
  R11: [
    { needs: ["calls", "dump"], find: threads.deletedThreadLeavesRows },
    { needs: ["dump"], find: threads.rowsOfNoThread },
  ],
  /** A cancel that was acknowledged decided how the run ended. */
  R12: [{ needs: ["calls", "dump"], find: threads.cancelWithoutEffect }],
  /** A run that was cancelled before anybody claimed it executed and said nothing. */
  R13: [
    { needs: ["audit", "executions"], find: runs.unclaimedExecutes },
    { needs: ["audit", "readers"], find: runs.unclaimedSpeaks },
  ],
  /** Every wait and join was answered, with the end of the run and not before it. */
  R14: [
    { needs: ["calls"], find: threads.waitHangs },
    { needs: ["calls", "dump"], find: threads.waitTellsOtherEnd },
    { needs: ["calls", "audit"], find: threads.waitAnsweredEarly },
  ],
  /** A temporary run leaves no row. */
  R15: [{ needs: ["dump"], find: threads.temporaryRowsLeft }],
  /** One idempotency key, one run. */
  R16: [
    { needs: ["calls"], find: threads.keyMakesTwoRuns },
    { needs: ["calls", "dump"], find: threads.requestMakesTwoRows },
  ],
  /** No state update during a run; one that was refused wrote nothing. */
  R17: [
    { needs: ["calls", "audit"], find: threads.updateDuringRun },
    { needs: ["calls", "dump"], find: threads.refusedUpdateWrote },
  ],
  /** Attempts are spent by deaths only; a gateway that stops claims nothing. */
  R18: [
    { needs: ["audit"], find: runs.attemptsMiscounted },
    { needs: ["audit", "faults"], find: runs.attemptSpentWithoutDeath },
    { needs: ["audit", "faults"], find: runs.claimWhileDraining },
  ],
  /** Over any number of connections a reader sees the run's log: nothing lost, repeated or reordered. */
  S1: [
    { needs: ["readers"], find: streams.streamOutOfOrder },
    { needs: ["readers"], find: streams.streamEndsWrongly },
    { needs: ["readers"], find: streams.tapesDiffer },
  ],
  /** Each end of a run with a webhook left one; nothing else did. */
  S7: [{ needs: ["calls", "dump"], find: threads.endUntold }],
} as const satisfies Readonly<Record<string, readonly Judge[]>>;

export type Rule = keyof typeof RULES;

/** Every rule, in the order of the catalogue. */
export const ALL_RULES = Object.keys(RULES) as readonly Rule[]; // its own keys

/** What breaks a rule; empty for a sound history. */
export function checkHistory(history: History): readonly Violation[] {
  const view = viewOf(history);
  return ALL_RULES.flatMap((rule) =>
    judgesOf(rule, history).flatMap(({ find }) => [...find(view)].map((what) => ({ rule, what }))),
  );
}

/** The rules that the history has the parts for. */
export function judgedRules(history: History): readonly Rule[] {
  return ALL_RULES.filter((rule) => judgesOf(rule, history).length > 0);
}

function judgesOf(rule: Rule, history: History): readonly Judge[] {
  const judges: readonly Judge[] = RULES[rule];
  return judges.filter(({ needs }) => needs.every((part) => history[part] !== undefined));
}
