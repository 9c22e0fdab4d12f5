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

/** What no database and no wire keeps as it is: NUL and halves of surrogate pairs. */
const UNSTORABLE = /[\0\p{Cs}]/u;

/** What is wrong with these labels, in words, by the rules of `BaseStore`; undefined when nothing is. */
export function labelsProblem(labels: readonly unknown[]): string | undefined {
  for (const label of labels) {
    const shown = JSON.stringify(label) ?? String(label);
    if (typeof label !== "string") return `namespace label ${shown} is not a string`;
    if (label === "") return "a namespace label is an empty string";
    if (label.includes(".")) return `namespace label ${shown} contains a period (".")`;
    if (UNSTORABLE.test(label)) return `namespace label ${shown} contains NUL or half a surrogate pair`;
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
  if (UNSTORABLE.test(key)) return `key ${JSON.stringify(key)} contains NUL or half a surrogate pair`;
  return undefined;
}
