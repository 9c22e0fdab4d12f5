/**
 * What a test knows when it is over: what clients asked and heard, what the gateway's database went through, what is left
 * in it, and what readers of streams saw. `checkHistory` judges it by the invariants of docs/reliability.md.
 *
 * All times are epoch milliseconds of one clock. Every part is optional: rules that need a missing part do not judge.
 */
import type {
  CancelAction,
  Json,
  JsonObject,
  MultitaskStrategy,
  RunStatus,
  ThreadStatus,
} from "../../src/core/model.js";

export interface History {
  /** In any order. */
  readonly calls?: readonly Call[] | undefined;
  /** Of the whole time, by `seq`; `dumpDatabase` reads it. */
  readonly audit?: readonly AuditRow[] | undefined;
  /** Taken when nothing works any more: every run that is due has had its time. */
  readonly dump?: DatabaseDump | undefined;
  /** Connections of one reader in the order in which it opened them. */
  readonly readers?: readonly Connection[] | undefined;
  /** What the gateway keeps of finished streams, read to the end. */
  readonly ledger?: readonly { readonly runId: string; readonly events: readonly SeenEvent[] }[] | undefined;
  /** What nodes recorded of themselves. */
  readonly executions?: readonly Execution[] | undefined;
  readonly approvals?: readonly Approval[] | undefined;
  readonly expected?: readonly ExpectedState[] | undefined;
  readonly rollbacks?: readonly Rollback[] | undefined;
  readonly faults?: readonly Fault[] | undefined;
  /** With `faults`: how long after the last one what was admitted before may still be in flight. */
  readonly recoveryMs?: number | undefined;
  /** `system`: the gateway ran by the system's clock, so that the times in checkpoint ids are those of the audit. */
  readonly clock?: "system" | undefined;
}

export interface Answer {
  readonly at: number;
  /** HTTP status, or the one that an error would have been answered with. */
  readonly status: number;
  readonly threadId?: string | undefined;
  readonly runId?: string | undefined;
  readonly body?: Json | undefined;
}

/** `broken`: the connection went before the answer came. `none`: nothing came, and the client would still wait. */
export type Heard = Answer | "broken" | "none";

interface Asked {
  readonly at: number;
  readonly heard: Heard;
}

export type Call = Asked &
  (
    | { readonly ask: "create thread"; readonly threadId: string | null }
    | { readonly ask: "delete thread"; readonly threadId: string }
    | CreateRun
    /** Also a disconnect from a stream whose run is to be cancelled by it: `broken`. */
    | {
        readonly ask: "cancel run";
        readonly threadId: string;
        readonly runId: string;
        readonly action: CancelAction;
      }
    | { readonly ask: "delete run"; readonly threadId: string; readonly runId: string }
    /** Wait or join; `POST …/runs/wait` is a `create run` and a `wait run`. */
    | { readonly ask: "wait run"; readonly runId: string }
    /** `mark`: a text that occurs nowhere but in the values that were to be written. */
    | { readonly ask: "update state"; readonly threadId: string; readonly mark?: string | undefined }
    | { readonly ask: "put item"; readonly namespace: readonly string[]; readonly key: string; readonly value: Json }
    | { readonly ask: "delete item"; readonly namespace: readonly string[]; readonly key: string }
  );

interface CreateRun {
  readonly ask: "create run";
  /** null: stateless. */
  readonly threadId: string | null;
  /** Unique to the request and sent as `metadata.request`; a retry of the same request repeats it. */
  readonly request?: string | undefined;
  readonly strategy?: MultitaskStrategy | undefined;
  /** Stateless with `on_completion: delete`. */
  readonly temporary?: boolean | undefined;
  readonly idempotencyKey?: string | undefined;
  /** Whether it named one, which nobody sends. */
  readonly webhook?: boolean | undefined;
  /** The questions that its command answers, and how. */
  readonly answers?: { readonly [question: string]: Json } | undefined;
}

