/**
 * Which state events place messages.
 *
 * A client shows a message that begins to stream after those that it has, and keeps it at that place: so whether it saw
 * a state event decides where later chunks go. A state event may go when nothing began after it, or when it does not
 * change how many messages a client has; in the first case the next state event has to stay as long as something begins
 * after that one (its `anchor`), because the count before it depends on who reads.
 */

/** A full state that clients show. */
export interface ValuesPlace {
  /** One that stays as long as a message begins after it. */
  readonly anchor: boolean;
}

export interface MessagePlaces {
  /** A message event with this id. */
  message(id: string): void;
  /** An event after which nobody knows how many messages a client has. */
  unknown(): void;
  values(json: string, anchor: boolean): ValuesPlace;
  /** Lets a state go that a later one replaces; false when it has to stay. */
  drop(values: ValuesPlace): boolean;
}

interface Place {
  readonly json: string;
  anchor: boolean;
  /** Whether a message began between this and the next state that is still there. */
  followed: boolean;
  /** How many messages a client has just before. */
  before: Count;
  /** How many it has then; undefined: not counted yet. */
  count: number | null | undefined;
  previous: Place | undefined;
  next: Place | undefined;
}

/** Null: nobody knows. A place: as many as it has, which is counted when it matters. */
type Count = number | null | Place;

export function createMessagePlaces(): MessagePlaces {
  const places = new WeakMap<ValuesPlace, Place>();
  const indices = new Map<string, number | null>();
  let count: Count = null;
  let last: Place | undefined;

  function drop(place: Place): boolean {
    const isRedundant = indices.size > 0 && !place.anchor && isSame(place);
    if (!isRedundant && place.followed) return false;
    const { previous, next } = place;
    if (previous !== undefined) previous.next = next;
    if (next !== undefined) {
      next.previous = previous;
      if (!isRedundant) next.anchor = true;
      if (next.before === place) next.before = isRedundant ? counted(place) : null;
    }
    if (previous !== undefined && place.followed) previous.followed = true;
    return true;
  }

  return {
    message(id) {
      const index = indices.get(id);
      const now = counted(count);
      if (index === undefined) {
        indices.set(id, now);
        count = now === null ? null : now + 1;
        if (last !== undefined) last.followed = true;
      } else {
        count = now === null || index === null ? null : Math.max(now, index + 1);
      }
    },
    unknown() {
      count = null;
      if (last !== undefined) last.followed = true;
    },
    values(json, anchor) {
      const place: Place = {
        json,
        anchor,
        followed: false,
        before: count,
        count: undefined,
        previous: last,
        next: undefined,
      };
      if (last !== undefined) last.next = place;
      last = place;
      count = place;
      places.set(place, place);
      return place;
    },
    drop(values) {
      const place = places.get(values);
      return place !== undefined && drop(place);
    },
  };
}

function isSame(place: Place): boolean {
  const before = counted(place.before);
  return before !== null && before === counted(place);
}

function counted(count: Count): number | null {
  if (count === null || typeof count === "number") return count;
  if (count.count === undefined) count.count = countMessages(count.json);
  return count.count;
}

/** Of a state without messages a client keeps those that it had before the run. */
function countMessages(json: string): number | null {
  const state = JSON.parse(json) as { readonly messages?: unknown } | null;
  return Array.isArray(state?.messages) ? state.messages.length : null;
}
