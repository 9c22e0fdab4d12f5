/** Builders for stream events, and readers that end. */
import type { Silence, StreamBatch, StreamBridge, StreamEvent } from "../../src/bridge/bridge.js";

export function event(fence: number, seq: number, data = `${fence}-${seq}`): StreamEvent {
  return { id: { fence, seq }, event: "values", namespace: [], data, at: 0 };
}

/** What a batch holds, in short: the data of its events, `gap` or `silence`. */
export function shown(batch: StreamBatch | Silence): readonly string[] {
  return batch.kind === "events" ? batch.events.map(({ data }) => data) : [batch.kind];
}

export const NEVER = new AbortController().signal;

/** Reads to the end of the run's log. */
export async function readAll(
  bridge: StreamBridge,
  runId: string,
  cursor: Parameters<StreamBridge["subscribe"]>[1]["cursor"] = { from: "start" },
): Promise<readonly string[]> {
  const seen: string[] = [];
  for await (const batch of bridge.subscribe(runId, { cursor, signal: NEVER })) seen.push(...shown(batch));
  return seen;
}
