/** `GET /threads/{thread_id}/stream`: everything that runs of a thread stream, over runs, in the words of REST. */
import { z } from "zod";
import type { PerCaller } from "../core/caller.js";
import { formatPlace, type OpenThreadEvents, parsePlace, type ThreadEvent } from "../runs/thread-events.js";
import type { ThreadStateService } from "../threads/state.js";
import type { ThreadService } from "../threads/threads.js";
import type { EndlessStreams } from "./endless-stream.js";
import { queryList } from "./query.js";
import { renderState } from "./render.js";
import { type Route, route } from "./route.js";
import { id } from "./schemas.js";

export interface ThreadStreamDeps {
  readonly open: OpenThreadEvents;
  readonly threads: PerCaller<ThreadService>;
  readonly state: PerCaller<ThreadStateService>;
  readonly streams: EndlessStreams;
}

const THREAD_STREAM_MODES = ["run_modes", "lifecycle", "state_update"] as const;
type ThreadStreamMode = (typeof THREAD_STREAM_MODES)[number];

const modes = queryList(z.enum(THREAD_STREAM_MODES));

export function threadStreamRoutes(deps: ThreadStreamDeps): Route[] {
  return [
    route({
      method: "get",
      path: "/threads/{thread_id}/stream",
      summary: "Stream what runs on a thread, from now on, after Last-Event-ID, or with `-` from the beginning",
      tag: "threads",
      params: z.object({ thread_id: id }),
      query: z.object({ stream_mode: modes, stream_modes: modes }),
      responses: {
        200: {
          description:
            "`run_modes`: the events of every run, then `metadata` with `status: run_done`; `lifecycle`: that and each run's first `metadata`; `state_update`: the state after each run and each write",
          contentType: "text/event-stream",
          headers: { location: "The path to GET, with Last-Event-ID, when the connection breaks" },
        },
      },
      async handle({ params: { thread_id: threadId }, query, headers, breakConnection, caller }) {
        await deps.threads.as(caller).require(threadId);
        const { scope } = await caller.authorize("threads:read", { thread_id: threadId });
        const cursor = parsePlace(headers.get("last-event-id"));
        const wanted = new Set<ThreadStreamMode>(query.stream_mode ?? query.stream_modes ?? ["run_modes"]);
        const events = await deps.open(threadId, { cursor, scope });
        return deps.streams.open(
          {
            threadId,
            headers: { location: `/threads/${threadId}/stream` },
            chunks: (signal) => frames(deps.state.as(caller), threadId, { wanted, events: events(signal) }),
          },
          { breakConnection },
        );
      },
    }),
  ];
}

async function* frames(
  state: ThreadStateService,
  threadId: string,
  {
    wanted,
    events,
  }: { readonly wanted: ReadonlySet<ThreadStreamMode>; readonly events: AsyncIterable<readonly ThreadEvent[]> },
): AsyncGenerator<Uint8Array> {
  for await (const batch of events) {
    const parts: string[] = [];
    for (const event of batch) {
      if (event.kind === "item") {
        const isWanted = wanted.has("run_modes") || (wanted.has("lifecycle") && event.item.event === "metadata");
        if (isWanted) parts.push(itemFrame(event));
      } else if (event.kind === "run done") {
        const data = JSON.stringify({ status: "run_done", run_id: event.runId });
        if (wanted.has("run_modes") || wanted.has("lifecycle")) parts.push(frame(event.place, "metadata", data));
      } else if (wanted.has("state_update")) {
        const shown = renderState(await state.get(threadId, null, { subgraphs: false }));
        parts.push(frame(event.place, "state_update", JSON.stringify({ thread_id: threadId, state: shown })));
      }
    }
    if (parts.length > 0) yield Buffer.from(parts.join(""));
  }
}

function itemFrame({ place, item }: Extract<ThreadEvent, { kind: "item" }>): string {
  const { event, namespace, data } = item;
  return frame(place, namespace.length === 0 ? event : `${event}|${namespace.join("|")}`, data);
}

function frame(place: ThreadEvent["place"], event: string, data: string): string {
  const numbered = place === null ? "" : `id: ${formatPlace(place)}\n`;
  return `${numbered}event: ${event.replace(/[\r\n]+/g, " ")}\ndata: ${data}\n\n`;
}
