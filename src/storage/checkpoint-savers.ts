/**
 * Savers and who may write through them: a run's until it is closed, anybody else's until their request is over.
 *
 * Writes of one saver reach the database in the order of the calls, and when one fails none follows it.
 */
import type { BaseCheckpointSaver } from "@langchain/langgraph-checkpoint";
import { isPromise } from "../core/async.js";
import type { MessageKit } from "../core/kit.js";
import type { CheckpointReads } from "./checkpoint-rows.js";
import { SaverBody, type Writer } from "./checkpoint-saver.js";
import type { Checkpoints } from "./ports/checkpoints.js";
import type { Awaitable } from "./ports/page.js";
import { createSerde, type Serde } from "./serde.js";

/** By what right a saver writes: a database that is shared looks whether it still holds, in the transaction that writes. */
export type WriteRight =
  | { readonly kind: "run"; readonly threadId: string; readonly runId: string; readonly fence: number }
  /** A write outside of runs. null: the saver is for reading. */
  | { readonly kind: "reservation"; readonly owner: string | null };

/** What one saver reads and writes with. */
export interface SaverRows extends Pick<Writer, "write" | "deleteThread"> {
  readonly reads: CheckpointReads;
}

interface SaversDeps {
  readonly open: (right: WriteRight) => SaverRows;
  /** LangGraph's saver for the database, with the methods of `body` (`savingWith`). */
  readonly wrap: (body: SaverBody, serde: Serde) => BaseCheckpointSaver;
}

export function createSavers({ open, wrap }: SaversDeps): Pick<Checkpoints, "forRun" | "saver"> {
  const serdes = new WeakMap<MessageKit, Serde>();

  const createSaver = (kit: MessageKit, reads: CheckpointReads, writer: Writer): BaseCheckpointSaver => {
    const serde = serdes.get(kit) ?? createSerde(kit);
    serdes.set(kit, serde);
    return wrap(new SaverBody({ reads, serde, writer }), serde);
  };

  return {
    forRun({ threadId, runId, fence, durability }, kit) {
      let isOpen = true;
      const rows = open({ kind: "run", threadId, runId, fence });
      const writer = createWriter(rows, {
        runId,
        waits: durability === "sync",
        assertOpen() {
          if (!isOpen) throw new Error(`run ${runId} is over: its checkpoints can no longer be written`);
        },
      });
      return {
        saver: createSaver(kit, rows.reads, writer),
        settled: async () => writer.settled(),
        close() {
          isOpen = false;
        },
      };
    },
    saver(kit, { signal, reservation = null } = {}) {
      const rows = open({ kind: "reservation", owner: reservation });
      const assertOpen = (): void => signal?.throwIfAborted();
      return createSaver(kit, rows.reads, createWriter(rows, { runId: "", waits: true, assertOpen }));
    },
  };
}

/** LangGraph's own saver for a database, which reads and writes as `body` does. */
export function savingWith<Saver extends BaseCheckpointSaver>(body: SaverBody, saver: Saver): Saver {
  return Object.assign(saver, {
    getTuple: body.getTuple.bind(body),
    list: body.list.bind(body),
    put: body.put.bind(body),
    putWrites: body.putWrites.bind(body),
    deleteThread: body.deleteThread.bind(body),
  } satisfies Partial<BaseCheckpointSaver>);
}

interface WriterOptions {
  readonly runId: string;
  /** Whether a write returns when it is stored, or when it is on its way. */
  readonly waits: boolean;
  readonly assertOpen: () => void;
}

function createWriter(rows: SaverRows, { runId, waits, assertOpen }: WriterOptions): Writer {
  let underWay: Promise<void> | undefined;
  let failure: { readonly error: unknown } | undefined;
  const requireWritten = (): void => {
    if (failure !== undefined) throw failure.error; // what follows would miss what was before it
  };
  const follow = (done: Awaitable<void>): Awaitable<void> => {
    if (!isPromise(done)) return;
    underWay = done.catch((error: unknown) => {
      failure ??= { error };
    });
    if (waits) return done;
  };
  return {
    runId,
    write(write) {
      if (isPromise(write)) write.catch(() => {}); // heard of in its turn, if that comes
      assertOpen();
      requireWritten();
      return follow(rows.write(write));
    },
    deleteThread(threadId) {
      assertOpen();
      return follow(rows.deleteThread(threadId));
    },
    settled: () => underWay?.then(requireWritten), // writes happen in order: the last one stands for all
  };
}