/** A row of `run_audit`. */
export interface AuditRow {
  readonly seq: number;
  readonly runId: string;
  readonly threadId: string;
  readonly at: number;
  /** null: the run was admitted. */
  readonly oldStatus: RunStatus | null;
  /** null: its row was deleted. */
  readonly newStatus: RunStatus | null;
  readonly fence: number;
  readonly attempt: number;
  readonly workerId: string | null;
}

export interface DatabaseDump {
  readonly takenAt: number;
  readonly threads: readonly DumpedThread[];
  readonly runs: readonly DumpedRun[];
  /** How many rows name a thread, by table, for every table but `threads`. */
  readonly rowsByThread: { readonly [table: string]: { readonly [threadId: string]: number } };
  /** How many rows name a run, for tables that name no thread; an outbox row that is done and an idempotency key count not. */
  readonly rowsByRun: { readonly [table: string]: { readonly [runId: string]: number } };
  /** Those that runs wrote. */
  readonly checkpoints: readonly DumpedCheckpoint[];
  readonly items: readonly { readonly namespace: readonly string[]; readonly key: string; readonly value: Json }[];
}

export interface DumpedThread {
  readonly threadId: string;
  readonly status: ThreadStatus;
  readonly metadata: JsonObject;
  /** null without state. */
  readonly values: Json;
  readonly deleting: boolean;
}

export interface DumpedRun {
  readonly seq: number;
  readonly runId: string;
  readonly threadId: string;
  readonly status: RunStatus;
  readonly runAfter: number;
  readonly temporary: boolean;
  readonly metadata: JsonObject;
}

export interface DumpedCheckpoint {
  readonly threadId: string;
  readonly runId: string;
  readonly checkpointId: string;
  /** Pending writes count with the checkpoint that they belong to. */
  readonly kind: "checkpoint" | "write";
}

/** One connection of one reader. One that continues another of the same reader begins with the last id of that one. */
export interface Connection {
  readonly reader: string;
  readonly runId: string;
  /** `Last-Event-ID`; null without, `-1` for the start. */
  readonly cursor: string | null;
  readonly events: readonly SeenEvent[];
  /** `end`: the gateway ended the stream. `cut`: it broke, or the client left. `open`: nobody ended it. */
  readonly ended: "end" | "cut" | "open";
}

export interface SeenEvent {
  /** null: a snapshot, or what introduces one. */
  readonly id: string | null;
  /** As on the wire, with its namespace: `values|child:1`. */
  readonly event: string;
  /** Parsed. */
  readonly data: unknown;
}

export interface Execution {
  readonly runId: string;
  readonly node?: string | undefined;
}

/** What `interrupt()` returned to a node. A node that runs again hears its earlier answers again. */
export interface Approval {
  readonly threadId: string;
  /** As in `answers` of the call that answered it: an interrupt id, or the text of a question that is asked once. */
  readonly question: string;
  readonly answer: Json;
}

/** The state that a thread must be in, such as that of the same requests without a crash. */
export interface ExpectedState {
  readonly threadId: string;
  readonly values: Json;
  /** What the gateway said its state is; the values of the dump where nobody asked. */
  readonly found?: Json | undefined;
}

/** Everything that is stored of a thread, as text, before a run was admitted and after its rollback. */
export interface Rollback {
  readonly threadId: string;
  readonly before: string;
  readonly after: string;
}

export interface Fault {
  /**
   * `kill`: nothing was said to the process. `drain`: it was asked to stop. `loss`: it stood still, or was cut off from its
   * database, so that it may have lost what it held. `other`: of the disk, a connection …
   */
  readonly kind: "kill" | "drain" | "loss" | "other";
  /** When it began; of a drain, when the gateway showed that it had noticed (readiness failed). */
  readonly at: number;
  /** When the process was gone, or all was well again. */
  readonly until?: number | undefined;
}
