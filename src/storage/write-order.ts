/**
 * Lets what must wait before it can be written keep its place: of two that write the same thing, the first that came is
 * the first to be written, however long each takes to get ready. Where the database writes in the order in which it is
 * `asked`, the second waits until the first has asked; else until the first was `written`.
 */
export interface WriteOrder {
  /**
   * Calls `write` when `ready` has resolved and all that came before for one of `keys` was written or has failed. At once,
   * before it returns, where there is nothing to wait for.
   */
  run<Ready, T>(
    keys: readonly string[],
    ready: Promise<Ready> | null,
    write: (ready: Ready | null) => Promise<T>,
  ): Promise<T>;
}

export function createWriteOrder(until: "asked" | "written" = "asked"): WriteOrder {
  /** By key, what is settled when those that come next may ask to be written. */
  const last = new Map<string, Promise<void>>();

  return {
    run(keys, ready, write) {
      const before = keys.flatMap((key) => last.get(key) ?? []);
      if (until === "asked" && ready === null && before.length === 0) return write(null);
      let asked = (): void => {};
      const turn = new Promise<void>((resolve) => {
        asked = resolve;
      });
      for (const key of keys) last.set(key, turn);
      ready?.catch(() => {}); // heard of when its turn has come
      const wait = async () => {
        try {
          await Promise.all(before); // they never fail
          const written = write(await ready);
          if (until === "written") await written.catch(() => {}); // its caller hears of it
          return { written };
        } finally {
          asked();
          for (const key of keys) if (last.get(key) === turn) last.delete(key);
        }
      };
      return wait().then(({ written }) => written);
    },
  };
}
