/** Event streams as they stand on the wire, for what the SDK client hides: frames, comments, ids, how a stream ends. */
export interface SsePart {
  readonly id: string | undefined;
  readonly event: string;
  readonly data: unknown;
}

export interface SseStream {
  readonly status: number;
  readonly headers: Headers;
  /** The next event; undefined at a clean end; throws when the stream breaks. Passes comments over. */
  next(): Promise<SsePart | undefined>;
  /** Everything up to and with the first event that matches; throws when the stream ends before. */
  until(matches: (part: SsePart) => boolean): Promise<readonly SsePart[]>;
  /** Everything that is left, to the clean end. */
  rest(): Promise<readonly SsePart[]>;
  /** All text received so far. */
  raw(): string;
  close(): Promise<void>;
}

/** Resolves when the headers have arrived. A signal breaks the stream, `close` leaves it. */
export async function openSse(url: string, init: RequestInit & { readonly json?: unknown } = {}): Promise<SseStream> {
  const { json, signal, ...options } = init;
  const abort = new AbortController();
  const response = await fetch(url, {
    ...options,
    ...(json === undefined ? {} : { method: "POST", body: JSON.stringify(json) }),
    headers: { ...(json === undefined ? {} : { "content-type": "application/json" }), ...options.headers },
    signal: signal ? AbortSignal.any([signal, abort.signal]) : abort.signal,
  });
  if (response.body === null) throw new Error("a stream without a body");
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let raw = "";
  let unread = "";

  async function next(): Promise<SsePart | undefined> {
    for (;;) {
      const end = unread.indexOf("\n\n");
      if (end !== -1) {
        const block = unread.slice(0, end);
        unread = unread.slice(end + 2);
        const part = parseBlock(block);
        if (part !== undefined) return part;
        continue;
      }
      const { done, value } = await reader.read();
      if (done) return undefined;
      raw += value;
      unread += value;
    }
  }

  return {
    status: response.status,
    headers: response.headers,
    next,
    async until(matches) {
      const parts: SsePart[] = [];
      for (;;) {
        const part = await next();
        if (part === undefined) throw new Error(`the stream ended:\n${raw}`);
        parts.push(part);
        if (matches(part)) return parts;
      }
    },
    async rest() {
      const parts: SsePart[] = [];
      for (let part = await next(); part !== undefined; part = await next()) parts.push(part);
      return parts;
    },
    raw: () => raw,
    async close() {
      abort.abort();
      await reader.cancel().catch(() => {}); // it was aborted just now
    },
  };
}

function parseBlock(block: string): SsePart | undefined {
  const fields: Record<string, string> = {};
  for (const line of block.split("\n")) {
    if (line.startsWith(":")) continue;
    const colon = line.indexOf(": ");
    const name = line.slice(0, colon);
    if (colon === -1 || name in fields) throw new Error(`an unexpected line: ${JSON.stringify(line)}`);
    fields[name] = line.slice(colon + 2);
  }
  if (fields.event === undefined || fields.data === undefined) {
    if (Object.keys(fields).length === 0) return undefined;
    throw new Error(`an incomplete event: ${JSON.stringify(block)}`);
  }
  return { id: fields.id, event: fields.event, data: JSON.parse(fields.data) };
}

/** The names of the events, in order. */
export function names(parts: readonly { readonly event: string }[]): string[] {
  return parts.map(({ event }) => event);
}
