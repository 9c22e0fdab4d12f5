/** JSON-RPC as `/openapi.json` describes it, and heddle's errors in its words for what fails before a message is understood. */
import { z } from "zod";
import type { Json } from "../core/model.js";
import { failure, RPC_ERRORS } from "../faces/json-rpc.js";
import type { ErrorShape } from "./errors.js";
import { anyJson, jsonObject } from "./schemas.js";

/** What it says is told in JSON-RPC's words: see `readMessage`. */
export const jsonRpcMessage = jsonObject.meta({
  id: "JsonRpcMessage",
  description: "A request, a notification or an answer",
}) as z.ZodType<Json>;

const rpcFailure = z
  .object({
    jsonrpc: z.literal("2.0"),
    id: z.union([z.string(), z.number(), z.null()]),
    error: z.object({ code: z.int(), message: z.string(), data: anyJson.optional() }),
  })
  .meta({ id: "JsonRpcError" });

export const rpcErrors: ErrorShape = {
  schema: rpcFailure,
  render({ status, body }) {
    const { detail: message, ...data } = body;
    return {
      status: status === 422 ? 400 : status,
      body: failure(null, { code: codeOf(status, body.code), message, data }),
    };
  },
};

function codeOf(status: number, code: string): number {
  if (code === "bad_request") return RPC_ERRORS.parse;
  return status >= 500 ? RPC_ERRORS.internal : RPC_ERRORS.invalidRequest;
}
