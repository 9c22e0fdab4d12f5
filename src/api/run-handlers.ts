/** What the routes of runs with and without a thread share: create, follow, wait, stop. `threadId` null: without one. */
import { z } from "zod";
import type { Caller, PerCaller } from "../core/caller.js";
import { unsupported } from "../core/errors.js";
import { type CancelAction, type Run, STREAM_MODES } from "../core/model.js";
import type { RunManager } from "../runs/manager.js";
import { parseCursor } from "./cursor.js";
import { queryBoolean, queryList, queryString } from "./query.js";
import { renderRun } from "./render.js";
import { json, type ResponseDescription, type RouteRequest } from "./route.js";
import { type HeaderRules, refuseCheckpoint, toRunRequest } from "./run-request.js";
import { locationHeaders, type RunAnswers } from "./run-stream.js";
import { jsonObject, type RunCreate } from "./schemas.js";

export interface RunRoutesDeps {
  readonly manager: PerCaller<RunManager>;
  readonly answers: RunAnswers;
  readonly headerRules: HeaderRules;
}

export const joinQuery = z.object({
  stream_mode: queryList(z.enum(STREAM_MODES)),
  cancel_on_disconnect: queryBoolean(false),
  namespace: queryString(),
  checkpoint_id: queryString(),
});

const RUN_HEADERS = {
  "content-location": "The path of the run",
  location: "The path to GET, with Last-Event-ID, when the connection breaks",
};

export const EVENT_STREAM: ResponseDescription = {
  description: "The event `metadata`, those of the stream modes, then `end` or `error`",
  contentType: "text/event-stream",
  headers: RUN_HEADERS,
};

export const FINAL_STATE: ResponseDescription = {
  description:
    "The final state, with `__interrupt__` if the graph paused, or `__error__`; newlines before it keep the connection alive",
  schema: jsonObject,
  headers: RUN_HEADERS,
};

type CreateRequest = RouteRequest<unknown, unknown, RunCreate>;
type JoinRequest = RouteRequest<{ run_id: string }, z.output<typeof joinQuery>, unknown>;

interface RunIds {
  readonly thread_id: string;
  readonly run_id: string;
}

export interface RunHandlers {
  create(threadId: string | null, request: CreateRequest): Promise<Response>;
  stream(threadId: string | null, request: CreateRequest): Promise<Response>;
  wait(threadId: string | null, request: CreateRequest): Promise<Response>;
  join(threadId: string | null, request: JoinRequest): Promise<Response>;
  joinStream(threadId: string | null, request: JoinRequest): Promise<Response>;
  /** Cancels the run and resolves when it has stopped, or when the client has left. */
  cancelAndWait(ids: RunIds, client: Pick<JoinRequest, "signal" | "caller">, action: CancelAction): Promise<void>;
  /** Cancels the run and streams what that makes it say. */
  cancelAndStream(threadId: string, request: JoinRequest, action: CancelAction): Promise<Response>;
}

export function createRunHandlers({ manager, answers, headerRules }: RunRoutesDeps): RunHandlers {
  async function admit(threadId: string | null, { body, headers, caller }: CreateRequest): Promise<Run> {
    const request = toRunRequest(body, headers, headerRules);
    if (threadId === null) refuseCheckpoint(request);
    parseCursor(headers.get("last-event-id"), 0); // nothing may fail any more once the run is committed (W8)
    return manager.as(caller).create(threadId, request);
  }

  function answerOf(threadId: string | null, run: Run, caller: Caller) {
    return {
      reading: manager.as(caller).readingOf(run),
      path: runPath(threadId, run.runId),
      cancelOnDisconnect: run.payload.onDisconnect === "cancel",
    };
  }

  async function joined(threadId: string | null, { params, query, caller }: JoinRequest) {
    refuseLaterQueries(query);
    return {
      reading: await manager.as(caller).read(threadId, params.run_id),
      path: runPath(threadId, params.run_id),
      cancelOnDisconnect: query.cancel_on_disconnect,
      modes: query.stream_mode,
    };
  }

  return {
    async create(threadId, request) {
      const run = await admit(threadId, request);
      return json(renderRun(run), { headers: locationHeaders(runPath(threadId, run.runId), "stream") });
    },

    async stream(threadId, request) {
      const run = await admit(threadId, request);
      const cursor = parseCursor(request.headers.get("last-event-id"), run.fence);
      return answers.stream({ ...answerOf(threadId, run, request.caller), cursor }, request);
    },

    async wait(threadId, request) {
      return answers.wait(answerOf(threadId, await admit(threadId, request), request.caller), request);
    },

    async join(threadId, request) {
      return answers.wait(await joined(threadId, request), request);
    },

    async joinStream(threadId, request) {
      const answer = await joined(threadId, request);
      const cursor = parseCursor(request.headers.get("last-event-id"), answer.reading.fence);
      return answers.stream({ ...answer, cursor, replay: "folded" }, request);
    },

    async cancelAndWait({ thread_id: threadId, run_id: runId }, { signal, caller }, action) {
      await manager.as(caller).cancel(threadId, runId, action);
      await manager.as(caller).ended(runId, signal);
    },

    async cancelAndStream(threadId, request, action) {
      const answer = await joined(threadId, request);
      const lastEventId = request.headers.get("last-event-id");
      const { reading } = answer;
      // The stream opens first: what the cancel makes the run say must not be missed.
      const cursor = lastEventId === null ? await reading.now() : parseCursor(lastEventId, reading.fence);
      const rest = answers.stream({ ...answer, cursor }, request);
      try {
        await manager.as(request.caller).cancel(threadId, request.params.run_id, action);
      } catch (error) {
        await rest.body?.cancel();
        throw error;
      }
      return rest;
    },
  };
}

/** Prefix-less, because clients append it to their own base URL (W1). */
function runPath(threadId: string | null, runId: string): string {
  return threadId === null ? `/runs/${runId}` : `/threads/${threadId}/runs/${runId}`;
}

function refuseLaterQueries(query: { namespace?: string | undefined; checkpoint_id?: string | undefined }): void {
  if (query.namespace !== undefined) throw unsupported("namespace", "filter the events' names instead");
  if (query.checkpoint_id !== undefined) throw unsupported("checkpoint_id", "start after an event with Last-Event-ID");
}
