/**
 * A graph thread without graphs. It answers pings while the first shared number in its data is 1, and is ready at once, or, of
 * those that start while the second one is 1, when that is 0 again.
 */
import { parentPort, workerData } from "node:worker_threads";

const { answers } = workerData;

parentPort.on("message", ({ type }) => {
  if (type === "ping" && Atomics.load(answers, 0) === 1) parentPort.postMessage({ type: "pong" });
});
Atomics.wait(answers, 1, 1);
parentPort.postMessage({ type: "ready", graphs: [] });
