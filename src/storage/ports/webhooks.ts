/** The port of what is told of ends of runs. */
import type { InterruptsByTask, Run, RunStatus } from "../../core/model.js";

/** What a webhook tells: how a run ended, and the state that it left. */
export interface EndedRun {
  /** Its row as it was at the end. */
  readonly run: Run;
  /** `rollback`: the run was taken back, and its row with it. */
  readonly status: RunStatus | "rollback";
  /** When it was first claimed; null when it never was. */
  readonly startedAt: number | null;
  readonly endedAt: number;
  /** Wire JSON of the root state; null without any. */
  readonly valuesJson: string | null;
  readonly interrupts: InterruptsByTask;
}

/** A webhook that was claimed for one try. */
export interface WebhookDelivery {
  readonly id: number;
  readonly url: string;
  /** Host and port of the URL; "" for a path of the gateway's own. */
  readonly host: string;
  /** How often it was tried, this one included. */
  readonly tries: number;
  readonly ended: EndedRun;
}

/** A delivery as long as its claim lasts. */
export type WebhookClaim = Pick<WebhookDelivery, "id" | "tries">;

/**
 * Webhooks that are still to be sent. Rows come from the transactions that end runs; they go when they were sent or given
 * up, and with a run or a thread that somebody deletes.
 */
export interface WebhookOutbox {
  /**
   * Up to `limit` that are due, the longest due first, of no host more than `roomOf` says. Each is hidden for `leaseMs`,
   * after which it is due again, unless it was settled before.
   */
  claim(
    leaseMs: number,
    options: { readonly limit: number; readonly roomOf: (host: string) => number },
  ): Promise<readonly WebhookDelivery[]>;
  /** Sent or given up: its row goes. False when the claim was lost. */
  remove(claim: WebhookClaim): Promise<boolean>;
  /** Due again at `time`. False when the claim was lost. */
  retryAt(claim: WebhookClaim, time: number): Promise<boolean>;
  /** Due at once, as if this try had not begun. False when the claim was lost. */
  release(claim: WebhookClaim): Promise<boolean>;
  /** When the next one becomes due, but for those of `exceptHosts`. */
  nextDueAt(exceptHosts: readonly string[]): Promise<number | undefined>;
  /** At start: what was written in what is the future now, because the clock was set back, is due at once. */
  rebase(): Promise<void>;
}
