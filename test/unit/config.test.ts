import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { parse } from "yaml";
import { ConfigError } from "../../src/config/config-error.js";
import { type ConfigSource, type LoadedConfig, loadConfig } from "../../src/config.js";

const GRAPHS = "graphs: { agent: ./agent.ts:graph }\n";

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "heddle-config-"));
});

afterEach(() => {
  rmSync(folder, { recursive: true });
});

function load(yaml: string, source: Partial<ConfigSource> = {}): LoadedConfig {
  writeFileSync(join(folder, "config.yaml"), yaml);
  return loadConfig({ cwd: folder, environment: {}, ...source });
}

function refusal(yaml: string, source: Partial<ConfigSource> = {}): string {
  try {
    load(yaml, source);
  } catch (error) {
    if (error instanceof ConfigError) return error.message;
    throw error;
  }
  throw new Error("the configuration was accepted");
}

describe("the shipped config.yaml", () => {
  const root = new URL("../../", import.meta.url).pathname;

  it("says every default as the code has it, but for the partial answers that it keeps", () => {
    const shipped = loadConfig({ cwd: root, environment: {} }).config;
    const builtIn = load(GRAPHS).config;

    expect({ ...shipped, graphs: null, baseDir: null, dataDir: null }).toEqual({
      ...builtIn,
      graphs: null,
      baseDir: null,
      dataDir: null,
      runs: { ...builtIn.runs, keepPartialOnCancel: true },
    });
  });

  it("holds every key that there is", () => {
    const raw: unknown = parse(readFileSync(join(root, "config.yaml"), "utf8"));
    const { graphs, graphHost: _host, baseDir: _, ...builtIn } = load(GRAPHS).config;

    expect(keysOf(raw, "").filter((key) => !key.startsWith("graphs"))).toEqual(
      keysOf(builtIn, "")
        .map((key) => (key === "server.cors.allow_origin_pattern" ? "server.cors.allow_origin_regex" : key))
        .sort(),
    );
    expect(Object.keys(graphs)).toEqual(["agent"]);
  });

  function keysOf(value: unknown, prefix: string): string[] {
    if (typeof value !== "object" || value === null || Array.isArray(value)) return [prefix];
    return Object.entries(value)
      .flatMap(([key, item]) => {
        const snake = key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
        return keysOf(item, prefix === "" ? snake : `${prefix}.${snake}`);
      })
      .sort();
  }
});

describe("reading config.yaml", () => {
  it("resolves paths from the folder of the file, not from where heddle was started", () => {
    load(`${GRAPHS}data_dir: data\n`);

    const { config } = loadConfig({ cwd: "/", file: join(folder, "config.yaml"), environment: {} });

    expect(config.graphs.agent?.path).toBe("./agent.ts:graph");
    expect(config.baseDir).toBe(folder);
    expect(config.dataDir).toBe(join(folder, "data"));
  });

  it("reads a graph as a path or as a mapping", () => {
    const { graphs } = load(`
graphs:
  short: ./a.mts:build
  bare: ./b.cjs
  long: { path: ./c.js:graph, description: Long, config: { recursion_limit: 7 }, context: { tone: dry } }
`).config;

    expect(graphs).toEqual({
      short: { path: "./a.mts:build", config: {}, context: {} },
      bare: { path: "./b.cjs", config: {}, context: {} },
      long: { path: "./c.js:graph", description: "Long", config: { recursion_limit: 7 }, context: { tone: "dry" } },
    });
  });

  it("gives a result that nobody can change", () => {
    const { config } = load(GRAPHS);

    expect(() => Object.assign(config.server, { port: 1 })).toThrow(TypeError);
    expect(() => Object.assign(config.graphs, { other: 1 })).toThrow(TypeError);
  });

  it("reads sizes in bytes and with units", () => {
    expect(load(`${GRAPHS}server: { body_limit: 512kb }`).config.server.bodyLimit).toBe(524_288);
    expect(load(`${GRAPHS}server: { body_limit: 1 GB }`).config.server.bodyLimit).toBe(1_073_741_824);
    expect(load(`${GRAPHS}server: { body_limit: 1000 }`).config.server.bodyLimit).toBe(1_000);
    expect(refusal(`${GRAPHS}server: { body_limit: lots }`)).toBe(
      'config.yaml: server.body_limit: expected a number of bytes or a size such as "20mb"',
    );
  });

  it("takes a section that is left empty as all defaults", () => {
    expect(load(`${GRAPHS}server:\nruns:\n`).config).toEqual(load(GRAPHS).config);
  });

  it("lets the command line win", () => {
    const overrides = { host: "::1", port: 0, dataDir: "elsewhere" };
    const { config } = load(`${GRAPHS}server: { port: 3000 }`, { overrides });

    expect(config.server).toMatchObject({ host: "::1", port: 0 });
    expect(config.dataDir).toBe(join(folder, "elsewhere"));
  });
});

