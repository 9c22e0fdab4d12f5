/** A cluster as the clients of `crash-load.ts` reach it: they know nginx alone, and leave what does not answer. */
import { setTimeout as pause } from "node:timers/promises";
import type { Cluster } from "./cluster.js";
import type { Target } from "./crash-load.js";

/** More than any fault, or two of them, takes every replica away. */
const AWAY_MS = 120_000;

export function clusterTarget({ url }: Pick<Cluster, "url">): Target {
  const breathe = () => pause(100);
  return {
    url,
    async after() {
      for (const startedAt = Date.now(); Date.now() - startedAt < AWAY_MS; ) {
        await breathe();
        const response = await fetch(`${url}/ok`, { signal: AbortSignal.timeout(2_000) }).catch(() => undefined);
        await response?.body?.cancel();
        if (response?.ok === true) return url;
      }
      throw new Error(`nobody has answered ${url}/ok for ${AWAY_MS} ms`);
    },
    calm: breathe,
    patienceMs: 6_000,
  };
}
