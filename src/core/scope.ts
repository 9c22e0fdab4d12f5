/**
 * What of everything there is somebody may see: conditions on the metadata of threads, assistants and crons, which all
 * hold. Plain data, so that a store can make SQL of it. What does not fulfil them is, for that somebody, not there.
 */
import type { Json, JsonObject } from "./model.js";

export type Condition =
  /** `metadata[key]` is this scalar. */
  | { readonly kind: "equals"; readonly key: string; readonly value: string | number | boolean }
  /** `metadata[key]` is a list that has all of these scalars. */
  | { readonly kind: "contains"; readonly key: string; readonly values: readonly (string | number | boolean)[] }
  /** One of these fits at least. */
  | { readonly kind: "any"; readonly of: readonly Scope[] };

export type Scope = readonly Condition[];

export const EVERYTHING: Scope = [];

export function isInScope(metadata: JsonObject, scope: Scope): boolean {
  return scope.every((condition) => fulfils(metadata, condition));
}

function fulfils(metadata: JsonObject, condition: Condition): boolean {
  if (condition.kind === "any") return condition.of.some((scope) => isInScope(metadata, scope));
  const value: Json | undefined = Object.hasOwn(metadata, condition.key) ? metadata[condition.key] : undefined;
  if (condition.kind === "equals") return value === condition.value;
  return Array.isArray(value) && condition.values.every((wanted) => value.includes(wanted));
}

/** `change` without what decides who may see the thing it is for: nobody gives theirs away, or takes another's, so. */
export function withoutScopeKeys(change: JsonObject, scope: Scope): JsonObject {
  const keys = new Set(keysOf(scope));
  const kept = Object.entries(change).filter(([key]) => !keys.has(key));
  return kept.length === Object.keys(change).length ? change : Object.fromEntries(kept);
}

function keysOf(scope: Scope): readonly string[] {
  return scope.flatMap((condition) => (condition.kind === "any" ? condition.of.flatMap(keysOf) : [condition.key]));
}
