/** Requests as bytes, made from the OpenAPI document: right, nearly right, and hostile in every part of HTTP. */
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import type { JsonSchema, OpenApiDocument, Operation } from "../../src/api/openapi.js";
import { commandText } from "./fuzz-commands.js";
import { attackText, fillIn, hostileJson, type Subjects, valuesOf } from "./fuzz-values.js";

/** A request that only lacks the ids of what exists when it is sent. */
export interface FuzzRequest {
  /** `get /threads/{thread_id}`: what it is aimed at. */
  readonly route: string;
  readonly operation: Operation;
  readonly method: string;
  /** Method and path are the operation's own: it is what answers. */
  readonly isOnRoute: boolean;
  /** Its framing leaves the connection in an unknown state, or lets it end without an answer. */
  readonly isAlone: boolean;
  bytes(subjects: Subjects): Buffer;
}

/** Arbitraries for every operation of `document`, in its order. */
export function requestsOf(document: OpenApiDocument): readonly fc.Arbitrary<FuzzRequest>[] {
  const values = valuesOf(document);
  return Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) =>
      fc
        .record({
          target: targets(path, operation, values),
          method: fc.oneof(
            { arbitrary: fc.constant(method.toUpperCase()), weight: 60 },
            fc.constantFrom("GET", "POST", "HEAD", "OPTIONS", "TRACE", "PROPFIND", "post", "CONNECT", "X-Y"),
          ),
          headers: fc.oneof(
            { arbitrary: fc.constant<OddHeader[]>([]), weight: 3 },
            fc.uniqueArray(fc.constantFrom(...HEADERS), { maxLength: 3 }),
          ),
          body: bodies(operation, values),
          framing: fc.oneof(
            { arbitrary: fc.constant("length" as const), weight: 40 },
            { arbitrary: fc.constant("chunked" as const), weight: 4 },
            fc.constantFrom(...ODD_FRAMINGS),
          ),
        })
        .map(({ target, headers, body, framing, method: sent }): FuzzRequest => {
          const isPlain = framing === "length" || framing === "chunked";
          return {
            route: `${method} ${path}`,
            operation,
            method: sent,
            isOnRoute: target.isOnRoute && sent === method.toUpperCase() && isPlain,
            isAlone: !isPlain || sent === "CONNECT" || headers.some((header) => header.isAlone),
            bytes: (subjects) => toBytes({ method: sent, target: target.text, headers, body, framing }, subjects),
          };
        }),
    ),
  );
}

// ---- targets

interface Target {
  readonly text: string;
  readonly isOnRoute: boolean;
}

function targets(path: string, operation: Operation, values: ReturnType<typeof valuesOf>): fc.Arbitrary<Target> {
  const inPath = operation.parameters.filter((parameter) => parameter.in === "path");
  const filled = fc
    .tuple(fc.constantFrom("", "", "/api"), ...inPath.map(({ name }) => pathValue(name)))
    .map(([base, ...texts]) => base + path.replace(/\{(\w+)\}/g, () => texts.shift() ?? ""));
  const query = operation.parameters.filter((parameter) => parameter.in === "query");
  const pairs = fc.tuple(...query.map(({ name, schema }) => queryPair(name, schema, values)));
  const onRoute = fc.tuple(filled, pairs, fc.nat(20)).map(([at, given, odd]): Target => {
    const chosen = [...given.flat(), ...(odd === 0 ? ["%00=%ff", "__proto__=1", "a[b]=1", "=", "&&"] : [])];
    return { text: at + (chosen.length === 0 ? "" : `?${chosen.join("&")}`), isOnRoute: true };
  });
  const offRoute = fc
    .tuple(filled, fc.constantFrom(...PATH_TRICKS))
    .map(([at, trick]): Target => ({ text: trick(at), isOnRoute: false }));
  return fc.oneof({ arbitrary: onRoute, weight: 20 }, offRoute);
}

function pathValue(name: string): fc.Arbitrary<string> {
  return fc.oneof(
    { arbitrary: fc.constant(`@@${name}@@`), weight: 12 },
    { arbitrary: fc.constantFrom("none", "echo", "counter"), weight: 2 },
    attackText.filter((text) => text !== "" && !/^\.+$/.test(text)).map(percentEncoded),
    fc.constantFrom("%00", "%2e%2e%2f", "..%2f..%2fetc", "%2F", "a%2Fb", "%E0%A4", "%C0%AF", "%zz", "%", "a%0d%0ab"),
  );
}

