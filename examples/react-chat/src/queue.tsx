/** What was written while the agent was answering: sent in turn, each can be taken back until then. */
import type { Queue } from "./chat-model.js";

/** Nothing when nothing waits. */
export function QueueView({ queue }: { readonly queue: Queue | undefined }) {
  if (queue === undefined || queue.entries.length === 0) return null;
  return (
    <ul className="queue" data-testid="queue" aria-label="Waiting to be sent">
      {queue.entries.map(({ id, text }) => (
        <li key={id} data-testid="queued">
          <span className="queued-text">{text}</span>
          <button type="button" className="quiet" data-testid="cancel-queued" onClick={() => queue.cancel(id)}>
            Take back
          </button>
        </li>
      ))}
    </ul>
  );
}
