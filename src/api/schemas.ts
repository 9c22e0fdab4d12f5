/** zod schemas of the wire: what requests must look like, what answers look like. Unknown members are ignored. */
import { z } from "zod";
import { unsupported } from "../core/errors.js";
import { isStorable } from "../core/items.js";
import { isCommand } from "../core/kit.js";
import { MAX_METADATA_BYTES, MAX_METADATA_KEYS } from "../core/metadata.js";
import {
  CANCEL_ACTIONS,
  DURABILITIES,
  type Json,
  type JsonObject,
  MULTITASK_STRATEGIES,
  RUN_STATUSES,
  STREAM_MODES,
  THREAD_STATUSES,
} from "../core/model.js";
import { queryInteger } from "./query.js";
import type { ResponseDescription } from "./route.js";

const MAX_LIMIT = 1_000;
const MAX_OFFSET = 1_000_000;

// ---- pieces

/** Parsed JSON, so every value in it is JSON: `z.json()` would walk it once more. */
export const anyJson = z.custom<Json>(() => true).meta({ description: "any JSON value" });
export const jsonObject = z.record(z.string(), anyJson) as unknown as z.ZodType<JsonObject>; // values are JSON, see anyJson

const MAX_SMALL_BYTES = MAX_METADATA_BYTES;

/** For filters, which are compared with many rows, and for what is stored with a row (`metadataObject`). */
export const smallObject = jsonObject
  .refine((object) => Buffer.byteLength(JSON.stringify(object)) <= MAX_SMALL_BYTES, {
    error: `expected at most ${MAX_SMALL_BYTES} bytes of JSON`,
  })
  .meta({ description: `at most ${MAX_SMALL_BYTES} bytes of JSON` });

/** For what is stored with a row and given to graphs: `MAX_METADATA_KEYS` says why it has few keys. */
export const metadataObject = smallObject
  .refine((object) => Object.keys(object).length <= MAX_METADATA_KEYS, {
    error: `expected at most ${MAX_METADATA_KEYS} keys`,
  })
  .meta({ description: `at most ${MAX_METADATA_KEYS} keys and ${MAX_SMALL_BYTES} bytes of JSON` });

const MAX_NAMES = 1_000;
const STORABLE = "expected text without NUL and halves of surrogate pairs";

/** What somebody called something: a node, a graph, a run. */
export const label = z.string().max(512).refine(isStorable, STORABLE);

/** What a graph gets as input or as an update: a command in it would be obeyed without having been checked. */
export const graphValue = anyJson.refine((value) => !isCommand(value), "a LangGraph Command goes into `command`");

/** Given and null mean the same as absent. */
export function optional<T extends z.ZodType, D>(schema: T, fallback: D) {
  const absent = schema.nullish().transform((value) => value ?? fallback);
  return fallback === null ? absent : absent.meta({ default: fallback });
}

/** Neither of the two names that a path cannot hold: clients and proxies take them for steps. */
export const id = z
  .string()
  .regex(/^(?!\.{1,2}$)[A-Za-z0-9_.:-]{1,128}$/, "expected 1 to 128 characters of A-Z a-z 0-9 _ . : -, not . or ..")
  .meta({ example: "0199f3c4-2d0e-7c3a-9c1e-2f6d8f0b7a55" });
export const assistantIdOrGraphId = z.string().min(1).max(512).refine(isStorable, STORABLE);

/** An answer with one page of `item`s. */
export function pageOf(item: z.ZodType): ResponseDescription {
  return {
    description: "One page",
    schema: z.array(item),
    headers: {
      "x-pagination-total": "How many match, on all pages",
      "x-pagination-next": "The offset of the next page; absent on the last",
    },
  };
}

export const limit = (fallback: number) => optional(z.number().int().min(1).max(MAX_LIMIT), fallback);
export const offset = optional(z.number().int().min(0).max(MAX_OFFSET), 0);
export const sortOrder = optional(z.enum(["asc", "desc"]), "desc" as const);
export const queryLimit = queryInteger({ min: 1, max: MAX_LIMIT, fallback: 10 });
export const queryOffset = queryInteger({ min: 0, max: MAX_OFFSET, fallback: 0 });

/** `checkpoint_ns` of nested scopes arrives joined with NUL from one client. */
const namespaceText = z
  .string()
  .max(4_096)
  .transform((text) => text.replaceAll("\u0000", "|"));

