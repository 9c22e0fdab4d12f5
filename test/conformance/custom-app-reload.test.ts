/** `heddle dev` with a project that has its own copy of Hono: its app and its UI are loaded again when they are saved. */
import { EventEmitter, once } from "node:events";
import { join } from "node:path";
import { pino } from "pino";
import { afterEach, expect, it } from "vitest";
import { configSchema } from "../../src/config/schema.js";
import { startGateway } from "../../src/server.js";
import { sender } from "../support/http.js";
import { tempProject } from "../support/temp-project.js";

const GRAPH = `import { MessagesAnnotation, START, StateGraph } from "@langchain/langgraph";
export const graph = new StateGraph(MessagesAnnotation).addNode("a", () => ({})).addEdge(START, "a").compile();
`;
const app = (says: string) => ({
  "app.ts": `import { Hono } from "hono";
import { says } from "./says.js";
export const app = new Hono();
app.use("/threads/*", async (c, next) => { await next(); c.header("x-says", says); });
app.get("/says", (c) => c.text(says));
app.get("/fails", () => { throw new Error("a secret"); });
`,
  "says.ts": `export const says = ${says};\n`,
});
const ui = (says: string) => ({ "ui.jsx": `export default { Says: () => <p>${says}</p> };\n` });

const cleanUps: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

it("a save counts from the next request on, and a broken one changes nothing", async () => {
  const project = await tempProject({
    "package.json": `{ "type": "module" }`,
    "graph.ts": GRAPH,
    ...app(`"one"`),
    ...ui("one"),
  });
  cleanUps.push(() => project.remove());
  await project.copyPackages(["hono"]);
  const lines = new EventEmitter();
  const write = (line: string): void => {
    if ((JSON.parse(line) as { level: number }).level >= 50) lines.emit("failed");
  };
  const log = pino({ level: "info" }, { write });
  const config = configSchema(project.folder).parse({
    graphs: { g: "./graph.ts:graph" },
    database: { type: "memory" },
    data_dir: join(project.folder, ".heddle"),
    server: { port: 0, app: "./app.ts:app" },
    ui: { g: "./ui.jsx" },
  });
  const gateway = await startGateway(config, { log, watch: true });
  cleanUps.push(() => gateway.stop());
  const send = sender(gateway.url);
  const says = async () => (await send("GET", "/says")).body;
  const shows = async () => (await send("GET", "/ui/g/entrypoint.js")).body;

  expect(await says()).toBe("one");
  expect(await shows()).toContain('"one"');
  expect(await send("GET", "/fails")).toMatchObject({ status: 500, body: { detail: "internal error" } });
  expect((await send("POST", "/threads/count", {})).headers.get("x-says")).toBe("one");
  expect(await send("GET", "/threads/missing")).toMatchObject({ status: 404, body: { code: "not_found" } });

  await project.write(app(`"two"`));
  await expect.poll(says).toBe("two");
  expect((await send("POST", "/threads/count", {})).headers.get("x-says")).toBe("two");

  await project.write(ui("two"));
  await expect.poll(shows).toContain('"two"');

  await Promise.all([once(lines, "failed"), project.write({ "says.ts": `export const says = "three` })]);
  expect(await says()).toBe("two");
  await project.write(app(`"four"`));
  await expect.poll(says).toBe("four");
});
