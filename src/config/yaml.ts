/**
 * YAML with `${NAME}` and `${NAME:-default}` from the environment.
 *
 * A value is replaced after parsing, so a variable can never add keys or structure. An unquoted value that reads as a
 * number, boolean or null after the replacement is one; quoted values stay text. `$${` stands for a plain `${`.
 * `${{ … }}` stays as it is: `webhook-headers.ts` reads it.
 */
import { isMap, isScalar, isSeq, type Node, parseDocument, type Scalar } from "yaml";
import { ConfigError } from "./config-error.js";

export type Environment = { readonly [name: string]: string | undefined };

/** Parses `text`; throws a `ConfigError` that names `fileName` and the line or key where it cannot be read. */
export function parseYaml(text: string, fileName: string, environment: Environment): unknown {
  const document = parseDocument(text);
  const [problem] = document.errors;
  if (problem !== undefined) throw new ConfigError(`${fileName}: ${problem.message.split("\n")[0]}`);
  try {
    interpolate(document.contents, "", environment);
  } catch (error) {
    if (error instanceof ConfigError) throw new ConfigError(`${fileName}: ${error.message}`);
    throw error;
  }
  return document.toJS();
}

function interpolate(node: Node | unknown, path: string, environment: Environment): void {
  if (isMap(node)) {
    for (const { key, value } of node.items) interpolate(value, `${path}.${String(key)}`, environment);
  } else if (isSeq(node)) {
    node.items.forEach((item, index) => {
      interpolate(item, `${path}[${index}]`, environment);
    });
  } else if (isScalar(node) && typeof node.value === "string" && node.value.includes("${")) {
    const text = replaceVariables(node.value, path.slice(1), environment);
    node.value = isPlain(node) ? scalarOf(text) : text;
  }
}

function replaceVariables(text: string, path: string, environment: Environment): string {
  return text.replace(/\$\{\{.*?\}\}|\$\$\{|\$\{([^}]*)\}?/gs, (whole, expression: string | undefined) => {
    if (expression === undefined) return whole === "$${" ? "${" : whole;
    const [, name, fallback] = /^([A-Za-z_]\w*)(?::-(.*))?$/s.exec(expression) ?? [];
    if (name === undefined || !whole.endsWith("}")) {
      throw new ConfigError(
        `${path}: cannot read ${whole} (write \${NAME}, \${NAME:-default}, or $\${ for a plain \${)`,
      );
    }
    const value = environment[name];
    if (fallback !== undefined) return value === undefined || value === "" ? fallback : value;
    if (value !== undefined) return value;
    throw new ConfigError(`${path}: the environment variable ${name} is not set (\${${name}:-…} would give a default)`);
  });
}

function isPlain(scalar: Scalar): boolean {
  return scalar.type === "PLAIN";
}

function scalarOf(text: string): string | number | boolean | null {
  return /^(true|false|null|-?(0|[1-9]\d*)(\.\d+)?)$/.test(text) ? JSON.parse(text) : text;
}
