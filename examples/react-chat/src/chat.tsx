/** One thread: its messages, what is open about them, and where the next one is written. */
import { Approval } from "./approval.js";
import type { Chat, ChatOptions } from "./chat-model.js";
import { Composer } from "./composer.js";
import { Failure } from "./failure.js";
import { HookSwitch } from "./hook-switch.js";
import { MessageView } from "./message.js";
import { PartView } from "./part.js";
import type { Settings } from "./settings.js";
import { useStickToBottom } from "./stick-to-bottom.js";
import { useEventStreamingChat } from "./use-event-streaming-chat.js";
import { useLegacyChat } from "./use-legacy-chat.js";
import { Welcome } from "./welcome.js";

/** The conversation of one thread, or the start of a new one, on the legacy hook. */
export function LegacyChat(options: ChatOptions) {
  return <ChatView chat={useLegacyChat(options)} settings={options.settings} />;
}

/** The same on the hook that speaks event streaming. */
export function EventStreamingChat(options: ChatOptions) {
  return <ChatView chat={useEventStreamingChat(options)} settings={options.settings} />;
}

function ChatView({ chat, settings }: { readonly chat: Chat; readonly settings: Settings }) {
  const { messages, isBusy, question, parts } = chat;
  const bottom = useStickToBottom(messages);
  const state = stateOf(chat);
  const isEmpty = messages.length === 0 && state === "idle" && chat.error === undefined;
  const graphs = parts.filter(({ kind }) => kind === "subgraph");

  return (
    <main className="chat" data-testid="chat" data-state={state}>
      <HookSwitch settings={settings} />
      <div className="scroll" ref={bottom.scroller}>
        <div className="messages" role="log" aria-live="polite" aria-busy={isBusy} data-testid="messages">
          {isEmpty ? <Welcome settings={settings} onTry={chat.send} /> : null}
          {messages.map((message, index) => (
            <MessageView
              key={message.id ?? index}
              message={message}
              all={messages}
              isGrowing={isBusy && index === messages.length - 1}
              place={chat.placeOf(message, index)}
              parts={parts}
              onBranch={chat.setBranch}
            />
          ))}
          {graphs.length === 0 ? null : (
            <div className="graphs">
              {graphs.map((part) => (
                <PartView key={part.id} part={part} />
              ))}
            </div>
          )}
          {isBusy && messages.at(-1)?.type !== "ai" ? <Thinking /> : null}
          {question === undefined ? null : (
            <Approval
              key={question.id ?? "breakpoint"}
              request={question.value}
              onAnswer={chat.answer}
              onContinue={chat.proceed}
            />
          )}
          {chat.error === undefined ? null : <Failure error={chat.error} apiUrl={settings.apiUrl} />}
        </div>
      </div>
      <Composer
        isStreaming={isBusy}
        canStop={chat.canStop}
        isBlocked={state === "asking"}
        queue={chat.queue}
        onSend={chat.send}
        onStop={chat.stop}
      />
    </main>
  );
}

function stateOf(chat: Chat): "streaming" | "loading" | "asking" | "idle" {
  if (chat.isBusy) return "streaming";
  if (chat.isLoadingThread) return "loading";
  return chat.question?.value === undefined ? "idle" : "asking";
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
