/**
 * The shape of `config.yaml`: keys, defaults, and what cannot work together. Files write snake_case, the result is
 * camelCase with the unit in the name and absolute paths. What each key means stands in the shipped `config.yaml`.
 */
import { extname, resolve } from "node:path";
import { z } from "zod";
import { MULTITASK_STRATEGIES } from "../core/model.js";

/** Where a web page on this machine may come from, whatever its port. */
const LOOPBACK_ORIGINS = "https?://(localhost|127\\.0\\.0\\.1|\\[::1\\])(:\\d+)?";

const GRAPH_EXTENSIONS = [".ts", ".mts", ".cts", ".js", ".mjs", ".cjs"];

/** The whole file; paths in it are relative to `folder`. */
export function configSchema(folder: string) {
  const fields = {
    graphs: z.preprocess(emptyWhenAbsent, z.record(graphId, graphSchema)),
    server: serverSection,
    data_dir: z
      .string()
      .min(1)
      .default(".heddle")
      .transform((path) => resolve(folder, path)),
    database: section({ type: oneOf("sqlite", "memory").default("sqlite") }),
    // No default of their own: both follow the database.
    checkpointer: section({ type: oneOf("sqlite", "memory").optional() }),
    store: section({ type: oneOf("sqlite", "memory").optional(), ttl: ttlSection }),
    stream_bridge: streamBridgeSection,
    runs: runsSection,
    compat: section({ reject_status: z.literal([409, 422]).default(409) }),
    log: section({
      level: oneOf("debug", "info", "warn", "error", "silent").default("info"),
      format: oneOf("auto", "json", "pretty").default("auto"),
    }),
  };
  return section(fields)
    .transform((config) => ({
      ...config,
      /** What the paths of graphs are relative to. */
      baseDir: folder,
      checkpointer: { type: config.checkpointer.type ?? config.database.type },
      store: { ...config.store, type: config.store.type ?? config.database.type },
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

const serverSection = section({
  host: z.string().min(1).default("127.0.0.1"),
  port: z.int().min(0).max(65_535).default(2024),
  allow_unauthenticated: z.boolean().default(false),
  base_paths: list(z.string().regex(/^\/$|^(\/[\w.~-]+)+$/, 'expected "/" or a path such as "/api"'))
    .refine((paths) => paths.length > 0, "expected at least one path")
    .default(["/", "/api"]),
  body_limit: byteSize("20mb"),
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
});

const ttlSection = section({
  default_ttl: z.number().positive().nullable().default(null),
  refresh_on_read: z.boolean().default(true),
  sweep_interval_minutes: z.number().positive().default(60),
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
});

type ValidatedConfig = {
  readonly database: { readonly type: "sqlite" | "memory" };
  readonly checkpointer: { readonly type: "sqlite" | "memory" };
  readonly store: { readonly type: "sqlite" | "memory" };
  readonly server: { readonly cors: { readonly allowOrigins: readonly string[]; readonly allowCredentials: boolean } };
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
