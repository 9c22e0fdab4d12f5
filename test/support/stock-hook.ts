/** The state machine of the SDK's `useStream` hook, unmodified, driven with events instead of a connection. */
import { MessageTupleManager, StreamManager, toMessageDict } from "@langchain/langgraph-sdk/ui";
import type { StreamEvent } from "../../src/bridge/bridge.js";

type Values = Record<string, unknown>;

export interface HookState {
  readonly values: unknown;
  readonly error: unknown;
  /** By message id, as far as the hook has put it together from chunks. */
  readonly messages: unknown;
  readonly subagents: unknown;
  /** What the application was called with: metadata, updates, custom and other events. */
  readonly calls: readonly unknown[];
}

export interface HookOptions {
  /** The thread's state before. */
  readonly initialValues?: Values;
  readonly filterSubagentMessages?: boolean;
}

/** An event as the SDK's decoder makes it of a frame. */
export interface HookPart {
  readonly event: string;
  readonly data: unknown;
}

export function decoded({ event, namespace, data }: StreamEvent): HookPart {
  return { event: [event, ...namespace].join("|"), data: JSON.parse(data) };
}

/** Reads one stream after the other, each to its end. */
export async function readWithHook(
  streams: readonly (readonly HookPart[])[],
  { initialValues = {}, filterSubagentMessages = false }: HookOptions = {},
): Promise<HookState> {
  const messages = new MessageTupleManager();
  const hook = new StreamManager<Values>(messages as never, { throttle: false, filterSubagentMessages });
  const calls: unknown[] = [];
  const note =
    (name: string) =>
    (data: unknown, context?: { readonly namespace?: readonly string[] | undefined }): void =>
      void calls.push([name, data, context?.namespace]);
  for (const parts of streams) {
    await hook.start(async () => partsOf(parts) as never, {
      getMessages: (values: Values) => (Array.isArray(values.messages) ? values.messages : []),
      setMessages: (values: Values, next: unknown) => ({ ...values, messages: next }),
      initialValues,
      callbacks: {
        onMetadataEvent: note("metadata"),
        onUpdateEvent: note("updates"),
        onCustomEvent: note("custom"),
        onCheckpointEvent: note("checkpoints"),
        onTaskEvent: note("tasks"),
        onDebugEvent: note("debug"),
        onToolEvent: note("tools"),
        onLangChainEvent: note("events"),
      },
      onSuccess: () => undefined,
      onError: () => {},
    } as never);
  }
  const chunks = Object.entries(messages.chunks).map(([id, { chunk, metadata, index }]) => [
    id,
    { message: chunk == null ? chunk : toMessageDict(chunk), metadata, index },
  ]);
  const subagents = [...hook.getSubagents().values()].map(({ id, status, messages, values, result, toolCall }) => ({
    id,
    status,
    messages,
    values,
    result,
    toolCall,
  }));
  return {
    values: hook.values,
    error: hook.error === undefined ? undefined : String(hook.error),
    messages: Object.fromEntries(chunks),
    subagents,
    calls,
  };
}

/** Copies, because the hook changes what it gets. */
async function* partsOf(parts: readonly HookPart[]): AsyncGenerator<HookPart> {
  for (const { event, data } of parts) yield { event, data: structuredClone(data) };
}
