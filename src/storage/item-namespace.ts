/**
 * Namespaces as text that sorts.
 *
 * Every label ends in a period, which no label may contain: `["users", "u1"]` is `users.u1.`. So what lies under a prefix
 * is one range of an index, whole labels only, and no character of a label means anything to the database. The order is
 * that of bytes (SQLite's BINARY, PostgreSQL's "C").
 */
import { InvalidNamespaceError, type MatchCondition } from "@langchain/langgraph-checkpoint";
import { invalid } from "../core/errors.js";
import { itemNamespaceProblem, labelsProblem } from "../core/items.js";

const LABEL_END = ".";
/** The character after the period: everything that starts with `users.` sorts before `users/`. */
const AFTER_LABEL_END = "/";

/** Encoded namespaces `>= from` and `< to`; null is no bound. */
export interface NamespaceRange {
  readonly from: string | null;
  readonly to: string | null;
}

/** Throws `InvalidNamespaceError` for labels that could not be stored. An empty list is the root. */
export function encodeNamespace(labels: readonly string[]): string {
  return encodeChecked(labels, labelsProblem);
}

/** The same for the namespace of one item. */
export function encodeItemNamespace(labels: readonly string[]): string {
  return encodeChecked(labels, itemNamespaceProblem);
}

export function decodeNamespace(encoded: string): string[] {
  return encoded.split(LABEL_END).slice(0, -1);
}

/** All namespaces that begin with these labels. */
export function rangeUnder(labels: readonly string[]): NamespaceRange {
  const prefix = encodeNamespace(labels);
  return prefix === "" ? { from: null, to: null } : { from: prefix, to: prefix.slice(0, -1) + AFTER_LABEL_END };
}

/** The range that holds all that `conditions` can match: by the first prefix's labels up to its first wildcard. */
export function rangeOfConditions(conditions: readonly MatchCondition[]): NamespaceRange {
  const path = conditions.find(({ matchType }) => matchType === "prefix")?.path ?? [];
  const wildcard = path.indexOf("*");
  return rangeUnder(wildcard === -1 ? path : path.slice(0, wildcard));
}

/** Throws for conditions of an unknown kind, and for labels that no namespace can have. */
export function checkConditions(conditions: readonly MatchCondition[]): readonly MatchCondition[] {
  for (const { matchType, path } of conditions) {
    if (matchType !== "prefix" && matchType !== "suffix") {
      throw invalid(`namespace match type ${JSON.stringify(matchType)} is unknown: use "prefix" or "suffix"`);
    }
    encodeNamespace(path);
  }
  return conditions;
}

/** Whether a namespace meets a condition; `*` stands for exactly one label. */
export function meetsCondition(labels: readonly string[], { matchType, path }: MatchCondition): boolean {
  if (path.length > labels.length) return false;
  const start = matchType === "prefix" ? 0 : labels.length - path.length;
  return path.every((wanted, index) => wanted === "*" || wanted === labels[start + index]);
}

function encodeChecked(
  labels: readonly string[],
  problemOf: (labels: readonly unknown[]) => string | undefined,
): string {
  const problem = Array.isArray(labels) ? problemOf(labels) : "the namespace is not a list of labels";
  if (problem !== undefined) throw new InvalidNamespaceError(problem);
  return labels.map((label) => label + LABEL_END).join("");
}
