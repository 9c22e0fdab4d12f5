/**
 * From what came through a proxy to what is wrong with it: pure, one function per question. The lines are nginx's, because
 * that is what heddle ships a configuration for; the messages say enough for any other.
 */
import {
  fateOf,
  PROBE_REQUEST_HEADERS,
  PROBE_STREAM,
  type ProbeRequestHeader,
  probeAnswerHeaders,
  type SeenRequest,
  type SeenUpgrade,
} from "../core/doctor-probe.js";
import { type Finding, ok, problem, warning } from "./finding.js";
import type { Answer, SocketSeen, StreamSeen } from "./probe-client.js";

/** The members of a JSON object; undefined for anything else. */
export function jsonOf(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

// ---- the way there

/** What the answer to `GET {url}/ok` says about the way to the gateway. */
export function judgeWay(url: string, { status, headers, text }: Answer): Finding {
  const check = "address";
  const body = jsonOf(text);
  if (status === 200 && body?.ok === true) return ok(check, `${url} leads to a gateway`);
  if (status >= 300 && status < 400) {
    return problem(check, `${url} sends on to ${headers.location ?? "nowhere"}`, "Give clients that address instead.");
  }
  if (status === 502 || status === 503 || status === 504) {
    const server = "server HOST:PORT; # in upstream: where the gateway listens";
    return { ...problem(check, `the proxy answers, the gateway does not: status ${status}`), nginx: [server] };
  }
  const prefix = new URL(url).pathname.replace(/\/+$/, "");
  const asked = /^no route GET (\S+)$/.exec(String(body?.detail))?.[1];
  const nginx = [
    `location ${prefix}/ { proxy_pass http://heddle/; } # both end with a slash: the one replaces the other`,
  ];
  if (asked !== undefined) {
    return { ...problem(check, `the gateway is asked for ${asked} instead of /ok: the prefix is wrong`), nginx };
  }
  return { ...problem(check, `something else than a gateway answers: status ${status}`), nginx };
}

/** `answer`: to a probe with a ticket that is none, which a gateway refuses with words of its own. */
export function judgeErrors({ status, text }: Answer): Finding {
  const check = "errors";
  if (jsonOf(text)?.code === "unauthenticated") return ok(check, "what the gateway refuses arrives in its own words");
  return {
    ...problem(check, `the proxy answers in the gateway's place when that refuses something (status ${status})`),
    nginx: ["proxy_intercept_errors off;"],
  };
}

// ---- headers

export function judgeRequestHeaders(seen: SeenRequest, url: string): readonly Finding[] {
  const { host, protocol } = new URL(url);
  return [fates(seen), hostOf(seen, host), schemeOf(seen, protocol.replace(":", ""))].flat();
}

/** Whether none came through, even those that no proxy has heard of. */
export function hasLostHeaders({ headers }: Pick<SeenRequest, "headers">): boolean {
  return PROBE_REQUEST_HEADERS.every((name) => headers[name] === "missing");
}

function fates({ headers }: SeenRequest): readonly Finding[] {
  const check = "request headers";
  const lost = PROBE_REQUEST_HEADERS.filter((name) => headers[name] !== "same");
  if (lost.length === 0) return [ok(check, `${PROBE_REQUEST_HEADERS.map(nameOf).join(", ")} arrive as they were sent`)];
  if (hasLostHeaders({ headers })) {
    return [{ ...problem(check, "none of them reaches the gateway"), nginx: ["proxy_pass_request_headers on;"] }];
  }
  return lost.map((name) => ({
    ...problem(check, `${nameOf(name)} ${headers[name] === "changed" ? "is changed" : "is taken away"}: ${LOSS[name]}`),
    nginx: [`proxy_set_header ${nameOf(name)} $http_${name.replaceAll("-", "_")};`],
  }));
}

const LOSS: Readonly<Record<ProbeRequestHeader, string>> = {
  authorization: "tokens do not work",
  "x-api-key": "API keys do not work",
  "last-event-id": "a stream that was cut begins anew instead of going on",
  "x-heddle-probe": "configurable_headers do not work",
};

function hostOf({ host }: SeenRequest, expected: string): Finding {
  if (host === expected) return ok("host", "the gateway knows by which host it was asked");
  const what = `the gateway is told ${host ?? "nothing"} instead of ${expected}: pages of that host cannot open WebSockets`;
  return { ...warning("host", what), nginx: ["proxy_set_header Host $http_host;"] };
}

function schemeOf({ forwarded_proto: told }: SeenRequest, expected: string): readonly Finding[] {
  if (expected === "http" || told === expected) return [];
  const what = "the gateway is not told that the address is https: it names http in agent cards and for UI";
  return [{ ...warning("scheme", what), nginx: ["proxy_set_header X-Forwarded-Proto $scheme;"] }];
}

export function judgeAnswerHeaders({ headers }: Answer, nonce: string): readonly Finding[] {
  const check = "answer headers";
  const sent = probeAnswerHeaders(nonce);
  const names = ["content-location", "location"] as const;
  const findings = names.flatMap((name): readonly Finding[] => {
    const fate = fateOf(headers[name], sent[name]);
    if (fate === "same") return [];
    const what = `${nameOf(name)} ${fate === "missing" ? "is taken away" : `became ${headers[name]}`}`;
    const nginx =
      fate === "missing" ? `proxy_pass_header ${nameOf(name)}; # or remove proxy_hide_header` : "proxy_redirect off;";
    return [
      { ...problem(check, `${what}: clients find neither their run nor the way back to its stream`), nginx: [nginx] },
    ];
  });
  return findings.length > 0 ? findings : [ok(check, `${names.map(nameOf).join(" and ")} arrive as they were sent`)];
}

function nameOf(header: string): string {
  return header.replace(/(^|-)(\w)/g, (_, dash: string, letter: string) => dash + letter.toUpperCase());
}

// ---- bodies

/** `bytes`: of the body that was sent, the largest one that the gateway takes. */
export function judgeBody(answer: Answer | Error, bytes: number): Finding {
  const check = "bodies";
  const size = sizeOf(bytes);
  const nginx = [`client_max_body_size ${size};`];
  if (answer instanceof Error) {
    return { ...problem(check, `one of ${size} is cut off: ${answer.message}`), nginx };
  }
  const { status, text } = answer;
  const body = jsonOf(text);
  if (status === 200 && body?.chars === fillerChars(bytes)) return ok(check, `one of ${size} arrives whole`);
  if (status === 413 && body?.code === "too_large") {
    return problem(
      check,
      `the gateway there takes none of ${size}, as this configuration says`,
      "Start the gateway with this configuration.",
    );
  }
  if (status === 413) return { ...problem(check, `one of ${size} is refused by the proxy`), nginx };
  return problem(check, `one of ${size} is answered with status ${status}: ${text.slice(0, 200)}`);
}

const FRAME_OF_BODY = '{"filler":""}'.length;

export function fillerChars(bytes: number): number {
  return bytes - FRAME_OF_BODY;
}

function sizeOf(bytes: number): string {
  const units = [
    ["g", 1_024 ** 3],
    ["m", 1_024 ** 2],
    ["k", 1_024],
  ] as const;
  const [unit, factor] = units.find(([, each]) => bytes % each === 0) ?? ["", 1];
  return `${bytes / factor}${unit}`;
}

// ---- sockets

export function judgeSocket(seen: SocketSeen, word: string): Finding {
  const check = "WebSockets";
  if (seen.kind === "open" && seen.echo === word) return ok(check, "they open, and both sides are heard");
  if (seen.kind === "open") return problem(check, "what is said through them is changed");
  if (seen.kind === "failed") return problem(check, `they do not open: ${seen.why}`);
  const { status, text } = seen.answer;
  if (status !== 426) return problem(check, `they do not open: status ${status} ${text.slice(0, 200)}`);
  const { upgrade, connection } = jsonOf(text) as unknown as SeenUpgrade; // what the gateway answers with 426
  const nginx = [
    ...(upgrade === null ? ["proxy_set_header Upgrade $http_upgrade;"] : []),
    ...(connection?.toLowerCase().includes("upgrade")
      ? []
      : ["proxy_set_header Connection $connection_upgrade; # with the map of nginx/nginx.conf"]),
  ];
  return { ...problem(check, "they do not open: the request for one arrives as an ordinary one"), nginx };
}

// ---- streams

const SPAN_MS = (PROBE_STREAM.frames - 1) * PROBE_STREAM.paceMs;
/** The first of the frames that wait for each other waits for about as long as all of them take. */
const LATE_MS = (SPAN_MS * 2) / 3;

/** How much longer the slowest frame was under way than the fastest: no clock has to agree with another. */
function holdUpMs({ frames }: StreamSeen): number {
  const underWay = frames.map(({ sentMs, arrivedMs }) => arrivedMs - sentMs);
  return underWay.length === 0 ? 0 : Math.max(...underWay) - Math.min(...underWay);
}

export function isLate(seen: StreamSeen): boolean {
  return holdUpMs(seen) >= LATE_MS;
}

/**
 * `offered`: the stream as a client gets it that takes compressed answers; `plain`: as one that does not, null where that
 * was not tried, because nothing was late.
 */
export function judgeStream(offered: StreamSeen, plain: StreamSeen | null): readonly Finding[] {
  if (offered.status === 429) return [warning("streams", "others test this gateway already", "Try again in a moment.")];
  if (offered.status !== 200) return [problem("streams", `they are answered with status ${offered.status}`)];
  return [judgePace(offered, plain), judgeEncoding(offered), judgeSilence(offered), judgeCut(offered)].flat();
}

function judgePace(offered: StreamSeen, plain: StreamSeen | null): Finding {
  const check = "buffering";
  const last = plain?.status === 200 ? plain : offered;
  const heldUp = Math.round(holdUpMs(last));
  if (last.frames.length < PROBE_STREAM.frames) {
    return problem(check, `of ${PROBE_STREAM.frames} frames only ${last.frames.length} arrive`);
  }
  if (!isLate(last)) return ok(check, `every frame goes on when it comes (held up by ${heldUp} ms at most)`);
  const what = `frames that were sent over ${SPAN_MS} ms arrive together: held up by ${heldUp} ms`;
  return { ...problem(check, what), nginx: ["proxy_buffering off;"] };
}

function judgeEncoding({ headers }: StreamSeen): Finding {
  const encoding = headers["content-encoding"] ?? "identity";
  if (encoding === "identity") return ok("compression", "streams are not compressed");
  const what = `streams are compressed (${encoding}), which holds back what is too short to be worth it`;
  return { ...problem("compression", what), nginx: ["gzip off;"] };
}

function judgeSilence({ sawHeartbeat, sawLast, silentMs, frames }: StreamSeen): readonly Finding[] {
  const check = "idle streams";
  if (sawLast && sawHeartbeat) return [ok(check, "they stay open from one heartbeat to the next")];
  if (frames.length < PROBE_STREAM.frames && !sawLast) return []; // said already
  const seconds = (silentMs / 1_000).toFixed(1);
  const what = sawLast
    ? "no heartbeat arrives"
    : `they are cut after ${seconds} s of silence; heartbeats come every 5 s`;
  return [{ ...problem(check, what), nginx: ["proxy_read_timeout 1h;"] }];
}

function judgeCut({ sawLast, end }: StreamSeen): readonly Finding[] {
  const check = "broken streams";
  if (!sawLast) return []; // who cut it is not known
  if (end === "cut") return [ok(check, "a stream that breaks arrives as broken, so that clients come back")];
  const what = "a stream that breaks arrives as one that has ended: clients take half an answer for the whole";
  return [{ ...problem(check, what), nginx: ["proxy_http_version 1.1;"] }];
}
