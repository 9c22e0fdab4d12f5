/**
 * One thread on the unmodified legacy `useStream` hook: send, stream, stop, approve, edit, reload in mid-answer.
 *
 * The run in progress is remembered in `localStorage`, so a reload and a second tab both join it again.
 */
import type { Checkpoint, Client, Message } from "@langchain/langgraph-sdk";
import { useStream } from "@langchain/langgraph-sdk/react";
import { useEffect, useRef, useState } from "react";
import { Approval, type ApprovalRequest } from "./approval.js";
import { Composer } from "./composer.js";
import { MessageView } from "./message.js";
import type { Settings } from "./settings.js";
import { useStickToBottom } from "./stick-to-bottom.js";
import { Welcome } from "./welcome.js";

/** The part of the graph's state that the page shows. */
export type ChatState = { messages: Message[] };

interface ChatProps {
  readonly client: Client;
  readonly settings: Settings;
  readonly threadId: string | null;
  readonly initialValues: ChatState | undefined;
  onThreadId(threadId: string): void;
  /** A run began or ended. */
  onActivity(): void;
  /** Asks for a fresh hook that reads the thread anew and shows `values` until it has. */
  onResync(threadId: string | null, values: ChatState): void;
}

/** The conversation of one thread, or the start of a new one. */
export function Chat({ client, settings, threadId, initialValues, onThreadId, onActivity, onResync }: ChatProps) {
  const [run, setRun] = useState<{ runId: string; threadId: string }>();
  const [held, setHeld] = useState<{ threadId: string | null; messages: Message[] }>();
  const startedHere = useRef(false);
  const stream = useStream<ChatState, { InterruptType: ApprovalRequest }>({
    client,
    assistantId: settings.assistantId,
    threadId,
    onThreadId,
    initialValues: initialValues ?? null,
    reconnectOnMount: () => window.localStorage,
    fetchStateHistory: { limit: 100 },
    onCreated: ({ run_id, thread_id }) => {
      setRun({ runId: run_id, threadId: thread_id });
      onActivity();
    },
    onMetadataEvent: ({ run_id }) => {
      if (threadId !== null) setRun({ runId: run_id, threadId });
    },
  });
  const isSettling = held !== undefined && held.threadId === threadId;
  const messages = isSettling ? held.messages : stream.messages;
  const activeRun = stream.isLoading && run?.threadId === threadId ? run : undefined;
  const question = stream.isLoading || isSettling ? undefined : stream.interrupts[0];
  const isAsking = question?.value !== undefined;
  const bottom = useStickToBottom(messages);

  const finished = useRef(() => {});
  finished.current = () => {
    onActivity();
    if (!startedHere.current && stream.error === undefined) onResync(threadId, { messages: stream.messages });
    startedHere.current = false;
  };
  const wasLoading = useRef(false);
  useEffect(() => {
    if (wasLoading.current && !stream.isLoading && !isSettling) finished.current();
    wasLoading.current = stream.isLoading;
  }, [stream.isLoading, isSettling]);

  const submit: typeof stream.submit = (values, options) => {
    startedHere.current = true;
    const { tokenDelayMs } = settings;
    const config = tokenDelayMs === undefined ? undefined : { configurable: { token_delay_ms: tokenDelayMs } };
    // Named, the checkpoint keeps the hook on the branch that is shown; unnamed, it would jump to the newest one.
    const shown = stream.branch === "" ? undefined : stream.history.at(-1)?.checkpoint;
    return stream.submit(values, {
      ...(shown ? { checkpoint: shown } : {}),
      ...(config === undefined ? {} : { config }),
      ...options,
    });
  };

  const send = (text: string) => {
    const message: Message = { type: "human", content: text };
    submit(
      { messages: [message] },
      {
        optimisticValues: (previous) => ({ messages: [...(previous.messages ?? []), message] }),
        // A new thread takes its title from its first words.
        ...(threadId === null ? { metadata: { title: text.slice(0, 80) } } : {}),
      },
    );
  };

  // A branch starts from the checkpoint before the message; without it the edit would become one more message.
  const editor = (index: number, before: Checkpoint | null | undefined) => {
    if (stream.isLoading || isSettling || before == null) return undefined;
    return (text: string) => edit(index, before, text);
  };

  const edit = (index: number, before: Checkpoint, text: string) => {
    const edited: Message = { type: "human", content: text };
    submit(
      { messages: [edited] },
      {
        checkpoint: before,
        optimisticValues: (previous) => ({ messages: [...(previous.messages ?? []).slice(0, index), edited] }),
      },
    );
  };

  const stop = async () => {
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
  };

  return (
    <main className="chat" data-testid="chat" data-state={stateOf(stream.isLoading || isSettling, isAsking)}>
      <div className="scroll" ref={bottom.scroller}>
        <div className="messages" role="log" aria-live="polite" aria-busy={stream.isLoading} data-testid="messages">
          {messages.length === 0 && !stream.isThreadLoading && !stream.isLoading && stream.error === undefined ? (
            <Welcome settings={settings} onTry={send} />
          ) : null}
          {messages.map((message, index) => {
            const metadata = stream.getMessagesMetadata(message, index);
            return (
              <MessageView
                key={message.id ?? index}
                message={message}
                all={messages}
                isGrowing={(stream.isLoading || isSettling) && index === messages.length - 1}
                branch={metadata?.branch}
                branchOptions={metadata?.branchOptions}
                onBranch={stream.setBranch}
                onEdit={editor(index, metadata?.firstSeenState?.parent_checkpoint)}
              />
            );
          })}
          {stream.isLoading && messages.at(-1)?.type !== "ai" ? <Thinking /> : null}
          {question === undefined ? null : (
            <Approval
              key={question.id ?? "breakpoint"}
              request={question.value}
              onAnswer={(resume) => submit(undefined, { command: { resume } })}
              onContinue={() => submit(undefined)}
            />
          )}
          {stream.error === undefined ? null : <Failure error={stream.error} apiUrl={settings.apiUrl} />}
        </div>
      </div>
      <Composer
        isStreaming={stream.isLoading || isSettling}
        canStop={activeRun !== undefined && !isSettling}
        isBlocked={isAsking}
        onSend={send}
        onStop={stop}
      />
    </main>
  );
}

function stateOf(isLoading: boolean, isAsking: boolean): string {
  if (isLoading) return "streaming";
  return isAsking ? "asking" : "idle";
}

function Thinking() {
  return (
    <div className="thinking" data-testid="thinking">
      <span className="visually-hidden">The agent is working</span>
      <i />
      <i />
      <i />
    </div>
  );
}

function Failure({ error, apiUrl }: { readonly error: unknown; readonly apiUrl: string }) {
  return (
    <div className="failure" role="alert" data-testid="error">
      <strong>{headline(error, apiUrl)}</strong>
      <span>{error instanceof Error ? error.message : String(error)}</span>
    </div>
  );
}

/** The SDK names its connection errors; its HTTP errors carry a status. */
function headline(error: unknown, apiUrl: string): string {
  if (error instanceof Error && error.name === "ConnectionError") return `The gateway at ${apiUrl} does not answer.`;
  if (error instanceof Error && "status" in error) return "The gateway refused the request.";
  return "The run failed.";
}
