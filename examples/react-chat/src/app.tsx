/** The page: threads on the left, the open one on the right. */
import { Client } from "@langchain/langgraph-sdk";
import { useCallback, useMemo, useState } from "react";
import { EventStreamingChat, LegacyChat } from "./chat.js";
import type { ChatState } from "./chat-model.js";
import { type Settings, useThreadInAddress } from "./settings.js";
import { Sidebar } from "./sidebar.js";

/** What a fresh hook shows until it has fetched the thread; see `resync` below. */
interface Carried {
  readonly epoch: number;
  readonly threadId: string | null;
  readonly values: ChatState | undefined;
}

/** The whole page for one gateway. */
export function App({ settings }: { readonly settings: Settings }) {
  const client = useMemo(() => new Client({ apiUrl: settings.apiUrl }), [settings.apiUrl]);
  const [threadId, openThread] = useThreadInAddress();
  const [carried, setCarried] = useState<Carried>({ epoch: 0, threadId: null, values: undefined });
  const [activity, setActivity] = useState(0);
  const [menuOpen, setMenuOpen] = useState(false);

  const noteActivity = useCallback(() => setActivity((count) => count + 1), []);
  // After a stop or a rejoin the hook goes on showing what it streamed. A fresh one reads the thread as it is now,
  // with its branches; the values are carried over so that nothing flickers meanwhile.
  const resync = useCallback((id: string | null, values: ChatState) => {
    setCarried(({ epoch }) => ({ epoch: epoch + 1, threadId: id, values }));
  }, []);
  const choose = useCallback(
    (id: string | null) => {
      openThread(id);
      setMenuOpen(false);
    },
    [openThread],
  );

  const Chat = settings.hook === "legacy" ? LegacyChat : EventStreamingChat;

  return (
    <div className="page">
      <Sidebar
        client={client}
        assistantId={settings.assistantId}
        activity={activity}
        threadId={threadId}
        open={menuOpen}
        onChoose={choose}
        onToggle={() => setMenuOpen((open) => !open)}
      />
      <Chat
        key={carried.epoch}
        client={client}
        settings={settings}
        threadId={threadId}
        initialValues={carried.threadId === threadId ? carried.values : undefined}
        onThreadId={openThread}
        onActivity={noteActivity}
        onResync={resync}
      />
    </div>
  );
}
