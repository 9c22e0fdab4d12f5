/**
 * JSON text of any length, and text from bytes of any length, in a heap that is limited.
 *
 * V8 ends the whole process when one object does not fit into what is left of a thread's heap, before anybody is asked. So
 *
 * 1. long text is put together in pieces and outside of the heap, where no limit of a thread counts it, and
 * 2. a long text of somebody else's, which V8 copies into one piece before it can be read, is refused when its copy would
 *    not fit.
 */
import { constants, isAscii, transcode } from "node:buffer";
import { randomUUID } from "node:crypto";
import { getHeapStatistics, setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

/** From so many characters on a text is long: `JSON.stringify` needs three times as much of the heap, and is faster below. */
export const LONG_CHARS = 1_024 ** 2;

/** What a value's texts do not count for: a number, a name. */
const PART_CHARS = 8;
/** What a text must leave of the heap, for whatever is made while it is written. */
const RESERVE_BYTES = 8 * 1_024 ** 2;

/** How large a value is, whose JSON is longer than its texts. */
export interface JsonSize {
  readonly parts: number;
  /** Of all its texts. */
  readonly chars: number;
}

/** Whether the JSON of a value is long. */
export function isLongJson(size: JsonSize): boolean {
  return charsOf(size) >= LONG_CHARS;
}

function charsOf({ parts, chars }: JsonSize): number {
  return chars + PART_CHARS * parts;
}

/** A value that does not fit into the heap: a graph's fault, and the end of its run alone. */
export class OutOfMemoryError extends Error {
  override readonly name = "OutOfMemoryError";
}

/**
 * The same as `JSON.stringify` says of plain data. Throws a `RangeError` for more than a string can hold, an
 * `OutOfMemoryError` for what is left of the heap.
 */
export function longJson(plain: unknown, size: JsonSize): string {
  return writerOf(plain, size).text();
}

/** The same in UTF-8. Its memory is its own, and can be handed to another thread. */
export function longJsonBytes(plain: unknown, size: JsonSize): Buffer {
  return writerOf(plain, size).utf8();
}

/** The text that UTF-8 stands for. */
export function textOfUtf8(bytes: Buffer): string {
  if (bytes.length < LONG_CHARS) return bytes.toString("utf8");
  return isAscii(bytes) ? bytes.toString("latin1") : transcode(bytes, "utf8", "utf16le").toString("utf16le"); // 1
}

function writerOf(plain: unknown, size: JsonSize): TextWriter {
  if (size.chars > constants.MAX_STRING_LENGTH) throw tooLong();
  const writer = new TextWriter(charsOf(size));
  writeValue(writer, plain);
  return writer;
}

/**
 * What `JSON.stringify` says of plain data: as one text, or, where long texts are in it, as texts to be put one behind the
 * other.
 */
export function jsonTexts(plain: unknown): string | Iterable<string> {
  return hasLongText(plain) ? textsAround(plain) : JSON.stringify(plain);
}

function hasLongText(plain: unknown): boolean {
  const waiting = [plain]; // as deep as a value can be
  while (waiting.length > 0) {
    const value = waiting.pop();
    if (typeof value === "string" && value.length >= LONG_CHARS) return true;
    if (typeof value === "object" && value !== null) for (const member of Object.values(value)) waiting.push(member);
  }
  return false;
}

function* textsAround(plain: unknown): Generator<string> {
  const mark = randomUUID();
  const long: string[] = [];
  const text = JSON.stringify(plain, (_key, value: unknown) =>
    typeof value === "string" && value.length >= LONG_CHARS ? `${mark}${long.push(value)}` : value,
  );
  let count = 0;
  for (const between of text.split(new RegExp(`"${mark}\\d+"`))) {
    if (count > 0) yield* quotedPieces(long[count - 1] as string); // one for each mark
    yield between;
    count++;
  }
}

/** The text in UTF-8, piece by piece. */
export function* utf8Pieces(text: string): Generator<Buffer> {
  for (const piece of textPieces(text, PIECE_CHARS)) yield Buffer.from(piece);
}

/** The text in pieces of up to so many characters, each of which can be stored by itself. */
export function* textPieces(text: string, chars: number): Generator<string> {
  for (let start = 0; start < text.length; ) {
    const end = endOfPiece(text, start, chars);
    yield text.slice(start, end);
    start = end;
  }
}

const PIECE_CHARS = 64 * 1_024;

/** What JSON does not write as it is. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: JSON escapes them
const ESCAPED = /["\\\u0000-\u001f\ud800-\udfff]/;
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are no wider than others
const WIDE = /[^\u0000-\u00ff]/;

function writeValue(writer: TextWriter, value: unknown): void {
  if (typeof value === "string" && value.length > PIECE_CHARS) writeString(writer, value);
  else if (typeof value !== "object" || value === null) writer.add(JSON.stringify(value) ?? "null");
  else if (Array.isArray(value)) writeArray(writer, value);
  else writeRecord(writer, value);
}

function writeArray(writer: TextWriter, items: readonly unknown[]): void {
  writer.add("[");
  for (let index = 0; index < items.length; index++) {
    if (index > 0) writer.add(",");
    writeValue(writer, items[index]);
  }
  writer.add("]");
}

function writeRecord(writer: TextWriter, record: object): void {
  let separator = "";
  writer.add("{");
  for (const [key, member] of Object.entries(record)) {
    if (member === undefined || typeof member === "function" || typeof member === "symbol") continue;
    writer.add(separator);
    writeValue(writer, key);
    writer.add(":");
    writeValue(writer, member);
    separator = ",";
  }
  writer.add("}");
}

function writeString(writer: TextWriter, value: string): void {
  if (value.length >= LONG_CHARS) requireRoomFor(value);
  for (const piece of quotedPieces(value)) writer.add(piece);
}

function* quotedPieces(value: string): Generator<string> {
  yield '"';
  for (const piece of textPieces(value, PIECE_CHARS)) {
    yield ESCAPED.test(piece) ? JSON.stringify(piece).slice(1, -1) : piece;
  }
  yield '"';
}

/** Never between the halves of a pair: alone, each would be escaped, or be no text. */
function endOfPiece(value: string, start: number, chars: number): number {
  const end = Math.min(start + chars, value.length);
  const isHigh = end < value.length && (value.charCodeAt(end - 1) & 0xfc00) === 0xd800;
  return isHigh ? end - 1 : end;
}

/**
 * Collects text outside of the heap: a byte for each character until one needs two. Node makes strings of large buffers
 * that stay outside, too.
 */
class TextWriter {
  #buffer: Buffer;
  #encoding: "latin1" | "utf16le" = "latin1";
  #chars = 0;
  #bytes = 0;
  /** Short pieces, until they are worth a write. */
  #waiting = "";

  /** `chars`: about so many will come. */
  constructor(chars: number) {
    this.#buffer = Buffer.allocUnsafeSlow(chars + PIECE_CHARS);
  }

  add(text: string): void {
    this.#waiting += text;
    if (this.#waiting.length >= PIECE_CHARS) this.#flush();
  }

  text(): string {
    this.#flush();
    return this.#buffer.subarray(0, this.#bytes).toString(this.#encoding);
  }

  utf8(): Buffer {
    this.#flush();
    const written = this.#buffer.subarray(0, this.#bytes);
    return this.#encoding === "latin1" && isAscii(written) ? written : transcode(written, this.#encoding, "utf8");
  }

  #flush(): void {
    const text = this.#waiting;
    this.#waiting = "";
    this.#chars += text.length;
    if (this.#chars > constants.MAX_STRING_LENGTH) throw tooLong();
    if (this.#encoding === "latin1" && WIDE.test(text)) this.#widen();
    this.#makeRoom(this.#encoding === "latin1" ? text.length : 2 * text.length);
    this.#bytes += this.#buffer.write(text, this.#bytes, this.#encoding);
  }

  #makeRoom(bytes: number): void {
    if (this.#bytes + bytes <= this.#buffer.length) return;
    const larger = Buffer.allocUnsafeSlow(Math.max(2 * this.#buffer.length, this.#bytes + bytes));
    this.#buffer.copy(larger, 0, 0, this.#bytes);
    this.#buffer = larger;
  }

  #widen(): void {
    const narrow = this.#buffer.subarray(0, this.#bytes);
    this.#buffer = Buffer.allocUnsafeSlow(2 * narrow.buffer.byteLength);
    this.#bytes = 0;
    this.#encoding = "utf16le";
    for (let start = 0; start < narrow.length; start += PIECE_CHARS) {
      const piece = narrow.toString("latin1", start, Math.min(start + PIECE_CHARS, narrow.length));
      this.#bytes += this.#buffer.write(piece, this.#bytes, "utf16le");
    }
  }
}

/** In the words of V8. */
function tooLong(): RangeError {
  return new RangeError("Invalid string length");
}

/** 2 */
function requireRoomFor(text: string): void {
  if (hasRoomFor(text)) return;
  collectGarbage();
  if (hasRoomFor(text)) return;
  const size = `${Math.round(text.length / 1_024 ** 2)} MB`;
  throw new OutOfMemoryError(
    `the graph ran out of memory: a text of ${size} is more than what is left (thread_memory_mb)`,
  );
}

function hasRoomFor(text: string): boolean {
  const { heap_size_limit, used_heap_size } = getHeapStatistics();
  return heap_size_limit - used_heap_size > text.length + RESERVE_BYTES;
}

function collectGarbage(): void {
  setFlagsFromString("--expose-gc"); // for contexts that are made from now on
  const collect = runInNewContext("gc") as () => void; // V8's
  setFlagsFromString("--no-expose-gc");
  collect();
}
