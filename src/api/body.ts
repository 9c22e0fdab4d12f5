/** The text of a request's body: of whole, plain UTF-8, up to a limit. */
import { badRequest, GatewayError } from "../core/errors.js";

/**
 * Throws `too_large` for more than `limit` bytes, `unsupported_media_type` for a compressed body (a few bytes of it could
 * be gigabytes), and `bad_request` for one that breaks off or is not UTF-8.
 */
export async function readBody(request: Request, limit: number): Promise<string> {
  const { headers } = request;
  refuseEncoded(headers.get("content-encoding"));
  const announced = headers.has("transfer-encoding") ? null : headers.get("content-length");
  if (announced !== null && Number(announced) > limit) throw tooLarge(limit);
  return toText(await wholeOf(announced === null ? readStream(request.body, limit) : request.arrayBuffer()));
}

/** The request, its body failing with `too_large` where it becomes more than `limit` bytes. */
export function limitBody(request: Request, limit: number): Request {
  const { headers, body } = request;
  const announced = headers.has("transfer-encoding") ? null : headers.get("content-length");
  if (announced !== null && Number(announced) > limit) throw tooLarge(limit);
  if (announced !== null || body === null) return request; // Node reads no more than was announced
  let size = 0;
  const counted = new TransformStream<Uint8Array, Uint8Array>({
    transform(chunk, controller) {
      size += chunk.length;
      if (size > limit) throw tooLarge(limit);
      controller.enqueue(chunk);
    },
  });
  return new Request(request, { body: body.pipeThrough(counted), duplex: "half" } as RequestInit); // its type lacks duplex
}

function refuseEncoded(encoding: string | null): void {
  if (encoding === null || /^(identity)?$/i.test(encoding.trim())) return;
  throw new GatewayError("unsupported_media_type", `Content-Encoding: ${encoding}: send the body as it is`);
}

async function wholeOf(bytes: Promise<ArrayBuffer | Uint8Array>): Promise<ArrayBuffer | Uint8Array> {
  try {
    return await bytes;
  } catch (error) {
    if (error instanceof GatewayError) throw error;
    throw badRequest("the body broke off"); // the one thing that fails is the connection
  }
}

/** How much beyond the limit is read, and forgotten, for the sake of the connection. */
const DRAINED_BYTES = 64 * 1_024 ** 2;

/**
 * A client that still sends when it is answered would find its connection cut, maybe before it reads the answer, and so
 * would its next request on that connection.
 */
async function readStream(body: Request["body"], limit: number): Promise<Uint8Array> {
  if (body === null) return new Uint8Array();
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
  return Buffer.concat(chunks);
}

/** Without a byte order mark. */
function toText(bytes: ArrayBuffer | Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw badRequest("the body is not UTF-8");
  }
}

function tooLarge(limit: number): GatewayError {
  return new GatewayError("too_large", `the body is larger than ${limit} bytes`);
}
