/** One path per request: what the application sees is what the built-in routes see. */
import { expect, it } from "vitest";
import { z } from "zod";
import { createPaths } from "../../src/api/paths.js";
import { json, route } from "../../src/api/route.js";

const routes = ["/ok", "/threads", "/threads/{thread_id}/runs", "/openapi.json"].map((path) =>
  route({
    method: "get",
    path,
    access: path === "/ok" || path === "/openapi.json" ? "everybody" : "caller",
    summary: "s",
    tag: "t",
    responses: { 200: z.object({}) },
    handle: async () => json({}),
  }),
);
const none = () => false;

it.each([
  ["/threads", "/threads"],
  ["/api/threads", "/threads"],
  ["/api/v2/threads/t/runs", "/threads/t/runs"],
  ["/api/api/threads", "/api/api/threads"],
  ["/api", "/api"],
  ["/apis/threads", "/apis/threads"],
  ["/api/threads/t/runs/more", "/api/threads/t/runs/more"],
  ["/api/openapi_json", "/api/openapi_json"],
])("without an app %s is %s", (path, canonical) => {
  expect(createPaths(["/", "/api", "/api/v2"], routes, null).canonical(path)).toBe(canonical);
});

it.each([
  ["/api/threads", "/threads"],
  ["/api/hello", "/hello"],
  ["/api", "/"],
  ["/hello", "/hello"],
])("with an app %s is %s", (path, canonical) => {
  expect(createPaths(["/", "/api"], routes, none).canonical(path)).toBe(canonical);
});

it("an app keeps the paths that it has under a base path", () => {
  const paths = createPaths(["/", "/api"], routes, (base) => base === "/api");
  expect(paths.canonical("/api/hello")).toBe("/api/hello");
  expect(paths.canonical("/api/threads")).toBe("/threads");
});

it("what is under no base path is not served", () => {
  const paths = createPaths(["/api"], routes, none);
  expect(["/api", "/api/x", "/apix", "/threads"].map(paths.isServed)).toEqual([true, true, false, false]);
});

it("what is for everybody is exactly that", () => {
  const { isOpen } = createPaths(["/"], routes, none);
  expect(["/ok", "/openapi.json"].flatMap((path) => [isOpen("GET", path), isOpen("HEAD", path)])).not.toContain(false);
  expect(isOpen("POST", "/ok")).toBe(false);
  expect(["/okay", "/ok/x", "/x/ok", "/openapixjson", "/threads"].map((path) => isOpen("GET", path))).not.toContain(
    true,
  );
});
