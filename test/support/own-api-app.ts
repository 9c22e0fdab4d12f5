/** A project's app whose paths are under a base path of the gateway's. */
import { Hono } from "hono";

export const app = new Hono().basePath("/api").get("/hello", (c) => c.text("hello"));

/** With an error handler of its own. */
export const careful = new Hono()
  .onError((error, c) => c.json({ detail: error.message, code: "caught" }, 409))
  .get("/fails", () => {
    throw new Error("mine");
  });
