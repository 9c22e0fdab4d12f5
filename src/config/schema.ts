/**
 * The shape of `config.yaml`: keys, defaults, and what cannot work together. Files write snake_case, the result is
 * camelCase with the unit in the name and absolute paths. What each key means stands in the shipped `config.yaml`.
 */
import { resolve } from "node:path";
import { z } from "zod";
import { MULTITASK_STRATEGIES } from "../core/model.js";
import { authSection } from "./auth-section.js";
import { byteSize, emptyWhenAbsent, list, oneOf, section } from "./fields.js";
import { graphsSection } from "./graphs-section.js";
import { refuseImpossible } from "./impossible.js";
import { serverSection } from "./server-section.js";
import { checkpointerSection, databaseSection, storeSection, streamBridgeSection } from "./storage-sections.js";
import { webhooksSection } from "./webhooks-section.js";

/** The whole file; paths in it are relative to `folder`. */
export function configSchema(folder: string) {
  const fields = {
    graphs: graphsSection,
    server: serverSection,
    role: oneOf("all", "api", "worker").default("all"),
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
    database: databaseSection,
    // No default of their own: both follow the database.
    checkpointer: checkpointerSection,
    store: storeSection,
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

const uiSection = z.preprocess(
  emptyWhenAbsent,
  z.record(
    z.string().regex(/^(?!__proto__$)[^\p{Cc}/]{1,128}$/u, "expected 1 to 128 printable characters, none of them a /"),
    z.string().min(1),
  ),
);

const runsSection = section({
  concurrency: z.int().positive().default(10),
  timeout_seconds: z.number().positive().default(3_600),
  max_attempts: z.int().positive().default(3),
  default_multitask_strategy: oneOf(...MULTITASK_STRATEGIES).default("enqueue"),
  keep_partial_on_cancel: z.boolean().default(false),
  max_pending_per_thread: z.int().positive().default(64),
  shutdown_grace_seconds: z.number().nonnegative().default(10),
  disconnect_grace_seconds: z.number().nonnegative().default(2),
  lease_seconds: z.number().min(3).max(600).default(15),
  heartbeat_seconds: z.number().min(1).default(5),
}).refine(({ leaseSeconds, heartbeatSeconds }) => leaseSeconds > 2 * heartbeatSeconds, {
  path: ["lease_seconds"],
  error: "is not more than twice heartbeat_seconds: one renewal that is late would lose a run",
});
