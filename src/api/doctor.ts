/**
 * What `heddle doctor` asks a gateway through its public address, to measure what stands between them.
 *
 * Only with a ticket (`auth/doctor-tickets.ts`), a few at a time, and no answer is larger than its request but for the
 * stream, which is a dozen short frames. Streams go out as those of runs do: what is measured is what clients get.
 */
import type { WebSocket } from "ws";
import { z } from "zod";
import { StreamBrokenError } from "../bridge/bridge.js";
import type { Authenticate } from "../core/caller.js";
import { type Clock, pause } from "../core/clock.js";
import {
  fateOf,
  PROBE_PATHS,
  PROBE_REQUEST_HEADERS,
  PROBE_STREAM,
  type ProbeFrame,
  probeAnswerHeaders,
  probeHeaders,
  type SeenRequest,
  type SeenUpgrade,
} from "../core/doctor-probe.js";
import type { EndlessStreams } from "./endless-stream.js";
import { queryString } from "./query.js";
import { json, type Route, route } from "./route.js";

export interface DoctorRoutesDeps {
  readonly admitTicket: Authenticate;
  readonly streams: EndlessStreams;
  readonly clock: Clock;
}

const tag = "system";
const query = z.object({ ticket: queryString() });

export function doctorRoutes({ admitTicket, streams, clock }: DoctorRoutesDeps): Route[] {
  return [
    route({
      method: "get",
      path: PROBE_PATHS.headers,
      access: admitTicket,
      summary: "What became of the headers of this request; its answer has those that clients go on with",
      tag,
      query: query.extend({ nonce: queryString().pipe(z.string().regex(/^[\w-]{1,64}$/)) }),
      responses: { 200: z.unknown() },
      async handle({ query: { nonce }, headers }) {
        const sent = probeHeaders(nonce);
        const seen: SeenRequest = {
          host: headers.get("host"),
          forwarded_proto: headers.get("x-forwarded-proto"),
          headers: Object.fromEntries(
            PROBE_REQUEST_HEADERS.map((name) => [name, fateOf(headers.get(name), sent[name])]),
          ) as SeenRequest["headers"], // one of each
        };
        return json(seen, { headers: probeAnswerHeaders(nonce) });
      },
    }),
    route({
      method: "post",
      path: PROBE_PATHS.body,
      access: admitTicket,
      summary: "How much of a body arrived",
      tag,
      query,
      body: z.object({ filler: z.string() }),
      responses: { 200: z.object({ chars: z.int() }) },
      handle: async ({ body }) => json({ chars: body.filler.length }),
    }),
    route({
      method: "get",
      path: PROBE_PATHS.stream,
      access: admitTicket,
      summary: "Frames that say when they left, silence, one more frame, and a cut",
      tag,
      query,
      responses: { 200: { description: "Frames", contentType: "text/event-stream" } },
      handle: async (request) =>
        streams.open({ threadId: null, chunks: (signal) => probeFrames(clock, signal) }, request),
    }),
    route({
      method: "get",
      path: PROBE_PATHS.socket,
      access: admitTicket,
      summary: "A WebSocket that says what it is told; without an upgrade, what arrived of the request for one",
      tag,
      query,
      responses: { 426: z.unknown() },
      async handle({ headers }) {
        const seen: SeenUpgrade = { upgrade: headers.get("upgrade"), connection: headers.get("connection") };
        return json(seen, { status: 426 });
      },
    }),
  ];
}

async function* probeFrames(clock: Clock, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  const { frames, paceMs, silenceMs, beforeCutMs } = PROBE_STREAM;
  const startedAt = clock.now();
  const frame = (event: string): Uint8Array => {
    const data: ProbeFrame = { sent_ms: clock.now() - startedAt };
    return Buffer.from(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
  };
  for (let sent = 0; sent < frames && !signal.aborted; sent++) {
    yield frame("frame");
    await pause(clock, sent + 1 < frames ? paceMs : silenceMs, signal);
  }
  yield frame("last");
  await pause(clock, beforeCutMs, signal);
  throw new StreamBrokenError("the probe ends as an unfinished stream does"); // W2
}

const SOCKET_LIFE_MS = 10_000;
const MAX_ECHO_CHARS = 100;

/** Says the first thing that it is told, and closes. */
export function openProbeSocket(socket: WebSocket, clock: Clock): void {
  const forget = clock.after(SOCKET_LIFE_MS, () => socket.terminate());
  socket.on("close", forget);
  socket.on("error", () => socket.terminate());
  socket.once("message", (data) => {
    socket.send(String(data).slice(0, MAX_ECHO_CHARS));
    socket.close(1000);
  });
}
