/**
 * YAML with `${NAME}` and `${NAME:-default}` from the environment.
 *
 * A value is replaced after parsing, so a variable can never add keys or structure. An unquoted value that reads as a
 * number, boolean or null after the replacement is one; quoted values stay text. `$${` stands for a plain `${`.
 * `${{ … }}` stays as it is: `webhook-headers.ts` reads it.
 */
import { isMap, isScalar, isSeq, type Node, parseDocument, type Scalar } from "yaml";
import { configErrorOf } from "./config-error.js";

export type Environment = { readonly [name: string]: string | undefined };

export interface ParsedYaml {
  /** A value that could not be had is as it stands in the text. */
  readonly value: unknown;
  /** Values that need what the environment does not have, or that cannot be read. */
  readonly unresolved: readonly Unresolved[];
}

interface Unresolved {
  readonly path: readonly PropertyKey[];
  readonly message: string;
}

/** Parses `text`; throws a `ConfigError` that names `fileName` and the line where it is no YAML. */
export function parseYaml(text: string, fileName: string, environment: Environment): ParsedYaml {
  const document = parseDocument(text);
  const [error] = document.errors; // what follows it in the text follows from it
  if (error !== undefined) throw configErrorOf(fileName, [error.message.split("\n", 1)[0] ?? ""]);
  const unresolved = [...interpolate(document.contents, [], environment)];
  return { value: document.toJS(), unresolved };
}

function* interpolate(
  node: Node | unknown,
  path: readonly PropertyKey[],
  environment: Environment,
): Generator<Unresolved> {
  if (isMap(node)) {
    for (const { key, value } of node.items) yield* interpolate(value, [...path, String(key)], environment);
  } else if (isSeq(node)) {
    for (const [index, item] of node.items.entries()) yield* interpolate(item, [...path, index], environment);
  } else if (isScalar(node) && typeof node.value === "string" && node.value.includes("${")) {
    try {
      const text = replaceVariables(node.value, environment);
      node.value = isPlain(node) ? scalarOf(text) : text;
    } catch (error) {
      if (!(error instanceof UnresolvedError)) throw error;
      yield { path, message: `${spell(path)}: ${error.message}` };
    }
  }
}

class UnresolvedError extends Error {}

function spell(path: readonly PropertyKey[]): string {
  return path
    .map((part) => (typeof part === "number" ? `[${part}]` : `.${String(part)}`))
    .join("")
    .replace(/^\./, "");
}

function replaceVariables(text: string, environment: Environment): string {
  return text.replace(/\$\{\{.*?\}\}|\$\$\{|\$\{([^}]*)\}?/gs, (whole, expression: string | undefined) => {
    if (expression === undefined) return whole === "$${" ? "${" : whole;
    const [, name, fallback] = /^([A-Za-z_]\w*)(?::-(.*))?$/s.exec(expression) ?? [];
    if (name === undefined || !whole.endsWith("}")) {
      throw new UnresolvedError(`cannot read ${whole} (write \${NAME}, \${NAME:-default}, or $\${ for a plain \${)`);
    }
    const value = environment[name];
    if (fallback !== undefined) return value === undefined || value === "" ? fallback : value;
    if (value !== undefined) return value;
    throw new UnresolvedError(`the environment variable ${name} is not set (\${${name}:-…} would give a default)`);
  });
}

function isPlain(scalar: Scalar): boolean {
  return scalar.type === "PLAIN";
}

function scalarOf(text: string): string | number | boolean | null {
  return /^(true|false|null|-?(0|[1-9]\d*)(\.\d+)?)$/.test(text) ? JSON.parse(text) : text;
}
