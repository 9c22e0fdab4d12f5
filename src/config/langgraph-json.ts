/**
 * Reads the ecosystem's `langgraph.json` as the part of `config.yaml` that it can say.
 *
 * Every key of that format is in one of the tables below: taken over, not supported yet (a warning names it), or about
 * building a container image (nothing to do here). A key in no table gets a warning too.
 */
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { parseEnv } from "node:util";
import { ConfigError } from "./config-error.js";
import type { Environment } from "./yaml.js";

export interface LanggraphJson {
  /** As `config.yaml` would say it, not validated yet. */
  readonly settings: Settings;
  /** Variables that the file sets for graphs; what the environment has already wins. */
  readonly variables: { readonly [name: string]: string };
  readonly warnings: readonly string[];
  /** The file asks for authentication. */
  readonly wantsAuth: boolean;
}

export interface Settings {
  [key: string]: unknown;
}

/** Key of `langgraph.json` → key of `config.yaml`. */
const TAKEN_OVER: ReadonlyMap<string, string> = new Map([
  ["graphs", "graphs"],
  ...[
    "allow_origins",
    "allow_origin_regex",
    "allow_methods",
    "allow_headers",
    "allow_credentials",
    "expose_headers",
  ].map((key) => [`http.cors.${key}`, `server.cors.${key}`] as const),
  ["http.cors.max_age", "server.cors.max_age"],
  ["http.configurable_headers.includes", "server.configurable_headers.includes"],
  ["http.configurable_headers.include", "server.configurable_headers.includes"],
  ["http.configurable_headers.excludes", "server.configurable_headers.excludes"],
  ["http.configurable_headers.exclude", "server.configurable_headers.excludes"],
  ...["assistants", "threads", "runs", "store", "meta", "webhooks", "mcp", "a2a", "ui"].map(
    (group) => [`http.disable_${group}`, `server.disable_${group}`] as const,
  ),
  ["http.app", "server.app"],
  ["http.middleware_order", "server.middleware_order"],
  ["http.enable_custom_route_auth", "server.enable_custom_route_auth"],
  ["ui", "ui"],
  ["ui_config.shared", "ui_config.shared"],
  ["auth.path", "auth.path"],
  ...[
    "store.ttl.default_ttl",
    "store.ttl.refresh_on_read",
    "store.ttl.sweep_interval_minutes",
    "store.index.dims",
    "store.index.embed",
    "store.index.fields",
    "checkpointer.ttl.strategy",
    "checkpointer.ttl.default_ttl",
    "checkpointer.ttl.sweep_interval_minutes",
    "checkpointer.ttl.sweep_limit",
  ].map((key) => [key, key] as const),
  ...[
    "env_prefix",
    "headers",
    "url.require_https",
    "url.allowed_domains",
    "url.allowed_ports",
    "url.max_url_length",
    "url.disable_loopback",
  ].map((key) => [`webhooks.${key}`, `webhooks.${key}`] as const),
]);

const NOT_YET: ReadonlySet<string> = new Set([
  "checkpointer.path",
  "checkpointer.backend",
  "checkpointer.serde",
  "auth.openapi",
  "auth.cache",
  "encryption",
  "http.logging_headers",
  "http.mount_prefix",
  "node_loader",
]);

/**
 * Nothing to do: heddle builds no image, trusts no header that says that somebody is Studio, and has none of the routes
 * that the last one switches off.
 */
const NOTHING_TO_DO: ReadonlySet<string> = new Set([
  "$schema",
  "env",
  "dependencies",
  "node_version",
  "python_version",
  "api_version",
  "base_image",
  "image_distro",
  "dockerfile_lines",
  "_INTERNAL_docker_tag",
  "keep_pkg_tools",
  "docker_compose_file",
  "pip_config_file",
  "pip_installer",
  "source",
  "auth.disable_studio_auth",
]);

/** Reads `text`; throws a `ConfigError` when it is no JSON object or names variables or files that are not there. */
export function readLanggraphJson(
  text: string,
  file: { readonly name: string; readonly folder: string },
  environment: Environment,
): LanggraphJson {
  const content = parseObject(text, file.name);
  const settings: Settings = {};
  const warnings: string[] = [];
  const descend = (value: object, prefix: string): void => {
    for (const [key, item] of Object.entries(value)) {
      const path = prefix + key;
      const target = TAKEN_OVER.get(path);
      if (item === null || item === undefined || NOTHING_TO_DO.has(path)) continue;
      if (target !== undefined) assign(settings, target.split("."), item);
      else if (NOT_YET.has(path)) warnings.push(`${file.name}: ${path} is not supported yet and has no effect`);
      else if (typeof item === "object" && isPrefix(path)) descend(item, `${path}.`);
      else warnings.push(`${file.name}: ${path} is not a key that heddle knows and has no effect`);
    }
  };
  descend(content, "");
  const variables = readVariables(content.env, file, environment);
  return { settings, variables, warnings, wantsAuth: (content.auth ?? null) !== null };
}

/** How `langgraph.json` spells a key of `config.yaml`. */
export function spellForLanggraphJson(path: string): string {
  return path.replace(/^server\b/, "http");
}

function parseObject(text: string, fileName: string): Settings {
  let content: unknown;
  try {
    content = JSON.parse(text);
  } catch (error) {
    throw new ConfigError(`${fileName}: ${(error as SyntaxError).message}`);
  }
  if (typeof content !== "object" || content === null || Array.isArray(content)) {
    throw new ConfigError(`${fileName}: expected a JSON object`);
  }
  return content as Settings; // checked above
}

function isPrefix(path: string): boolean {
  return [...TAKEN_OVER.keys(), ...NOT_YET, ...NOTHING_TO_DO].some((known) => known.startsWith(`${path}.`));
}

function assign(target: Settings, [key = "", ...rest]: readonly string[], value: unknown): void {
  if (rest.length === 0) {
    target[key] = value;
    return;
  }
  target[key] ??= {};
  assign(target[key] as Settings, rest, value); // inner nodes are only made here
}

/** `env` is a dotenv file, a map of values, or a list of names that must be set. */
function readVariables(
  env: unknown,
  file: { readonly name: string; readonly folder: string },
  environment: Environment,
): { readonly [name: string]: string } {
  if (env === undefined || env === null) return {};
  if (typeof env === "string") return readDotenv(env, file);
  if (Array.isArray(env)) {
    const missing = env.map(String).filter((name) => environment[name] === undefined);
    if (missing.length === 0) return {};
    throw new ConfigError(`${file.name}: env: not set in the environment: ${missing.join(", ")}`);
  }
  if (typeof env === "object") {
    return Object.fromEntries(Object.entries(env).map(([name, value]) => [name, String(value)]));
  }
  throw new ConfigError(`${file.name}: env: expected a file name, a map or a list of names`);
}

function readDotenv(path: string, file: { readonly name: string; readonly folder: string }): Record<string, string> {
  try {
    return parseEnv(readFileSync(resolve(file.folder, path), "utf8")) as Record<string, string>; // its type allows undefined, its result never holds it
  } catch (error) {
    throw new ConfigError(`${file.name}: env: cannot read ${path}: ${(error as Error).message}`);
  }
}
