/** From the wire's commands to the protocol's: envelopes, parameters, spellings. What the protocol lacks is refused by name. */
import { isSupportedChannel } from "@langchain/langgraph/stream";
import { z } from "zod";
import type { StreamMode } from "../core/model.js";
import { CommandError } from "../protocol/command-error.js";
import type { Command, RunOptions } from "../protocol/commands.js";
import { validationError } from "./errors.js";
import { type HeaderRules, toRunRequest } from "./run-request.js";
import {
  anyJson,
  assistantIdOrGraphId,
  command,
  graphValue,
  id,
  jsonObject,
  label,
  optional,
  runCreate,
} from "./schemas.js";

export const commandEnvelope = z
  .looseObject({
    id: z.int().min(0),
    method: z.string().min(1).max(100),
    params: jsonObject.nullish(),
  })
  .meta({ id: "ProtocolCommand" });

export type CommandEnvelope = z.output<typeof commandEnvelope>;

const MAX_SEGMENTS = 64;
const namespace = z.array(z.string().max(1_024)).max(MAX_SEGMENTS);

const channel = z.string().max(512).refine(isSupportedChannel, "unknown channel").meta({
  description: "values, updates, messages, tools, lifecycle, input, checkpoints, tasks, custom or custom:<name>",
});

export const subscription = z
  .looseObject({
    channels: z.array(channel).min(1).max(100),
    namespaces: z.array(namespace).max(1_000).nullish(),
    depth: z.int().min(0).max(1_000).nullish(),
    since: z.int().min(0).nullish(),
  })
  .transform(({ channels, namespaces, depth, since }) => ({
    channels,
    namespaces: namespaces ?? undefined,
    depth: depth ?? undefined,
    since: since ?? undefined,
  }))
  .meta({ id: "EventSubscription" });

export const unsubscribeParams = z.looseObject({ subscription_id: z.string().max(100_000) });
export const reconnectParams = z.looseObject({
  run_id: id,
  last_event_id: optional(label, null),
  subscriptions: optional(z.array(z.string().max(100_000)).max(1_000), []),
});

/** What a protocol run streams: every channel's events, and what REST needs to join it. */
const STREAM_MODES: readonly StreamMode[] = ["values", "updates", "messages-tuple", "tools", "custom", "tasks"];

const answer = z.looseObject({ namespace: namespace.optional(), interrupt_id: label.min(1), response: anyJson });
const respondParams = z.looseObject({
  ...answer.partial().shape,
  responses: z.array(answer).min(1).max(1_000).optional(),
  update: command.shape.update,
  goto: command.shape.goto,
});
const startParams = z.looseObject({ assistant_id: assistantIdOrGraphId, input: graphValue.optional() });
const getParams = z.looseObject({ namespace: namespace.default([]), keys: z.array(label).max(1_000).optional() });
const listParams = z.looseObject({
  namespace: namespace.default([]),
  limit: z.int().min(1).max(1_000).default(10),
  before: id.nullish(),
});
const forkParams = z.looseObject({ checkpoint_id: id, input: graphValue.optional() });
const treeParams = z.looseObject({ run_id: id.nullish() });

/** Throws `CommandError` for what is no command, or not one with these parameters. */
export function toCommand(envelope: CommandEnvelope, headers: Headers, headerRules: HeaderRules): Command {
  const { method } = envelope;
  const params = envelope.params ?? {};
  const options = (given: object = params): RunOptions => runOptions(given, headers, headerRules);
  switch (method) {
    case "run.start": {
      const { assistant_id: assistantId, input } = parsed(startParams, params);
      return { method, assistantId, input: input ?? null, options: options() };
    }
    case "input.respond":
      return respond(params, options);
    case "input.inject":
      throw new CommandError("not_supported", "input.inject is not supported: a run takes no input while it executes");
    case "state.get": {
      const { namespace: place, keys } = parsed(getParams, params);
      return { method, namespace: place, keys };
    }
    case "state.listCheckpoints": {
      const { namespace: place, limit, before } = parsed(listParams, params);
      return { method, namespace: place, limit, before: before ?? null };
    }
    case "state.fork": {
      const { checkpoint_id: checkpointId, input } = parsed(forkParams, params);
      return { method, checkpointId, input: input ?? null, options: options() };
    }
    case "agent.getTree":
      return { method, runId: parsed(treeParams, params).run_id ?? undefined };
    default:
      throw new CommandError("unknown_command", `unknown command ${JSON.stringify(method)}`);
  }
}

function respond(params: object, options: () => RunOptions): Command {
  const { responses, interrupt_id: interruptId, response, update, goto } = parsed(respondParams, params);
  const isOne = interruptId !== undefined && response !== undefined;
  const answers = responses ?? (isOne ? [{ interrupt_id: interruptId, response }] : []);
  if (answers.length === 0 || (responses !== undefined && interruptId !== undefined)) {
    throw new CommandError("invalid_argument", "params: expected interrupt_id and response, or responses");
  }
  const ids = answers.map((each) => each.interrupt_id);
  if (new Set(ids).size < ids.length)
    throw new CommandError("invalid_argument", "params.responses: an interrupt_id is repeated");
  return {
    method: "input.respond",
    answers: answers.map((each) => ({ interruptId: each.interrupt_id, response: each.response })),
    update: update ?? undefined,
    goto: (goto ?? undefined) as never, // JSON by the schema of gotoTarget
    options: options(),
  };
}

/** As for REST, where a run has more to be asked for; both spellings of what clients send in two. */
function runOptions(params: object, headers: Headers, headerRules: HeaderRules): RunOptions {
  const { multitaskStrategy, multitask_strategy, ...given } = params as Record<string, unknown>;
  const {
    strict_resume: _always,
    checkpoint_id: _own,
    update: _u,
    goto: _g,
    command: _c,
    input: _i,
    ...others
  } = given;
  const body = parsed(runCreate, {
    ...others,
    assistant_id: "any",
    multitask_strategy: multitask_strategy ?? multitaskStrategy,
    stream_mode: STREAM_MODES,
    stream_subgraphs: true,
    stream_resumable: true,
    if_not_exists: "create",
    on_disconnect: "continue",
  });
  const { assistantId: _a, input: _n, command: _d, ...request } = toRunRequest(body, headers, headerRules);
  return { ...request, eventStreaming: true };
}

function parsed<T extends z.ZodType>(schema: T, params: object): z.output<T> {
  const result = schema.safeParse(params);
  if (result.success) return result.data;
  throw new CommandError("invalid_argument", validationError("params", result.error).message);
}
