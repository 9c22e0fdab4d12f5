/** The text of a request's body, up to a limit. */
import { GatewayError } from "../core/errors.js";

/** Throws `too_large` for more than `limit` bytes. */
export async function readBody(request: Request, limit: number): Promise<string> {
  const { headers } = request;
  const announced = headers.has("transfer-encoding") ? null : headers.get("content-length");
  if (announced === null) return readStream(request.body, limit);
  if (Number(announced) > limit) throw tooLarge(limit);
  return request.text();
}

/** How much beyond the limit is read, and forgotten, for the sake of the connection. */
const DRAINED_BYTES = 64 * 1_024 ** 2;

/**
 * A client that still sends when it is answered would find its connection cut, maybe before it reads the answer, and so
 * would its next request on that connection.
 */
async function readStream(body: Request["body"], limit: number): Promise<string> {
  if (body === null) return "";
  const reader = body.getReader();
  const chunks: Uint8Array[] = [];
  let size = 0;
  while (size <= limit + DRAINED_BYTES) {
    const { done, value } = await reader.read();
    if (done) break;
    size += value.length;
    if (size <= limit) chunks.push(value);
  }
  if (size > limit) throw tooLarge(limit);
  return new TextDecoder().decode(Buffer.concat(chunks));
}

function tooLarge(limit: number): GatewayError {
  return new GatewayError("too_large", `the body is larger than ${limit} bytes`);
}
