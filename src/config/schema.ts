/**
 * The shape of `config.yaml`: keys, defaults, and what cannot work together. Files write snake_case, the result is
 * camelCase with the unit in the name and absolute paths. What each key means stands in the shipped `config.yaml`.
 */
import { availableParallelism } from "node:os";
import { extname, resolve } from "node:path";
import { z } from "zod";
import { MULTITASK_STRATEGIES } from "../core/model.js";

/** Where a web page on this machine may come from, whatever its port. */
const LOOPBACK_ORIGINS = "https?://(localhost|127\\.0\\.0\\.1|\\[::1\\])(:\\d+)?";

/** A thread is given up before the lease of its runs ends. */
const MAX_STUCK_SECONDS = 12;

const EXPECTED_SECRET =
  'expected "whsec_" and 24 to 64 bytes in base64, such as from: echo whsec_$(openssl rand -base64 32)';
/** As for the ttl that a request gives: some two thousand years, which a date can still show. */
const MAX_TTL_MINUTES = 1e9;

const GRAPH_EXTENSIONS = [".ts", ".mts", ".cts", ".js", ".mjs", ".cjs"];

/** The whole file; paths in it are relative to `folder`. */
export function configSchema(folder: string) {
  const fields = {
    graphs: graphsSection,
    server: serverSection,
    ui: uiSection,
    ui_config: section({ shared: list(z.string().min(1)).default([]) }),
    auth: authSection,
    limits: section({
      requests_per_minute: z.number().positive().nullable().default(null),
      open_streams: z.int().positive().nullable().default(null),
      runs_in_flight: z.int().positive().nullable().default(null),
      pending_runs: z.int().positive().nullable().default(null),
    }),
    data_dir: z
      .string()
      .min(1)
      .default(".heddle")
      .transform((path) => resolve(folder, path)),
    database: section({ type: oneOf("sqlite", "memory").default("sqlite") }),
    // No default of their own: both follow the database.
    checkpointer: section({ type: oneOf("sqlite", "memory").optional(), ttl: threadTtlSection }),
    store: section({ type: oneOf("sqlite", "memory").optional(), ttl: ttlSection, index: indexSection.nullish() }),
    stream_bridge: streamBridgeSection,
    run_ledger: section({
      retention_days: z.number().nonnegative().max(3_650).default(3),
      max_bytes_per_run: byteSize("32mb"),
    }),
    event_streaming: section({ record: oneOf("all", "requested").default("all") }),
    runs: runsSection,
    webhooks: webhooksSection,
    crons: section({
      enabled: z.boolean().default(true),
      min_interval_seconds: z.int().min(60).max(86_400).default(60),
      max_per_gateway: z.int().positive().default(1_000),
    }),
    telemetry: section({
      otlp_endpoint: z
        .url({ protocol: /^https?$/ })
        .nullable()
        .default(null),
      service_name: z.string().min(1).default("heddle"),
      record_content: z.boolean().default(false),
    }),
    langsmith: section({
      api_key: z.string().min(1).nullable().default(null),
      endpoint: z
        .url({ protocol: /^https?$/ })
        .nullable()
        .default(null),
    }),
    compat: section({ reject_status: z.literal([409, 422]).default(409) }),
    log: section({
      level: oneOf("debug", "info", "warn", "error", "silent").default("info"),
      format: oneOf("auto", "json", "pretty").default("auto"),
    }),
  };
  return section(fields)
    .transform((config) => ({
      ...config,
      graphs: config.graphs.graphs,
      graphHost: config.graphs.host,
      /** What the paths of graphs are relative to. */
      baseDir: folder,
      checkpointer: { ...config.checkpointer, type: config.checkpointer.type ?? config.database.type },
      store: { ...config.store, type: config.store.type ?? config.database.type, index: config.store.index ?? null },
    }))
    .superRefine(refuseImpossible);
}

const graphId = z.string().regex(/^(?!__proto__$)[^\p{Cc}]{1,128}$/u, "expected 1 to 128 printable characters");

const runConfig = z
  .object({
    tags: z.array(z.string()).optional(),
    recursion_limit: z.int().positive().optional(),
    configurable: z.record(z.string(), z.json()).optional(),
  })
  .catchall(z.json());

const graphSchema = z.preprocess(
  (value) => (typeof value === "string" ? { path: value } : value),
  section({
    path: z.string().superRefine((path, context) => {
      const file = path.replace(/:[^:\\/]+$/, "");
      if (GRAPH_EXTENSIONS.includes(extname(file))) return;
      const message = `expected "./path.ts:export" with one of ${GRAPH_EXTENSIONS.join(" ")}, got ${JSON.stringify(path)}`;
      context.addIssue({ code: "custom", message });
    }),
    description: z.string().optional(),
    config: runConfig.default({}),
    context: z.json().default({}),
  }),
);

