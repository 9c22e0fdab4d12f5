/** One thread: its messages, what is open about them, and where the next one is written. */
import { Approval } from "./approval.js";
import { Composer } from "./composer.js";
import { Failure } from "./failure.js";
import { MessageView } from "./message.js";
import { useStickToBottom } from "./stick-to-bottom.js";
import { type ChatOptions, useChat } from "./use-chat.js";
import { Welcome } from "./welcome.js";

/** The conversation of one thread, or the start of a new one. */
export function Chat(options: ChatOptions) {
  const { settings } = options;
  const chat = useChat(options);
  const { messages, isBusy, question } = chat;
  const bottom = useStickToBottom(messages);
  const state = stateOf(chat);
  const isEmpty = messages.length === 0 && state === "idle" && chat.error === undefined;

  return (
    <main className="chat" data-testid="chat" data-state={state}>
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
              onBranch={chat.setBranch}
            />
          ))}
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
        onSend={chat.send}
        onStop={chat.stop}
      />
    </main>
  );
}

function stateOf(chat: ReturnType<typeof useChat>): "streaming" | "loading" | "asking" | "idle" {
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
