/** Metadata of threads and assistants: rows are indexed by it, and read with it. */
import { invalid } from "./errors.js";
import type { JsonObject } from "./model.js";

/** Of one object as JSON. */
export const MAX_METADATA_BYTES = 65_536;

/** Own members of both, `change` winning; `__proto__` is a key like any other. */
export function mergeMetadata(metadata: JsonObject, change: JsonObject): JsonObject {
  return { ...metadata, ...change };
}

/** The same for what a client changes: `invalid` when it would grow beyond `MAX_METADATA_BYTES`. */
export function changeMetadata(metadata: JsonObject, change: JsonObject): JsonObject {
  const changed = mergeMetadata(metadata, change);
  const bytes = bytesOf(changed);
  if (bytes > MAX_METADATA_BYTES && bytes > bytesOf(metadata)) {
    throw invalid(`metadata: with this change it would be ${bytes} bytes of JSON, of at most ${MAX_METADATA_BYTES}`);
  }
  return changed;
}

function bytesOf(metadata: JsonObject): number {
  return Buffer.byteLength(JSON.stringify(metadata));
}
