/**
 * Generative UI as the SDK's `LoadExternalComponent` asks for it: HTML that loads a bundle and shows one component of it.
 *
 * The HTML is for whoever may read the assistant. The bundle's files are for everybody: a page loads them by tags, which
 * send no credentials.
 */
import { z } from "zod";
import type { Caller, PerCaller } from "../core/caller.js";
import { notFound } from "../core/errors.js";
import type { AssistantService } from "../graphs/assistants.js";
import type { GraphHost } from "../graphs/host.js";
import type { UiBundle, UiBundles, UiFile } from "../ui/bundles.js";
import { queryString } from "./query.js";
import { type Route, route } from "./route.js";
import { assistantIdOrGraphId } from "./schemas.js";

export interface UiRoutesDeps {
  readonly bundles: Pick<UiBundles, "get">;
  readonly assistants: PerCaller<Pick<AssistantService, "requireForRun">>;
  readonly host: Pick<GraphHost, "graphs">;
}

const params = z.object({ assistant_id: assistantIdOrGraphId });
const FOREVER = "public, max-age=31536000, immutable";

export function uiRoutes({ bundles, assistants, host }: UiRoutesDeps): Route[] {
  /** The bundle of an assistant's graph, or one that belongs to no graph. */
  async function find(caller: Caller, asked: string): Promise<{ readonly name: string; readonly bundle: UiBundle }> {
    const isOfNoGraph = bundles.get(asked) !== undefined && !host.graphs().some(({ graphId }) => graphId === asked);
    const name = isOfNoGraph ? asked : (await assistants.as(caller).requireForRun(asked)).graphId;
    const bundle = bundles.get(name);
    if (bundle === undefined) throw notFound("UI of", asked);
    return { name, bundle };
  }

  return [
    route({
      method: "post",
      path: "/ui/{assistant_id}",
      summary: "HTML that shows one component of an assistant's UI",
      tag: "ui",
      params,
      body: z.object({ name: z.string().min(1).max(512) }).meta({ id: "UiComponent" }),
      responses: { 200: { description: "HTML", contentType: "text/html" } },
      async handle({ params: { assistant_id }, body, caller, url, headers }) {
        const { name, bundle } = await find(caller, assistant_id);
        const folder = folderUrl(url, headers, name);
        return new Response(htmlOf(bundle, folder, body.name), {
          headers: { "content-type": "text/html; charset=utf-8", "x-content-type-options": "nosniff" },
        });
      },
    }),
    route({
      method: "get",
      path: "/ui/{assistant_id}/{file}",
      access: "everybody",
      summary: "A file of an assistant's UI",
      tag: "ui",
      params: params.extend({ file: z.string().max(512) }),
      query: z.object({ v: queryString() }),
      responses: { 200: { description: "A script or a style sheet", contentType: "text/javascript" } },
      async handle({ params: { assistant_id, file: wanted }, query }) {
        const file = bundles.get(assistant_id)?.files.find(({ name }) => name === wanted);
        if (file === undefined) throw notFound("UI file", `${assistant_id}/${wanted}`);
        return new Response(file.content, {
          headers: {
            "content-type": `${typeOf(file)}; charset=utf-8`,
            "cache-control": query.v === file.version ? FOREVER : "no-cache",
            "x-content-type-options": "nosniff",
            "cross-origin-resource-policy": "cross-origin",
          },
        });
      },
    }),
  ];
}

function typeOf({ name }: UiFile): string {
  return name.endsWith(".css") ? "text/css" : "text/javascript";
}

/** Beside the URL that was asked for. The page chooses the protocol, unless a proxy or this very machine says which. */
function folderUrl(url: string, headers: Headers, name: string): string {
  const { host, hostname, pathname } = new URL(url);
  const given = headers.get("x-forwarded-proto");
  const isLocal = ["localhost", "127.0.0.1", "[::1]"].includes(hostname);
  const protocol = given === "http" || given === "https" ? `${given}:` : isLocal ? "http:" : "";
  const parent = pathname.replace(/\/[^/]*\/?$/, "");
  return `${protocol}//${host}${parent}/${encodeURIComponent(name)}`;
}

function htmlOf({ files, globalName }: UiBundle, folder: string, component: string): string {
  const isStyle = ({ name }: UiFile): boolean => name.endsWith(".css");
  const url = ({ name, version }: UiFile): string => escapeHtml(`${folder}/${name}?v=${version}`);
  // The SDK puts the id of its element in the place of the first {{shadowRootId}}: a name must not hold one.
  const name = JSON.stringify(component).replaceAll("{", "\\u007b");
  const onload = escapeHtml(`${globalName}.render(${name}, "{{shadowRootId}}")`);
  const styles = files.filter(isStyle).map((file) => `<link rel="stylesheet" href="${url(file)}" />`);
  const scripts = files.filter((file) => !isStyle(file));
  return [...styles, ...scripts.map((file) => `<script src="${url(file)}" onload="${onload}"></script>`)].join("\n");
}

const ENTITIES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => ENTITIES[character] ?? character);
}