describe("variables of the environment", () => {
  it("replace ${NAME}, with a default when unset or empty, anywhere in a text", () => {
    const yaml = `${GRAPHS}server:\n  host: \${HOST}\n  base_paths: ["/\${A:-x}-\${EMPTY:-y}"]\n`;
    const { server } = load(yaml, { environment: { HOST: "localhost", EMPTY: "" } }).config;

    expect(server).toMatchObject({ host: "localhost", basePaths: ["/x-y"] });
  });

  it("become numbers and booleans where the value is not quoted", () => {
    const yaml = `${GRAPHS}server:\n  port: \${PORT:-2024}\n  allow_unauthenticated: \${OPEN}\n`;

    expect(load(yaml, { environment: { PORT: "8080", OPEN: "true" } }).config.server).toMatchObject({
      port: 8080,
      allowUnauthenticated: true,
    });
    expect(refusal(`${GRAPHS}server: { port: "\${PORT}" }`, { environment: { PORT: "8080" } })).toContain(
      "server.port",
    );
  });

  it("cannot add keys or structure", () => {
    const yaml = `${GRAPHS}log: { level: "\${LEVEL}" }\nserver:\n  host: \${HOST}\n`;
    const environment = { LEVEL: "info", HOST: "localhost\n  allow_unauthenticated: true" };

    expect(refusal(yaml, { environment })).toContain("server.host");
  });

  it("are refused with key and name when missing, and $${ stands for itself", () => {
    expect(refusal(`graphs: { agent: { path: ./a.ts:g, config: { tags: ["\${TAG}"] } } }`)).toBe(
      "config.yaml: graphs.agent.config.tags[0]: the environment variable TAG is not set (${TAG:-…} would give a default)",
    );
    expect(refusal(`${GRAPHS}server: { host: "\${bad name}" }`)).toContain("server.host: cannot read ${bad name}");
    const literal = load('graphs: { agent: { path: ./a.ts:g, description: "a $${PRICE}" } }').config.graphs.agent;
    expect(literal?.description).toBe("a ${PRICE}");
  });
});

