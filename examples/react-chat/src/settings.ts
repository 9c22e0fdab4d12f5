/**
 * What the page's address says: which gateway, which graph, which thread.
 *
 * `?api=` the gateway (else `VITE_API_URL`, else the local default), `?graph=` the assistant or graph (`agent`),
 * `?thread=` the open thread, `?delay=` milliseconds before each token of the scripted examples, `?hook=` and `?transport=` how
 * the page talks to the gateway.
 */
import { useCallback, useEffect, useState } from "react";

export interface Settings {
  readonly apiUrl: string;
  readonly assistantId: string;
  /** Undefined leaves the pace to the graph. */
  readonly tokenDelayMs: number | undefined;
  /** `legacy` is the SDK's own, `event-streaming` that of `@langchain/react`. */
  readonly hook: "legacy" | "event-streaming";
  /** Of event streaming. */
  readonly transport: "sse" | "websocket";
}

/** A way to talk to the gateway. */
export type Mode = Pick<Settings, "hook" | "transport">;

export const MODES: readonly (Mode & { readonly label: string; readonly title: string })[] = [
  { hook: "legacy", transport: "sse", label: "Legacy", title: "@langchain/langgraph-sdk/react" },
  { hook: "event-streaming", transport: "sse", label: "Event streaming", title: "@langchain/react over SSE" },
  {
    hook: "event-streaming",
    transport: "websocket",
    label: "… over WebSocket",
    title: "@langchain/react over WebSocket",
  },
];

/** Reads the settings from the query string; anything missing has a default. */
export function readSettings(search: string): Settings {
  const query = new URLSearchParams(search);
  const delay = Number(query.get("delay") ?? Number.NaN);
  const configured: unknown = import.meta.env.VITE_API_URL;
  return {
    apiUrl: query.get("api") ?? (typeof configured === "string" ? configured : "http://localhost:2024"),
    assistantId: query.get("graph") ?? "agent",
    tokenDelayMs: Number.isFinite(delay) ? delay : undefined,
    hook: query.get("hook") === "event-streaming" ? "event-streaming" : "legacy",
    transport: query.get("transport") === "websocket" ? "websocket" : "sse",
  };
}

/** The query string that opens the same page in another mode. */
export function searchFor(search: string, { hook, transport }: Mode): string {
  const query = new URLSearchParams(search);
  query.set("hook", hook);
  if (transport === "sse") query.delete("transport");
  else query.set("transport", transport);
  return `?${query}`;
}

/** The open thread, kept in the address so that a reload, a bookmark and the back button find it again. */
export function useThreadInAddress(): readonly [string | null, (threadId: string | null) => void] {
  const [threadId, setThreadId] = useState(readThread);
  useEffect(() => {
    const followAddress = () => setThreadId(readThread());
    window.addEventListener("popstate", followAddress);
    return () => window.removeEventListener("popstate", followAddress);
  }, []);
  const open = useCallback((next: string | null) => {
    const address = new URL(window.location.href);
    if (next === null) address.searchParams.delete("thread");
    else address.searchParams.set("thread", next);
    if (address.href !== window.location.href) window.history.pushState(null, "", address);
    setThreadId(next);
  }, []);
  return [threadId, open];
}

function readThread(): string | null {
  return new URLSearchParams(window.location.search).get("thread");
}
