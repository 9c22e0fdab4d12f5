/** Metadata of threads and assistants: rows are indexed by it, and read with it. */
import { invalid } from "./errors.js";
import type { JsonObject } from "./model.js";

/** Of one object as JSON. */
export const MAX_METADATA_BYTES = 65_536;

/**
 * Of one object. LangChain (1.2.13, `CallbackManager.copy`) copies a run's metadata anew for each of its keys, several times
 * for every node: of three nodes 128 keys take 65 ms, 256 take 0.4 s and 2,048 a minute, in which nothing else is served.
 */
export const MAX_METADATA_KEYS = 100;

/** Of a run's own, that of its config, its thread and its assistant together, which its graph is given. */
export const MAX_RUN_METADATA_KEYS = 256;

/** Own members of both, `change` winning; `__proto__` is a key like any other. */
export function mergeMetadata(metadata: JsonObject, change: JsonObject): JsonObject {
  return { ...metadata, ...change };
}

/** The same for what a client changes: `invalid` when it would grow beyond what one object may have. */
export function changeMetadata(metadata: JsonObject, change: JsonObject): JsonObject {
  const changed = mergeMetadata(metadata, change);
  const bytes = bytesOf(changed);
  if (bytes > MAX_METADATA_BYTES && bytes > bytesOf(metadata)) {
    throw invalid(`metadata: with this change it would be ${bytes} bytes of JSON, of at most ${MAX_METADATA_BYTES}`);
  }
  const keys = Object.keys(changed).length;
  if (keys > MAX_METADATA_KEYS && keys > Object.keys(metadata).length) {
    throw invalid(`metadata: with this change it would have ${keys} keys, of at most ${MAX_METADATA_KEYS}`);
  }
  return changed;
}

function bytesOf(metadata: JsonObject): number {
  return Buffer.byteLength(JSON.stringify(metadata));
}
