/** A limit for what must come to its end: a test that waits for ever tells nobody for what. */

/** As `work` ends; rejects with what it was, and what is known of it by then, when it has not ended after so long. */
export async function within<T>(ms: number, what: string, work: Promise<T>, known = (): string => ""): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} has not ended after ${ms} ms\n${known()}`.trimEnd())), ms);
  });
  try {
    return await Promise.race([work, limit]);
  } finally {
    clearTimeout(timer);
  }
}
