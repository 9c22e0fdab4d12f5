/**
 * What `heddle doctor` and a gateway have agreed on for the test of a public address: where, what is sent, and when. The one
 * asks through whatever stands between them, the other answers what it saw.
 */

/** Under every base path; each wants `ticket` in its query. */
export const PROBE_PATHS = {
  headers: "/internal/doctor/headers",
  body: "/internal/doctor/body",
  stream: "/internal/doctor/stream",
  socket: "/internal/doctor/socket",
} as const;

/** Request headers that carry the probe's nonce, so that it does not matter to anybody who sees them. */
export const PROBE_REQUEST_HEADERS = ["authorization", "x-api-key", "last-event-id", "x-heddle-probe"] as const;
export type ProbeRequestHeader = (typeof PROBE_REQUEST_HEADERS)[number];

/** How each of them is sent. */
export function probeHeaders(nonce: string): Readonly<Record<ProbeRequestHeader, string>> {
  return { authorization: `Bearer ${nonce}`, "x-api-key": nonce, "last-event-id": nonce, "x-heddle-probe": nonce };
}

/** Headers of the answers that a client goes on with, as the probe of headers sends them. */
export function probeAnswerHeaders(nonce: string): Readonly<Record<"content-location" | "location", string>> {
  return { "content-location": `/threads/${nonce}/runs/${nonce}`, location: `/threads/${nonce}/runs/${nonce}/stream` };
}

/** What became of a header on its way. What it was changed to is nobody's business. */
export type Fate = "same" | "changed" | "missing";

export function fateOf(header: string | null | undefined, sent: string): Fate {
  if (header === null || header === undefined) return "missing";
  return header === sent ? "same" : "changed";
}

/** The answer of the probe of headers. */
export interface SeenRequest {
  readonly host: string | null;
  readonly forwarded_proto: string | null;
  readonly headers: Readonly<Record<ProbeRequestHeader, Fate>>;
}

/** The answer of the socket's path to what is no request for a socket. */
export interface SeenUpgrade {
  readonly upgrade: string | null;
  readonly connection: string | null;
}

/**
 * The stream: so many frames at this pace, then silence but for heartbeats, then a last frame, and when that has left the
 * connection is cut as that of a run that has not ended (W2). Each frame says when it left.
 */
export const PROBE_STREAM = { frames: 10, paceMs: 200, silenceMs: 6_000, beforeCutMs: 500 } as const;

/** `data:` of a frame. */
export interface ProbeFrame {
  /** Since the first one. */
  readonly sent_ms: number;
}
