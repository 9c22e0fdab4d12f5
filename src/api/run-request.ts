/** From the wire's run request to the manager's: spellings unified, headers chosen, what is unsupported refused. */
import { badRequest, invalid } from "../core/errors.js";
import type { Durability, JsonObject, RunConfig, StreamMode } from "../core/model.js";
import { readTraceparent } from "../core/tracing.js";
import type { RequestHeaders } from "../faces/run-request.js";
import type { RunRequest } from "../runs/draft.js";
import { checkpointPointer, type RunCreate } from "./schemas.js";

/** Which request headers a graph sees in its configurable; `*` in a pattern stands for anything, excludes win. */
export interface HeaderRules {
  readonly includes: readonly string[];
  readonly excludes: readonly string[];
}

const MAX_IDEMPOTENCY_KEY_CHARS = 255;

export function toRunRequest(body: RunCreate, headers: Headers, headerRules: HeaderRules): RunRequest {
  const { langsmith_tracer: tracer, feedback_keys: feedbackKeys } = body;
  return {
    assistantId: body.assistant_id,
    input: body.input,
    command: body.command === null ? null : commandOf(body.command),
    metadata: body.metadata,
    config: withoutNulls(body.config) as RunConfig, // JSON with the checked members of runCreate
    context: body.context,
    checkpoint: checkpointOf(body),
    streamModes: streamModesOf(body.stream_mode),
    subgraphs: body.stream_subgraphs,
    resumable: body.stream_resumable,
    interruptBefore: body.interrupt_before,
    interruptAfter: body.interrupt_after,
    durability: durabilityOf(body),
    multitaskStrategy: body.multitask_strategy ?? undefined,
    ifNotExists: body.if_not_exists,
    afterSeconds: body.after_seconds,
    onDisconnect: body.on_disconnect,
    onCompletion: body.on_completion === "keep" || body.on_completion === "continue" ? "keep" : "delete",
    ...toRequestHeaders(headers, headerRules),
    ...(body.webhook ? { webhook: body.webhook } : {}),
    ...(feedbackKeys.length === 0 ? {} : { feedbackKeys }),
    ...(tracer === null || tracer === false ? {} : { langsmithTracer: tracerOf(tracer) }),
  };
}

/** What a run takes from the headers of its request. */
export function toRequestHeaders(headers: Headers, headerRules: HeaderRules): RequestHeaders {
  const traceparent = readTraceparent(headers.get("traceparent"));
  return {
    idempotencyKey: idempotencyKeyOf(headers),
    headerConfigurable: headerConfigurable(headers, headerRules),
    ...(traceparent === undefined ? {} : { traceparent }),
  };
}

function tracerOf({ project_name, example_id }: { project_name?: string | null; example_id?: string | null }) {
  return { projectName: project_name ?? null, exampleId: example_id ?? null };
}

/** The entries of a batch; a key for the whole request becomes one for each of them. */
export function toBatch(bodies: readonly RunCreate[], headers: Headers, headerRules: HeaderRules): RunRequest[] {
  return bodies.map((body, index) => {
    const request = toRunRequest(body, headers, headerRules);
    refuseCheckpoint(request);
    const { idempotencyKey: key } = request;
    return key === null ? request : { ...request, idempotencyKey: `${key}/${index}` };
  });
}

/** A stateless run has no past to start from. */
export function refuseCheckpoint(request: RunRequest): void {
  if (request.checkpoint !== null) throw invalid("checkpoint: a stateless run has no thread that it could start from");
}

/** Clients send null for what they do not set. */
function withoutNulls(config: RunCreate["config"]): object {
  return Object.fromEntries(Object.entries(config).filter(([, value]) => value !== null));
}

/** One that commands nothing is none: the run has its input. */
function commandOf({ resume, update, goto }: NonNullable<RunCreate["command"]>): RunRequest["command"] {
  const command = {
    ...(resume === undefined || resume === null ? {} : { resume }),
    ...(update === undefined || update === null ? {} : { update }),
    ...(goto === undefined || goto === null ? {} : { goto: goto as never }), // JSON by the schema of gotoTarget
  };
  return Object.keys(command).length === 0 ? null : command;
}

/** Clients name the place to start from in three ways. Without an id it is the head, where a run starts anyway. */
function checkpointOf(body: RunCreate): RunRequest["checkpoint"] {
  if (body.checkpoint?.checkpointId !== undefined) return body.checkpoint;
  if (body.checkpoint_id !== null) return { checkpointNs: "", checkpointId: body.checkpoint_id };
  const configurable = "configurable" in body.config ? body.config.configurable : null;
  const inConfig = checkpointPointer.safeParse(configurable ?? {});
  if (!inConfig.success)
    throw invalid("config.configurable: checkpoint_id, checkpoint_ns or checkpoint_map is malformed");
  return inConfig.data.checkpointId === undefined ? null : inConfig.data;
}

function streamModesOf(mode: StreamMode | StreamMode[]): readonly StreamMode[] {
  const modes = Array.isArray(mode) ? mode : [mode];
  return modes.length === 0 ? ["values"] : [...new Set(modes)];
}

function durabilityOf(body: RunCreate): Durability {
  if (body.durability) return body.durability;
  return body.checkpoint_during === false ? "exit" : "async";
}

function idempotencyKeyOf(headers: Headers): string | null {
  const key = headers.get("idempotency-key");
  if (key === null || key === "") return null;
  if (key.length > MAX_IDEMPOTENCY_KEY_CHARS) {
    throw badRequest(`Idempotency-Key: longer than ${MAX_IDEMPOTENCY_KEY_CHARS} characters`);
  }
  return key;
}

function headerConfigurable(headers: Headers, rules: HeaderRules): JsonObject {
  const chosen: Record<string, string> = {};
  for (const [name, value] of headers) {
    const matches = (pattern: string): boolean => matchesGlob(name, pattern.toLowerCase());
    if (rules.includes.some(matches) && !rules.excludes.some(matches)) chosen[name] = value;
  }
  return chosen;
}

/** `*` stands for any run of characters; everything else for itself. */
function matchesGlob(text: string, pattern: string): boolean {
  const [head = "", ...rest] = pattern.split("*");
  if (rest.length === 0) return text === pattern;
  const tail = rest.pop() ?? "";
  if (!text.startsWith(head) || text.length < head.length + tail.length || !text.endsWith(tail)) return false;
  let from = head.length;
  const end = text.length - tail.length;
  return rest.every((part) => {
    const at = text.indexOf(part, from);
    from = at + part.length;
    return at !== -1 && from <= end;
  });
}
