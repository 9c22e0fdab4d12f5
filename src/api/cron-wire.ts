/**
 * Crons on the wire. What their runs get is checked by the pieces that check a run's creation, and read by the same
 * function; what a run says about its own admission, and a cron cannot, is refused while it asks for something.
 */
import { z } from "zod";
import { badRequest, invalid } from "../core/errors.js";
import type { Cron, CronPayload } from "../core/model.js";
import type { CronChange, CronDraft } from "../crons/crons.js";
import { iso, shownWebhook } from "./render.js";
import { toRunRequest } from "./run-request.js";
import {
  assistantIdOrGraphId,
  isoDate,
  jsonObject,
  optional,
  refuseUnsupported,
  runCreate,
  UNSUPPORTED_RUN_OPTIONS,
} from "./schemas.js";

/** Of a run request, what a cron has no use for: the values that say nothing. */
const ADMITTED_AT_ONCE = {
  command: null,
  checkpoint: null,
  checkpoint_id: null,
  if_not_exists: "reject",
  after_seconds: 0,
  on_disconnect: "continue",
  on_completion: "delete",
} as const;

const UNSUPPORTED: typeof UNSUPPORTED_RUN_OPTIONS = [
  ...UNSUPPORTED_RUN_OPTIONS,
  ["feedback_keys", "nobody reads the stream when a cron fires"],
  ["langsmith_tracer", "the runs of a cron are traced where LANGSMITH_PROJECT says"],
  ["command", "nobody knows yet what the thread will ask: give an input"],
  ["checkpoint", "the runs of a cron go on from where the thread is"],
  ["checkpoint_id", "the runs of a cron go on from where the thread is"],
  ["after_seconds", "the schedule says when the runs of a cron start"],
  ["on_completion", "a cron has on_run_completed"],
];

const runFields = runCreate.in.omit({
  command: true,
  checkpoint: true,
  checkpoint_id: true,
  if_not_exists: true,
  after_seconds: true,
  on_disconnect: true,
  on_completion: true,
});

const schedule = z.string().max(1_000).meta({
  description: "Five fields: minute, hour, day of month, month, day of week",
  example: "30 9 * * MON-FRI",
});
const timezone = z.string().max(100).meta({
  description: "A name of the IANA database, in whose time the schedule is read; null is UTC",
  example: "Europe/Berlin",
});
const LAST_MS = Date.UTC(9_999, 11, 31, 23, 59, 59, 999);
const endTime = z.iso
  .datetime({ offset: true, local: true, error: "expected an ISO 8601 date and time, such as 2030-01-31T12:00:00Z" })
  .transform((text) => Date.parse(/(Z|[+-]\d\d:\d\d)$/.test(text) ? text : `${text}Z`))
  .refine((time) => time <= LAST_MS, "expected a time before the year 10000")
  .meta({ description: "After it nothing fires; without an offset it is UTC" });

const timetable = {
  schedule,
  timezone: optional(timezone, null),
  end_time: optional(endTime, null),
  enabled: optional(z.boolean(), true),
  on_run_completed: optional(z.enum(["delete", "keep"]), null).meta({
    description: "What becomes of a thread that was made for a run: delete unless given",
  }),
};

export const cronCreate = runFields
  .extend(timetable)
  .transform((body) => {
    refuseUnsupported(body, UNSUPPORTED);
    return body;
  })
  .meta({ id: "CronCreate" });

/** Where `withNames` says what a client has sent: the schema gives what is absent its default. */
const NAMES = "the names of all members";

const cronFields = runFields.extend({
  ...timetable,
  schedule: schedule.optional(),
  enabled: z.boolean().nullish(),
  assistant_id: assistantIdOrGraphId.nullish(),
});

export const cronPatch = z
  .preprocess(withNames, cronFields)
  .transform((body) => {
    refuseUnsupported(body, UNSUPPORTED);
    return body;
  })
  .meta({ id: "CronPatch" });

function withNames(body: unknown): unknown {
  if (typeof body !== "object" || body === null || Array.isArray(body)) return body;
  return { ...body, [NAMES]: Object.keys(body) };
}

/** How the wire spells the members of a cron's payload; the first name is the one that is shown. */
const PAYLOAD_NAMES = {
  input: ["input"],
  config: ["config"],
  context: ["context"],
  interruptBefore: ["interrupt_before"],
  interruptAfter: ["interrupt_after"],
  streamModes: ["stream_mode"],
  subgraphs: ["stream_subgraphs"],
  resumable: ["stream_resumable"],
  durability: ["durability", "checkpoint_during"],
  multitaskStrategy: ["multitask_strategy"],
  webhook: ["webhook"],
} as const satisfies { readonly [Member in keyof CronPayload]-?: readonly [string, ...string[]] };

