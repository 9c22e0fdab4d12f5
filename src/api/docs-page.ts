/** `/docs`: the OpenAPI document as one page without scripts or assets from elsewhere, so that it works offline. */
import { html, raw } from "hono/html";
import { type Html, showDefault, showSchema, showText, typeOf } from "./docs-schema.js";
import type { Content, OpenApiDocument, Operation, Parameter, ResponseHeaders } from "./openapi.js";

/** Links to `openapi.json` beside it. */
export function docsPage(document: OpenApiDocument): string {
  const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
  );
  const page = html`<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8" />
    <meta name="viewport" content="width=device-width, initial-scale=1" />
    <title>heddle API</title>
    <link rel="icon" href="data:," />
    <style>${raw(STYLE)}</style>
  </head>
  <body>
    <header>
      <h1>heddle <small>${document.info.version}</small></h1>
      <p>${document.info.description} For machines: <a href="openapi.json">openapi.json</a>, OpenAPI ${document.openapi}.</p>
      <nav>
        ${document.tags.map(({ name }) => html`<a href="#${anchor(name)}">${name}</a>`)}
        <a href="#schemas">schemas</a>
      </nav>
    </header>
    <main>
      ${document.tags.map(
        ({ name }) => html`<section id="${anchor(name)}">
          <h2>${name}</h2>
          ${operations.filter(({ operation }) => operation.tags.includes(name)).map(showOperation)}
        </section>`,
      )}
      <section id="schemas">
        <h2>schemas</h2>
        ${Object.entries(document.components.schemas)
          .toSorted(([a], [b]) => a.localeCompare(b))
          .map(([name, schema]) => html`<article id="schema-${name}"><h3>${name}</h3>${showSchema(schema)}</article>`)}
      </section>
    </main>
  </body>
</html>`;
  return String(page); // nothing in it is asynchronous
}

function showOperation({ path, method, operation }: { path: string; method: string; operation: Operation }): Html {
  const { parameters, requestBody, responses } = operation;
  return html`<details id="${operation.operationId}">
    <summary>
      <span class="method ${method}">${method}</span>
      <code class="path">${path}</code>
      <span>${showText(operation.summary)}</span>
    </summary>
    ${parameters.length === 0 ? "" : html`<h4>Parameters</h4>${showParameters(parameters)}`}
    ${requestBody === undefined ? "" : html`<h4>Body</h4>${showContent(requestBody.content)}`}
    ${Object.entries(responses).map(([status, response]) =>
      "$ref" in response
        ? ""
        : html`<h4>${status}</h4><p>${showText(response.description)}</p>
          ${showHeaders(response.headers)}${showContent(response.content ?? {})}`,
    )}
  </details>`;
}

function showParameters(parameters: readonly Parameter[]): Html {
  return html`<table>
    ${parameters.map(
      ({ name, in: place, required, schema }) => html`<tr>
        <td><code>${name}${required ? "" : "?"}</code></td>
        <td><code>${typeOf(schema)}</code>${showDefault(schema)}</td>
        <td>in the ${place}</td>
      </tr>`,
    )}
  </table>`;
}

/** Those that are not on every answer. */
function showHeaders(headers: ResponseHeaders): Html | "" {
  const own = Object.entries(headers).filter(([, header]) => !("$ref" in header));
  if (own.length === 0) return "";
  return html`<table>
    ${own.map(
      ([name, header]) => html`<tr>
        <td><code>${name}</code></td>
        <td>header</td>
        <td>${"$ref" in header ? "" : header.description}</td>
      </tr>`,
    )}
  </table>`;
}

function showContent(content: Content): Html[] {
  return Object.entries(content).map(([mediaType, { schema }]) =>
    mediaType === "application/json" ? showSchema(schema) : html`<p><code>${mediaType}</code></p>`,
  );
}

function anchor(tag: string): string {
  return `tag-${tag.replaceAll(" ", "-")}`;
}

const STYLE = `
  :root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; --line: #8884; --soft: #8882; }
  body { max-width: 68rem; margin: 0 auto; padding: 2rem 1rem 6rem; }
  h1 small { font-size: 1rem; font-weight: 400; opacity: 0.6; }
  a { color: #2f81f7; }
  nav { display: flex; flex-wrap: wrap; gap: 0.25rem 1rem; text-transform: lowercase; }
  h2 { margin: 2.5rem 0 0.5rem; text-transform: capitalize; }
  h3 { margin: 1.5rem 0 0.25rem; font-size: 1rem; }
  h4 { margin: 1rem 0 0.25rem; font-size: 0.85rem; opacity: 0.7; }
  p { margin: 0.25rem 0; }
  details { border-top: 1px solid var(--line); padding: 0.4rem 0; }
  details[open] { padding-bottom: 1.5rem; }
  summary { cursor: pointer; display: grid; grid-template-columns: 4.5rem minmax(12rem, 26rem) 1fr; gap: 0.75rem; align-items: baseline; }
  code { font: 13px/1.45 ui-monospace, monospace; overflow-wrap: anywhere; }
  .method { font: 600 12px/1.6 ui-monospace, monospace; text-transform: uppercase; text-align: center;
    border-radius: 4px; color: #fff; background: #666; }
  .get { background: #1f6feb; } .post { background: #1a7f37; } .patch { background: #9a6700; }
  .put { background: #8250df; } .delete { background: #cf222e; }
  .path { font-weight: 600; }
  .note { opacity: 0.7; }
  article:target { background: var(--soft); outline: 0.5rem solid var(--soft); }
  table { border-collapse: collapse; width: 100%; }
  td { border-top: 1px solid var(--line); padding: 0.25rem 0.75rem 0.25rem 0; vertical-align: top; }
  td:first-child { width: 20%; } td:last-child { width: 40%; }
  @media (max-width: 40rem) {
    summary { grid-template-columns: 4.5rem 1fr; row-gap: 0; }
    summary > :last-child { grid-column: 2; }
    td { display: block; border: 0; padding: 0; width: auto !important; }
    tr { display: block; border-top: 1px solid var(--line); padding: 0.25rem 0; }
  }
`;
