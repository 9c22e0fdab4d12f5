/** `server`: where it listens, who may come from where, and what is served. */
import { z } from "zod";
import { byteSize, list, oneOf, section } from "./fields.js";

/** Where a web page on this machine may come from, whatever its port. */
const LOOPBACK_ORIGINS = "https?://(localhost|127\\.0\\.0\\.1|\\[::1\\])(:\\d+)?";

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

export const serverSection = section({
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
