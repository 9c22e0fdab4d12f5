import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { type ConfigSource, type LoadedConfig, loadConfig } from "../../src/config.js";

const GRAPHS = { agent: "./src/agent.ts:graph" };

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "heddle-langgraph-json-"));
});

afterEach(() => {
  rmSync(folder, { recursive: true });
});

function load(content: object, source: Partial<ConfigSource> = {}): LoadedConfig {
  writeFileSync(join(folder, "langgraph.json"), JSON.stringify(content));
  return loadConfig({ cwd: folder, environment: {}, ...source });
}

it("serves a project that has only a langgraph.json", () => {
  const { config, warnings } = load({
    $schema: "https://langgra.ph/schema.json",
    node_version: "20",
    dependencies: ["."],
    graphs: { ...GRAPHS, other: { path: "./other.js:make", description: "Other" } },
    http: {
      cors: { allow_origins: ["https://app.example"], allow_credentials: true, max_age: 5 },
      configurable_headers: { include: ["x-user-*"], exclude: ["x-user-secret"] },
      disable_store: true,
      disable_mcp: true,
      disable_a2a: true,
      disable_ui: true,
      app: "./app.ts:app",
      middleware_order: "auth_first",
      enable_custom_route_auth: true,
    },
    ui: { agent: "./ui.tsx" },
    ui_config: { shared: ["@mui/material"] },
    store: {
      ttl: { default_ttl: 30, refresh_on_read: false, sweep_interval_minutes: 5 },
      index: { dims: 3, embed: "./embed.ts:embed", fields: ["text"] },
    },
    checkpointer: {
      ttl: { strategy: "keep_latest", default_ttl: 43_200, sweep_interval_minutes: 10, sweep_limit: 50 },
    },
  });

  expect(warnings).toEqual([]);
  expect(config.baseDir).toBe(folder);
  expect(config.graphs).toMatchObject({
    agent: { path: "./src/agent.ts:graph" },
    other: { path: "./other.js:make", description: "Other" },
  });
  expect(config.server).toMatchObject({
    cors: { allowOrigins: ["https://app.example"], allowOriginPattern: null, allowCredentials: true, maxAge: 5 },
    configurableHeaders: { includes: ["x-user-*"], excludes: ["x-user-secret"] },
    disableStore: true,
    disableMcp: true,
    disableA2a: true,
    disableThreads: false,
    disableUi: true,
    app: "./app.ts:app",
    middlewareOrder: "auth_first",
    enableCustomRouteAuth: true,
  });
  expect(config.ui).toEqual({ agent: "./ui.tsx" });
  expect(config.uiConfig).toEqual({ shared: ["@mui/material"] });
  expect(config.store.ttl).toEqual({ defaultTtl: 30, refreshOnRead: false, sweepIntervalMinutes: 5 });
  expect(config.store.index).toMatchObject({ dims: 3, embed: "./embed.ts:embed", fields: ["text"], reembed: false });
  expect(config.checkpointer).toEqual({
    type: "sqlite",
    url: null,
    poolSize: 5,
    ttl: { strategy: "keep_latest", defaultTtl: 43_200, sweepIntervalMinutes: 10, sweepLimit: 50 },
  });
});

it("names in a warning what is not supported yet and what nobody knows", () => {
  const { warnings } = load({
    graphs: GRAPHS,
    checkpointer: { serde: {} },
    store: { colour: "red" },
    http: { mount_prefix: "/x", cors: { allow_everything: true } },
    webhooks: { url: { allow_everything: true }, secret: "x" },
    grapsh: {},
  });

  expect(warnings).toEqual([
    "langgraph.json: checkpointer.serde is not supported yet and has no effect",
    "langgraph.json: store.colour is not a key that heddle knows and has no effect",
    "langgraph.json: http.mount_prefix is not supported yet and has no effect",
    "langgraph.json: http.cors.allow_everything is not a key that heddle knows and has no effect",
    "langgraph.json: webhooks.url.allow_everything is not a key that heddle knows and has no effect",
    "langgraph.json: webhooks.secret is not a key that heddle knows and has no effect",
    "langgraph.json: grapsh is not a key that heddle knows and has no effect",
  ]);
});

it("does not start open where the project asks for authentication", () => {
  const content = { graphs: GRAPHS, auth: { cache: { ttl_seconds: 60 } } };

  expect(() => load(content)).toThrow("langgraph.json: auth: names no path, so that everybody could do everything");
  expect(load(content, { overrides: { allowUnauthenticated: true } }).warnings).toEqual([
    "langgraph.json: auth.cache is not supported yet and has no effect",
    "callers are not authenticated: whoever reaches 127.0.0.1 can use every thread and run",
  ]);
});

it("takes over the project's own authentication, and trusts no header that says Studio", () => {
  const { config, warnings } = load({ graphs: GRAPHS, auth: { path: "./auth.ts:auth", disable_studio_auth: false } });
  expect(config.auth.path).toBe("./auth.ts:auth");
  expect(warnings).toEqual([]);
});

it("names wrong values as langgraph.json spells them", () => {
  expect(() => load({ graphs: GRAPHS, http: { cors: { max_age: "long" } } })).toThrow(
    "langgraph.json: http.cors.max_age: Invalid input: expected number, received string",
  );
  expect(() => load({ graphs: { agent: "./agent.py:graph" } })).toThrow("langgraph.json: graphs.agent.path: expected");
  expect(() => load({})).toThrow("langgraph.json: graphs: names no graph");
  expect(() => load([])).toThrow("langgraph.json: expected a JSON object");
});

it("gives graphs the variables of a dotenv file or a map, below what the environment has", () => {
  writeFileSync(join(folder, ".env"), "KEY=from-file # a comment\nQUOTED='a b'\nTAKEN=file\n");
  const environment = { TAKEN: "environment" };

  expect(load({ graphs: GRAPHS, env: ".env" }, { environment }).variables).toEqual({ KEY: "from-file", QUOTED: "a b" });
  expect(load({ graphs: GRAPHS, env: { KEY: "x", N: 1, TAKEN: "y" } }, { environment }).variables).toEqual({
    KEY: "x",
    N: "1",
  });
});

it("refuses a missing dotenv file and variables that a list asks for", () => {
  expect(() => load({ graphs: GRAPHS, env: ".env" })).toThrow("langgraph.json: env: cannot read .env: ENOENT");
  expect(() => load({ graphs: GRAPHS, env: ["SET", "UNSET"] }, { environment: { SET: "1" } })).toThrow(
    "langgraph.json: env: not set in the environment: UNSET",
  );
  expect(load({ graphs: GRAPHS, env: ["SET"] }, { environment: { SET: "1" } }).variables).toEqual({});
});

it("adds to a config.yaml that names no graphs, which wins where both speak", () => {
  writeFileSync(join(folder, "config.yaml"), "graphs:\nserver:\n  port: 3000\n  disable_store: false\n");
  const { config } = load({ graphs: GRAPHS, http: { disable_store: true, disable_meta: true } });

  expect(config.graphs).toHaveProperty("agent");
  expect(config.server).toMatchObject({ port: 3000, disableStore: false, disableMeta: true });
});

it("counts for nothing beside a config.yaml that names graphs, unless it is asked for", () => {
  writeFileSync(join(folder, "config.yaml"), "graphs: { mine: ./mine.ts:graph }\n");
  const content = { graphs: GRAPHS, http: { disable_store: true } };

  expect(load(content).config.graphs).not.toHaveProperty("agent");
  expect(load(content).config.server.disableStore).toBe(false);
  expect(Object.keys(load(content, { file: "langgraph.json" }).config.graphs)).toEqual(["agent"]);
});
