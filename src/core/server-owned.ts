/**
 * What only the server says about a run. Clients cannot: it is taken out of whatever they send, wherever they send it,
 * and set by overwriting.
 *
 * | key | says |
 * |---|---|
 * | `thread_id`, `run_id`, `graph_id`, `assistant_id`, `cron_id` | which run of what this is |
 * | `langgraph_auth_*` | who the caller is |
 * | `checkpoint_id`, `checkpoint_ns`, `checkpoint_map` | where it starts; clients name that beside the configuration |
 * | `__*` | LangGraph's own state of an execution |
 *
 * `user_id` is not among them: it is a word of the graph's own, and while nobody authenticates callers it is theirs.
 */
import type { Json, JsonObject } from "./model.js";

const IDENTITY = /^(thread|run|graph|assistant|cron)_id$/;
const PLACE = /^checkpoint_(id|ns|map)$/;
const RESERVED = /^(__|langgraph_auth_)/;

/** `configurable` without all of them. */
export function clientConfigurable(configurable: JsonObject): JsonObject {
  return without(configurable, (key) => RESERVED.test(key) || IDENTITY.test(key) || PLACE.test(key));
}

/** `context` without what is reserved: its other names, ids as well, are the graph's own. */
export function clientContext(context: Json): Json {
  if (typeof context !== "object" || context === null || Array.isArray(context)) return context;
  return without(context as JsonObject, (key) => RESERVED.test(key)); // neither null nor a list
}

/** The same object when there is nothing to take out. */
function without(object: JsonObject, isOwned: (key: string) => boolean): JsonObject {
  const entries = Object.entries(object);
  const kept = entries.filter(([key]) => !isOwned(key));
  return kept.length === entries.length ? object : Object.fromEntries(kept);
}
