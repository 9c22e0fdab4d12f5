/** JSON-RPC 2.0, as MCP and A2A speak it: what a message is, what is answered, what errors are. Pure. */
import { type ErrorCode, GatewayError, RefusedError } from "../core/errors.js";
import type { Json, JsonObject } from "../core/model.js";
import { isObject } from "../protocol/json-object.js";

export type RpcId = string | number | null;

export interface RpcRequest {
  readonly kind: "request";
  readonly id: RpcId;
  readonly method: string;
  readonly params: JsonObject;
}

export type RpcMessage =
  | RpcRequest
  /** Nobody waits for an answer: a notification, or the answer to something that was never asked. */
  | { readonly kind: "notice" };

export const RPC_ERRORS = {
  parse: -32700,
  invalidRequest: -32600,
  methodNotFound: -32601,
  invalidParams: -32602,
  internal: -32603,
} as const;

export class RpcError extends Error {
  override readonly name = "RpcError";
  readonly code: number;
  /** What a client can act on. */
  readonly data: JsonObject | undefined;

  constructor(code: number, message: string, data?: JsonObject) {
    super(message);
    this.code = code;
    this.data = data;
  }
}

export function invalidParams(message: string): RpcError {
  return new RpcError(RPC_ERRORS.invalidParams, message);
}

export function methodNotFound(method: string): RpcError {
  return new RpcError(RPC_ERRORS.methodNotFound, `method ${JSON.stringify(method)} not found`);
}

/** Throws an `RpcError` for what is no message. */
export function readMessage(value: Json): RpcMessage {
  if (!isObject(value) || value.jsonrpc !== "2.0") throw malformed('expected an object with "jsonrpc": "2.0"');
  const { id, method, params = {} } = value;
  if (method === undefined && ("result" in value || "error" in value)) return { kind: "notice" };
  if (typeof method !== "string" || method === "") throw malformed("expected a method");
  if (id === undefined) return { kind: "notice" };
  if (typeof id !== "string" && typeof id !== "number" && id !== null) throw malformed("an id is a text or a number");
  if (!isObject(params)) throw new RpcError(RPC_ERRORS.invalidParams, "params: expected an object");
  return { kind: "request", id, method, params };
}

/** The id that an answer to this value has, whatever else is wrong with it. */
export function idOf(value: Json): RpcId {
  const id = isObject(value) ? value.id : null;
  return typeof id === "string" || typeof id === "number" ? id : null;
}

function malformed(problem: string): RpcError {
  return new RpcError(RPC_ERRORS.invalidRequest, `not a JSON-RPC message: ${problem}`);
}

export function success(id: RpcId, result: JsonObject): JsonObject {
  return { jsonrpc: "2.0", id, result };
}

export function failure(id: RpcId, { code, message, data }: Pick<RpcError, "code" | "message" | "data">): JsonObject {
  return { jsonrpc: "2.0", id, error: { code, message, ...(data === undefined ? {} : { data }) } };
}

/** What is wrong with a call, in JSON-RPC's words; undefined for bugs. */
export function rpcErrorOf(thrown: unknown): RpcError | undefined {
  if (thrown instanceof RpcError) return thrown;
  if (thrown instanceof RefusedError) {
    return new RpcError(RPC_ERRORS.invalidRequest, thrown.message, { code: "refused", status: thrown.status });
  }
  if (!(thrown instanceof GatewayError)) return undefined;
  return new RpcError(CODES[thrown.code] ?? RPC_ERRORS.invalidParams, thrown.message, {
    code: thrown.code,
    ...thrown.details,
  });
}

/** What is wrong with something else than the parameters. */
const CODES: { readonly [code in ErrorCode]?: number } = {
  unavailable: RPC_ERRORS.internal,
  too_many_requests: RPC_ERRORS.internal,
  unauthenticated: RPC_ERRORS.invalidRequest,
  forbidden: RPC_ERRORS.invalidRequest,
};

/**
 * The answer to one message: what `make` returns is its result, what it throws its error. Undefined for what wants no
 * answer, and when `make` has none because nobody is there any more. Throws bugs.
 */
export async function answerTo(
  value: Json,
  make: (request: RpcRequest) => Promise<JsonObject | undefined>,
): Promise<JsonObject | undefined> {
  try {
    const message = readMessage(value);
    const result = message.kind === "notice" ? undefined : await make(message);
    return result === undefined ? undefined : success(idOf(value), result);
  } catch (error) {
    const told = rpcErrorOf(error);
    if (told === undefined) throw error;
    return failure(idOf(value), told);
  }
}
