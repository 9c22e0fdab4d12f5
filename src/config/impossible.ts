/** What the sections of `config.yaml` cannot be together. */
import type { z } from "zod";
import { EXPECTED_POSTGRES } from "./storage-sections.js";

type ValidatedConfig = {
  readonly role: "all" | "api" | "worker";
  readonly graphHost: { readonly stuckAfterSeconds: number };
  readonly runs: { readonly leaseSeconds: number; readonly heartbeatSeconds: number };
  readonly database: { readonly type: "sqlite" | "memory" | "postgres"; readonly url: string | null };
  readonly checkpointer: { readonly type: "sqlite" | "memory" | "postgres"; readonly url: string | null };
  readonly store: { readonly type: "sqlite" | "memory" | "postgres" };
  readonly server: { readonly cors: { readonly allowOrigins: readonly string[]; readonly allowCredentials: boolean } };
  readonly auth: { readonly path: string | null; readonly apiKeys: boolean; readonly jwt: object | null };
  readonly streamBridge: {
    readonly type: "memory" | "redis";
    readonly url: string | null;
    readonly keyPrefix: string | null;
    readonly maxBytesPerRun: number;
    readonly maxRetainedBytes: number;
  };
};

/** Says with `context` what is wrong, by the paths of the file. */
export function refuseImpossible(config: ValidatedConfig, context: z.RefinementCtx): void {
  const refuse = (path: string[], message: string) => context.addIssue({ code: "custom", path, message });
  const { database, checkpointer, store, streamBridge, server } = config;
  refuseLonely(config, refuse);
  if (database.type === "postgres" && database.url === null) {
    refuse(["database", "url"], `${EXPECTED_POSTGRES}: database.type is postgres`);
  }
  if (database.type !== "postgres" && database.url !== null) {
    refuse(["database", "url"], `an address of PostgreSQL, and database.type is ${database.type}`);
  }
  if (checkpointer.type !== "postgres" && checkpointer.url !== null) {
    refuse(["checkpointer", "url"], `an address of PostgreSQL, and checkpointer.type is ${checkpointer.type}`);
  }
  if (checkpointer.type !== database.type) {
    const why =
      database.type === "memory"
        ? "state would outlive the threads it belongs to"
        : checkpointer.type === "postgres"
          ? "what a run writes is checked against its row in the same database"
          : "threads would outlive their state";
    refuse(["checkpointer", "type"], `${checkpointer.type} with database.type ${database.type}: ${why}`);
  }
  if (store.type !== "memory" && store.type !== database.type) {
    refuse(["store", "type"], `${store.type} keeps items in the database, and database.type is ${database.type}`);
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
  if (streamBridge.type === "redis" && streamBridge.url === null) {
    refuse(["stream_bridge", "url"], "is missing: type redis needs to know where Redis is");
  }
  if (streamBridge.type === "memory" && streamBridge.url !== null) {
    refuse(["stream_bridge", "url"], "is only for type redis, and type is memory");
  }
  if (streamBridge.type === "memory" && streamBridge.keyPrefix !== null) {
    refuse(["stream_bridge", "key_prefix"], "is only for type redis, and type is memory");
  }
  if (streamBridge.maxRetainedBytes < streamBridge.maxBytesPerRun) {
    refuse(
      ["stream_bridge", "max_retained_bytes"],
      "is less than max_bytes_per_run: a finished run could not be replayed",
    );
  }
}

/** What one process has to itself, and others can neither read nor write. */
const OF_ONE_PROCESS: ReadonlySet<string> = new Set(["sqlite", "memory"]);

/** A replica that only serves, or only executes, needs others, and they need to see the same. */
function refuseLonely(config: ValidatedConfig, refuse: (path: string[], message: string) => void): void {
  const { role, database, checkpointer, store, streamBridge } = config;
  const parts = { database, checkpointer, store, stream_bridge: streamBridge };
  const lonely = Object.entries(parts).filter(([, { type }]) => OF_ONE_PROCESS.has(type));
  if (role !== "all" && lonely.length > 0) {
    const named = lonely.map(([part, { type }]) => `${part}.type ${type}`).join(", ");
    refuse(["role"], `${role} with ${named}: other replicas can use none of it; see docs/scaling.md, or take role all`);
  }
  const { leaseSeconds, heartbeatSeconds } = config.runs;
  const longest = leaseSeconds - heartbeatSeconds;
  if (!OF_ONE_PROCESS.has(database.type) && config.graphHost.stuckAfterSeconds > longest) {
    const limit = `runs.lease_seconds less runs.heartbeat_seconds (${longest})`;
    refuse(
      ["graphs", "stuck_after_seconds"],
      `is more than ${limit}: others would take runs whose thread still holds them`,
    );
  }
}
