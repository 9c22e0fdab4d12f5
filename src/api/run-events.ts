/** A run's events as pages of JSON, for clients that cannot hold a stream, and for looking at what a run said days ago. */
import { z } from "zod";
import { type EventId, formatEventId, type StreamEvent } from "../bridge/bridge.js";
import type { PerCaller } from "../core/caller.js";
import { RUN_STATUSES } from "../core/model.js";
import type { RunManager } from "../runs/manager.js";
import type { RunPages } from "../runs/paging.js";
import { parseCursor } from "./cursor.js";
import { queryInteger, queryString } from "./query.js";
import { type Route, rawJson, route } from "./route.js";
import { anyJson, id } from "./schemas.js";

export interface RunEventsDeps {
  readonly manager: PerCaller<Pick<RunManager, "get">>;
  readonly pages: RunPages;
}

const MAX_EVENTS = 500;
const MAX_WAIT_MS = 30_000;

const runEvent = z
  .object({
    id: z.string().meta({ description: "As the `id:` of the event stream; a cursor", example: "1-7" }),
    event: z.string(),
    namespace: z.array(z.string()).meta({ description: "Empty for the root graph" }),
    data: anyJson,
    created_at: z.iso.datetime(),
  })
  .meta({ id: "RunEvent" });

const eventPage = z
  .object({
    run_id: z.string(),
    status: z.enum(RUN_STATUSES),
    events: z.array(runEvent),
    next_cursor: z
      .string()
      .nullable()
      .meta({ description: "The `after` of the next page; as given when there was nothing" }),
    done: z.boolean().meta({ description: "The run has ended, and there is nothing more to read" }),
  })
  .meta({ id: "RunEvents" });

/**
 * @example
 *   GET /threads/t1/runs/r1/events?limit=2
 *   {"run_id": "r1", "status": "running", "events": [{"id": "1-1", "event": "metadata", …}, {"id": "1-2", …}],
 *    "next_cursor": "1-2", "done": false}
 */
export function runEventRoutes({ manager, pages }: RunEventsDeps): Route[] {
  return [
    route({
      method: "get",
      path: "/threads/{thread_id}/runs/{run_id}/events",
      summary: "Page through a run's events, while it goes on and as long as they are kept",
      tag: "runs",
      params: z.object({ thread_id: id, run_id: id }),
      query: z.object({
        after: queryString().meta({
          description: "The id of an event: only what follows it. Without it, `0` or `-1`: from the beginning",
        }),
        limit: queryInteger({ min: 1, max: MAX_EVENTS, fallback: 100 }).meta({
          default: 100,
          description: "Most events in one page; large events make it shorter",
        }),
        wait_ms: queryInteger({ min: 0, max: MAX_WAIT_MS, fallback: 0 }).meta({
          default: 0,
          description: "How long to wait for an event where there is none yet",
        }),
      }),
      responses: {
        200: { description: "One page; replayed token chunks of one message are one event", schema: eventPage },
        410: "`events_trimmed`: what follows `after` is not kept; `oldest_cursor` is where what is kept begins, if it is",
      },
      async handle({ params, query, signal, caller }) {
        const run = await manager.as(caller).get(params.thread_id, params.run_id);
        const after = parseAfter(query.after, run.fence);
        const { limit, wait_ms: waitMs } = query;
        const page = await pages.read(run, { after, limit, waitMs, signal });
        const { status } = await manager.as(caller).get(params.thread_id, params.run_id); // it may have ended while the page was made
        const members = JSON.stringify({ run_id: run.runId, status }).slice(1, -1);
        const next = page.next === null ? "null" : `"${formatEventId(page.next)}"`;
        return rawJson(
          `{${members},"events":[${page.events.map(eventJson).join(",")}],"next_cursor":${next},"done":${page.isDone}}`,
        );
      },
    }),
  ];
}

function parseAfter(text: string | undefined, fence: number): EventId | null {
  const cursor = parseCursor(text === "0" ? null : (text ?? null), fence, "after");
  return "after" in cursor ? cursor.after : null;
}

/** The data is JSON already, and goes in byte by byte. */
function eventJson({ id, event, namespace, data, at }: StreamEvent): string {
  const members = JSON.stringify({ id: formatEventId(id), event, namespace }).slice(1, -1);
  return `{${members},"data":${data},"created_at":"${new Date(at).toISOString()}"}`;
}
