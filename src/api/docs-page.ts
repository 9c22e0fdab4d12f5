/** `/docs`: the API as one page without scripts or assets from elsewhere, so that it works offline. */
import { html } from "hono/html";
import type { Route } from "./route.js";

/** `base` is where the page itself is served, for the link to the document. */
export function docsPage(routes: readonly Route[], base: string) {
  const tags = [...new Set(routes.map(({ tag }) => tag))];
  return html`<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8" />
    <meta name="viewport" content="width=device-width, initial-scale=1" />
    <title>heddle API</title>
    <link rel="icon" href="data:," />
    <style>
      :root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; }
      body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
      h2 { margin: 2rem 0 0.5rem; text-transform: capitalize; }
      table { border-collapse: collapse; width: 100%; }
      td { border-top: 1px solid #8884; padding: 0.35rem 0.5rem; vertical-align: top; }
      code { font: 13px ui-monospace, monospace; }
      .method { text-transform: uppercase; font-weight: 600; width: 4.5rem; }
      .path { width: 24rem; overflow-wrap: anywhere; }
    </style>
  </head>
  <body>
    <h1>heddle</h1>
    <p>
      The LangGraph Platform API. The whole description with schemas is
      <a href="${base}/openapi.json">openapi.json</a>.
    </p>
    ${tags.map(
      (tag) => html`<h2>${tag}</h2>
        <table>
          ${routes
            .filter((route) => route.tag === tag)
            .map(
              (route) => html`<tr>
                <td class="method"><code>${route.method}</code></td>
                <td class="path"><code>${route.path}</code></td>
                <td>${route.summary}</td>
              </tr>`,
            )}
        </table>`,
    )}
  </body>
</html>`;
}
