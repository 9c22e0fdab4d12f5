/** Events ↔ entries of a Redis Stream: the entry's id is the event's. */
import { compareEventIds, type EventId, isNextEventId, type StreamEvent } from "./bridge.js";
import type { MemoryBridge } from "./memory.js";

/** As `XREAD` and `XRANGE` give it: an id, then names and values in turn. */
export type StreamEntry = readonly [id: string, fields: readonly string[]];

export type LogEntry =
  | { readonly kind: "event"; readonly event: StreamEvent }
  /** Nothing follows. */
  | { readonly kind: "end" }
  /** The run was deleted. */
  | { readonly kind: "dropped" };

/** The greatest id that there is: Redis takes nothing behind it. */
export const LAST_ID = "18446744073709551615-18446744073709551615";

export const END_FIELDS = ["end", "end"] as const;
export const DROPPED_FIELDS = ["end", "dropped"] as const;

/** Names are short: each is kept once per entry. */
export function fieldsOf({ event, namespace, data, at }: StreamEvent): readonly string[] {
  const fields = ["e", event, "d", data, "t", String(at)];
  return namespace.length === 0 ? fields : [...fields, "n", JSON.stringify(namespace)];
}

export function readEntry([id, fields]: StreamEntry): LogEntry {
  if (id === LAST_ID) return { kind: fields[1] === "dropped" ? "dropped" : "end" };
  const values = new Map<string, string>();
  for (let index = 0; index + 1 < fields.length; index += 2) values.set(fields[index] ?? "", fields[index + 1] ?? "");
  const namespace = values.get("n");
  return {
    kind: "event",
    event: {
      id: parseEntryId(id),
      event: values.get("e") ?? "",
      namespace: namespace === undefined ? [] : (JSON.parse(namespace) as readonly string[]), // what fieldsOf wrote
      data: values.get("d") ?? "",
      at: Number(values.get("t")),
    },
  };
}

function parseEntryId(id: string): EventId {
  const [fence, seq] = id.split("-");
  return { fence: Number(fence), seq: Number(seq) };
}

/**
 * Adds what Redis has of a run to the log of this process. Entries that are in it already add nothing; where they do not
 * continue it, it begins anew with them.
 */
export function takeEntries(logs: MemoryBridge, runId: string, entries: readonly StreamEntry[]): void {
  for (const entry of entries) {
    const read = readEntry(entry);
    if (read.kind === "end") logs.end(runId);
    else if (read.kind === "dropped") logs.drop(runId);
    else takeEvent(logs, runId, read.event);
  }
}

function takeEvent(logs: MemoryBridge, runId: string, event: StreamEvent): void {
  const last = logs.extent(runId)?.last;
  const { id } = event;
  if (last !== undefined && compareEventIds(id, last) <= 0) return;
  const beginsClaim = id.seq === 1 && (last === undefined || id.fence > last.fence);
  if (!beginsClaim && (last === undefined || !isNextEventId(last, id))) logs.lose(runId);
  logs.publish(runId, event);
}
