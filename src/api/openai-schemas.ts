/**
 * The requests and answers of OpenAI's chat API, as far as an agent can mean them. What it cannot is refused with an error
 * that names the member; what says nothing to a graph and does no harm is taken and left (docs/openai.md).
 */
import { z } from "zod";
import { GatewayError, invalid, unsupported } from "../core/errors.js";
import { type Json, type JsonObject, MULTITASK_STRATEGIES } from "../core/model.js";
import { isQuestion } from "../faces/chat-messages.js";
import { parseJsonBody } from "./edge.js";
import { anyJson, id, jsonObject, label, metadataObject, optional } from "./schemas.js";

const MAX_MESSAGES = 10_000;
const MAX_PARTS = 1_000;

const textPart = z.object({ type: z.literal("text"), text: z.string() });
const imagePart = z.object({
  type: z.literal("image_url"),
  image_url: z.object({ url: z.string(), detail: z.string().optional() }),
});
const audioPart = z.object({
  type: z.literal("input_audio"),
  input_audio: z.object({ data: z.string(), format: z.string() }),
});
const filePart = z.object({
  type: z.literal("file"),
  file: z.object({
    file_data: z.string().optional(),
    file_id: z.string().optional(),
    filename: z.string().optional(),
  }),
});
const refusalPart = z
  .object({ type: z.literal("refusal"), refusal: z.string() })
  .transform(({ refusal }) => ({ type: "text" as const, text: refusal }));

const words = z.union([z.string(), z.array(textPart).max(MAX_PARTS)]);
const name = label.nullish().transform((given) => given ?? undefined);

const toolCall = z
  .object({
    id: z.string().min(1).max(512),
    type: z.literal("function"),
    function: z.object({ name: label, arguments: z.string().meta({ description: "a JSON object as text" }) }),
  })
  .transform(({ id, function: { name, arguments: text } }) => ({
    id,
    function: { name, arguments: isQuestion(id) ? {} : argumentsOf(text) },
  }));

const message = z.discriminatedUnion("role", [
  z.object({ role: z.enum(["system", "developer"]), content: words, name }),
  z.object({
    role: z.literal("user"),
    content: z.union([
      z.string(),
      z.array(z.discriminatedUnion("type", [textPart, imagePart, audioPart, filePart])).max(MAX_PARTS),
    ]),
    name,
  }),
  z.object({
    role: z.literal("assistant"),
    content: z
      .union([z.string(), z.array(z.union([textPart, refusalPart])).max(MAX_PARTS)])
      .nullish()
      .transform((content) => content ?? null),
    name,
    tool_calls: z
      .array(toolCall)
      .max(MAX_PARTS)
      .nullish()
      .transform((calls) => calls ?? undefined),
  }),
  z.object({ role: z.literal("tool"), content: words, tool_call_id: z.string().min(1).max(512) }),
]);

/** What a graph can hand to its model; it is given to the graph as `config.configurable.model_params`. */
const MODEL_PARAMS = {
  temperature: z.number().nullish(),
  top_p: z.number().nullish(),
  max_tokens: z.int().positive().nullish(),
  max_completion_tokens: z.int().positive().nullish(),
  presence_penalty: z.number().nullish(),
  frequency_penalty: z.number().nullish(),
  stop: z.union([z.string(), z.array(z.string()).max(100)]).nullish(),
  seed: z.int().nullish(),
  logit_bias: z.record(z.string(), z.number()).nullish(),
  reasoning_effort: label.nullish(),
  verbosity: label.nullish(),
};

const OWN = {
  model: z
    .string()
    .min(1)
    .max(1_024)
    .meta({ description: "An assistant: its name, its id, its graph's id, or `name@version`" }),
  messages: z.array(message).min(1).max(MAX_MESSAGES),
  stream: optional(z.boolean(), false),
  stream_options: z
    .object({ include_usage: z.boolean().nullish(), include_obfuscation: z.boolean().nullish() })
    .nullish(),
  metadata: optional(metadataObject, {} as JsonObject),
  user: label.nullish().meta({ description: "Goes to the run's metadata" }),
  thread_id: id.nullish().meta({ description: "heddle's own: a thread that holds the conversation; as X-Thread-Id" }),
  multitask_strategy: z
    .enum(MULTITASK_STRATEGIES)
    .nullish()
    .meta({ description: "heddle's own: what happens on a thread that runs; reject where nothing is said" }),
};

