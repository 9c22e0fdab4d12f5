/**
 * Answers where there is no request that a route could get: bytes that are no HTTP, a URL that is none, headers without
 * end. They owe what every answer owes: JSON `{detail, code}` and a request id.
 */
import type { Server, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { Clock } from "../core/clock.js";
import { newId } from "../core/ids.js";
import type { Log } from "../core/log.js";

interface Refusal {
  readonly status: number;
  readonly reason: string;
  readonly detail: string;
  readonly code: string;
}

const NOT_HTTP: Refusal = { status: 400, reason: "Bad Request", detail: "this is not HTTP/1.1", code: "bad_request" };

/** By the code of Node's parser; anything else is no HTTP. */
const REFUSALS: Readonly<Record<string, Refusal>> = {
  HPE_HEADER_OVERFLOW: {
    status: 431,
    reason: "Request Header Fields Too Large",
    detail: "the headers are too large",
    code: "too_large",
  },
  HPE_CHUNK_EXTENSIONS_OVERFLOW: {
    status: 413,
    reason: "Payload Too Large",
    detail: "the chunk extensions are too large",
    code: "too_large",
  },
  ERR_HTTP_REQUEST_TIMEOUT: {
    status: 408,
    reason: "Request Timeout",
    detail: "the request took too long to arrive",
    code: "bad_request",
  },
};

/** What is known of a connection: how many requests it has brought, and the newest answer. */
interface Course {
  readonly requests: number;
  readonly answer: ServerResponse;
}

/**
 * Answers what Node's parser refuses, and expectations that nobody can meet.
 *
 * Nobody is called slow for what this process did not read in time because it stood still: what lies there is read first, and
 * a request that goes on with that gets its time (`requestTimeoutMs`) once more.
 */
export function refuseUnreadable(
  server: Server,
  { requestTimeoutMs, clock }: { readonly requestTimeoutMs: number; readonly clock: Clock },
): void {
  const courses = new WeakMap<Socket, Course>();
  server.prependListener("request", (request, answer) => {
    if (request.url === "*") request.url = "/*"; // a target that the adapter refuses by itself, without a body
    courses.set(request.socket, { requests: (courses.get(request.socket)?.requests ?? 0) + 1, answer });
  });

  function refuse(socket: Socket, error: NodeJS.ErrnoException): void {
    const answer = courses.get(socket)?.answer;
    // In the middle of an answer it would be taken for a part of that.
    const isAnswering = answer?.headersSent === true && !answer.writableFinished;
    // Who has sent nothing may be sending a request just now, and would take this for the answer.
    const isSilent = socket.bytesRead === 0;
    if (!socket.writable || error.code === "ECONNRESET" || isAnswering || isSilent) socket.destroy();
    else socket.end(toBytes(REFUSALS[error.code ?? ""] ?? NOT_HTTP), () => socket.destroy());
  }

  function refuseIfSlow(socket: Socket, error: NodeJS.ErrnoException): void {
    const seen = socket.bytesRead;
    const course = courses.get(socket);
    const late = (course?.requests ?? 0) + (course?.answer.req.complete === false ? 0 : 1);
    setImmediate(() => {
      if (socket.bytesRead === seen) refuse(socket, error);
      else if (requestTimeoutMs > 0 && !hasArrived(courses.get(socket), late)) {
        const forget = clock.after(requestTimeoutMs, () => {
          if (!hasArrived(courses.get(socket), late)) refuse(socket, error);
        });
        socket.once("close", forget);
      }
    });
  }

  server.on("clientError", (error: NodeJS.ErrnoException, socket: Socket) => {
    (error.code === "ERR_HTTP_REQUEST_TIMEOUT" ? refuseIfSlow : refuse)(socket, error);
  });
  server.on("checkExpectation", (request, response: ServerResponse) => {
    const body = { detail: `Expect: ${request.headers.expect} cannot be met`, code: "bad_request" };
    response.writeHead(417, { "content-type": "application/json", "x-request-id": newId() });
    response.end(JSON.stringify(body));
  });
}

/** Whether the request of this number, from 1, is here as a whole. */
function hasArrived(course: Course | undefined, number: number): boolean {
  if (course === undefined || course.requests < number) return false;
  return course.requests > number || course.answer.req.complete;
}

function toBytes({ status, reason, detail, code }: Refusal): string {
  const body = JSON.stringify({ detail, code });
  return [
    `HTTP/1.1 ${status} ${reason}`,
    "content-type: application/json",
    `content-length: ${Buffer.byteLength(body)}`,
    `x-request-id: ${newId()}`,
    "connection: close",
    "",
    body,
  ].join("\r\n");
}

/** For the adapter: what it cannot make a request of, and what should never happen. */
export function answerUnreadable(log: Log): (error: unknown) => Response {
  return (error) => {
    const isRequest = error instanceof Error && error.name === "RequestError";
    if (!isRequest) log.error({ err: error }, "a request could not be handled");
    const body = isRequest
      ? { detail: "the URL or the Host header of the request is malformed", code: "bad_request" }
      : { detail: "internal error", code: "internal" };
    return new Response(JSON.stringify(body), {
      status: isRequest ? 400 : 500,
      headers: { "content-type": "application/json", "x-request-id": newId() },
    });
  };
}
