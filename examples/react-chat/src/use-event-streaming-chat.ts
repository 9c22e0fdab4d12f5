/**
 * The page on the unmodified `useStream` of `@langchain/react`, which speaks event streaming over SSE or a WebSocket.
 *
 * The hook follows the thread, whoever started its runs: a reload and a second tab need nothing to be remembered. It
 * knows no branches and merges whatever it is told of the thread; `use-branches.ts` adds the rest.
 */
import type { Client, Message } from "@langchain/langgraph-sdk";
import { toMessageDict } from "@langchain/langgraph-sdk/ui";
import { useStream, useSubmissionQueue } from "@langchain/react";
import { useEffect, useMemo, useState } from "react";
import type { ApprovalRequest } from "./approval.js";
import { type Chat, type ChatOptions, type ChatState, type QueuedMessage, textOf, titleFor } from "./chat-model.js";
import { partsOf } from "./parts-of-stream.js";
import { useBranches } from "./use-branches.js";

/** The state and the actions of one thread, or of a new one. */
export function useEventStreamingChat(options: ChatOptions): Chat {
  const { client, settings, threadId, onActivity } = options;
  const [isStarting, setIsStarting] = useState(false);
  const [isAnswering, setIsAnswering] = useState(false);
  const [refusal, setRefusal] = useState<unknown>();
  const [isStopping, setIsStopping] = useState(false);
  const stream = useStream<ChatState, ApprovalRequest>({
    client,
    assistantId: settings.assistantId,
    transport: settings.transport,
    threadId,
    onThreadId: options.onThreadId,
    onCreated: () => {
      setIsStarting(false);
      onActivity();
    },
  });
  const queue = useSubmissionQueue(stream);
  const streamed = useMemo(
    () => stream.messages.map((message) => toMessageDict(message) as Message),
    [stream.messages],
  );
  const isRunning = stream.isLoading || isStopping || (isAnswering && stream.error === undefined);
  const branches = useBranches({ client, threadId, streamed, isRunning });
  const isBusy = isRunning || branches.isBehind;

  // biome-ignore lint/correctness/useExhaustiveDependencies: each begin and end of a run, whoever started it, is activity
  useEffect(onActivity, [stream.isLoading, onActivity]);
  // biome-ignore lint/correctness/useExhaustiveDependencies: an answer begins a run without saying so; it has when the hook is told
  useEffect(() => setIsAnswering(false), [stream.isLoading, threadId]);
  // biome-ignore lint/correctness/useExhaustiveDependencies: what went wrong before is over when a run begins
  useEffect(() => setRefusal(undefined), [stream.isLoading, threadId]);

  const config = settings.tokenDelayMs === undefined ? {} : { configurable: { token_delay_ms: settings.tokenDelayMs } };

  /** Says something behind `base`; undefined says it at the thread's end. */
  const say = async (
    text: string,
    base: { readonly messages: readonly Message[]; readonly from: string } | undefined,
  ) => {
    if (base !== undefined) branches.leave(base.messages);
    setIsStarting(true);
    const forkFrom = base === undefined ? {} : { forkFrom: base.from };
    const metadata = threadId === null ? { metadata: { title: titleFor(text) } } : {};
    await stream.submit({ messages: [{ type: "human", content: text }] }, { config, ...forkFrom, ...metadata });
    setIsStarting(false);
  };

  return {
    messages: branches.messages,
    isBusy,
    isLoadingThread: stream.isThreadLoading,
    error: stream.error ?? refusal,
    question: isBusy ? undefined : stream.interrupt,
    canStop: stream.isLoading && !isStarting && !isStopping,
    parts: partsOf(stream),
    queue: {
      entries: queue.entries.map(({ id, values }): QueuedMessage => ({ id, text: textIn(values) })),
      cancel: (id) => void queue.cancel(id),
    },
    setBranch: branches.choose,
    send(text) {
      if (!isBusy) return void say(text, branches.chosen);
      stream.submit({ messages: [{ type: "human", content: text }] }, { config, multitaskStrategy: "enqueue" });
    },
    answer(resume) {
      setIsAnswering(true);
      // Named, the question may come from the state: the hook knows unnamed ones only from the thread's stream.
      const question = stream.interrupt?.id === undefined ? {} : { interruptId: stream.interrupt.id };
      stream.respond(resume, { config, ...question }).catch((error: unknown) => {
        setIsAnswering(false);
        setRefusal(error);
      });
    },
    proceed: () => void stream.submit(null, { config }),
    async stop() {
      setIsStopping(true);
      try {
        await stream.stop();
        if (stream.threadId !== null) await endRuns(client, stream.threadId);
      } finally {
        setIsStopping(false);
      }
    },
    placeOf(message, index) {
      const { branch, branchOptions, from } = branches.placeOf(message);
      const messages = branches.messages.slice(0, index);
      return {
        branch,
        branchOptions,
        onEdit: isBusy || from === undefined ? undefined : (text) => void say(text, { messages, from }),
      };
    },
  };
}

/** The hook cancels what it has started itself; what it merely follows is cancelled here. Returns when nothing runs. */
async function endRuns(client: Client, threadId: string): Promise<void> {
  const running = await client.runs.list(threadId, { status: "running" });
  await Promise.all(running.map(({ run_id: runId }) => client.runs.cancel(threadId, runId, true)));
}

function textIn(values: unknown): string {
  const [message] = (values as Partial<ChatState> | undefined)?.messages ?? []; // what `send` has submitted
  return message === undefined ? "" : textOf(message);
}
