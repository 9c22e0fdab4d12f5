/**
 * Requests as they stand on the wire, for what the SDK client cannot express. Every answer is held to what the API
 * promises of all of them: a request id, and for an error a JSON body that says what and which.
 */
export interface RawAnswer {
  readonly status: number;
  readonly headers: Headers;
  /** Parsed where the answer is JSON; undefined where it has no body. */
  readonly body: unknown;
}

/** A string is sent as it is, anything else as JSON. */
export type Send = (
  method: string,
  path: string,
  body?: unknown,
  headers?: Readonly<Record<string, string>>,
) => Promise<RawAnswer>;

export function sender(url: string): Send {
  return async (method, path, body, headers = {}) => {
    const response = await fetch(`${url}${path}`, {
      method,
      headers: { ...(body === undefined ? {} : { "content-type": "application/json" }), ...headers },
      ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
    });
    const text = await response.text();
    const isJson = response.headers.get("content-type")?.startsWith("application/json") === true;
    const answer = {
      status: response.status,
      headers: response.headers,
      body: text === "" ? undefined : isJson ? (JSON.parse(text) as unknown) : text,
    };
    holdToPromises(`${method} ${path}`, answer, headers);
    return answer;
  };
}

function holdToPromises(
  request: string,
  { status, headers, body }: RawAnswer,
  sent: Readonly<Record<string, string>>,
): void {
  const requestId = headers.get("x-request-id");
  if (requestId === null || requestId === "") throw new Error(`${request}: no x-request-id`);
  if (sent["x-request-id"] !== undefined && sent["x-request-id"] !== requestId) {
    throw new Error(`${request}: another x-request-id than the one that was sent`);
  }
  if (status < 400 || body === undefined) return;
  // The faces of other protocols have errors of their own.
  const {
    error,
    detail = error?.message,
    code = error?.code,
  } = body as {
    readonly error?: { readonly message?: unknown; readonly code?: unknown };
    readonly detail?: unknown;
    readonly code?: unknown;
  };
  if (typeof detail !== "string" || detail === "" || (typeof code !== "string" && typeof code !== "number")) {
    throw new Error(`${request}: an error without detail and code: ${JSON.stringify(body)}`);
  }
}
