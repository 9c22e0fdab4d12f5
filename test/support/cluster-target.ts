/** A cluster as the clients of `crash-load.ts` reach it: they know nginx alone, and leave what does not answer. */
import { setTimeout as pause } from "node:timers/promises";
import type { Cluster } from "./cluster.js";
import type { Target } from "./crash-load.js";

export function clusterTarget({ url }: Pick<Cluster, "url">): Target {
  const breathe = () => pause(100);
  return {
    url,
    async after() {
      for (;;) {
        await breathe();
        const response = await fetch(`${url}/ok`, { signal: AbortSignal.timeout(2_000) }).catch(() => undefined);
        await response?.body?.cancel();
        if (response?.ok === true) return url;
      }
    },
    calm: breathe,
    patienceMs: 6_000,
  };
}
