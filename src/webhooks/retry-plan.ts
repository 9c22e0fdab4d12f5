/** When a webhook that failed is tried again: eight tries within 24 hours, further and further apart. Pure. */

const SECOND_MS = 1_000;
const MINUTE_MS = 60 * SECOND_MS;
const HOUR_MS = 60 * MINUTE_MS;

/** After each try but the last. With all that chance adds they end within `GIVE_UP_MS`. */
const DELAYS_MS: readonly number[] = [
  5 * SECOND_MS,
  30 * SECOND_MS,
  5 * MINUTE_MS,
  30 * MINUTE_MS,
  2 * HOUR_MS,
  5 * HOUR_MS,
  12 * HOUR_MS,
];

/** Chance adds up to this part to a delay, so that what failed together is not tried together again. */
const JITTER = 0.2;

/**
 * Since the end of the run. What had to wait for its turn, and would be tried later than that, is tried then; and what was
 * tried only afterwards, because nobody could before, was tried for the last time.
 */
const GIVE_UP_MS = 24 * HOUR_MS;

/** When to try again after `tries` tries, the last of which failed just now; null: never. `chance` is from 0 to 1. */
export function nextTryAt(
  tries: number,
  { endedAt, now, chance }: { readonly endedAt: number; readonly now: number; readonly chance: number },
): number | null {
  const delay = DELAYS_MS[tries - 1];
  if (delay === undefined) return null;
  const end = endedAt + GIVE_UP_MS;
  return now >= end ? null : Math.min(now + Math.round(delay * (1 + JITTER * chance)), end);
}
