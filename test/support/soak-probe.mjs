// Preloaded (`node --expose-gc --import`) into the program under test: at SIGUSR2 it collects garbage in every thread and
// prints what is left, in bytes and counts, as soon as every thread has answered.
import { BroadcastChannel, isMainThread, threadId } from "node:worker_threads";

const channel = new BroadcastChannel("soak-probe");
channel.unref();

function heap() {
  for (let round = 0; round < 2; round++) globalThis.gc();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

if (isMainThread) {
  const threads = new Set();
  let heaps = new Map();
  let onAnswer = () => {};
  channel.onmessage = ({ data }) => {
    threads.add(data.threadId);
    if (data.heap !== undefined) heaps.set(data.threadId, data.heap);
    onAnswer();
  };
  process.on("SIGUSR2", () => {
    heaps = new Map();
    onAnswer = () => {
      if (heaps.size < threads.size) return;
      onAnswer = () => {};
      const main = heap();
      const { rss } = process.memoryUsage();
      const handles = process.getActiveResourcesInfo().length;
      process.stdout.write(`sample ${JSON.stringify({ main, threads: [...heaps.values()], rss, handles })}\n`);
    };
    channel.postMessage({ ask: "heap" });
    onAnswer();
  });
} else {
  channel.onmessage = ({ data }) => {
    if (data.ask === "heap") channel.postMessage({ threadId, heap: heap() });
  };
  channel.postMessage({ threadId });
}
