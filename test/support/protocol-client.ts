/** Clients of event streaming: the SDK's thread stream over either transport, with all that it was told in order. */
import type { Client } from "@langchain/langgraph-sdk";
import { WebSocket } from "ws";

export type Transport = "sse" | "websocket";
export const TRANSPORTS: readonly Transport[] = ["sse", "websocket"];

/** But for named ones, which `custom` takes with it. */
export const ALL_CHANNELS = [
  "values",
  "updates",
  "messages",
  "tools",
  "lifecycle",
  "input",
  "checkpoints",
  "tasks",
  "custom",
];

/** An event as it stands on the wire. */
export interface WireEvent {
  readonly type: "event";
  readonly event_id: string;
  readonly seq: number;
  readonly method: string;
  readonly params: {
    readonly namespace: readonly string[];
    readonly timestamp: number;
    readonly node?: string;
    readonly data: { readonly [key: string]: unknown };
  };
}

export interface Subscriber {
  readonly events: readonly WireEvent[];
  /** Everything from the first event that was not waited for up to the first that matches. */
  until(matches: (event: WireEvent) => boolean): Promise<readonly WireEvent[]>;
  close(): Promise<void>;
}

type Filter = { readonly channels: readonly string[]; readonly namespaces?: string[][]; readonly depth?: number };

/** The SDK's stream of the thread. */
export function threadStream(client: Client, threadId: string, options: { assistantId: string; transport: Transport }) {
  return client.threads.stream(threadId, {
    ...options,
    // Node 20 has none of its own; the SDK uses what browsers' has.
    webSocketFactory: (url) => new WebSocket(url) as unknown as globalThis.WebSocket,
  });
}

type ThreadStream = ReturnType<typeof threadStream>;

/** Subscribes to everything, or to what `filter` says. */
export async function subscriber(
  thread: ThreadStream,
  filter: Filter = { channels: ALL_CHANNELS },
): Promise<Subscriber> {
  const subscription = await thread.subscribe(filter as Parameters<ThreadStream["subscribe"]>[0]);
  const events: WireEvent[] = [];
  let taken = 0;
  let wake = (): void => {};
  let isOver = false;
  /** The SDK pauses subscriptions at the end of runs that it started; what comes then waits in them, and can be had. */
  async function drain(): Promise<void> {
    for await (const event of subscription) {
      events.push(event as unknown as WireEvent);
      wake();
    }
  }
  let reading = drain();
  const stopListening = thread.onEvent(() => {
    reading = reading.then(() => (isOver ? undefined : drain()));
  });
  return {
    events,
    async until(matches) {
      for (;;) {
        const index = events.findIndex((event, at) => at >= taken && matches(event));
        if (index !== -1) {
          const found = events.slice(taken, index + 1);
          taken = index + 1;
          return found;
        }
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    },
    async close() {
      isOver = true;
      stopListening();
      await thread.close();
    },
  };
}

/** The end of a run. */
export function isEnd({ method, params }: WireEvent): boolean {
  return (
    method === "lifecycle" &&
    params.namespace.length === 0 &&
    ["completed", "failed", "interrupted"].includes(String(params.data.event))
  );
}

/** An event in a few words: its method, where it was said, and what kind it is. */
export function outline({ method, params: { namespace, data } }: WireEvent): string {
  const place = namespace.map((segment) => segment.replace(/:.*/, "")).join("|");
  const kind = method === "tasks" ? ("result" in data ? "result" : "start") : data?.event;
  return [method, place, ...(typeof kind === "string" ? [kind] : [])].filter((word) => word !== "").join(" ");
}
