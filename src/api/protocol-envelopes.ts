/** What clients of the protocol are answered with. Ids are those of the client's command. */
import type { JsonObject } from "../core/model.js";
import type { CommandError } from "../protocol/command-error.js";

/** Commands of a connection are told apart by it; null for what answers none. */
type CommandId = number | null;

export function success(
  id: CommandId,
  result: JsonObject,
  meta?: { readonly threadId: string; readonly appliedThroughSeq: number },
): string {
  const about = meta && { meta: { thread_id: meta.threadId, applied_through_seq: meta.appliedThroughSeq } };
  return JSON.stringify({ type: "success", id, result, ...about });
}

export function failure(id: CommandId, { code, message }: Pick<CommandError, "code" | "message">): string {
  return JSON.stringify({ type: "error", id, error: code, message });
}
