/**
 * WebSockets as bytes: commands right and hostile, in frames that keep the protocol's rules, bend them, or have none.
 *
 * What comes back is read as frames, too. A server may close at any time; it may not say what it should not.
 */
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { connect } from "node:net";
import fc from "fast-check";
import { commandText } from "./fuzz-commands.js";
import { attackText, fillIn, hostileJson, type Subjects } from "./fuzz-values.js";

/** What one connection sends, and for how long it listens then. */
export interface SocketScript {
  readonly frames: readonly Frame[];
  readonly listenMs: number;
}

interface Frame {
  /** undefined: the text stands for bytes that are no frame. */
  readonly opcode: number | undefined;
  readonly text: string;
  readonly isMasked: boolean;
  readonly isLast: boolean;
  readonly reserved: number;
  /** Added to the length that it claims. */
  readonly lie: number;
}

const [CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG] = [0, 1, 2, 8, 9, 10];

const said = fc.oneof(
  { arbitrary: commandText, weight: 10 },
  { arbitrary: hostileJson, weight: 2 },
  attackText,
  fc.constantFrom(
    "",
    "{",
    "[".repeat(20_000),
    `{"id":1,"method":"${"x".repeat(70_000)}"}`,
    "\u0003\u00e8bye",
    "\u0000",
  ),
);

const frame: fc.Arbitrary<Frame> = fc.oneof(
  {
    arbitrary: said.map((text) => ({ opcode: TEXT, text, isMasked: true, isLast: true, reserved: 0, lie: 0 })),
    weight: 12,
  },
  fc.record({
    opcode: fc.constantFrom(undefined, CONTINUATION, TEXT, BINARY, 3, 7, CLOSE, PING, PONG, 15),
    text: said,
    isMasked: fc.boolean(),
    isLast: fc.boolean(),
    reserved: fc.nat(7),
    lie: fc.constantFrom(0, 0, -1, 1, 1_000, 2 ** 31, 2 ** 52),
  }),
);

export const socketScripts: fc.Arbitrary<SocketScript> = fc.record({
  frames: fc.array(frame, { minLength: 1, maxLength: 12 }),
  listenMs: fc.constantFrom(20, 100, 250),
});

/** The texts that came back; undefined when there was no socket to be had. */
export async function playSocket(
  url: string,
  { frames, listenMs }: SocketScript,
  subjects: Subjects,
): Promise<readonly string[] | undefined> {
  const { hostname, port } = new URL(url);
  const socket = connect({ host: hostname, port: Number(port), noDelay: true });
  let received = Buffer.alloc(0);
  socket.on("error", () => {}); // the server may cut it
  socket.on("data", (bytes) => {
    received = Buffer.concat([received, bytes]);
  });
  await once(socket, "connect");
  const closed = once(socket, "close");
  socket.write(handshake(subjects.thread_id ?? "none"));
  await Promise.race([once(socket, "data"), closed]);
  const end = received.indexOf("\r\n\r\n");
  if (end === -1 || !received.toString("latin1").startsWith("HTTP/1.1 101 ")) {
    socket.destroy();
    return undefined;
  }
  for (const each of frames) if (!socket.destroyed) socket.write(bytesOf(each, subjects));
  await Promise.race([closed, new Promise((resolve) => setTimeout(resolve, listenMs))]);
  socket.destroy();
  return textsIn(received.subarray(end + 4));
}

function handshake(threadId: string): string {
  return [
    `GET /threads/${encodeURIComponent(threadId)}/stream/events HTTP/1.1`,
    "host: 127.0.0.1:2024",
    "connection: Upgrade",
    "upgrade: websocket",
    "sec-websocket-version: 13",
    `sec-websocket-key: ${randomBytes(16).toString("base64")}`,
    "\r\n",
  ].join("\r\n");
}

function bytesOf({ opcode, text, isMasked, isLast, reserved, lie }: Frame, subjects: Subjects): Buffer {
  const payload = Buffer.from(fillIn(text, subjects, (value) => JSON.stringify(value).slice(1, -1)));
  if (opcode === undefined) return payload;
  const length = Math.max(0, payload.length + lie);
  const head = Buffer.alloc(length < 126 ? 2 : length < 65_536 ? 4 : 10);
  head[0] = (isLast ? 128 : 0) | (reserved << 4) | opcode;
  head[1] = (isMasked ? 128 : 0) | (head.length === 2 ? length : head.length === 4 ? 126 : 127);
  if (head.length === 4) head.writeUInt16BE(length, 2);
  if (head.length === 10) head.writeBigUInt64BE(BigInt(length), 2);
  if (!isMasked) return Buffer.concat([head, payload]);
  const mask = Buffer.from([1, 2, 3, 4]);
  return Buffer.concat([head, mask, payload.map((byte, index) => byte ^ (mask[index % 4] ?? 0))]);
}

/** Of the frames of a server: whole, and not masked. */
function textsIn(bytes: Buffer): readonly string[] {
  const texts: string[] = [];
  for (let at = 0; at + 2 <= bytes.length; ) {
    const [first = 0, second = 0] = bytes.subarray(at, at + 2);
    const short = second & 127;
    const headLength = short === 126 ? 4 : short === 127 ? 10 : 2;
    if (at + headLength > bytes.length) break;
    const length =
      short === 126 ? bytes.readUInt16BE(at + 2) : short === 127 ? Number(bytes.readBigUInt64BE(at + 2)) : short;
    const start = at + headLength;
    if (start + length > bytes.length) break; // cut off
    if ((first & 15) === TEXT) texts.push(bytes.toString("utf8", start, start + length));
    at = start + length;
  }
  return texts;
}
