/** `database`, `checkpointer`, `store` and `stream_bridge`: where everything is kept. */
import { z } from "zod";
import { byteSize, list, oneOf, section } from "./fields.js";

/** As for the ttl that a request gives: some two thousand years, which a date can still show. */
const MAX_TTL_MINUTES = 1e9;

export const EXPECTED_POSTGRES = 'expected an address such as "postgres://user:password@host:5432/database"';

/** The messages do not show it: it holds a password. */
const postgresUrl = z
  .string({ error: EXPECTED_POSTGRES })
  .refine((url) => /^postgres(ql)?:\/\/[^/]*\/[^/?]/.test(url) && URL.canParse(url), EXPECTED_POSTGRES);

export const databaseSection = section({
  type: oneOf("sqlite", "memory", "postgres").default("sqlite"),
  // An empty value is none, as that of a variable that is not set may be.
  url: z.preprocess((url) => (url === "" ? null : url), postgresUrl.nullable().default(null)),
  pool_size: z.int().positive().max(1_000).default(10),
  timeout_seconds: z.number().min(1).max(3_600).default(15),
  migrate: z.boolean().default(true),
});

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

export const checkpointerSection = section({
  type: oneOf("sqlite", "memory", "postgres").optional(),
  // Another way to the database of the runs; without it, that database's own.
  url: z.preprocess((url) => (url === "" ? null : url), postgresUrl.nullable().default(null)),
  pool_size: z.int().positive().max(1_000).default(5),
  ttl: threadTtlSection,
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

export const storeSection = section({
  type: oneOf("sqlite", "memory", "postgres").optional(),
  ttl: ttlSection,
  index: indexSection.nullish(),
});

/** The messages do not show it: it may hold a password. */
const redisUrl = z
  .string()
  .refine(isRedisUrl, "expected redis://[[user]:password@]host[:port][/db], or rediss:// for TLS");

function isRedisUrl(text: string): boolean {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !/^rediss?:$/.test(url.protocol) || url.hostname === "") return false;
  return /^(\/\d*)?$/.test(url.pathname) && url.search === "" && url.hash === "";
}

export const streamBridgeSection = section({
  type: oneOf("memory", "redis").default("memory"),
  url: redisUrl.nullable().default(null),
  key_prefix: z
    .string()
    .regex(/^[!-~]{1,64}$/, "expected 1 to 64 printable ASCII characters without spaces")
    .nullable()
    .default(null),
  max_bytes_per_run: byteSize("32mb"),
  max_buffered_bytes_per_reader: byteSize("4mb"),
  retention_seconds: z.number().nonnegative().default(600),
  max_retained_bytes: byteSize("256mb"),
});
