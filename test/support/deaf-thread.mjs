/** A graph thread without graphs: it is ready at once, and answers pings while the shared number in its data is 1. */
import { parentPort, workerData } from "node:worker_threads";

parentPort.on("message", ({ type }) => {
  if (type === "ping" && Atomics.load(workerData.answers, 0) === 1) parentPort.postMessage({ type: "pong" });
});
parentPort.postMessage({ type: "ready", graphs: [] });
