/**
 * Which chunks of one message may be folded.
 *
 * Clients merge chunks one after the other, and that is not associative for whatever a model may send: a text after a
 * block becomes a block of its own, an item without an id joins the first with its index. Chunks are folded only where
 * a client ends with the same message however they were grouped, because a reader can have any part of them already.
 * So an item of a list must have one place that it belongs to, text and blocks must not mix, and sums must be exact.
 */
export type ChunkDict = Readonly<Record<string, unknown>>;

/** `fold`: may be merged with its neighbours; `alone`: stays an event of its own. */
export type Admission = "fold" | "alone";

export interface MessageShape {
  /** Takes note of the next chunk. */
  admit(chunk: ChunkDict): Admission;
  /** The same for a chunk that differs from one before it by a text that is not empty, and in nothing else. */
  admitText(): Admission;
}

interface Item {
  readonly id: unknown;
  readonly type: string | undefined;
}

export function createMessageShape(): MessageShape {
  let content: "none" | "text" | "blocks" = "none";
  /** Items of lists by where they are merged: the first of each place. */
  const items = new Map<string, Item>();
  const callIds = new Set<unknown>();
  /** Once a chunk had no certain place, no later one has. */
  let certain = true;

  function settle(holds: boolean): Admission {
    certain &&= holds;
    return certain ? "fold" : "alone";
  }

  function takeContent(value: unknown): boolean {
    if (value === "") return true;
    const kind = typeof value === "string" ? "text" : Array.isArray(value) && value.length > 0 ? "blocks" : undefined;
    if (kind === undefined || (content !== "none" && content !== kind)) return false;
    content = kind;
    return kind === "text" || takeList("content", value);
  }

  function takeList(path: string, list: unknown): boolean {
    if (!Array.isArray(list)) return false;
    const places = list.map((item) => placeOf(path, item));
    return list.every((item, index) => {
      const place = places[index];
      if (place === undefined) return true; // it is appended, whatever comes before it
      if (places.indexOf(place) !== index) return false;
      const { id, type } = item as { id?: unknown; type?: unknown }; // an object: it has a place
      const own: Item = { id: hasId(id) ? id : undefined, type: typeof type === "string" ? baseOf(type) : undefined };
      const first = items.get(place);
      if (first === undefined) items.set(place, own);
      else if (own.id !== undefined && own.id !== first.id) return false;
      else if (own.type !== undefined && own.type !== first.type) return false;
      return takeDict(place, item);
    });
  }

  /** Clients also merge the calls that come of these, by id, and fail where their arguments do not fit. */
  function takeCalls(chunks: unknown): boolean {
    if (!takeList("tool_call_chunks", chunks)) return false;
    const ids = (chunks as readonly { readonly id?: unknown }[]).map(({ id }) => id).filter(hasId); // objects: they have places
    const isNew = ids.every((id) => !callIds.has(id));
    for (const id of ids) callIds.add(id);
    return isNew;
  }

  function takeDict(path: string, dict: unknown): boolean {
    if (typeof dict !== "object" || dict === null || Array.isArray(dict)) return false;
    return Object.entries(dict).every(([key, value]) => {
      if (typeof value === "number") return Number.isSafeInteger(value) || KEPT_KEYS.has(key);
      if (Array.isArray(value)) return takeList(`${path}.${key}`, value);
      return typeof value !== "object" || value === null || takeDict(`${path}.${key}`, value);
    });
  }

  return {
    admit(chunk) {
      if (certain && content === "blocks" && beginsEmpty(chunk.content, items)) return "alone";
      return settle(
        takeContent(chunk.content) &&
          takesToolCalls(chunk) &&
          takeCalls(chunk.tool_call_chunks ?? []) &&
          takeDict("additional_kwargs", chunk.additional_kwargs ?? {}) &&
          takeDict("response_metadata", chunk.response_metadata ?? {}) &&
          takeDict("usage_metadata", chunk.usage_metadata ?? {}),
      );
    },
    admitText() {
      if (content === "none") content = "text";
      return settle(content === "text");
    },
  };
}

/** Clients keep the first of these instead of adding them up. */
const KEPT_KEYS: ReadonlySet<string> = new Set(["index", "created", "timestamp"]);

/** Items merge by index, those without one by id. */
function placeOf(path: string, item: unknown): string | undefined {
  if (typeof item !== "object" || item === null) return undefined;
  const { index, id } = item as { index?: unknown; id?: unknown }; // read only
  if (typeof index === "number" || typeof index === "string") return `${path}#${JSON.stringify(index)}`;
  return hasId(id) ? `${path}@${JSON.stringify(id)}` : undefined;
}

function hasId(id: unknown): boolean {
  return id !== undefined && id !== null && id !== "";
}

/** `text_delta` continues `text`. */
function baseOf(type: string): string {
  return type.endsWith("_delta") ? type.slice(0, -"_delta".length) : type;
}

/** Whether a block begins without text after others: clients drop it, with all else that it says. */
function beginsEmpty(content: unknown, items: ReadonlyMap<string, Item>): boolean {
  if (!Array.isArray(content)) return false;
  return content.some((block) => {
    const place = placeOf("content", block);
    return place !== undefined && !items.has(place) && (block as { text?: unknown }).text === ""; // it has a place
  });
}

/** Tool calls come from their chunks, each with an index; what comes whole is merged in ways of its own. */
function takesToolCalls({ content, tool_call_chunks: chunks, tool_calls: calls }: ChunkDict): boolean {
  if (Array.isArray(chunks) && chunks.length > 0) {
    return chunks.every((chunk: unknown) => {
      return typeof chunk === "object" && chunk !== null && "index" in chunk && typeof chunk.index === "number";
    });
  }
  if (Array.isArray(calls) && calls.length > 0) return false;
  return !(
    Array.isArray(content) && content.some((block) => TOOL_BLOCKS.has((block as { type?: unknown } | null)?.type))
  );
}

const TOOL_BLOCKS: ReadonlySet<unknown> = new Set(["tool_call", "tool_use"]);