export const checkpointPointer = z
  .object({
    checkpoint_id: id.nullish(),
    checkpoint_ns: namespaceText.nullish(),
    checkpoint_map: jsonObject.nullish(),
  })
  .transform((pointer) => ({
    checkpointNs: pointer.checkpoint_ns ?? "",
    ...(pointer.checkpoint_id ? { checkpointId: pointer.checkpoint_id } : {}),
    ...(pointer.checkpoint_map ? { checkpointMap: pointer.checkpoint_map } : {}),
  }))
  .meta({ id: "CheckpointPointer" });

const gotoTarget = z.union([label, z.looseObject({ node: label, input: anyJson.optional() })]);

export const command = z
  .object({
    resume: anyJson.optional(),
    update: z.union([jsonObject, z.array(z.tuple([label, anyJson])).max(MAX_NAMES)]).nullish(),
    goto: z.union([gotoTarget, z.array(gotoTarget).max(MAX_NAMES)]).nullish(),
  })
  .meta({ id: "Command" });

/** Minutes, or `{ttl, strategy}`. */
export const ttl = z
  .union([
    z.number().positive().max(1e9),
    z.object({ ttl: z.number().positive().max(1e9), strategy: z.enum(["delete", "keep_latest"]).default("delete") }),
  ])
  .transform((value) =>
    typeof value === "number"
      ? { ttlMinutes: value, strategy: "delete" as const }
      : { ttlMinutes: value.ttl, strategy: value.strategy },
  );

// ---- runs

const streamMode = z.enum(STREAM_MODES);
/** Each of them several times: some clients repeat what they ask for. */
const MAX_MODES = 100;
/** Each is a question to LangSmith. */
const MAX_FEEDBACK_KEYS = 20;
const interruptNodes = z.union([
  z.literal("*"),
  z
    .array(label)
    .max(MAX_NAMES)
    .transform((nodes) => (nodes.includes("*") ? ("*" as const) : nodes)),
]);

/** Members of a run request that the Platform knows and heddle does not support: refused while they ask for something. */
export const UNSUPPORTED_RUN_OPTIONS: readonly (readonly [name: string, why: string])[] = [
  ["strict_resume", "this version always checks what a resume answers when the run is admitted"],
];

export function refuseUnsupported(
  body: { readonly [name: string]: unknown },
  options: typeof UNSUPPORTED_RUN_OPTIONS,
): void {
  for (const [name, why] of options) {
    const value = body[name];
    const asksForNothing =
      value === undefined || value === null || value === false || (Array.isArray(value) && value.length === 0);
    if (!asksForNothing) throw unsupported(name, why);
  }
}

/** As the Platform's API says; which URLs are taken, and how long ones, is the policy's business (`webhooks.url`). */
const MAX_WEBHOOK_CHARS = 65_536;

const recursionLimit = z.number().int().min(1).max(100_000).nullish();
const maxConcurrency = z.number().int().min(1).max(100_000).nullish();

/** LangChain compares each of them with all others, several times for every node. */
const MAX_TAGS = 128;

/** LangChain's options come in both spellings. */
export const runConfig = z.looseObject({
  configurable: jsonObject.nullish(),
  metadata: metadataObject.nullish(),
  tags: z.array(label).max(MAX_TAGS).nullish(),
  recursion_limit: recursionLimit,
  recursionLimit,
  max_concurrency: maxConcurrency,
  maxConcurrency,
  run_name: label.nullish(),
  runName: label.nullish(),
});

export const runCreate = z
  .looseObject({
    assistant_id: assistantIdOrGraphId,
    input: optional(graphValue, null),
    command: optional(command, null),
    metadata: optional(metadataObject, {}),
    config: optional(runConfig, {}),
    context: optional(anyJson, null),
    checkpoint: optional(checkpointPointer, null),
    checkpoint_id: optional(id, null),
    interrupt_before: optional(interruptNodes, null),
    interrupt_after: optional(interruptNodes, null),
    stream_mode: optional(z.union([streamMode, z.array(streamMode).max(MAX_MODES)]), []),
    stream_subgraphs: optional(z.boolean(), false),
    stream_resumable: optional(z.boolean(), false),
    multitask_strategy: z.enum(MULTITASK_STRATEGIES).nullish(),
    if_not_exists: optional(z.enum(["create", "reject"]), "reject" as const),
    after_seconds: optional(z.number().min(0).max(31_536_000), 0),
    on_disconnect: optional(z.enum(["cancel", "continue"]), "continue" as const),
    on_completion: optional(z.enum(["delete", "keep", "complete", "continue"]), "delete" as const),
    durability: z.enum(DURABILITIES).nullish(),
    checkpoint_during: z.boolean().nullish(),
    webhook: z
      .string()
      .min(1)
      .max(MAX_WEBHOOK_CHARS)
      .nullish()
      .meta({ description: "a URL that is told of the run's end; what may be called is configured (webhooks.url)" }),
    feedback_keys: optional(z.union([z.literal(false), z.array(label).max(MAX_FEEDBACK_KEYS)]), [])
      .transform((keys): readonly string[] => keys || [])
      .meta({ description: "Only with LangSmith: what the `feedback` event of the stream has addresses for" }),
    langsmith_tracer: optional(
      z.union([z.literal(false), z.object({ project_name: label.nullish(), example_id: label.nullish() })]),
      null,
    ).meta({ description: "Only with LangSmith: where its trace of the run goes" }),
  })
  .transform((body) => {
    refuseUnsupported(body, UNSUPPORTED_RUN_OPTIONS);
    return body;
  })
  .meta({ id: "RunCreate" });

