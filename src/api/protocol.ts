/** The routes of event streaming: commands, and the events of a thread over SSE. WebSockets have `websocket.ts`. */
import { z } from "zod";
import type { PerCaller } from "../core/caller.js";
import { GatewayError } from "../core/errors.js";
import { CommandError, commandErrorOf } from "../protocol/command-error.js";
import type { ProtocolCommands } from "../protocol/commands.js";
import { commandEnvelope, subscription, toCommand } from "./protocol-commands.js";
import { failure, success } from "./protocol-envelopes.js";
import type { EventStreams } from "./protocol-stream.js";
import { type ResponseDescription, type Route, rawJson, route } from "./route.js";
import type { HeaderRules } from "./run-request.js";
import { anyJson, id, jsonObject } from "./schemas.js";

export interface ProtocolRoutesDeps {
  readonly commands: PerCaller<ProtocolCommands>;
  readonly streams: PerCaller<EventStreams>;
  readonly headerRules: HeaderRules;
}

const envelope = z
  .looseObject({ type: z.enum(["success", "error"]), id: z.int().nullable() })
  .and(
    z.union([
      z.object({ result: jsonObject, meta: z.object({ thread_id: z.string(), applied_through_seq: z.int() }) }),
      z.object({ error: z.string(), message: z.string() }),
    ]),
  )
  .meta({ id: "ProtocolResponse" });

const protocolEvent = z
  .object({
    type: z.literal("event"),
    event_id: z.string(),
    seq: z.int(),
    method: z.string(),
    params: z.object({
      namespace: z.array(z.string()),
      timestamp: z.int(),
      node: z.string().optional(),
      data: anyJson,
    }),
  })
  .meta({ id: "ProtocolEvent" });

const EVENTS: ResponseDescription = {
  description:
    "Frames with the event's id, its method as the event's name, and the event (`ProtocolEvent`) as data: the newest run from its beginning, or what follows `since`, then whatever runs on the thread",
  contentType: "text/event-stream",
  schema: protocolEvent,
};

export function protocolRoutes({ commands, streams, headerRules }: ProtocolRoutesDeps): Route[] {
  return [
    route({
      method: "post",
      path: "/threads/{thread_id}/commands",
      summary: "Carry out a command of the event-streaming protocol",
      tag: "event streaming",
      params: z.object({ thread_id: id }),
      body: commandEnvelope,
      misfit: "bad_request",
      responses: { 200: { description: "What became of the command, errors included", schema: envelope } },
      async handle({ params: { thread_id: threadId }, body, headers, signal, caller }) {
        try {
          if (body.method.startsWith("subscription.")) {
            throw new CommandError(
              "not_supported",
              `${body.method} is for WebSockets: POST to /threads/{thread_id}/stream/events`,
            );
          }
          const command = toCommand(body, headers, headerRules);
          const { result, appliedThroughSeq } = await commands.as(caller).execute(threadId, command, signal);
          return rawJson(success(body.id, result, { threadId, appliedThroughSeq }));
        } catch (error) {
          const told = commandErrorOf(error);
          if (told === undefined) throw error;
          return rawJson(failure(body.id, told));
        }
      },
    }),
    route({
      method: "post",
      path: "/threads/{thread_id}/stream/events",
      summary: "Stream the events of a thread, over all its runs",
      tag: "event streaming",
      params: z.object({ thread_id: id }),
      body: subscription,
      misfit: "bad_request",
      responses: { 200: EVENTS },
      async handle({ params, body, breakConnection, caller }) {
        return streams.as(caller).open(params.thread_id, body, { breakConnection });
      },
    }),
    route({
      method: "get",
      path: "/threads/{thread_id}/stream/events",
      summary: "The same and commands over a WebSocket",
      tag: "event streaming",
      params: z.object({ thread_id: id }),
      responses: { 101: "The connection is a WebSocket from here on", 400: "without `Upgrade: websocket`" },
      async handle() {
        throw new GatewayError(
          "bad_request",
          "this path is a WebSocket's: connect with `Upgrade: websocket`, or POST to it",
        );
      },
    }),
  ];
}
