/** Readers that come back: they follow one run to its end over as many connections as it takes. */
import { setTimeout as pause } from "node:timers/promises";
import type { Client } from "@langchain/langgraph-sdk";
import type { Connection, SeenEvent } from "./history-data.js";
import { openSse } from "./sse-client.js";

export interface TapeReading {
  readonly reader: string;
  readonly threadId: string;
  readonly runId: string;
  /** Called with every event as it is read. */
  readonly onEvent?: ((event: SeenEvent) => void) | undefined;
}

interface Server {
  readonly url: string;
  /** Resolves while there is somebody to connect to. */
  readonly serving: () => Promise<void>;
  /** Whether a proxy may say for a moment that there is nobody, or a gateway that it stops. */
  readonly mayBeAway?: boolean;
}

/**
 * Reads with plain requests and `Last-Event-ID`. What is not a broken connection is thrown: a refusal, a frame that is none,
 * JSON that is none.
 */
export async function readTape(
  { reader, threadId, runId, onEvent }: TapeReading,
  { url, serving, mayBeAway = false }: Server,
): Promise<readonly Connection[]> {
  const connections: Connection[] = [];
  let cursor: string | null = null;
  for (;;) {
    await serving();
    const events: SeenEvent[] = [];
    let ended: Connection["ended"] = "cut";
    try {
      const headers = cursor === null ? undefined : { "last-event-id": cursor };
      const stream = await openSse(`${url}/threads/${threadId}/runs/${runId}/stream`, headers && { headers });
      if (mayBeAway && AWAY.has(stream.status)) {
        await stream.close();
        await pause(50);
        continue;
      }
      if (stream.status !== 200) throw new Error(`answered with ${stream.status}`);
      for (let part = await stream.next(); part !== undefined; part = await stream.next()) {
        const event = { id: part.id ?? null, event: part.event, data: part.data };
        events.push(event);
        onEvent?.(event);
      }
      ended = "end";
    } catch (error) {
      if (!isBroken(error)) throw error;
    }
    connections.push({ reader, runId, cursor, events, ended });
    if (ended === "end") return connections;
    cursor = events.findLast(({ id }) => id !== null)?.id ?? cursor;
  }
}

const AWAY: ReadonlySet<number> = new Set([502, 503, 504]);

/** Reads with the SDK, which comes back by itself: what it hands on is one tape. */
export async function readWithSdk(
  { reader, threadId, runId, onEvent }: TapeReading,
  client: Client,
): Promise<Connection> {
  const events: SeenEvent[] = [];
  const stream = client.runs.joinStream(threadId, runId, { lastEventId: "-1" });
  for await (const { id, event, data } of stream as AsyncIterable<{ id?: string; event: string; data: unknown }>) {
    const seen = { id: id ?? null, event, data };
    events.push(seen);
    onEvent?.(seen);
  }
  return { reader, runId, cursor: "-1", events, ended: "end" };
}

/** As `fetch` says that a connection was refused, reset, or ended in the middle of an answer. */
function isBroken(error: unknown): boolean {
  return error instanceof TypeError && ["terminated", "fetch failed"].includes(error.message);
}
