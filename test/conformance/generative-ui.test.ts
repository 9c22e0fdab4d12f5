/** Generative UI: bundles as the SDK's client asks for them, and as a page runs them. */
import { createRequire } from "node:module";
import { createContext, runInContext } from "node:vm";
import type { Client } from "@langchain/langgraph-sdk";
import { afterAll, beforeAll, expect, it } from "vitest";
import { ON_CLUSTER, startTestGateway, type TestGateway } from "../support/gateway.js";
import { type Send, sender } from "../support/http.js";

const require = createRequire(import.meta.url);
const react = require("react") as { createElement(component: unknown, props: object): unknown };
const { renderToStaticMarkup } = require("react-dom/server") as { renderToStaticMarkup(element: unknown): string };

const CARDS = "./test/support/ui/cards.jsx";
const GRAPHS = { echo: "./test/support/graphs.ts:echo", chat: "./test/support/graphs.ts:chat" };

let gateway: TestGateway;
let send: Send;

beforeAll(async () => {
  const config = { graphs: GRAPHS, ui: { echo: CARDS, "my-ui": CARDS } };
  gateway = await startTestGateway({ config });
  send = sender(gateway.url);
});

afterAll(() => gateway.stop());

function component(client: Client, assistantId: string, name: string): Promise<string> {
  return client["~ui"].getComponent(assistantId, name);
}

