/** The fuzzer itself: what it sends is what it says, and every kind of bad answer is one to it. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { openApiDocument } from "../../src/api/openapi.js";
import { json, route } from "../../src/api/route.js";
import { id, thread } from "../../src/api/schemas.js";
import { requestsOf } from "../support/fuzz-requests.js";
import { verdictOf } from "../support/fuzz-verdict.js";

const document = openApiDocument(
  [
    route({
      method: "post",
      path: "/things/{thread_id}",
      summary: "s",
      tag: "t",
      params: z.object({ thread_id: id }),
      body: z.object({ name: z.string(), count: z.number().max(5).nullish() }),
      responses: { 200: z.object({ things: z.array(thread) }) },
      handle: async () => json({}),
    }),
  ],
  "1",
);
const [requests] = requestsOf(document);
const operation = document.paths["/things/{thread_id}"]?.post;
if (requests === undefined || operation === undefined) throw new Error("the document has one operation");

describe("requests", () => {
  const sample = (seed: number) => fc.sample(requests, { seed, numRuns: 500 });
  const texts = sample(1).map((request) => request.bytes({ thread_id: "t1" }).toString("latin1"));

  it("are the same for the same seed", () => {
    expect(sample(1).map((request) => request.bytes({ thread_id: "t1" }).toString("latin1"))).toEqual(texts);
  });

  it("are for their route mostly, and go deep", () => {
    const onRoute = sample(1).filter(({ isOnRoute }) => isOnRoute);
    expect(onRoute.length).toBeGreaterThan(250);
    const bodies = texts
      .filter((text) => /^POST (\/api)?\/things\/t1[ ?]/.test(text))
      .map((text) => text.split("\r\n\r\n")[1]);
    const accepted = bodies.filter((body) => /^\{"name":"/.test(body ?? ""));
    expect(accepted.length).toBeGreaterThan(50);
  });

  it.each([
    ["ways to a prototype", /__proto__/],
    ["serialized objects", /"lc":2/],
    ["deep nesting", /\[{200}/],
    ["numbers that overflow", /1e400/],
    ["a member twice", /"name":.*"name":/],
    ["chunks", /transfer-encoding: chunked/],
    ["false lengths", /content-length: -1/],
    ["escapes in paths", /%2f|%00/i],
    ["overlong letters", /%C0%AF/],
    ["compressed bodies", /\r\n\r\n[^ -~]\u008b/],
    ["methods in headers", /x-http-method-override/],
    ["headers without end", /h{10000}/],
  ])("have %s among them", (_, pattern) => {
    const many = [
      ...texts,
      ...[2, 3, 4].flatMap((seed) => sample(seed).map((request) => request.bytes({}).toString("latin1"))),
    ];
    expect(many.some((text) => pattern.test(text))).toBe(true);
  });
});

describe("a verdict", () => {
  const judge = verdictOf(document);
  const JSON_HEADERS = new Map([["content-type", "application/json"]]);
  const answer = (status: number, body: unknown, headers: ReadonlyMap<string, string> = JSON_HEADERS) => ({
    status,
    headers,
    body: typeof body === "string" ? body : JSON.stringify(body),
    complete: true,
  });
  const request = "POST /things/t1 HTTP/1.1\r\n\r\n{}";

  it.each([
    ["an error in words", answer(422, { detail: "what is wrong", code: "validation" })],
    ["what was promised", answer(200, { things: [] })],
    ["no content", answer(204, "", new Map())],
  ])("is good for %s", (_, response) => {
    expect(judge(operation, request, response)).toBeUndefined();
  });

  it.each([
    ["a failure", answer(500, { detail: "internal error", code: "internal" }), "status 500"],
    ["unavailability", answer(503, { detail: "later", code: "unavailable" }), "status 503"],
    ["a redirect", answer(302, "", new Map()), "status 302"],
    ["no status", answer(Number.NaN, ""), "status NaN"],
    ["an error that is no JSON", answer(400, "Bad Request", new Map()), "not JSON"],
    ["an error without words", answer(400, { code: "x" }), "without detail"],
    ["a stack", answer(400, { detail: "Error: x\n    at open (/srv/app/x.js:10:5)" }), "shows"],
    ["a frame of a module", answer(400, { detail: "at async file:///srv/x.js:10:5" }), "shows"],
    ["a package", answer(400, { detail: "in node_modules/x" }), "shows"],
    ["the name of the database", answer(400, { detail: "SqliteError: x" }), "shows"],
    ["a statement", answer(400, { detail: 'select * from "threads" where 1' }), "shows"],
    ["an error of the database", answer(400, { detail: "no such column: a" }), "shows"],
    ["a path of this machine", answer(400, { detail: `in ${process.cwd()}/x` }), "shows"],
    ["another shape than promised", answer(200, { things: [{}] }), "not as described"],
  ])("is bad for %s", (_, response, named) => {
    expect(judge(operation, request, response)).toContain(named);
  });
});