export type RunCreate = z.output<typeof runCreate>;

/** One JavaScript client sends the entries of a batch in camel case. */
export function withSnakeCase(body: unknown): unknown {
  if (typeof body !== "object" || body === null || Array.isArray(body)) return body;
  const renamed = Object.entries(body).map(([key, value]) => [
    key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
    value,
  ]);
  return { ...Object.fromEntries(renamed), ...body };
}

export const cancelAction = z.enum(CANCEL_ACTIONS);

// ---- answers

export const isoDate = z.iso.datetime();
const interrupt = z.object({ id: z.string(), value: anyJson }).meta({ id: "Interrupt" });
const runError = z.object({ error: z.string(), message: z.string() }).meta({ id: "RunError" });

export const errorBody = z.object({ detail: z.string(), code: z.string() }).meta({ id: "Error" });

export const thread = z
  .object({
    thread_id: z.string(),
    created_at: isoDate,
    updated_at: isoDate,
    state_updated_at: isoDate.nullable(),
    metadata: jsonObject,
    config: jsonObject,
    status: z.enum(THREAD_STATUSES),
    values: anyJson,
    interrupts: z.record(z.string(), z.array(interrupt)),
    error: runError.nullable(),
  })
  .meta({ id: "Thread" });

const byteCount = z.number().int().nonnegative();
const stored = z.object({ count: z.number().int().nonnegative(), bytes: byteCount });

/** Bytes of what is stored, each counted once; keys and indexes take more. */
export const threadStorage = z
  .object({
    thread_id: z.string(),
    total_bytes: byteCount,
    checkpoints: stored.meta({ description: "without the values of channels" }),
    channel_values: stored.extend({
      by_channel: z.record(z.string(), z.object({ versions: z.number().int().nonnegative(), bytes: byteCount })),
    }),
    pending_writes: stored,
  })
  .meta({ id: "ThreadStorage" });

export const run = z
  .object({
    run_id: z.string(),
    thread_id: z.string(),
    assistant_id: z.string(),
    created_at: isoDate,
    updated_at: isoDate,
    status: z.enum(RUN_STATUSES),
    metadata: jsonObject,
    kwargs: jsonObject,
    multitask_strategy: z.enum(MULTITASK_STRATEGIES),
  })
  .meta({ id: "Run" });

export const assistantVersion = z
  .object({
    assistant_id: z.string(),
    graph_id: z.string(),
    version: z.number().int(),
    name: z.string(),
    description: z.string().nullable(),
    config: jsonObject,
    context: anyJson,
    metadata: jsonObject,
    created_at: isoDate,
  })
  .meta({ id: "AssistantVersion" });

export const assistant = assistantVersion.extend({ updated_at: isoDate }).meta({ id: "Assistant" });

const pointer = z
  .object({
    thread_id: z.string(),
    checkpoint_ns: z.string(),
    checkpoint_id: z.string().nullable(),
    checkpoint_map: jsonObject.nullable(),
  })
  .meta({ id: "Checkpoint" });

export const threadState = z
  .object({
    values: anyJson,
    next: z.array(z.string()),
    tasks: z.array(
      z.object({
        id: z.string(),
        name: z.string(),
        path: anyJson,
        error: z.string().nullable(),
        interrupts: z.array(interrupt),
        checkpoint: pointer.nullable(),
        get state() {
          return threadState.nullable();
        },
        result: anyJson,
      }),
    ),
    checkpoint: pointer.nullable(),
    metadata: jsonObject,
    created_at: z.string().nullable(),
    parent_checkpoint: pointer.nullable(),
    interrupts: z.array(interrupt),
  })
  .meta({ id: "ThreadState" });