describe("what cannot be used is refused with the path of the key", () => {
  it.each([
    ["an unknown key", `${GRAPHS}server: { prot: 1 }`, "server.prot: unknown key (known here: host, port, "],
    ["an unknown section", `${GRAPHS}sever: {}`, "sever: unknown key (known here: graphs, server, "],
    ["a wrong type", `${GRAPHS}server: { port: high }`, "server.port: Invalid input: expected number, received string"],
    [
      "a database that is not built",
      `${GRAPHS}database: { type: oracle }`,
      'database.type: expected sqlite or memory or postgres, got "oracle"',
    ],
    [
      "a server without an address",
      `${GRAPHS}database: { type: postgres, url: "" }`,
      'database.url: expected an address such as "postgres://user:password@host:5432/database"',
    ],
    [
      "an address without a server",
      `${GRAPHS}database: { url: "postgres://u:secret@h/d" }`,
      "database.url: an address of PostgreSQL, and database.type is sqlite",
    ],
    [
      "state that forgets what is on a server",
      `${GRAPHS}database: { type: postgres, url: "postgres://u:p@h/d" }\ncheckpointer: { type: memory }`,
      "checkpointer.type: memory with database.type postgres: threads would outlive their state",
    ],
    [
      "state on a server without its runs",
      `${GRAPHS}checkpointer: { type: postgres }`,
      "checkpointer.type: postgres with database.type sqlite: what a run writes is checked against its row",
    ],
    [
      "a file for the state of threads on a server",
      `${GRAPHS}database: { type: postgres, url: "postgres://u:p@h/d" }\ncheckpointer: { type: sqlite }`,
      "checkpointer.type: sqlite with database.type postgres: threads would outlive their state",
    ],
    [
      "an address of a file",
      `${GRAPHS}checkpointer: { url: "postgres://u:secret@h/d" }`,
      "checkpointer.url: an address of PostgreSQL, and checkpointer.type is sqlite",
    ],
    [
      "items beside a server",
      `${GRAPHS}database: { type: postgres, url: "postgres://u:p@h/d" }\nstore: { type: sqlite }`,
      "store.type: sqlite keeps items in the database, and database.type is postgres",
    ],
    [
      "a bridge that is not built",
      `${GRAPHS}stream_bridge: { type: kafka }`,
      'stream_bridge.type: expected memory or redis, got "kafka"',
    ],
    ["a Redis nowhere", `${GRAPHS}stream_bridge: { type: redis }`, "stream_bridge.url: is missing"],
    [
      "a Redis that is not used",
      `${GRAPHS}stream_bridge: { url: "redis://redis:6379" }`,
      "stream_bridge.url: is only for type redis",
    ],
    [
      "a prefix that is not used",
      `${GRAPHS}stream_bridge: { key_prefix: "a:" }`,
      "stream_bridge.key_prefix: is only for type redis",
    ],
    [
      "a graph in Python",
      "graphs: { agent: ./agent.py:graph }",
      'graphs.agent.path: expected "./path.ts:export" with one of .ts',
    ],
    ["no graph", "server: { port: 1 }", "graphs: names no graph"],
    [
      "a mistyped base path",
      `${GRAPHS}server: { base_paths: [api] }`,
      'server.base_paths.0: expected "/" or a path such as "/api"',
    ],
    [
      "a broken origin pattern",
      `${GRAPHS}server: { cors: { allow_origin_regex: "(" } }`,
      "server.cors.allow_origin_regex: Invalid regular expression",
    ],
    [
      "any origin with credentials",
      `${GRAPHS}server: { cors: { allow_origins: ["*"], allow_credentials: true } }`,
      "server.cors.allow_credentials: not together with",
    ],
    [
      "threads that outlive their state",
      `${GRAPHS}checkpointer: { type: memory }`,
      "checkpointer.type: memory with database.type sqlite: threads would outlive their state",
    ],
    [
      "a replica that can be one of several only",
      `${GRAPHS}role: worker`,
      "role: worker with database.type sqlite, checkpointer.type sqlite, store.type sqlite, stream_bridge.type memory: other replicas can use none of it",
    ],
    [
      "leases that one late renewal would lose",
      `${GRAPHS}runs: { lease_seconds: 10, heartbeat_seconds: 5 }`,
      "runs.lease_seconds: is not more than twice heartbeat_seconds",
    ],
    [
      "state that outlives its threads",
      `${GRAPHS}database: { type: memory }\ncheckpointer: { type: sqlite }`,
      "checkpointer.type: sqlite with database.type memory",
    ],
    [
      "items without a database",
      `${GRAPHS}database: { type: memory }\nstore: { type: sqlite }`,
      "store.type: sqlite keeps items in the database",
    ],
    [
      "a replay that does not fit",
      `${GRAPHS}stream_bridge: { max_retained_bytes: 1mb }`,
      "stream_bridge.max_retained_bytes: is less than max_bytes_per_run",
    ],
    ["a key given twice", `${GRAPHS}${GRAPHS}`, "Map keys must be unique at line 2"],
  ])("%s", (_, yaml, message) => {
    const said = refusal(yaml);

    expect(said).toContain(`config.yaml: ${message}`);
    expect(said).not.toContain("\n");
  });

  it.each(["redis//:s3cret@host", "http://:s3cret@host", "redis://:s3cret@host/x", "redis://:s3cret@host?a=b"])(
    "the address %s of a Redis, without its password",
    (url) => {
      const said = refusal(`${GRAPHS}stream_bridge: { type: redis, url: ${JSON.stringify(url)} }`);
      expect(said).toContain("config.yaml: stream_bridge.url: expected redis://");
      expect(said).not.toContain("s3cret");
    },
  );

  it("a missing file, and a folder with none", () => {
    expect(() => loadConfig({ cwd: folder, environment: {} })).toThrow("no config.yaml and no langgraph.json in");
    expect(() => loadConfig({ cwd: folder, file: "other.yaml", environment: {} })).toThrow("no such file");
  });
});

