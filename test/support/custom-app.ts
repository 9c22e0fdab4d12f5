/** A project's own Hono app: middleware in front of the built-in routes, routes of its own, and what can go wrong. */
import { Client } from "@langchain/langgraph-sdk";
import { type Context, Hono } from "hono";
import { HTTPException } from "hono/http-exception";

export const app = new Hono<{ Variables: { auth: { user: { identity: string } | null } } }>();

app.use(async (c, next) => {
  c.set("requestId" as never, "mine" as never); // a name that others use as well
  await next();
  c.header("x-custom", c.req.path);
});

/** What is before the built-in routes under every base path, or under none. */
app.use("/threads/*", async (c, next) => {
  if (c.req.header("x-guard") === "closed") return c.json({ detail: "closed", code: "guarded" }, 418);
  return next();
});

/** Reads a body and leaves it as it is. */
app.use("/threads/:id/*", async (c, next) => {
  const body: object = c.req.method === "POST" ? await c.req.json() : {};
  await next();
  c.header("x-members", Object.keys(body).join());
});

/** Changes a body on its way in and another on its way out. */
app.on("POST", ["/threads"], async (c, next) => {
  const tenant = c.req.header("x-tenant");
  if (tenant !== undefined) {
    const body = await c.req.json();
    const changed = JSON.stringify({ ...body, metadata: { ...body.metadata, tenant } });
    c.req.raw = new Request(c.req.raw.url, { method: "POST", headers: c.req.raw.headers, body: changed });
  }
  await next();
});
app.get("/info", async (c, next) => {
  await next();
  c.res = new Response(JSON.stringify({ ...((await c.res.json()) as object), mine: true }), c.res);
});

app.get("/hello", (c) => c.json({ hello: c.get("auth")?.user?.identity ?? "nobody" }));
app.post("/ok", (c) => c.json({ mine: true }));
app.post("/store/namespaces", (c) => c.json({ namespaces: ["shadowed"] }));
app.post("/upload", async (c) => c.json({ size: (await c.req.text()).length }));

app.get("/fails/:how", (c) => {
  switch (c.req.param("how")) {
    case "error":
      throw new Error("a secret");
    case "text":
      throw "a text";
    case "refusal":
      throw new HTTPException(403, { message: "not you" });
    case "response":
      throw new HTTPException(402, { res: new Response("pay", { status: 402 }) });
    case "number":
      return 7 as never;
    default:
      return undefined as never;
  }
});
app.get("/fails-later", (c) => {
  setTimeout(() => Promise.reject(new Error("nobody waits for this")), 1).unref();
  return c.text("fine");
});

const gateway = (c: Context): Client => {
  const authorization = c.req.header("authorization");
  return new Client({
    callerOptions: { maxRetries: 0 },
    ...(authorization === undefined ? {} : { defaultHeaders: { authorization } }),
  });
};
app.post("/ask", async (c) => c.json(await gateway(c).runs.wait(null, "echo", { input: await c.req.json() })));
app.post("/ask-stream", async (c) => {
  const events: string[] = [];
  const input = await c.req.json();
  for await (const { event } of gateway(c).runs.stream(null, "echo", { input, streamMode: "values" })) {
    events.push(event);
  }
  return c.json(events);
});
app.get("/count", async (c) => {
  try {
    return c.json({ threads: await gateway(c).threads.count() });
  } catch (error) {
    return c.json({ status: (error as { status?: number }).status });
  }
});
