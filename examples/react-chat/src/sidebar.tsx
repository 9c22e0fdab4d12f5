/** The threads of this graph, newest first; refreshed when something happens here and while one of them is busy. */
import type { Client, Thread } from "@langchain/langgraph-sdk";
import { useEffect, useState } from "react";

const BUSY_POLL_MS = 2000;

interface SidebarProps {
  readonly client: Client;
  readonly assistantId: string;
  /** Changes whenever a run began or ended on this page. */
  readonly activity: number;
  readonly threadId: string | null;
  readonly open: boolean;
  onChoose(threadId: string | null): void;
  onToggle(): void;
}

/** Lists threads, opens one, or starts a new one. */
export function Sidebar({ client, assistantId, activity, threadId, open, onChoose, onToggle }: SidebarProps) {
  const { threads, failure } = useThreads(client, assistantId, activity);
  return (
    <nav className="sidebar" data-open={open} aria-label="Threads">
      <header className="brand">
        <Mark />
        <span className="brand-name">heddle chat</span>
        <button
          type="button"
          className="menu-button"
          aria-expanded={open}
          aria-controls="threads"
          onClick={onToggle}
          aria-label="Threads"
        >
          ☰
        </button>
      </header>
      <div className="sidebar-body" id="threads">
        <button type="button" className="new-thread" data-testid="new-thread" onClick={() => onChoose(null)}>
          <span aria-hidden="true">+</span> New thread
        </button>
        {failure === undefined ? null : (
          <p className="sidebar-note" data-testid="threads-error">
            The threads could not be listed: {failure}
          </p>
        )}
        {failure === undefined && threads.length === 0 ? <p className="sidebar-note">No threads yet.</p> : null}
        <ul className="threads" data-testid="thread-list">
          {threads.map((thread) => (
            <li key={thread.thread_id}>
              <button
                type="button"
                className="thread"
                data-testid="thread-item"
                data-thread-id={thread.thread_id}
                data-status={thread.status}
                aria-current={thread.thread_id === threadId ? "page" : undefined}
                onClick={() => onChoose(thread.thread_id)}
              >
                <span className="thread-title">{titleOf(thread)}</span>
                <span className="thread-status" data-status={thread.status} title={thread.status}>
                  <span className="visually-hidden">{thread.status}</span>
                </span>
              </button>
            </li>
          ))}
        </ul>
      </div>
    </nav>
  );
}

function useThreads(client: Client, assistantId: string, activity: number) {
  const [threads, setThreads] = useState<readonly Thread[]>([]);
  const [failure, setFailure] = useState<string>();
  // `activity` is read by nobody here: a change of it is the reason to look again.
  // biome-ignore lint/correctness/useExhaustiveDependencies: see above
  useEffect(() => {
    const abort = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const refresh = async () => {
      clearTimeout(timer);
      try {
        const found = await client.threads.search({
          metadata: { graph_id: assistantId },
          select: ["thread_id", "status", "metadata", "updated_at"],
          sortBy: "updated_at",
          sortOrder: "desc",
          limit: 50,
          signal: abort.signal,
        });
        if (abort.signal.aborted) return;
        setThreads(found);
        setFailure(undefined);
        if (found.some(({ status }) => status === "busy")) timer = setTimeout(refresh, BUSY_POLL_MS);
      } catch (error) {
        if (!abort.signal.aborted) setFailure(error instanceof Error ? error.message : String(error));
      }
    };
    refresh();
    window.addEventListener("focus", refresh);
    return () => {
      abort.abort();
      clearTimeout(timer);
      window.removeEventListener("focus", refresh);
    };
  }, [client, assistantId, activity]);
  return { threads, failure };
}

/** Threads of this page carry a title; others show the end of their id, which is the part that differs. */
function titleOf(thread: Thread): string {
  const title: unknown = thread.metadata?.title;
  return typeof title === "string" && title !== "" ? title : `Thread …${thread.thread_id.slice(-8)}`;
}

function Mark() {
  return (
    <svg className="mark" viewBox="0 0 32 32" aria-hidden="true">
      <rect width="32" height="32" rx="8" />
      <path d="M9 7v18M16 7v18M23 7v18" />
      <circle cx="9" cy="19" r="3" />
      <circle cx="16" cy="13" r="3" />
      <circle cx="23" cy="19" r="3" />
    </svg>
  );
}
