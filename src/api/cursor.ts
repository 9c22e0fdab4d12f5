/** `Last-Event-ID` and its like → where a reader starts (docs/wire.md). */
import type { Cursor } from "../bridge/bridge.js";
import { badRequest } from "../core/errors.js";

/**
 * `<fence>-<seq>`: after that event. `-1`, or nothing: from the start. A bare number: after that event of the newest
 * claim, which is `fence`. Anything else is refused: a cursor that cannot be understood must not skip or repeat events. `where`
 * it stood is for the message.
 */
export function parseCursor(cursor: string | null, fence: number, where = "Last-Event-ID"): Cursor {
  const text = cursor?.trim() ?? "";
  if (text === "" || text === "-1") return { from: "start" };
  const full = /^(\d{1,15})-(\d{1,15})$/.exec(text);
  if (full !== null) return { after: { fence: Number(full[1]), seq: Number(full[2]) } };
  if (/^\d{1,15}$/.test(text)) return { after: { fence, seq: Number(text) } };
  throw badRequest(`${where}: expected <number>-<number>, a number, or -1, not ${JSON.stringify(text.slice(0, 64))}`);
}
