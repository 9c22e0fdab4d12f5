/**
 * What several readers need of the same things at nearly the same time: made once, shared, and forgotten when it was made
 * longest ago.
 *
 * Readers are mostly at the same place, the head of a log. So what is held is bounded instead of living as long as the
 * things themselves, and who comes later has it made again.
 */
export interface SharedMemory<Thing extends object, Made> {
  /** What was made of the thing; makes it where it is not held. */
  of(thing: Thing): Made;
}

export interface SharedMemoryOptions<Thing, Made> {
  readonly make: (thing: Thing) => Made;
  readonly bytesOf: (made: Made) => number;
  /** What may be held; at least half of it is. */
  readonly maxBytes: number;
}

/** What holding something costs besides its bytes. */
const OVERHEAD_BYTES = 200;

export function createSharedMemory<Thing extends object, Made>({
  make,
  bytesOf,
  maxBytes,
}: SharedMemoryOptions<Thing, Made>): SharedMemory<Thing, Made> {
  // Two generations, the elder forgotten as a whole: dropping single entries from the start of a Map is slow.
  let recent = new Map<Thing, { readonly made: Made }>();
  let elder = new Map<Thing, { readonly made: Made }>();
  let recentBytes = 0;

  return {
    of(thing) {
      const known = recent.get(thing) ?? elder.get(thing);
      if (known !== undefined) return known.made;
      const made = make(thing);
      recent.set(thing, { made });
      recentBytes += bytesOf(made) + OVERHEAD_BYTES;
      if (recentBytes > maxBytes / 2) {
        elder = recent;
        recent = new Map();
        recentBytes = 0;
      }
      return made;
    },
  };
}