const PAYLOAD_MEMBERS = Object.entries(PAYLOAD_NAMES) as unknown as readonly (readonly [
  member: keyof CronPayload,
  names: readonly [string, ...string[]],
])[]; // the entries of a constant

export function toDraft(threadId: string | null, body: z.output<typeof cronCreate>): CronDraft {
  return {
    threadId,
    assistantId: body.assistant_id,
    schedule: body.schedule,
    timezone: body.timezone,
    endAt: body.end_time,
    enabled: body.enabled,
    onRunCompleted: body.on_run_completed,
    metadata: body.metadata,
    payload: payloadOf(body),
  };
}

/** Throws `bad_request` for a body that changes nothing. */
export function toChange(body: z.output<typeof cronPatch>): CronChange {
  const names = body[NAMES] as readonly string[]; // put there by withNames
  if (!names.some((name) => Object.hasOwn(cronFields.shape, name))) {
    throw badRequest(`nothing to change: expected one of ${Object.keys(cronFields.shape).join(", ")}`);
  }
  const payload = payloadOf({ ...body, assistant_id: "" });
  const given = PAYLOAD_MEMBERS.filter(([, spellings]) => spellings.some((name) => names.includes(name)));
  return {
    ...(body.assistant_id ? { assistantId: body.assistant_id } : {}),
    ...(body.schedule === undefined ? {} : { schedule: body.schedule }),
    ...(names.includes("timezone") ? { timezone: body.timezone } : {}),
    ...(names.includes("end_time") ? { endAt: body.end_time } : {}),
    ...(typeof body.enabled === "boolean" ? { enabled: body.enabled } : {}),
    ...(body.on_run_completed === null ? {} : { onRunCompleted: body.on_run_completed }),
    metadata: body.metadata,
    payload: Object.fromEntries(given.map(([member]) => [member, payload[member]])),
  };
}

/** As a run's creation reads it. */
function payloadOf(body: z.output<typeof runFields>): CronPayload {
  const request = toRunRequest({ ...body, ...ADMITTED_AT_ONCE }, NO_HEADERS, NO_HEADER_RULES);
  if (request.checkpoint !== null) throw invalid("config.configurable: the runs of a cron start where the thread is");
  const { multitaskStrategy = "enqueue" } = request;
  const all = { ...request, multitaskStrategy };
  return Object.fromEntries(PAYLOAD_MEMBERS.map(([member]) => [member, all[member]])) as unknown as CronPayload; // all of its members
}

/** Whoever fires a cron later has not sent them. */
const NO_HEADERS = new Headers();
const NO_HEADER_RULES = { includes: [], excludes: [] };

// ---- answers

export const cron = z
  .object({
    cron_id: z.string(),
    assistant_id: z.string(),
    thread_id: z.string().nullable(),
    on_run_completed: z.enum(["delete", "keep"]).nullable(),
    schedule: z.string(),
    timezone: z.string().nullable(),
    end_time: isoDate.nullable(),
    enabled: z.boolean(),
    next_run_date: isoDate.nullable(),
    payload: jsonObject,
    metadata: jsonObject,
    user_id: z.string().nullable(),
    created_at: isoDate,
    updated_at: isoDate,
  })
  .meta({ id: "Cron" });

export const CRON_SELECT = Object.keys(cron.shape) as readonly (keyof typeof cron.shape)[]; // its own keys

export function renderCron(row: Cron): Record<keyof typeof cron.shape, unknown> {
  return {
    cron_id: row.cronId,
    assistant_id: row.assistantId,
    thread_id: row.threadId,
    on_run_completed: row.onRunCompleted,
    schedule: row.schedule,
    timezone: row.timezone,
    end_time: row.endAt === null ? null : iso(row.endAt),
    enabled: row.enabled,
    next_run_date: row.nextRunAt === null ? null : iso(row.nextRunAt),
    payload: renderPayload(row),
    metadata: row.metadata,
    user_id: row.userId,
    created_at: iso(row.createdAt),
    updated_at: iso(row.updatedAt),
  };
}

function renderPayload({ assistantId, payload }: Cron): object {
  const members = PAYLOAD_MEMBERS.map(([member, [name]]) => [name, payload[member]]);
  return { assistant_id: assistantId, ...Object.fromEntries(members), webhook: shownWebhook(payload.webhook) };
}
