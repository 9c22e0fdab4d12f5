/**
 * The page on the unmodified legacy `useStream` hook of `@langchain/langgraph-sdk/react`.
 *
 * The run in progress is remembered in `localStorage`, so a reload and a second tab both join it again. After a stop or a
 * rejoin the hook goes on showing what it streamed; `onResync` then asks for a fresh one. So it does when the hook gives the
 * connection up: it would join the run again from its beginning, and write that behind the words that it has.
 */
import type { Checkpoint, Message } from "@langchain/langgraph-sdk";
import { useStream } from "@langchain/langgraph-sdk/react";
import type { DeepAgentTypeConfigLike } from "@langchain/langgraph-sdk/ui";
import { useEffect, useRef, useState } from "react";
import type { ApprovalRequest } from "./approval.js";
import { type Chat, type ChatOptions, type ChatState, type MessagePlace, type Part, titleFor } from "./chat-model.js";

/** The hook's type has subagents only for graphs that say that they have some. */
interface Graph {
  readonly "~RunOutput": ChatState;
  readonly "~deepAgentTypes": DeepAgentTypeConfigLike;
}

/** The state and the actions of one thread, or of a new one. */
export function useLegacyChat(options: ChatOptions): Chat {
  const { client, settings, threadId, onActivity, onResync } = options;
  const [run, setRun] = useState<{ runId: string; threadId: string }>();
  const [held, setHeld] = useState<{ threadId: string | null; messages: Message[] }>();
  const startedHere = useRef(false);
  const stream = useStream<Graph, { InterruptType: ApprovalRequest }>({
    client,
    assistantId: settings.assistantId,
    threadId,
    onThreadId: options.onThreadId,
    initialValues: options.initialValues ?? null,
    reconnectOnMount: () => window.localStorage,
    fetchStateHistory: { limit: 100 },
    filterSubagentMessages: true, // `parts` has them
    onCreated: ({ run_id, thread_id }) => {
      setRun({ runId: run_id, threadId: thread_id });
      onActivity();
    },
    onMetadataEvent: ({ run_id }) => {
      if (threadId !== null) setRun({ runId: run_id, threadId });
    },
  });
  const isSettling = held !== undefined && held.threadId === threadId;
  const isBusy = stream.isLoading || isSettling;
  const messages = isSettling ? held.messages : stream.messages;
  const activeRun = stream.isLoading && run?.threadId === threadId ? run : undefined;

  useEnd(stream.isLoading, () => {
    if (isSettling) return; // `stop` sees to it.
    onActivity();
    const lostRun = run?.threadId === threadId && isConnectionLost(stream.error);
    if (startedHere.current ? lostRun : stream.error === undefined) onResync(threadId, { messages });
    startedHere.current = false;
  });

  const submit: typeof stream.submit = (values, submitOptions) => {
    startedHere.current = true;
    setRun(undefined);
    const { tokenDelayMs } = settings;
    // Named, the checkpoint keeps the hook on the branch that is shown; unnamed, it would jump to the newest one.
    const shown = stream.branch === "" ? undefined : stream.history.at(-1)?.checkpoint;
    return stream.submit(values, {
      streamSubgraphs: true,
      ...(shown ? { checkpoint: shown } : {}),
      ...(tokenDelayMs === undefined ? {} : { config: { configurable: { token_delay_ms: tokenDelayMs } } }),
      ...submitOptions,
    });
  };

  /** Says something at the end of `kept`, the messages that stay. */
  const say = (text: string, kept: number, from: { checkpoint?: Checkpoint; metadata?: { title: string } }) => {
    const message: Message = { type: "human", content: text };
    const optimisticValues = (previous: Partial<ChatState>) => ({
      messages: [...(previous.messages ?? []).slice(0, kept), message],
    });
    submit({ messages: [message] }, { optimisticValues, ...from });
  };

  return {
    messages,
    isBusy,
    isLoadingThread: stream.isThreadLoading,
    error: stream.error,
    /** The open question, if the run waits for an answer or was stopped between two steps. */
    question: isBusy ? undefined : stream.interrupts[0],
    /** False until the gateway has named the run. */
    canStop: activeRun !== undefined && !isSettling,
    parts: [...stream.subagents.values()].map(({ id, status, toolCall, messages: said }): Part => {
      const isRunning = status === "pending" || status === "running";
      return { id, kind: "subagent", name: toolCall.args.subagent_type ?? "agent", isRunning, useMessages: () => said };
    }),
    queue: undefined,
    setBranch: stream.setBranch,
    send(text: string) {
      say(text, messages.length, threadId === null ? { metadata: { title: titleFor(text) } } : {});
    },
    answer: (resume: unknown) => submit(undefined, { command: { resume } }),
    proceed: () => submit(undefined),
    async stop() {
      // The hook drops the streamed words at once; hold them until the gateway has settled what stays.
      setHeld({ threadId, messages });
      try {
        await stream.stop();
        if (activeRun !== undefined) await client.runs.join(activeRun.threadId, activeRun.runId);
      } catch (error) {
        console.error(error); // The fresh hook asks again and shows what is wrong.
      } finally {
        onActivity();
        onResync(threadId, { messages });
      }
    },
    placeOf(message: Message, index: number): MessagePlace {
      const metadata = stream.getMessagesMetadata(message, index);
      // A branch starts from the checkpoint before the message; without it an edit would be one more message.
      const before = metadata?.firstSeenState?.parent_checkpoint;
      return {
        branch: metadata?.branch,
        branchOptions: metadata?.branchOptions,
        onEdit: isBusy || before == null ? undefined : (text) => say(text, index, { checkpoint: before }),
      };
    },
  };
}

/** Whether the SDK has stopped trying to reach the gateway. */
function isConnectionLost(error: unknown): boolean {
  return error instanceof Error && ["ConnectionError", "MaxReconnectAttemptsError"].includes(error.name);
}

/** Calls `onEnd` whenever `isLoading` falls. */
function useEnd(isLoading: boolean, onEnd: () => void): void {
  const latest = useRef(onEnd);
  latest.current = onEnd;
  const was = useRef(isLoading);
  useEffect(() => {
    if (was.current && !isLoading) latest.current();
    was.current = isLoading;
  }, [isLoading]);
}
