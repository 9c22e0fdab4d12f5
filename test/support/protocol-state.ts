/** What a client of event streaming has in its hands: the SDK's own message assembler beside the simplest reducers. */
import { MessageAssembler, matchesSubscription } from "@langchain/langgraph-sdk/client";
import type { WireEvent } from "./protocol-client.js";
import type { WireFilter } from "./protocol-wire.js";

/** By namespace or id; what only ever grows is in order. */
export interface ClientState {
  readonly values: Readonly<Record<string, unknown>>;
  readonly checkpoints: Readonly<Record<string, unknown>>;
  readonly lives: Readonly<Record<string, unknown>>;
  readonly messages: Readonly<Record<string, unknown>>;
  readonly questions: readonly unknown[];
  readonly said: readonly unknown[];
}

/** Of all that came over a client's connections. Events that come again count once, as in the SDK. */
export function clientStateOf(events: readonly WireEvent[]): ClientState {
  const seen = new Set<string>();
  const assembler = new MessageAssembler();
  const byPlace = { values: {}, checkpoints: {}, lives: {}, messages: {} } as Record<string, Record<string, unknown>>;
  const questions = new Map<unknown, unknown>();
  const said: unknown[] = [];
  for (const event of events) {
    const { event_id: id, method, params } = event;
    if (seen.has(id)) continue;
    seen.add(id);
    const place = params.namespace.join("|");
    const put = (kind: string, name: string, value: unknown): void => {
      byPlace[kind] = { ...byPlace[kind], [name]: value };
    };
    switch (method) {
      case "values":
        put("values", place, params.data);
        break;
      case "checkpoints":
        put("checkpoints", place, params.data);
        break;
      case "lifecycle":
        put("lives", place, params.data);
        break;
      case "messages": {
        const timeless = { ...event, seq: 0, params: { ...params, timestamp: 0 } };
        const update = assembler.consume(timeless as unknown as Parameters<MessageAssembler["consume"]>[0]);
        if (update !== undefined) put("messages", `${place} ${update.message.id}`, structuredClone(update.message));
        break;
      }
      case "input.requested":
        questions.set(params.data.interrupt_id, params.data.payload);
        break;
      case "input.answered":
        for (const answered of params.data.interrupt_ids as readonly unknown[]) questions.delete(answered);
        break;
      default:
        said.push([method, place, params.node, params.data]);
    }
  }
  const { values = {}, checkpoints = {}, lives = {}, messages = {} } = byPlace;
  return { values, checkpoints, lives, messages, questions: [...questions], said };
}

/** As the SDK decides which events are a subscription's, and later ones of answers; `since` is the server's business. */
export function isFor(event: WireEvent, { since: _, ...filter }: WireFilter): boolean {
  const known = event.method === "input.answered" ? { ...event, method: "input.requested" } : event;
  return matchesSubscription(known as never, filter as never); // events and filters as the wire has them
}
