/** A process that writes checkpoints to the file of its first argument until it is killed, and prints the id of each. */
import { emptyCheckpoint, uuid6 } from "@langchain/langgraph-checkpoint";
import { hostKit } from "../../src/core/kit.js";
import { openCheckpoints } from "../../src/storage/checkpoints.js";

const { saver } = openCheckpoints(String(process.argv[2])).forRun(
  { threadId: "thread", runId: "run", fence: 1 },
  hostKit,
);
let config: Awaited<ReturnType<typeof saver.put>> = { configurable: { thread_id: "thread" } };
for (let step = 1; ; step++) {
  const checkpoint = {
    ...emptyCheckpoint(),
    id: uuid6(step),
    channel_values: { step: `${step} `.repeat(1_000) },
    channel_versions: { step },
  };
  config = await saver.put(config, checkpoint, { source: "loop", step, parents: {} }, { step });
  await new Promise((done) => process.stdout.write(`${checkpoint.id}\n`, done));
}