/** Members that are refused, with what they may say all the same because it asks for nothing. */
const REFUSED: ReadonlyMap<string, { readonly why: string; readonly harmless?: readonly Json[] }> = new Map([
  ["n", { why: "a run has one answer", harmless: [1] }],
  ["logprobs", { why: "a graph has none", harmless: [false] }],
  ["top_logprobs", { why: "a graph has none", harmless: [0] }],
  ["response_format", { why: "the graph decides what it answers", harmless: [{ type: "text" }] }],
  ["modalities", { why: "answers are text", harmless: [["text"]] }],
  ["audio", { why: "answers are text" }],
  ["tools", { why: "the graph has tools of its own", harmless: [[]] }],
  ["tool_choice", { why: "the graph has tools of its own", harmless: ["auto", "none"] }],
  ["parallel_tool_calls", { why: "the graph has tools of its own", harmless: [true] }],
  ["functions", { why: "the graph has tools of its own", harmless: [[]] }],
  ["function_call", { why: "the graph has tools of its own", harmless: ["auto", "none"] }],
  ["web_search_options", { why: "the graph has tools of its own" }],
  ["prediction", { why: "a graph has no use for it" }],
  ["store", { why: "completions are not kept: name a thread to keep a conversation", harmless: [false] }],
  ["service_tier", { why: "there is one", harmless: ["auto", "default"] }],
]);

/** Hints to a provider about itself. */
const HARMLESS: ReadonlySet<string> = new Set(["safety_identifier", "prompt_cache_key", "prompt_cache_retention"]);

const shape = { ...OWN, ...MODEL_PARAMS };

export const chatRequest = z
  .looseObject(shape)
  .transform((body) => {
    for (const [member, value] of Object.entries(body)) requireMeant(member, value as Json); // a part of JSON
    return body;
  })
  .meta({ id: "ChatCompletionRequest" });

export type ChatBody = z.output<typeof chatRequest>;

function requireMeant(member: string, value: Json): void {
  if (member in shape || HARMLESS.has(member) || value === null) return;
  const refused = REFUSED.get(member);
  if (refused === undefined) throw unsupported(member, "heddle does not know it");
  const asksForNothing = refused.harmless?.some((harmless) => JSON.stringify(harmless) === JSON.stringify(value));
  if (asksForNothing !== true) throw unsupported(member, refused.why);
}

/** null where nothing is asked of the model. */
export function modelParamsOf(body: ChatBody): JsonObject | null {
  const asked = Object.keys(MODEL_PARAMS).flatMap((member) => {
    const value = body[member as keyof typeof MODEL_PARAMS];
    return value === null || value === undefined ? [] : [[member, value] as const];
  });
  return asked.length === 0 ? null : Object.fromEntries(asked);
}

/** JSON inside of a text is held to what a body is held to. */
function argumentsOf(text: string): JsonObject {
  const args = text.trim() === "" ? {} : jsonIn(text);
  if (typeof args === "object" && args !== null && !Array.isArray(args)) return args as JsonObject; // neither null nor a list
  throw invalid("body.messages: the arguments of a tool call are not a JSON object");
}

/** The value that an answer gives: what its text says as JSON, else the text itself. */
export function answerIn(text: string): Json {
  const value = text.trim() === "" ? undefined : jsonIn(text);
  return value === undefined ? text : value;
}

/** Undefined for what is no JSON. */
function jsonIn(text: string): Json | undefined {
  try {
    return parseJsonBody(text) as Json; // what JSON holds is of this type
  } catch (error) {
    if (error instanceof GatewayError && error.code === "bad_request") return undefined;
    throw error;
  }
}

// ---- answers

const usage = z.object({ prompt_tokens: z.int(), completion_tokens: z.int(), total_tokens: z.int() });

export const chatCompletionAnswer = z
  .object({
    id: z.string(),
    object: z.literal("chat.completion"),
    created: z.int(),
    model: z.string(),
    metadata: jsonObject.optional(),
    choices: z.array(
      z.object({
        index: z.int(),
        message: z.looseObject({ role: z.literal("assistant"), content: z.string().nullable() }),
        logprobs: z.null(),
        finish_reason: z.enum(["stop", "length", "tool_calls"]),
      }),
    ),
    usage,
  })
  .meta({ id: "ChatCompletion" });

export const modelAnswer = z
  .object({ id: z.string(), object: z.literal("model"), created: z.int(), owned_by: z.string() })
  .meta({ id: "Model" });

export const openAiError = z
  .object({
    error: z.object({
      message: z.string(),
      type: z.string(),
      code: anyJson,
      param: z.string().nullable(),
    }),
  })
  .meta({ id: "OpenAIError" });
