/** JSON Schemas as people read them: a table of members, types in the notation of TypeScript. For `/docs`. */
import { html } from "hono/html";
import type { JsonSchema } from "./openapi.js";

export type Html = ReturnType<typeof html>;

/** The members of an object as a table; the type of anything else. */
export function showSchema(schema: JsonSchema): Html {
  const members = Object.entries((schema.properties ?? {}) as Record<string, JsonSchema>);
  if (members.length === 0) return html`<p><code>${typeOf(schema)}</code></p>`;
  const required = schema.required as readonly string[] | undefined;
  return html`<table>
    ${members.map(
      ([name, member]) => html`<tr>
        <td><code>${name}${required?.includes(name) ? "" : "?"}</code></td>
        <td><code>${typeOf(member)}</code>${showDefault(member)}</td>
        <td>${describe(member)}</td>
      </tr>`,
    )}
  </table>`;
}

/** Text in which backticks mark code. */
export function showText(text: string): Html[] {
  return text.split("`").map((part, index) => (index % 2 === 0 ? html`${part}` : html`<code>${part}</code>`));
}

export function showDefault(schema: JsonSchema): Html | "" {
  return schema.default === undefined ? "" : html` <span class="note">= ${JSON.stringify(schema.default)}</span>`;
}

/** The name of a component leads to it. */
export function typeOf(schema: JsonSchema): Html {
  const { $ref, anyOf, type, items, prefixItems } = schema as {
    readonly $ref?: string;
    readonly anyOf?: readonly JsonSchema[];
    readonly type?: string | readonly string[];
    readonly items?: JsonSchema;
    readonly prefixItems?: readonly JsonSchema[];
  };
  const words = schema.enum ?? ("const" in schema ? [schema.const] : undefined);
  if ($ref !== undefined) return showReference($ref.split("/").at(-1) ?? "");
  if (Array.isArray(words)) return html`${words.map((word) => JSON.stringify(word)).join(" | ")}`;
  if (anyOf !== undefined) return html`${joined(anyOf, " | ")}`;
  if (Array.isArray(type)) return html`${type.join(" | ")}`;
  if (prefixItems !== undefined) return html`[${joined(prefixItems, ", ")}]`;
  if (type === "array") return items === undefined ? html`array` : showList(items);
  if (type === "object" && schema.properties !== undefined) return showInline(schema);
  return html`${type ?? "any"}`;
}

function showList(items: JsonSchema): Html {
  const isUnion = items.anyOf !== undefined || items.enum !== undefined || Array.isArray(items.type);
  return isUnion ? html`(${typeOf(items)})[]` : html`${typeOf(items)}[]`;
}

function joined(schemas: readonly JsonSchema[], separator: string): Html[] {
  return schemas.map((schema, index) => html`${index === 0 ? "" : separator}${typeOf(schema)}`);
}

function showReference(name: string): Html {
  return html`<a href="#schema-${name}">${name}</a>`;
}

function showInline(schema: JsonSchema): Html {
  const required = schema.required as readonly string[] | undefined;
  const members = Object.entries(schema.properties as Record<string, JsonSchema>);
  const shown = members.map(
    ([name, member], index) =>
      html`${index === 0 ? "" : ", "}${name}${required?.includes(name) ? "" : "?"}: ${typeOf(member)}`,
  );
  return html`{ ${shown} }`;
}

/** What a type does not say. */
function describe(schema: JsonSchema): Html[] {
  const variants = [schema, ...((schema.anyOf ?? []) as readonly JsonSchema[])];
  const facts = variants.flatMap((variant) => [
    ...(variant.description === undefined ? [] : [String(variant.description)]),
    ...LIMITS.flatMap(([key, words]) => (variant[key] === undefined ? [] : [`${words} ${String(variant[key])}`])),
  ]);
  return showText(facts.join("; "));
}

const LIMITS: readonly (readonly [key: string, words: string])[] = [
  ["minimum", "at least"],
  ["exclusiveMinimum", "more than"],
  ["maximum", "at most"],
  ["minLength", "letters: at least"],
  ["maxLength", "letters: at most"],
  ["minItems", "items: at least"],
  ["maxItems", "items: at most"],
  ["pattern", "matches"],
  ["format", "format"],
];
