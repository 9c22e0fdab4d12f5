/** Storage as a graph thread reaches it, without a thread: what is asked for and what is answered crosses as messages do. */
import { SqliteSaver } from "@langchain/langgraph-checkpoint-sqlite";
import { hostKit } from "../../src/core/kit.js";
import { answerOf, toError } from "../../src/graphs/thread-messages.js";
import type { IndexFields } from "../../src/storage/item-operation.js";
import { createStorageService, openThreadStorage, type ThreadStorage } from "../../src/storage/thread-storage.js";

export interface AskingStorage extends ThreadStorage {
  close(): void;
}

/** `file`: that of the checkpoints, which are open; `fields`: what the served store indexes. */
export function openAskingStorage(
  file: string,
  served: Parameters<typeof createStorageService>[0],
  fields: IndexFields = null,
): AskingStorage {
  const serve = createStorageService(served);
  const ask = async (message: unknown): Promise<unknown> => {
    const asked: unknown = structuredClone(message); // as it was when it was sent
    await new Promise(setImmediate);
    const answer = structuredClone(await answerOf(() => serve(asked)));
    await new Promise(setImmediate);
    if ("error" in answer) throw toError(answer.error);
    return answer.value;
  };
  const storage = openThreadStorage(file, ask, fields);
  return {
    ...storage,
    close() {
      const saver = storage.checkpoints.saver(hostKit);
      if (saver instanceof SqliteSaver) saver.db.close();
    },
  };
}
