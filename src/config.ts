/**
 * What heddle is told: the command line over `config.yaml` over the ecosystem's `langgraph.json` over the defaults.
 *
 * `langgraph.json` counts only while `config.yaml` names no graphs. Whatever is unknown, missing or cannot work together
 * stops the start with one line that names the file and the key.
 */
import { existsSync, readFileSync } from "node:fs";
import { basename, dirname, extname, join, resolve } from "node:path";
import type { z } from "zod";
import { ConfigError, configErrorOf } from "./config/config-error.js";
import { isHostEntry } from "./config/graphs-section.js";
import {
  type LanggraphJson,
  readLanggraphJson,
  type Settings,
  spellForLanggraphJson,
} from "./config/langgraph-json.js";
import { configSchema } from "./config/schema.js";
import { resolveWebhookHeaders } from "./config/webhook-headers.js";
import { type Environment, type ParsedYaml, parseYaml } from "./config/yaml.js";

export type Config = z.output<ReturnType<typeof configSchema>>;

/** What stands on the command line. */
export interface ConfigOverrides {
  readonly host?: string | undefined;
  readonly port?: number | undefined;
  readonly role?: string | undefined;
  readonly dataDir?: string | undefined;
  readonly migrate?: boolean | undefined;
  readonly allowUnauthenticated?: boolean | undefined;
}

export interface ConfigSource {
  /** Where files are looked for and what relative paths of the command line start from. */
  readonly cwd: string;
  /** Instead of `./config.yaml`, then `./langgraph.json`. */
  readonly file?: string | undefined;
  readonly environment: Environment;
  readonly overrides?: ConfigOverrides;
}

export interface LoadedConfig {
  /** Frozen. */
  readonly config: Config;
  /** Variables that `langgraph.json` sets for graphs, without those that the environment has already. */
  readonly variables: { readonly [name: string]: string };
  /** For the log at start. */
  readonly warnings: readonly string[];
}

/** Finds, reads and checks the configuration; throws a `ConfigError` where it cannot be used. */
export function loadConfig(source: ConfigSource): LoadedConfig {
  const files = readFiles(source);
  const environment = { ...files.langgraph?.variables, ...source.environment };
  const given = merge(environmentAsSettings(environment), files.langgraph?.settings ?? {});
  const settings = merge(merge(given, files.settings), overridesAsSettings(source));
  const validated = validate(settings, files);
  const warnings = [...(files.langgraph?.warnings ?? []), ...checkExposure(validated, files)];
  const variables = Object.fromEntries(
    Object.entries(files.langgraph?.variables ?? {}).filter(([name]) => source.environment[name] === undefined),
  );
  const { headers: templates, envPrefix } = validated.webhooks;
  const headers = resolveWebhookHeaders(templates, { envPrefix, environment, fileName: files.name });
  const config = { ...validated, webhooks: { ...validated.webhooks, headers } };
  return { config: deepFreeze(config), variables, warnings };
}

interface ConfigFiles {
  /** For messages. */
  readonly name: string;
  readonly folder: string;
  /** What `config.yaml` says. */
  readonly settings: Settings;
  readonly langgraph: LanggraphJson | null;
  readonly unresolved: ParsedYaml["unresolved"];
}

function readFiles(source: ConfigSource): ConfigFiles {
  const path = findFile(source);
  const folder = dirname(path);
  const name = basename(path);
  if (extname(path) === ".json") {
    return { name, folder, settings: {}, langgraph: readLanggraph(path, source.environment), unresolved: [] };
  }
  const { value, unresolved } = parseYaml(readText(path), name, source.environment);
  const settings = value ?? {};
  if (typeof settings !== "object" || Array.isArray(settings)) throw new ConfigError(`${name}: expected a mapping`);
  const langgraphPath = join(folder, "langgraph.json");
  const namesGraphs = Object.entries((settings as Settings).graphs ?? {}).some((entry) => !isHostEntry(entry));
  const langgraph = namesGraphs || !existsSync(langgraphPath) ? null : readLanggraph(langgraphPath, source.environment);
  return { name, folder, settings: settings as Settings, langgraph, unresolved }; // a mapping: checked above
}

function findFile({ cwd, file }: ConfigSource): string {
  if (file !== undefined) return resolve(cwd, file);
  const found = ["config.yaml", "langgraph.json"].map((name) => join(cwd, name)).find((path) => existsSync(path));
  if (found === undefined)
    throw new ConfigError(`no config.yaml and no langgraph.json in ${cwd} (--config names another file)`);
  return found;
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    throw new ConfigError(`cannot read the configuration: ${(error as Error).message}`);
  }
}

