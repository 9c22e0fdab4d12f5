/** What every answer to a hostile request owes: a status below 500, an error in JSON, nothing of the inside, the promised shape. */
import { tmpdir } from "node:os";
import { resolve } from "node:path";
import { z } from "zod";
import type { JsonSchema, OpenApiDocument, Operation } from "../../src/api/openapi.js";
import type { RawResponse } from "./raw-http.js";

/** What is wrong with the answer, in words; undefined when nothing is. */
export type Verdict = (operation: Operation, request: string, response: RawResponse) => string | undefined;

/** Nothing that is sent contains these. */
const INSIDE: readonly RegExp[] = [
  /\bat (?:async )?[\w$.<>]+ \(.*:\d+:\d+\)/,
  /\bat (?:async )?(?:file|node):\/*\S+:\d+:\d+/,
  /node_modules|node:internal/,
  /sqlite/i,
  /near ".*": syntax error|no such (?:table|column)|too many SQL variables|Expression tree is too large/,
  /\b(?:select .* from|insert into|update|delete from) ["`]\w+["`]/i,
  new RegExp([resolve(import.meta.dirname, "../.."), tmpdir()].map((path) => path.replace(/\W/g, "\\$&")).join("|")),
];

export function verdictOf(document: OpenApiDocument): Verdict {
  const schemaOf = responseSchemas(document);
  return (operation, request, response) => {
    const { status, headers, body } = response;
    const isPromised = status === 501 && "501" in operation.responses; // of a graph that keeps its state itself
    const isExpected = (status >= 200 && status < 300) || (status >= 400 && status < 500) || isPromised;
    if (!isExpected) return `status ${status}`;
    const leak = leakIn(body, request);
    if (leak !== undefined && operation.operationId !== "get_docs") return `shows ${leak.source}`;
    const isJson = headers.get("content-type")?.startsWith("application/json") === true;
    if (request.startsWith("HEAD ")) return undefined; // no body to look at
    if (status >= 400) return errorProblem(isJson, body);
    // A selection is a part of the shape; in chunks or escaped it may not be seen.
    if (!isJson || !response.complete || /select|transfer-encoding|\\u00/i.test(request)) return undefined;
    const schema = schemaOf(operation, status);
    const [method = ""] = operation.operationId.split("_");
    if (schema === undefined || !request.startsWith(`${method.toUpperCase()} `)) return undefined;
    const judged = schema.safeParse(JSON.parse(body));
    return judged.success ? undefined : `not as described: ${z.prettifyError(judged.error).slice(0, 300)}`;
  };
}

/** What of the inside a text shows that answers `request`. */
function leakIn(text: string, request: string): RegExp | undefined {
  const shown = text.replaceAll('\\"', '"').replaceAll("\\n", "\n"); // as a string of JSON reads
  return INSIDE.find((pattern) => pattern.test(shown) && !pattern.test(request));
}

/** What is wrong with a message of a WebSocket that was sent `commands`; undefined when nothing is. */
export function messageProblem(commands: string, text: string): string | undefined {
  const message = JSON.parse(text) as { readonly type?: unknown; readonly error?: unknown; readonly message?: unknown };
  if (message.type === "event" || message.type === "success") return undefined;
  if (message.type !== "error" || typeof message.message !== "string" || message.message === "")
    return "no message of the protocol";
  if (typeof message.error !== "string" || !COMMAND_ERRORS.has(message.error)) return `error ${String(message.error)}`;
  const leak = leakIn(text, commands);
  return leak === undefined ? undefined : `shows ${leak.source}`;
}

/** All that say what is wrong with the command. */
const COMMAND_ERRORS: ReadonlySet<string> = new Set([
  "invalid_argument",
  "unknown_command",
  "no_such_run",
  "no_such_subscription",
  "no_such_namespace",
  "no_such_interrupt",
  "no_such_checkpoint",
  "not_supported",
]);

function errorProblem(isJson: boolean, body: string): string | undefined {
  if (!isJson) return "an error that is not JSON";
  const { error, detail = error?.message } = JSON.parse(body) as {
    readonly detail?: unknown;
    readonly error?: { readonly message?: unknown }; // the faces of other protocols
  };
  return typeof detail === "string" && detail !== "" ? undefined : "an error without detail";
}

/** zod reads one schema at a time: references are written out, those to oneself as far as answers go. */
function responseSchemas(document: OpenApiDocument) {
  const known = new Map<string, z.ZodType | undefined>();
  const inline = (schema: unknown, depth: number): unknown => {
    if (Array.isArray(schema)) return schema.map((item) => inline(item, depth));
    if (typeof schema !== "object" || schema === null) return schema;
    const { $ref: ref } = schema as { readonly $ref?: string };
    if (ref === undefined)
      return Object.fromEntries(Object.entries(schema).map(([k, part]) => [k, inline(part, depth)]));
    return depth > 4 ? {} : inline(document.components.schemas[ref.split("/").at(-1) ?? ""], depth + 1);
  };
  return (operation: Operation, status: number): z.ZodType | undefined => {
    const name = `${operation.operationId} ${status}`;
    if (!known.has(name)) {
      const described = operation.responses[String(status)];
      const schema =
        described !== undefined && "content" in described ? described.content?.["application/json"]?.schema : undefined;
      known.set(name, schema === undefined ? undefined : z.fromJSONSchema(inline(schema, 0) as JsonSchema & object));
    }
    return known.get(name);
  };
}
