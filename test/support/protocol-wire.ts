/** Event streaming as it stands on the wire: commands over HTTP, event streams, WebSockets. What all of them promise is held. */
import { WebSocket } from "ws";
import { ALL_CHANNELS, type WireEvent } from "./protocol-client.js";
import { openSse } from "./sse-client.js";

/** An answer to a command. */
export interface Envelope {
  readonly type: "success" | "error";
  readonly id: number | null;
  readonly result?: { readonly [key: string]: unknown };
  readonly meta?: { readonly thread_id: string; readonly applied_through_seq: number };
  readonly error?: string;
  readonly message?: string;
}

export interface WireFilter {
  readonly channels: readonly string[];
  readonly namespaces?: readonly (readonly string[])[];
  readonly depth?: number;
  readonly since?: number;
}

type Matches = (event: WireEvent) => boolean;

/** Events in the order in which they came. */
export interface WireReader {
  /** Everything from the first event that was not waited for up to the first that matches. */
  until(matches: Matches): Promise<readonly WireEvent[]>;
  close(): Promise<void>;
}

export interface WireStream extends WireReader {
  readonly status: number;
  readonly headers: Headers;
  readonly raw: () => string;
  /** How it ends: rejects where it is cut. */
  readonly rest: () => Promise<unknown>;
}

export interface WireSocket extends WireReader {
  /** Sends a command and resolves with its answer. */
  ask(method: string, params?: object): Promise<Envelope>;
  /** The next answer to anything. */
  answer(): Promise<Envelope>;
  send(data: string | Buffer): void;
  /** All that came, answers among the events. */
  readonly received: readonly (Envelope | WireEvent)[];
  readonly closed: Promise<{ readonly code: number; readonly reason: string }>;
  /** Takes nothing from the network while it is off. */
  readonly socket: WebSocket;
}

/** Resolves when the headers are there. */
export async function openEvents(
  url: string,
  threadId: string,
  filter: WireFilter = { channels: ALL_CHANNELS },
): Promise<WireStream> {
  const stream = await openSse(`${url}/threads/${threadId}/stream/events`, { json: filter });
  return {
    status: stream.status,
    headers: stream.headers,
    raw: stream.raw,
    rest: stream.rest,
    async until(matches) {
      const parts = await stream.until(({ id, event, data }) => {
        const said = data as WireEvent;
        if (id !== said.event_id || event !== said.method || said.type !== "event") {
          throw new Error(`a frame that is not its event's: ${JSON.stringify({ id, event, data })}`);
        }
        return matches(said);
      });
      return parts.map(({ data }) => data as WireEvent);
    },
    close: stream.close,
  };
}

export async function openSocket(
  url: string,
  threadId: string,
  headers: Readonly<Record<string, string>> = {},
): Promise<WireSocket> {
  const socket = new WebSocket(`${url.replace("http", "ws")}/threads/${threadId}/stream/events`, { headers });
  const received: (Envelope | WireEvent)[] = [];
  const events: WireEvent[] = [];
  const answers: Envelope[] = [];
  const waiting = new Set<() => void>();
  let [takenEvents, takenAnswers, lastId] = [0, 0, 0];
  let isClosed = false;
  const wake = (): void => {
    for (const each of waiting) each();
    waiting.clear();
  };
  socket.on("message", (data) => {
    const message = JSON.parse(String(data)) as Envelope | WireEvent;
    received.push(message);
    if (message.type === "event") events.push(message);
    else answers.push(message);
    wake();
  });
  const closed = new Promise<{ code: number; reason: string }>((resolve) => {
    socket.on("close", (code, reason) => {
      isClosed = true;
      wake();
      resolve({ code, reason: String(reason) });
    });
  });
  const next = (): Promise<void> => {
    if (isClosed) throw new Error("the socket is closed");
    return new Promise((resolve) => waiting.add(resolve));
  };
  await new Promise((resolve, reject) => {
    socket.on("open", resolve);
    socket.on("error", reject);
  });
  return {
    received,
    closed,
    socket,
    send: (data) => socket.send(data),
    async ask(method, params) {
      const id = ++lastId;
      socket.send(JSON.stringify({ id, method, params }));
      for (;;) {
        const answer = answers.find((each) => each.id === id);
        if (answer !== undefined) return answer;
        await next();
      }
    },
    async answer() {
      for (;;) {
        const answer = answers[takenAnswers];
        if (answer !== undefined) {
          takenAnswers++;
          return answer;
        }
        await next();
      }
    },
    async until(matches) {
      for (;;) {
        const index = events.findIndex((event, at) => at >= takenEvents && matches(event));
        if (index !== -1) {
          const found = events.slice(takenEvents, index + 1);
          takenEvents = index + 1;
          return found;
        }
        await next();
      }
    },
    async close() {
      socket.close();
      await closed;
    },
  };
}

export type Command = (
  threadId: string,
  method: string,
  params?: object,
) => Promise<Envelope & { readonly status: number }>;

/** Commands over HTTP, whose envelopes carry the ids that were sent. */
export function commander(url: string): Command {
  let lastId = 0;
  return async (threadId, method, params) => {
    const id = ++lastId;
    const response = await fetch(`${url}/threads/${threadId}/commands`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ id, method, params }),
    });
    const envelope = (await response.json()) as Envelope;
    if (response.status === 200 && envelope.id !== id) throw new Error(`the answer to ${envelope.id}, not ${id}`);
    return { ...envelope, status: response.status };
  };
}

/** Numbers that only grow, ids that are there once; what is wrong otherwise. */
export function disorderOf(events: readonly WireEvent[]): string | undefined {
  const late = events.find(({ seq }, index) => !Number.isSafeInteger(seq) || seq <= (events[index - 1]?.seq ?? 0));
  if (late !== undefined) return `${late.event_id} has ${late.seq} and is not behind what comes before it`;
  const ids = events.map(({ event_id: id }) => id);
  const twice = ids.find((id, index) => ids.indexOf(id) !== index);
  return twice === undefined ? undefined : `${twice} is there twice`;
}