const PATH_TRICKS: readonly ((path: string) => string)[] = [
  (path) => `/${path}`,
  (path) => `${path}/`,
  (path) => `${path}//`,
  (path) => path.replaceAll("/", "//"),
  (path) => path.replaceAll("/", "%2F"),
  (path) => path.replaceAll("/", "\\"),
  (path) => `/..%2f..${path}`,
  (path) => `/x/../${path}`,
  (path) => `/./${path}`,
  (path) => `${path}%00`,
  (path) => `${path};a=1`,
  (path) => `${path}#fragment`,
  (path) => `${path}?%`,
  (path) => path.toUpperCase(),
  (path) => `http://elsewhere.example${path}`,
  (path) => `http://[::1${path}`,
  (path) => path.slice(1),
  (path) => `${path}/${"a/".repeat(2_000)}`,
  (path) => `${path}?${"a=1&".repeat(2_000)}`,
  (path) => `${path}\u00e9\u0001`,
  () => "*",
  () => "",
  () => "/%",
];

function queryPair(
  name: string,
  schema: JsonSchema,
  values: ReturnType<typeof valuesOf>,
): fc.Arbitrary<readonly string[]> {
  const value = fc.oneof(
    { arbitrary: values.valid(schema, name).map((text) => text.replace(/^"(.*)"$/, "$1")), weight: 3 },
    hostileJson,
    attackText,
  );
  const one = value.map((text) => `${name}=${text.includes("@@") ? text : percentEncoded(text.slice(0, 1_000))}`);
  return fc.oneof(fc.constant([]), fc.array(one, { minLength: 1, maxLength: 2 }));
}

/** As `encodeURIComponent`, also for half a surrogate pair. */
function percentEncoded(text: string): string {
  return encodeURIComponent(Buffer.from(text).toString());
}

// ---- headers

interface OddHeader {
  readonly line: string;
  readonly isAlone: boolean;
}

const header = (line: string): OddHeader => ({ line, isAlone: false });
const aloneHeader = (line: string): OddHeader => ({ line, isAlone: true });

const HEADERS: readonly OddHeader[] = [
  header("content-type: text/plain"),
  header("content-type: application/x-www-form-urlencoded"),
  header("content-type: multipart/form-data; boundary=x"),
  header("content-type: application/json; charset=utf-16"),
  header("content-type:"),
  header("accept: text/event-stream"),
  header("accept: */*;q=0, \u00ff"),
  header("x-http-method-override: DELETE"),
  header("x-method-override: PUT"),
  header("_method: PATCH"),
  header("last-event-id: -1"),
  header("last-event-id: 1-1"),
  header("last-event-id: 99999999999999999999"),
  header("last-event-id: ' OR 1=1"),
  header("idempotency-key: \u00ff\u00fe"),
  header(`idempotency-key: ${"k".repeat(300)}`),
  header("idempotency-key: one"),
  header("x-request-id: ../../x"),
  header(`x-request-id: ${"r".repeat(200)}`),
  header("x-forwarded-host: elsewhere.example"),
  header("x-original-url: /threads"),
  header("x-constructor: 1"),
  header("__proto__: 1"),
  header("x-__proto__: 1"),
  header("langgraph_auth_user: root"),
  header("prefer: return=minimal"),
  header("range: bytes=0-"),
  header("if-none-match: *"),
  header("te: trailers"),
  header("cookie: a=\u0001".replace("\u0001", "1")),
  header("origin: null"),
  header("origin: https://elsewhere.example"),
  header("sec-fetch-site: cross-site"),
  header("content-encoding: identity"),
  header("content-encoding: gzip"),
  header("content-encoding: br, gzip"),
  header("user-agent: \u00e9"),
  aloneHeader("connection: close"),
  aloneHeader("connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: x"),
  aloneHeader("upgrade: h2c"),
  aloneHeader("expect: 100-continue"),
  aloneHeader("expect: 999-nothing"),
  aloneHeader(`x-huge: ${"h".repeat(20_000)}`),
  aloneHeader(Array.from({ length: 2_100 }, (_, n) => `x-${n}: ${n}`).join("\r\n")),
  aloneHeader("host: elsewhere.example"),
  aloneHeader("host: a b"),
  aloneHeader("x-injected: a\rb"),
  aloneHeader("x-nul: a\u0000b"),
  aloneHeader("bad name: 1"),
  aloneHeader(": nameless"),
  aloneHeader("x-folded: a\r\n b"),
];

// ---- bodies

