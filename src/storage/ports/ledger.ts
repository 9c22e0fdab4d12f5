/** The port of what runs said. */

/** Where an event stands in its run's log: the fence of a claim, and the place in it, from 1. */
export interface LedgerPosition {
  readonly fence: number;
  readonly seq: number;
}

/** Consecutive events of one claim of a run. */
export interface LedgerSegment {
  readonly fence: number;
  /** The places that it covers, first to last; where events were folded it holds fewer. */
  readonly firstSeq: number;
  readonly lastSeq: number;
  /** The text of the events; what it means is the writer's business. */
  readonly events: string;
}

export interface KeptSegment extends LedgerSegment {
  /** Increasing from 1 in each run; that of the oldest one tells whether older ones were dropped. */
  readonly number: number;
}

/** The events of runs, for as long as their rows live. */
export interface RunLedger {
  /**
   * Adds each segment behind what its run has already, all in one transaction. Left out is what comes before the end of
   * that (a zombie's), and whatever belongs to a run whose row is gone.
   */
  append(segments: readonly (LedgerSegment & { readonly runId: string })[]): Promise<void>;
  /** The oldest segment of the run that ends at `position` or later. */
  find(runId: string, position: LedgerPosition): Promise<KeptSegment | undefined>;
  newest(runId: string): Promise<KeptSegment | undefined>;
  /** Where the newest segment ends. */
  end(runId: string): Promise<LedgerPosition | undefined>;
  /**
   * Puts `merged`, which must not be more, in the place of the neighbours that have these numbers. False, and nothing
   * changed, when one of them is gone.
   */
  replace(runId: string, numbers: readonly number[], merged: readonly LedgerSegment[]): Promise<boolean>;
  /** Drops the oldest segments until what is left takes `maxBytes` at most; the newest one always stays. */
  trim(runId: string, maxBytes: number): Promise<void>;
  /** Deletes up to `limit` segments of ended runs of which nothing was written after `time`; returns how many. */
  expire(time: number, limit: number): Promise<number>;
}
