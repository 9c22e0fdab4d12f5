/** Where the next message is written; while the agent answers, the place of the stop button. */
import { useState } from "react";
import type { Queue } from "./chat-model.js";
import { QueueView } from "./queue.js";

interface ComposerProps {
  readonly isStreaming: boolean;
  /** False until the gateway has named the run. */
  readonly canStop: boolean;
  /** A question is open: it is answered first. */
  readonly isBlocked: boolean;
  /** Where there is one, messages can be sent while the agent answers. */
  readonly queue: Queue | undefined;
  onSend(text: string): void;
  onStop(): void;
}

/** Enter sends, Shift+Enter starts a new line. */
export function Composer({ isStreaming, canStop, isBlocked, queue, onSend, onStop }: ComposerProps) {
  const [text, setText] = useState("");
  const canSend = (!isStreaming || queue !== undefined) && !isBlocked && text.trim() !== "";
  const send = () => {
    if (!canSend) return;
    onSend(text.trim());
    setText("");
  };
  return (
    <form
      className="composer"
      onSubmit={(event) => {
        event.preventDefault();
        send();
      }}
    >
      <QueueView queue={queue} />
      <div className="composer-box">
        <textarea
          aria-label="Message"
          data-testid="composer-input"
          placeholder={isBlocked ? "Answer the question above first" : "Write a message"}
          disabled={isBlocked}
          rows={1}
          value={text}
          onChange={(event) => setText(event.target.value)}
          onKeyDown={(event) => {
            if (event.key !== "Enter" || event.shiftKey || event.nativeEvent.isComposing) return;
            event.preventDefault();
            send();
          }}
        />
        {isStreaming ? (
          <button type="button" className="round stop" data-testid="stop" disabled={!canStop} onClick={onStop}>
            <span className="visually-hidden">Stop</span>
            <svg viewBox="0 0 16 16" aria-hidden="true">
              <rect x="4" y="4" width="8" height="8" rx="1.5" />
            </svg>
          </button>
        ) : null}
        {isStreaming && !canSend ? null : (
          <button type="submit" className="round" data-testid="send" disabled={!canSend}>
            <span className="visually-hidden">Send</span>
            <svg viewBox="0 0 16 16" aria-hidden="true">
              <path d="M8 13V3.5M3.8 7.6 8 3.4l4.2 4.2" />
            </svg>
          </button>
        )}
      </div>
    </form>
  );
}