/** Keys of `graphs` that say how graphs run, told apart from graphs of such a name by their values: those are paths. */
const HOST_KEYS: ReadonlySet<string> = new Set(["isolation", "threads", "thread_memory_mb", "stuck_after_seconds"]);

const graphHostSection = section({
  isolation: oneOf("thread", "inline").optional(),
  threads: z
    .int()
    .positive()
    .default(() => Math.max(2, availableParallelism())),
  thread_memory_mb: z.int().min(32).optional(),
  stuck_after_seconds: z.number().min(2).max(MAX_STUCK_SECONDS).default(10),
});

/** Whether an entry of `graphs` says how graphs run instead of naming one. */
export function isHostEntry([key, value]: readonly [string, unknown]): boolean {
  return HOST_KEYS.has(key) && (typeof value === "number" || (typeof value === "string" && !/[./]/.test(value)));
}

const graphsSection = z.preprocess(emptyWhenAbsent, z.record(z.string(), z.unknown())).transform((section, context) => {
  const entries = Object.entries(section);
  const named = entries.filter((entry) => !isHostEntry(entry));
  const graphs = z.record(graphId, graphSchema).safeParse(Object.fromEntries(named));
  const host = graphHostSection.safeParse(Object.fromEntries(entries.filter(isHostEntry)));
  for (const { error } of [graphs, host]) {
    for (const issue of error?.issues ?? []) context.addIssue({ ...issue, input: undefined });
  }
  return graphs.success && host.success ? { graphs: graphs.data, host: host.data } : z.NEVER;
});

