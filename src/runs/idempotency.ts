/** Tells a repeated request from another one that reuses its `Idempotency-Key`. */
import { createHash } from "node:crypto";
import type { RunRequest } from "./draft.js";

/** The same for the same request whatever the order of its members; headers do not count. */
export function requestHash(threadId: string | null, request: RunRequest): string {
  const { headerConfigurable: _headers, traceparent: _trace, idempotencyKey: _key, ...asked } = request;
  return createHash("sha256")
    .update(canonicalJson({ threadId, ...asked }))
    .digest("hex");
}

function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_key, member: unknown) =>
    typeof member === "object" && member !== null && !Array.isArray(member)
      ? Object.fromEntries(Object.entries(member).sort(([a], [b]) => (a < b ? -1 : 1)))
      : member,
  );
}