/** What a page finds in the HTML. */
function tagsOf(html: string) {
  const unescaped = (text = ""): string =>
    text.replace(
      /&(quot|#39|lt|gt|amp);/g,
      (_, name: string) => ({ quot: '"', "#39": "'", lt: "<", gt: ">" })[name] ?? "&",
    );
  const [, style] = /<link rel="stylesheet" href="([^"]*)" \/>/.exec(html) ?? [];
  const [, script, onload] = /<script src="([^"]*)" onload="([^"]*)"><\/script>/.exec(html) ?? [];
  return { style: unescaped(style), script: unescaped(script), onload: unescaped(onload) };
}

/** Runs a bundle as `LoadExternalComponent` has it run; resolves with what it was given to show. */
function pageRunning(script: string, onload: string) {
  const modules: Readonly<Record<string, unknown>> = {
    react,
    "react/jsx-runtime": require("react/jsx-runtime"),
    "@langchain/langgraph-sdk/react-ui": { useStreamContext: () => ({ meta: "from the page" }) },
  };
  const shown: { id: string; component: unknown; target: unknown }[] = [];
  const appended: unknown[] = [];
  const page = createContext({
    document: {
      createElement: (tag: string) => ({ tag }),
      getElementById: (id: string) => ({ shadowRoot: { id, appendChild: (child: unknown) => appended.push(child) } }),
    },
  });
  Object.assign(runInContext("globalThis", page), {
    [Symbol.for("LGUI_REQUIRE")]: (name: string) => modules[name] ?? expect.unreachable(`it requires ${name}`),
    [Symbol.for("LGUI_EXT_STORE")]: {
      respond: (id: string, shownComponent: never, target: unknown) =>
        shown.push({ id, component: shownComponent, target }),
    },
  });
  runInContext(script, page);
  const globals = runInContext("Object.keys(globalThis)", page) as string[];
  runInContext(onload.replace("{{shadowRootId}}", "child-1"), page);
  return { shown, appended, globals };
}

it("a component reaches the page that asked for it, by the graph's name and by an assistant of it", async () => {
  const { client } = gateway;
  const assistant = await client.assistants.create({ graphId: "echo" });
  for (const id of ["echo", assistant.assistant_id]) {
    const { style, script, onload } = tagsOf(await component(client, id, "Card"));
    expect(script).toMatch(new RegExp(`^${gateway.url}/ui/echo/entrypoint\\.js\\?v=\\w+$`));
    expect(await (await fetch(style)).text()).toContain("color:#010203");
    const answer = await fetch(script);
    expect(Object.fromEntries(answer.headers)).toMatchObject({
      "content-type": "text/javascript; charset=utf-8",
      "cache-control": "public, max-age=31536000, immutable",
      "cross-origin-resource-policy": "cross-origin",
    });
    const { shown, appended, globals } = pageRunning(await answer.text(), onload);
    expect(globals).toEqual(["document", "__LGUI_echo"]);
    expect(shown).toMatchObject([{ id: "child-1", target: { tag: "div" } }]);
    expect(appended).toEqual([shown[0]?.target]);
    const Card = shown[0]?.component ?? expect.unreachable();
    const html = renderToStaticMarkup(react.createElement(Card, { title: "Weather" }));
    expect(html).toBe('<button type="button" class="card">Weather 0 from the page</button>');
  }
});

it("a UI that belongs to no graph is found by its name, under every base path", async () => {
  const { script, onload } = tagsOf(String((await send("POST", "/api/ui/my-ui", { name: "Card" })).body));
  expect(script).toMatch(new RegExp(`^${gateway.url}/api/ui/my-ui/entrypoint\\.js\\?v=\\w+$`));
  expect(onload).toBe('__LGUI_my_ui.render("Card", "{{shadowRootId}}")');
  expect((await fetch(script)).status).toBe(200);
});

it("the page's protocol is what a proxy says it is, and else the page's own", async () => {
  const asked = async (headers: Record<string, string>) =>
    tagsOf(String((await send("POST", "/ui/echo", { name: "Card" }, headers)).body)).script.split("/ui/")[0];
  const host = new URL(gateway.url).host;
  expect(await asked({ "x-forwarded-proto": "https" })).toBe(`https://${host}`);
  expect(await asked({ "x-forwarded-proto": "javascript" })).toBe(`http://${host}`);
});

it.each([`'></script><script>alert(1)</script>`, `"+alert(1)+"`, "{{shadowRootId}}", "a\\", "__proto__", "toString"])(
  "a component called %s is a name and nothing else",
  async (name) => {
    const html = await component(gateway.client, "echo", name);
    expect(html.match(/<\/?\w+/g)).toEqual(["<link", "<script", "</script"]);
    expect(html.match(/\{\{shadowRootId\}\}/g)).toHaveLength(1);
    const { script, onload } = tagsOf(html);
    const text = await (await fetch(script)).text();
    expect(() => pageRunning(text, onload)).toThrow(`there is no component ${JSON.stringify(name)}`);
  },
);

it.each([
  "/ui/echo/..%2f..%2fpackage.json",
  "/ui/echo/..%5cpackage.json",
  "/ui/echo/%2e%2e%2fpackage.json",
  ...(ON_CLUSTER ? [] : ["/ui/echo/entrypoint.js%00"]), // nginx answers that itself
  "/ui/echo/entrypoint.js%2f..",
  "/ui/..%2fui%2fecho/entrypoint.js",
  "/ui/%2e%2e/entrypoint.js",
  "/ui/echo/cards.jsx",
  "/ui/echo/__proto__",
  "/ui/__proto__/entrypoint.js",
  "/ui/constructor/name",
])("no file is had by %s", async (path) => {
  expect((await send("GET", path)).status).toBe(404);
});

it("what has no UI says so", async () => {
  expect(await send("POST", "/ui/chat", { name: "Card" })).toMatchObject({ status: 404, body: { code: "not_found" } });
  expect(await send("POST", "/ui/nobody", { name: "Card" })).toMatchObject({ status: 404 });
  expect(await send("POST", "/ui/echo", { name: 7 })).toMatchObject({ status: 422 });
  expect(await send("POST", "/ui/echo", {})).toMatchObject({ status: 422 });
});

it("nothing of it is served where it is switched off, or not configured", async () => {
  for (const config of [{ ui: { echo: CARDS }, server: { disable_ui: true } }, {}]) {
    const other = await startTestGateway({ config: { graphs: GRAPHS, ...config } });
    expect(await sender(other.url)("POST", "/ui/echo", { name: "Card" })).toMatchObject({ status: 404 });
    await other.stop();
  }
});

it.each([
  ["./test/support/ui/nowhere.tsx", /^(heddle: )?ui\.echo: .*nowhere\.tsx cannot be bundled: .*Could not resolve/m],
  ["./README.md", /^(heddle: )?ui\.echo: .*README\.md cannot be bundled: .*No loader is configured/m],
])("a gateway does not start with %s", async (path, message) => {
  await expect(startTestGateway({ config: { graphs: GRAPHS, ui: { echo: path } } })).rejects.toThrow(message);
});
