/**
 * Asks a gateway through its public address and notes what comes back and when, without an opinion about it.
 *
 * Node's own HTTP client, because `fetch` unpacks what is compressed, follows where it is sent, and hides how a connection
 * ended.
 */
import { type IncomingHttpHeaders, type IncomingMessage, request as requestHttp } from "node:http";
import { request as requestHttps } from "node:https";
import type { Readable } from "node:stream";
import { createBrotliDecompress, createGunzip, createInflate } from "node:zlib";
import { WebSocket } from "ws";
import type { Clock } from "../core/clock.js";
import { PROBE_STREAM, type ProbeFrame } from "../core/doctor-probe.js";

/** How long an answer may take to begin, a large upload included. */
const ANSWER_MS = 30_000;
const STREAM_MS = PROBE_STREAM.frames * PROBE_STREAM.paceMs + PROBE_STREAM.silenceMs + ANSWER_MS;
const MAX_TEXT_CHARS = 100_000;

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** Its beginning. */
  readonly text: string;
}

export interface Ask {
  readonly method?: "GET" | "POST";
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Buffer;
}

/** Rejects when no answer comes. An answer counts even if the body could not be sent to its end. */
export async function ask(url: string, asked: Ask = {}): Promise<Answer> {
  const response = await open(url, asked);
  const { statusCode: status = 0, headers } = response;
  let text = "";
  response.setEncoding("utf8");
  try {
    for await (const part of response) if (text.length < MAX_TEXT_CHARS) text += String(part);
  } catch (error) {
    if (text === "") throw error; // an answer that was cut still says what it says
  }
  return { status, headers, text };
}

function open(url: string, { method = "GET", headers = {}, body }: Ask, limitMs = ANSWER_MS): Promise<IncomingMessage> {
  const request = url.startsWith("https:") ? requestHttps : requestHttp;
  return new Promise((resolve, reject) => {
    const length = body === undefined ? {} : { "content-length": String(body.length) };
    const signal = AbortSignal.timeout(limitMs);
    const sent = request(url, { method, headers: { ...headers, ...length }, agent: false, signal });
    sent.on("response", resolve);
    sent.on("error", (error) => {
      reject(signal.aborted ? new Error(`no answer within ${limitMs / 1_000} s`) : error);
    });
    sent.end(body);
  });
}

export interface StreamSeen {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** In the order in which they came; both times in ms, by clocks of their own. */
  readonly frames: readonly { readonly sentMs: number; readonly arrivedMs: number }[];
  readonly sawHeartbeat: boolean;
  readonly sawLast: boolean;
  /** `ended`: as an answer that is complete ends. */
  readonly end: "cut" | "ended";
  /** From the last byte to the end. */
  readonly silentMs: number;
}

/** Reads the probe's stream to its end. */
export async function readStream(url: string, acceptEncoding: string, clock: Clock): Promise<StreamSeen> {
  const headers = { accept: "text/event-stream", "accept-encoding": acceptEncoding };
  const response = await open(url, { headers }, STREAM_MS);
  let lastByteAt = clock.now();
  response.on("data", () => {
    lastByteAt = clock.now();
  });
  const cut = new Promise<void>((resolve) => void response.once("error", () => resolve()));
  const ended = new Promise<void>((resolve) => void response.once("end", () => resolve()));
  const plain = unpacked(response);
  const frames: { sentMs: number; arrivedMs: number }[] = [];
  let rest = "";
  let sawHeartbeat = false;
  let sawLast = false;
  plain.setEncoding("utf8");
  plain.on("data", (text: string) => {
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) {
      if (line.startsWith(":")) sawHeartbeat = true;
      if (line === "event: last") sawLast = true;
      if (line.startsWith("data: ") && !sawLast) frames.push({ sentMs: sentMsOf(line), arrivedMs: clock.now() });
    }
  });
  const end = await Promise.race([cut.then(() => "cut" as const), ended.then(() => "ended" as const)]);
  const silentMs = clock.now() - lastByteAt;
  const { statusCode: status = 0, headers: seen } = response;
  return { status, headers: seen, frames, sawHeartbeat, sawLast, end, silentMs };
}

function sentMsOf(line: string): number {
  return (JSON.parse(line.slice("data: ".length)) as ProbeFrame).sent_ms; // what the probe sends
}

/** As it comes: what is packed is unpacked as soon as it can be. */
function unpacked(response: IncomingMessage): Readable {
  const decoders = { gzip: createGunzip, deflate: createInflate, br: createBrotliDecompress };
  const encoding = response.headers["content-encoding"];
  if (encoding !== "gzip" && encoding !== "deflate" && encoding !== "br") return response;
  const decoder = decoders[encoding]();
  decoder.on("error", () => {}); // it ends in the middle when the stream is cut, which the response tells
  return response.pipe(decoder);
}

export type SocketSeen =
  | { readonly kind: "open"; readonly echo: string }
  | { readonly kind: "refused"; readonly answer: Answer }
  | { readonly kind: "failed"; readonly why: string };

/** Opens the probe's socket, says `word`, and waits for what comes back. */
export function trySocket(url: string, word: string): Promise<SocketSeen> {
  return new Promise((resolve) => {
    const socket = new WebSocket(url.replace(/^http/, "ws"), {
      handshakeTimeout: ANSWER_MS,
      perMessageDeflate: false,
    });
    socket.on("open", () => socket.send(word));
    socket.on("message", (data) => resolve({ kind: "open", echo: String(data) }));
    socket.on("close", () => resolve({ kind: "failed", why: "it was closed before anything came through it" }));
    socket.on("error", (error) => resolve({ kind: "failed", why: error.message }));
    socket.on("unexpected-response", (_, response) => {
      const { statusCode: status = 0, headers } = response;
      response.setEncoding("utf8");
      let text = "";
      response.on("data", (part: string) => {
        if (text.length < MAX_TEXT_CHARS) text += part;
      });
      response.on("close", () => {
        resolve({ kind: "refused", answer: { status, headers, text } });
        socket.terminate();
      });
    });
  });
}
