/** Asks `/ok` all the time, from a thread of its own: what keeps the test busy must not look like a slow gateway. */
import { once } from "node:events";
import { Worker } from "node:worker_threads";

export interface OkProbe {
  /** How long each answer took that was asked for since then, in milliseconds. */
  since(at: number): readonly number[];
  /** The same for all of them. */
  stop(): Promise<readonly number[]>;
}

interface Sample {
  readonly at: number;
  readonly ms: number;
}

/** What runs on the thread: plain JavaScript, because a thread does not compile. */
const PROBE = `
const { request, Agent } = require("node:http");
const { parentPort, workerData } = require("node:worker_threads");
const agent = new Agent({ keepAlive: true });
function ask() {
  const at = Date.now();
  const start = performance.now();
  const tell = (ms) => {
    parentPort.postMessage({ at, ms });
    setTimeout(ask, workerData.pauseMs);
  };
  request(workerData.url + "/ok", { agent }, (response) => {
    response.resume();
    response.on("end", () => tell(response.statusCode === 200 ? performance.now() - start : Infinity));
  }).on("error", () => tell(Infinity)).end();
}
ask();
`;

/** Resolves with the first answer. */
export async function startOkProbe(url: string, pauseMs = 5): Promise<OkProbe> {
  const worker = new Worker(PROBE, { eval: true, workerData: { url, pauseMs } });
  const samples: Sample[] = [];
  worker.on("message", (sample: Sample) => samples.push(sample));
  await once(worker, "message");
  return {
    since: (at) => samples.filter((sample) => sample.at >= at).map(({ ms }) => ms),
    async stop() {
      await worker.terminate();
      return samples.map(({ ms }) => ms);
    },
  };
}