/** Checked alone first, so that what is wrong is named in this file's words. */
function readLanggraph(path: string, environment: Environment): LanggraphJson {
  const file = { name: basename(path), folder: dirname(path) };
  const read = readLanggraphJson(readText(path), file, environment);
  const result = configSchema(file.folder).safeParse(read.settings);
  if (!result.success) throw configErrorOf(file.name, describe(result.error.issues).map(spellForLanggraphJson));
  return read;
}

function overridesAsSettings({ cwd, overrides = {} }: ConfigSource): Settings {
  const { host, port, role, dataDir, migrate, allowUnauthenticated } = overrides;
  const server = { host, port, allow_unauthenticated: allowUnauthenticated };
  const dataFolder = dataDir === undefined ? undefined : resolve(cwd, dataDir);
  return { role, server, database: { migrate }, data_dir: dataFolder };
}

/** What has names of its own in the environment; the files win over it. */
function environmentAsSettings(environment: Environment): Settings {
  const first = (...names: string[]) => names.map((name) => environment[name]).find((value) => value);
  return {
    telemetry: {
      otlp_endpoint: first("OTEL_EXPORTER_OTLP_ENDPOINT"),
      service_name: first("OTEL_SERVICE_NAME"),
    },
    langsmith: {
      api_key: first("LANGSMITH_API_KEY", "LANGCHAIN_API_KEY"),
      endpoint: first("LANGSMITH_ENDPOINT", "LANGCHAIN_ENDPOINT"),
    },
  };
}

/** `over` wins key by key; lists and plain values are replaced whole; a section left empty says nothing. */
function merge(base: Settings, over: Settings): Settings {
  const merged = { ...base };
  for (const [key, value] of Object.entries(over)) {
    const below = merged[key];
    if (isSettings(below) && isSettings(value)) merged[key] = merge(below, value);
    else if (value !== undefined && !(isSettings(below) && value === null)) merged[key] = value;
  }
  return merged;
}

function isSettings(value: unknown): value is Settings {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Throws everything that is wrong at once, but for what is only wrong because a variable is not there. */
function validate(settings: Settings, { name, folder, unresolved }: ConfigFiles): Config {
  const result = configSchema(folder).safeParse(settings);
  const isAbout = (path: readonly PropertyKey[]): boolean =>
    unresolved.some((value) => value.path.every((part, index) => String(part) === String(path[index])));
  const issues = (result.error?.issues ?? []).filter(({ path }) => !isAbout(path));
  const problems = [...unresolved.map(({ message }) => message), ...describe(issues)];
  if (problems.length > 0) throw configErrorOf(name, problems);
  if (!result.success) throw configErrorOf(name, describe(result.error.issues));
  if (Object.keys(result.data.graphs).length === 0) {
    const hint = extname(name) === ".json" ? "" : ", and there is no langgraph.json beside it that does";
    throw new ConfigError(`${name}: graphs: names no graph${hint}`);
  }
  return result.data;
}

function describe(issues: readonly z.core.$ZodIssue[]): readonly string[] {
  return issues.flatMap((issue) => {
    const paths = issue.code === "unrecognized_keys" ? issue.keys.map((key) => [...issue.path, key]) : [issue.path];
    return paths.map((path) => `${path.map(String).join(".") || "the file"}: ${issue.message}`);
  });
}

const LOOPBACK_HOST = /^(localhost|127(\.\d{1,3}){3}|::1|\[::1\])$/i;

/** Who opens the server to others without knowing them, or asks for authentication that there is not, must say so. */
function checkExposure(config: Config, { langgraph, name }: ConfigFiles): readonly string[] {
  const { host, allowUnauthenticated } = config.server;
  const { path, apiKeys, jwt } = config.auth;
  if (path !== null || apiKeys || jwt !== null) return [];
  const howTo = "--allow-unauthenticated (or server.allow_unauthenticated: true) if that is meant";
  if (LOOPBACK_HOST.test(host) && langgraph?.wantsAuth !== true) return [];
  if (!allowUnauthenticated) {
    throw LOOPBACK_HOST.test(host)
      ? new ConfigError(`${name}: auth: names no path, so that everybody could do everything; start with ${howTo}`)
      : new ConfigError(
          `server.host: ${host} is reachable from other machines and callers are not authenticated: see auth; start with ${howTo}`,
        );
  }
  return [`callers are not authenticated: whoever reaches ${host} can use every thread and run`];
}

function deepFreeze<T>(value: T): T {
  if (typeof value === "object" && value !== null) {
    for (const item of Object.values(value)) deepFreeze(item);
    Object.freeze(value);
  }
  return value;
}