function bodies(operation: Operation, values: ReturnType<typeof valuesOf>): fc.Arbitrary<Buffer | string | null> {
  const schema = operation.requestBody?.content["application/json"]?.schema;
  if (schema === undefined) return fc.oneof({ arbitrary: fc.constant(null), weight: 9 }, hostileJson);
  const deep = operation.operationId.endsWith("commands") ? [{ arbitrary: commandText, weight: 8 }] : [];
  return fc.oneof(
    ...deep,
    { arbitrary: values.valid(schema), weight: 8 },
    { arbitrary: values.near(schema), weight: 8 },
    { arbitrary: hostileJson, weight: 2 },
    { arbitrary: fc.constantFrom(...RAW_BODIES), weight: 1 },
    { arbitrary: values.valid(schema).map((text) => text.slice(0, text.length / 2)), weight: 1 },
    { arbitrary: values.valid(schema).map((text) => gzipSync(text)), weight: 1 },
    fc.constant(null),
  );
}

const RAW_BODIES: readonly (Buffer | string)[] = [
  "",
  " ",
  "{",
  "}",
  "[",
  '"',
  "nul",
  "undefined",
  "NaN",
  "{'a':1}",
  '{"a":1}{"b":2}',
  '{"a":"\n"}',
  "\ufeff{}",
  '{"a":"\\ud800"}',
  '{"\\u0000":1}',
  '{"\\ud800":1}',
  "[".repeat(20_000),
  '{"a":'.repeat(20_000),
  `[${"[],".repeat(70_000)}[]]`,
  `[${"1,".repeat(210_000)}1]`,
  "a=1&b=2",
  Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]),
  Buffer.from([0x7b, 0x22, 0xc0, 0xaf, 0x22, 0x3a, 0x31, 0x7d]),
  Buffer.from([0x22, 0xed, 0xa0, 0x80, 0x22]),
  Buffer.from("{}", "utf16le"),
  gzipSync(Buffer.alloc(1_000_000, " ")),
];

// ---- framing

const ODD_FRAMINGS = ["none", "short", "long", "both", "negative", "twice", "bad chunks", "old", "bare"] as const;
type Framing = "length" | "chunked" | (typeof ODD_FRAMINGS)[number];

interface Parts {
  readonly method: string;
  readonly target: string;
  readonly headers: readonly OddHeader[];
  readonly body: Buffer | string | null;
  readonly framing: Framing;
}

function toBytes({ method, target, headers, body, framing }: Parts, subjects: Subjects): Buffer {
  const at = fillIn(target, subjects, encodeURIComponent);
  const text = typeof body === "string" ? fillInJson(body, subjects) : body;
  const content = text === null ? Buffer.alloc(0) : Buffer.from(text);
  const isChunked = framing === "chunked" || framing === "bad chunks";
  const lines = [
    `${method} ${at} HTTP/${framing === "old" ? "1.0" : "1.1"}`,
    ...(framing === "bare" ? [] : ["host: 127.0.0.1:2024"]),
    ...(text === null ? [] : ["content-type: application/json"]),
    ...headers.map(({ line }) => line),
    ...lengthLines(framing, content.length),
  ];
  const head = Buffer.from(`${lines.join("\r\n")}\r\n\r\n`, "latin1");
  return Buffer.concat([head, isChunked ? inChunks(content, framing) : content]);
}

/** Only whole strings are ids: `"@@thread_id@@"`. */
function fillInJson(text: string, subjects: Subjects): string {
  return fillIn(text, subjects, (value) => JSON.stringify(value).slice(1, -1));
}

function lengthLines(framing: Framing, length: number): readonly string[] {
  switch (framing) {
    case "none":
      return [];
    case "length":
    case "old":
    case "bare":
      return [`content-length: ${length}`];
    case "short":
      return [`content-length: ${Math.floor(length / 2)}`];
    case "long":
      return [`content-length: ${length + 10}`];
    case "both":
      return [`content-length: ${length}`, "transfer-encoding: chunked"];
    case "negative":
      return ["content-length: -1"];
    case "twice":
      return [`content-length: ${length}`, `content-length: ${length + 1}`];
    case "chunked":
    case "bad chunks":
      return ["transfer-encoding: chunked"];
  }
}

function inChunks(content: Buffer, framing: Framing): Buffer {
  const size = Math.max(1, Math.ceil(content.length / 3));
  const parts: Buffer[] = [];
  for (let at = 0; at < content.length; at += size) {
    const chunk = content.subarray(at, at + size);
    parts.push(Buffer.from(`${chunk.length.toString(16)}\r\n`), chunk, Buffer.from("\r\n"));
  }
  return Buffer.concat([...parts, Buffer.from(framing === "chunked" ? "0\r\n\r\n" : "zz\r\n\r\n")]);
}
