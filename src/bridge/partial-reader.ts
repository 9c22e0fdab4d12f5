/**
 * The message that a `messages/partial` event shows so far.
 *
 * Such an event holds all that was said, so parsing each would cost the square of the answer's length. One that
 * continues the text of the event before by some characters is of the same message.
 */

/** The id of the message in the data of an event; undefined for what is not one message with an id. */
export function createPartialReader(): (data: string) => string | undefined {
  let before: { readonly id: string; readonly start: string; readonly end: string } | undefined;

  return (data) => {
    if (before !== undefined && data.endsWith(before.end) && data.startsWith(before.start)) {
      const { id, start, end } = before;
      if (data.length >= start.length + end.length && INSIDE.test(data.slice(start.length, data.length - end.length))) {
        before = { id, start: data.slice(0, data.length - end.length), end };
        return id;
      }
    }
    const messages = JSON.parse(data) as unknown;
    if (!Array.isArray(messages) || messages.length !== 1) return undefined;
    const { id, content } = messages[0] as { readonly id?: unknown; readonly content?: unknown };
    if (typeof id !== "string" || id === "") return undefined;
    before = typeof content === "string" ? split(data, id) : undefined;
    return id;
  };
}

const HEAD = /^\[\{"type":"\w+","content":"/;
/** What may stand between the quotes of a string. */
const INSIDE = /^[^"\\]*(?:\\.[^"\\]*)*$/;

function split(
  data: string,
  id: string,
): { readonly id: string; readonly start: string; readonly end: string } | undefined {
  const head = HEAD.exec(data)?.[0];
  if (head === undefined) return undefined;
  const text = /[^"\\]*(?:\\.[^"\\]*)*/y;
  text.lastIndex = head.length;
  if (!text.test(data)) return undefined;
  return { id, start: data.slice(0, text.lastIndex), end: data.slice(text.lastIndex) };
}
