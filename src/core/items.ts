/**
 * Store items as LangGraph has them, plus what the Platform's API adds: expiry.
 *
 * These operations go through `BaseStore.batch`; a graph that knows only LangGraph's own gets the configured defaults.
 */
import type { GetOperation, PutOperation, SearchOperation } from "@langchain/langgraph-checkpoint";

export interface GetItem extends GetOperation {
  /** Whether reading moves the expiry; the configured `refreshOnRead` when undefined. */
  readonly refreshTtl?: boolean | undefined;
}

export interface SearchItems extends SearchOperation {
  /** Whether being found moves the expiry; the configured `refreshOnRead` when undefined. */
  readonly refreshTtl?: boolean | undefined;
}

export interface PutItem extends PutOperation {
  /** Minutes until the item expires; null for never, the configured default when undefined. */
  readonly ttlMinutes?: number | null | undefined;
}

export interface ItemTtlConfig {
  /** null: items without a ttl of their own never expire. */
  readonly defaultTtlMinutes: number | null;
  readonly refreshOnRead: boolean;
  readonly sweepIntervalMinutes: number;
}

/** How items are found by meaning (`store.index`). */
export interface ItemIndexConfig {
  /** `provider:model`, or `path:function` of the user's project. */
  readonly embed: string;
  readonly dims: number;
  /** Paths of the texts that a put indexes which names none itself. */
  readonly fields: readonly string[];
  /** How long an embedding may take. */
  readonly timeoutMs: number;
}

/** Models may see what is stored and what is asked for differently. */
export type EmbedPurpose = "documents" | "query";

/**
 * A unit vector for each text, in their order; a zero vector stays one. Rejects with `validation`, saying why, where the
 * model fails, takes too long, or answers with anything but one vector of the configured dimensions for each.
 */
export type EmbedTexts = (texts: readonly string[], purpose: EmbedPurpose) => Promise<readonly Float32Array[]>;

/** NUL and halves of surrogate pairs. */
const UNSTORABLE = /[\0\p{Cs}]/u;

/** Whether every database and every wire keeps `name` as it is. */
export function isStorable(name: string): boolean {
  return !UNSTORABLE.test(name);
}

/** What is wrong with these labels, in words, by the rules of `BaseStore`; undefined when nothing is. */
export function labelsProblem(labels: readonly unknown[]): string | undefined {
  for (const label of labels) {
    const shown = JSON.stringify(label) ?? String(label);
    if (typeof label !== "string") return `namespace label ${shown} is not a string`;
    if (label === "") return "a namespace label is an empty string";
    if (label.includes(".")) return `namespace label ${shown} contains a period (".")`;
    if (!isStorable(label)) return `namespace label ${shown} contains NUL or half a surrogate pair`;
  }
  return undefined;
}

/** The same for the namespace of one item: at least one label, and not LangGraph's own root. */
export function itemNamespaceProblem(labels: readonly unknown[]): string | undefined {
  if (labels.length === 0) return "the namespace is empty";
  if (labels[0] === "langgraph") return 'the root label "langgraph" is reserved';
  return labelsProblem(labels);
}

/** What is wrong with an item's key, in words; undefined when nothing is. */
export function keyProblem(key: unknown): string | undefined {
  if (typeof key !== "string") return "the key is not a string";
  if (!isStorable(key)) return `key ${JSON.stringify(key)} contains NUL or half a surrogate pair`;
  return undefined;
}