describe("what follows from what", () => {
  it("an index names its model and its dimensions, and has defaults for the rest", () => {
    const index = (text: string) => load(`${GRAPHS}store: { index: ${text} }`).config.store.index;
    expect(index("{ embed: openai:small, dims: 3 }")).toEqual({
      embed: "openai:small",
      dims: 3,
      fields: ["$"],
      timeoutSeconds: 30,
      reembed: false,
    });
    expect(index("null")).toBeNull();
    expect(load(GRAPHS).config.store.index).toBeNull();
    expect(() => index("{}")).toThrow(/store.index.dims: .*store.index.embed: /);
    expect(() => index("{ embed: x, dims: 0 }")).toThrow("store.index.dims");
    expect(() => index("{ embed: x, dims: 3, field: [] }")).toThrow("store.index.field: unknown key");
  });

  it("a database in memory puts state and items there too, and a store in memory goes with either", () => {
    expect(load(`${GRAPHS}database: { type: memory }`).config).toMatchObject({
      checkpointer: { type: "memory" },
      store: { type: "memory" },
    });
    expect(load(`${GRAPHS}store: { type: memory }`).config).toMatchObject({
      database: { type: "sqlite" },
      store: { type: "memory" },
    });
  });

  it("pages of this machine may call until origins are named", () => {
    const byDefault = load(GRAPHS).config.server.cors;
    const pattern = new RegExp(byDefault.allowOriginPattern ?? "never", "u");

    expect(byDefault.allowOrigins).toEqual([]);
    expect(
      ["http://localhost:5173", "https://127.0.0.1", "http://[::1]:80"].every((origin) => pattern.test(origin)),
    ).toBe(true);
    expect(
      ["https://evil.example", "http://localhost.evil.example", "http://localhost:80.evil.example", "null"].some(
        (origin) => pattern.test(origin),
      ),
    ).toBe(false);
    expect(
      load(`${GRAPHS}server: { cors: { allow_origins: ["https://app.example"] } }`).config.server.cors,
    ).toMatchObject({
      allowOrigins: ["https://app.example"],
      allowOriginPattern: null,
    });
  });

  it("a pattern for origins must match the whole origin", () => {
    const { cors } = load(`${GRAPHS}server: { cors: { allow_origin_regex: "https://a|https://b" } }`).config.server;
    const pattern = new RegExp(cors.allowOriginPattern ?? "never", "u");

    expect(pattern.test("https://b")).toBe(true);
    expect(pattern.test("https://a.evil.example")).toBe(false);
  });
});

describe("a server that other machines can reach", () => {
  it("is refused unless somebody says that callers need no authentication, and warns then", () => {
    const message = refusal(`${GRAPHS}server: { host: 0.0.0.0 }`);

    expect(message).toContain("server.host: 0.0.0.0 is reachable from other machines");
    expect(message).toContain("--allow-unauthenticated");
    for (const host of ["::", "192.168.1.4", "heddle.example", "127.0.0.1.evil.example"]) {
      expect(refusal(GRAPHS, { overrides: { host } })).toContain(`server.host: ${host}`);
    }
    const open = load(`${GRAPHS}server: { host: 0.0.0.0 }`, { overrides: { allowUnauthenticated: true } });
    expect(open.warnings).toEqual([
      "callers are not authenticated: whoever reaches 0.0.0.0 can use every thread and run",
    ]);
  });

  it("is not one that listens on this machine only", () => {
    for (const host of ["127.0.0.1", "127.8.0.1", "localhost", "::1"]) {
      expect(load(GRAPHS, { overrides: { host } }).warnings).toEqual([]);
    }
  });
});

describe("what has names of its own in the environment", () => {
  const environment = {
    OTEL_EXPORTER_OTLP_ENDPOINT: "http://collector:4318",
    OTEL_SERVICE_NAME: "loom",
    LANGSMITH_API_KEY: "",
    LANGCHAIN_API_KEY: "ls-key",
  };

  it("is taken from there", () => {
    const { telemetry, langsmith } = load(GRAPHS, { environment }).config;
    expect(telemetry).toEqual({ otlpEndpoint: "http://collector:4318", serviceName: "loom", recordContent: false });
    expect(langsmith).toEqual({ apiKey: "ls-key", endpoint: null });
  });

  it("gives way to the file, and to its null", () => {
    const yaml = `${GRAPHS}telemetry: { otlp_endpoint: null, service_name: mine }\nlangsmith: { api_key: null }\n`;
    const { telemetry, langsmith } = load(yaml, { environment }).config;
    expect(telemetry).toMatchObject({ otlpEndpoint: null, serviceName: "mine" });
    expect(langsmith.apiKey).toBeNull();
  });

  it("is refused where it cannot be used", () => {
    expect(() => load(GRAPHS, { environment: { OTEL_EXPORTER_OTLP_ENDPOINT: "collector" } })).toThrow(
      "telemetry.otlp_endpoint: Invalid URL",
    );
  });
});

it.each(["mysql://u:secret@h/d", "postgres://u:secret@h", "u:secret@h", 7])(
  "an address such as %j is refused unseen",
  (url) => {
    const message = refusal(`${GRAPHS}database: { type: postgres, url: ${JSON.stringify(url)} }\n`);
    expect(message).toContain("database.url: expected an address");
    expect(message).not.toContain("secret");
  },
);
