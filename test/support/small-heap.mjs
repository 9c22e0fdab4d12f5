// A thread whose heap is limited, running the program's source: tests of the quick project run without a build.
import { parentPort, workerData } from "node:worker_threads";
import { createJiti } from "jiti";

const { longJson } = await createJiti(import.meta.url).import("../../src/core/json-text.ts");
try {
  const { characters: chars } = workerData;
  parentPort.postMessage({ chars: longJson("x".repeat(chars), { parts: 0, chars }).length });
} catch ({ name, message }) {
  parentPort.postMessage({ name, message });
}
