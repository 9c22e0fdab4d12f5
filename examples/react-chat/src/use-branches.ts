/**
 * The branches of a thread beside a hook that knows none: read from the thread's history, with the SDK's own functions.
 *
 * A run that starts from an earlier checkpoint leaves messages behind, but the hook goes on showing them: it takes them for
 * something that was said since. So what was there when a branch was left is replaced by what the new one begins with.
 */
import type { Client, Message, ThreadState } from "@langchain/langgraph-sdk";
import { getBranchContext, getMessagesMetadataMap } from "@langchain/langgraph-sdk/ui";
import { useEffect, useMemo, useState } from "react";
import type { ChatState } from "./chat-model.js";

export interface BranchesOptions {
  readonly client: Client;
  readonly threadId: string | null;
  /** What the hook shows. */
  readonly streamed: readonly Message[];
  readonly isRunning: boolean;
}

export interface Branches {
  readonly messages: readonly Message[];
  /** A run has ended, and the history is not read yet. */
  readonly isBehind: boolean;
  /** The branch that is shown instead of the newest one: what it says, and where it ends. */
  readonly chosen: { readonly messages: readonly Message[]; readonly from: string } | undefined;
  choose(branch: string): void;
  /** A run begins that keeps only these messages. */
  leave(kept: readonly Message[]): void;
  placeOf(message: Message): {
    readonly branch: string | undefined;
    readonly branchOptions: readonly string[] | undefined;
    /** The checkpoint before the message; undefined where it is not known. */
    readonly from: string | undefined;
  };
}

interface Left {
  readonly threadId: string | null;
  readonly behind: ReadonlySet<string | undefined>;
  readonly kept: readonly Message[];
}

/** Reads the history again whenever a run has ended. */
export function useBranches({ client, threadId, streamed, isRunning }: BranchesOptions): Branches {
  const { states: history, isBehind } = useHistory(client, threadId, isRunning);
  const [branch, setBranch] = useState({ threadId, id: "" });
  const [left, setLeft] = useState<Left>();
  const shown = branch.threadId === threadId ? branch.id : "";
  const context = useMemo(() => getBranchContext(shown, history), [shown, history]);
  const places = useMemo(
    () =>
      getMessagesMetadataMap<ChatState>({
        initialValues: null,
        history: history,
        getMessages: ({ messages }) => messages ?? [],
        branchContext: context,
      }),
    [history, context],
  );
  const head: ThreadState<ChatState> | undefined = context.threadHead;
  const from = shown === "" ? undefined : (head?.checkpoint.checkpoint_id ?? undefined);
  const chosen = from === undefined ? undefined : { messages: head?.values.messages ?? [], from };
  const newest =
    left === undefined || left.threadId !== threadId
      ? streamed
      : [...left.kept, ...streamed.filter(({ id }) => !left.behind.has(id))];

  return {
    messages: chosen?.messages ?? newest,
    isBehind,
    chosen,
    choose: (id) => setBranch({ threadId, id }),
    leave(kept) {
      setLeft({ threadId, behind: new Set(streamed.map(({ id }) => id)), kept });
      setBranch({ threadId, id: "" });
    },
    placeOf(message) {
      const place = places.find(({ messageId }) => messageId === message.id);
      return {
        branch: place?.branch,
        branchOptions: place?.branchOptions,
        from: place?.firstSeenState?.parent_checkpoint?.checkpoint_id ?? undefined,
      };
    },
  };
}

interface History {
  readonly threadId: string | null;
  readonly states: ThreadState<ChatState>[];
  readonly isBehind: boolean;
}

function useHistory(client: Client, threadId: string | null, isRunning: boolean): History {
  const [known, setKnown] = useState<History>({ threadId: null, states: [], isBehind: false });
  const nothing = useMemo<History>(() => ({ threadId, states: [], isBehind: false }), [threadId]);
  const current = known.threadId === threadId ? known : nothing;
  useEffect(() => {
    if (threadId === null) return;
    if (isRunning) {
      setKnown((before) => ({ threadId, states: before.threadId === threadId ? before.states : [], isBehind: true }));
      return;
    }
    const abort = new AbortController();
    client.threads.getHistory<ChatState>(threadId, { limit: 100, signal: abort.signal }).then(
      (states) => abort.signal.aborted || setKnown({ threadId, states, isBehind: false }),
      (error) => {
        if (abort.signal.aborted) return;
        console.error(error); // Messages cannot be edited, then.
        setKnown((before) => ({ ...before, isBehind: false }));
      },
    );
    return () => abort.abort();
  }, [client, threadId, isRunning]);
  return current;
}