const corsSection = section({
  allow_origins: list(z.string()).optional(),
  allow_origin_regex: z.string().nullish(),
  allow_methods: list(z.string()).default(["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]),
  allow_headers: list(z.string()).default(["*"]),
  allow_credentials: z.boolean().default(false),
  expose_headers: list(z.string()).default([]),
  max_age: z.int().nonnegative().default(600),
}).transform(({ allowOrigins, allowOriginRegex, ...cors }, context) => {
  const isDefault = allowOrigins === undefined && allowOriginRegex === undefined;
  return {
    ...cors,
    /** `*` means any. */
    allowOrigins: allowOrigins ?? [],
    /** Matches the whole origin. */
    allowOriginPattern: originPattern(isDefault ? LOOPBACK_ORIGINS : (allowOriginRegex ?? null), context),
  };
});

/** None that is signed with a secret that the verifier has, too, and not "none". */
const TOKEN_ALGORITHMS = [
  "RS256",
  "RS384",
  "RS512",
  "PS256",
  "PS384",
  "PS512",
  "ES256",
  "ES384",
  "ES512",
  "EdDSA",
] as const;

const serverSection = section({
  host: z.string().min(1).default("127.0.0.1"),
  port: z.int().min(0).max(65_535).default(2024),
  allow_unauthenticated: z.boolean().default(false),
  public_url: z
    .url({ protocol: /^https?$/, error: 'expected an address such as "https://agents.example.com/api"' })
    .transform((url) => url.replace(/\/+$/, ""))
    .nullable()
    .default(null),
  base_paths: list(z.string().regex(/^\/$|^(\/[\w.~-]+)+$/, 'expected "/" or a path such as "/api"'))
    .refine((paths) => paths.length > 0, "expected at least one path")
    .default(["/", "/api"]),
  body_limit: byteSize("20mb"),
  page_limit: byteSize("32mb"),
  request_timeout_seconds: z.number().nonnegative().default(30),
  answer_timeout_seconds: z.number().positive().default(30),
  max_connections: z.int().positive().default(10_000),
  drain_delay_seconds: z.number().nonnegative().default(0),
  cors: corsSection,
  configurable_headers: section({
    includes: list(z.string()).default(["x-*", "user-agent"]),
    excludes: list(z.string()).default([
      "x-api-key",
      "x-tenant-id",
      "x-service-key",
      "authorization",
      "proxy-authorization",
      "cookie",
    ]),
  }),
  disable_assistants: z.boolean().default(false),
  disable_threads: z.boolean().default(false),
  disable_runs: z.boolean().default(false),
  disable_store: z.boolean().default(false),
  disable_meta: z.boolean().default(false),
  disable_openai: z.boolean().default(false),
  disable_mcp: z.boolean().default(false),
  disable_a2a: z.boolean().default(false),
  disable_webhooks: z.boolean().default(false),
  disable_ui: z.boolean().default(false),
  app: z.string().min(1).nullable().default(null),
  middleware_order: oneOf("middleware_first", "auth_first").default("middleware_first"),
  enable_custom_route_auth: z.boolean().default(false),
});

const uiSection = z.preprocess(
  emptyWhenAbsent,
  z.record(
    z.string().regex(/^(?!__proto__$)[^\p{Cc}/]{1,128}$/u, "expected 1 to 128 printable characters, none of them a /"),
    z.string().min(1),
  ),
);

const ttlSection = section({
  default_ttl: z.number().positive().nullable().default(null),
  refresh_on_read: z.boolean().default(true),
  sweep_interval_minutes: z.number().positive().default(60),
});

const threadTtlSection = section({
  strategy: oneOf("delete", "keep_latest").default("delete"),
  default_ttl: z.number().positive().max(MAX_TTL_MINUTES).nullable().default(null),
  sweep_interval_minutes: z.number().positive().default(5),
  sweep_limit: z.int().positive().default(1_000),
});

/** More dimensions than any database that heddle knows of can hold in one vector. */
const MAX_DIMS = 16_000;

const indexSection = section({
  dims: z.int().positive().max(MAX_DIMS),
  embed: z.string().regex(/./, 'expected "provider:model" or "./path.ts:function"'),
  fields: list(z.string()).default(["$"]),
  timeout_seconds: z.number().positive().default(30),
  reembed: z.boolean().default(false),
});

const streamBridgeSection = section({
  type: oneOf("memory").default("memory"),
  max_bytes_per_run: byteSize("32mb"),
  max_buffered_bytes_per_reader: byteSize("4mb"),
  retention_seconds: z.number().nonnegative().default(600),
  max_retained_bytes: byteSize("256mb"),
});

const runsSection = section({
  concurrency: z.int().positive().default(10),
  timeout_seconds: z.number().positive().default(3_600),
  max_attempts: z.int().positive().default(3),
  default_multitask_strategy: oneOf(...MULTITASK_STRATEGIES).default("enqueue"),
  keep_partial_on_cancel: z.boolean().default(false),
  max_pending_per_thread: z.int().positive().default(64),
  shutdown_grace_seconds: z.number().nonnegative().default(10),
  disconnect_grace_seconds: z.number().nonnegative().default(2),
});

/** What stands in a message itself. */
const RESERVED_HEADERS =
  /^(host|connection|keep-alive|transfer-encoding|content-length|content-type|te|trailer|upgrade|expect|webhook-(id|timestamp|signature))$/i;

const headerName = z
  .string()
  .regex(/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/, "expected the name of a header")
  .refine((name) => !RESERVED_HEADERS.test(name), "this header is heddle's own");

/** As Standard Webhooks says: 24 to 64 bytes. The messages do not show it. */
const webhookSecret = z
  .string({ error: EXPECTED_SECRET })
  .regex(/^whsec_[A-Za-z0-9+/]+={0,2}$/, EXPECTED_SECRET)
  .refine((secret) => isSecretSize(Buffer.from(secret.slice("whsec_".length), "base64").length), EXPECTED_SECRET);

function isSecretSize(bytes: number): boolean {
  return bytes >= 24 && bytes <= 64;
}

/** One, or several of which each signs; none where the value is empty, as that of a variable that is not set may be. */
const webhookSecrets = z.preprocess(
  (value) => [value ?? []].flat().filter((secret) => secret !== "" && secret !== null),
  list(webhookSecret),
);

const webhooksSection = section({
  secret: webhookSecrets,
  headers: z.record(headerName, z.string()).default({}),
  env_prefix: z.string().min(1).default("LG_WEBHOOK_"),
  url: section({
    require_https: z.boolean().default(true),
    allowed_domains: list(
      z.string().regex(/^(\*\.)?[A-Za-z0-9.-]+$/, 'expected a host such as "hooks.example.com" or "*.example.com"'),
    ).default([]),
    allowed_ports: list(z.int().min(1).max(65_535)).default([]),
    max_url_length: z.int().positive().max(65_536).default(4_096),
    disable_loopback: z.boolean().default(true),
    allow_private: z.boolean().default(false),
  }),
});

const jwtSection = section({
  jwks_url: z
    .url({ protocol: /^https?$/ })
    .nullable()
    .default(null),
  jwks_file: z.string().min(1).nullable().default(null),
  issuer: z.string().min(1),
  audience: z.string().min(1),
  algorithms: list(oneOf(...TOKEN_ALGORITHMS))
    .refine((algorithms) => algorithms.length > 0, "expected at least one algorithm")
    .default(["RS256", "ES256", "EdDSA"]),
  clock_tolerance_seconds: z.number().min(0).max(60).default(30),
  identity_claim: z.string().min(1).default("sub"),
  permissions_claim: z.string().min(1).default("permissions"),
  default_permissions: list(z.string().min(1)).default(["*"]),
}).refine(({ jwksUrl, jwksFile }) => (jwksUrl === null) !== (jwksFile === null), "expected jwks_url or jwks_file");

const authSection = section({
  path: z.string().min(1).nullable().default(null),
  default: oneOf("allow", "deny").default("allow"),
  api_keys: z.boolean().default(false),
  jwt: jwtSection.nullable().default(null),
  isolation: oneOf("owner", "shared").default("owner"),
});

type ValidatedConfig = {
  readonly database: { readonly type: "sqlite" | "memory" };
  readonly checkpointer: { readonly type: "sqlite" | "memory" };
  readonly store: { readonly type: "sqlite" | "memory" };
  readonly server: { readonly cors: { readonly allowOrigins: readonly string[]; readonly allowCredentials: boolean } };
  readonly auth: { readonly path: string | null; readonly apiKeys: boolean; readonly jwt: object | null };
  readonly streamBridge: { readonly maxBytesPerRun: number; readonly maxRetainedBytes: number };
};

function refuseImpossible(config: ValidatedConfig, context: z.RefinementCtx): void {
  const refuse = (path: string[], message: string) => context.addIssue({ code: "custom", path, message });
  const { database, checkpointer, store, streamBridge, server } = config;
  if (checkpointer.type !== database.type) {
    const why =
      database.type === "sqlite"
        ? "threads would outlive their state"
        : "state would outlive the threads it belongs to";
    refuse(["checkpointer", "type"], `${checkpointer.type} with database.type ${database.type}: ${why}`);
  }
  if (store.type === "sqlite" && database.type === "memory") {
    refuse(["store", "type"], "sqlite keeps items in the database, and database.type is memory");
  }
  if (config.auth.path !== null && (config.auth.apiKeys || config.auth.jwt !== null)) {
    refuse(["auth", "path"], "not together with api_keys or jwt: an Auth object knows callers by itself");
  }
  if (config.auth.apiKeys && database.type === "memory") {
    refuse(["auth", "api_keys"], "keys are kept in the database, and database.type is memory");
  }
  if (server.cors.allowCredentials && server.cors.allowOrigins.includes("*")) {
    refuse(["server", "cors", "allow_credentials"], 'not together with allow_origins "*": name the origins');
  }
  if (streamBridge.maxRetainedBytes < streamBridge.maxBytesPerRun) {
    refuse(
      ["stream_bridge", "max_retained_bytes"],
      "is less than max_bytes_per_run: a finished run could not be replayed",
    );
  }
}

// ---- kinds of keys

/** A mapping with exactly these keys, absent or empty meaning all defaults; the result is camelCase. */
function section<Shape extends z.ZodRawShape>(shape: Shape) {
  const known = Object.keys(shape).join(", ");
  const object = z.strictObject(shape, {
    error: (issue) => (issue.code === "unrecognized_keys" ? `unknown key (known here: ${known})` : undefined),
  });
  return z.preprocess(emptyWhenAbsent, object).transform((value) => camelKeys(value));
}

function emptyWhenAbsent(value: unknown): unknown {
  return value ?? {};
}

function list<Item extends z.ZodType>(item: Item) {
  return z.array(item).readonly();
}

function oneOf<const Values extends readonly [string, ...string[]]>(...values: Values) {
  return z.enum(values, {
    error: (issue) => `expected ${values.join(" or ")}, got ${JSON.stringify(issue.input)}`,
  });
}

const UNIT_BYTES: Readonly<Record<string, number>> = { b: 1, kb: 1_024, mb: 1_024 ** 2, gb: 1_024 ** 3 };

function byteSize(byDefault: string) {
  const error = 'expected a number of bytes or a size such as "20mb"';
  return z
    .union([z.int().positive(), z.string().regex(/^[1-9]\d*\s*(b|kb|mb|gb)$/i, error)], { error })
    .default(byDefault)
    .transform((size) => {
      if (typeof size === "number") return size;
      const unit = size.replace(/^[\d\s]+/, "").toLowerCase();
      return Number.parseInt(size, 10) * (UNIT_BYTES[unit] ?? 1);
    });
}

/** The source of an anchored regular expression. */
function originPattern(source: string | null, context: z.RefinementCtx): string | null {
  if (source === null) return null;
  const anchored = `^(?:${source})$`;
  try {
    new RegExp(anchored, "u");
    return anchored;
  } catch (error) {
    context.addIssue({ code: "custom", path: ["allow_origin_regex"], message: (error as SyntaxError).message });
    return z.NEVER;
  }
}

type Camel<Name extends string> = Name extends `${infer Head}_${infer Tail}`
  ? `${Head}${Capitalize<Camel<Tail>>}`
  : Name;
type CamelKeys<T> = { readonly [Key in keyof T as Camel<Key & string>]: T[Key] };

function camelKeys<T extends object>(value: T): CamelKeys<T> {
  const renamed = Object.entries(value).map(([key, item]) => [
    key.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase()),
    item,
  ]);
  return Object.fromEntries(renamed) as CamelKeys<T>; // the same renaming as in the type
}
