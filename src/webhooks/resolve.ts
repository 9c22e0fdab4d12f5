/**
 * Host names to addresses, as the system resolves them: its hosts file and search domains count.
 *
 * The system does that on the few threads that the whole process has for files and names. Names that nobody answers for
 * would keep all of them busy, and the models of graphs could not be called: so no more than two are resolved at a time.
 */
import { lookup } from "node:dns/promises";

export interface Address {
  readonly address: string;
  /** 4 or 6. */
  readonly family: number;
}

/** Rejects where the name has no address. */
export type Resolve = (hostname: string) => Promise<readonly Address[]>;

const MAX_AT_A_TIME = 2;

export function createResolve(resolveOne: Resolve = (hostname) => lookup(hostname, { all: true })): Resolve {
  const waiting: (() => void)[] = [];
  let resolving = 0;
  return async (hostname) => {
    if (resolving === MAX_AT_A_TIME) await new Promise<void>((resolve) => waiting.push(resolve));
    else resolving++;
    try {
      return await resolveOne(hostname);
    } finally {
      const next = waiting.shift();
      if (next === undefined) resolving--;
      else next(); // the place is handed on
    }
  };
}
