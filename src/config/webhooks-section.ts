/** `webhooks`: how they are signed, and where they may go. */
import { z } from "zod";
import { list, section } from "./fields.js";

const EXPECTED_SECRET =
  'expected "whsec_" and 24 to 64 bytes in base64, such as from: echo whsec_$(openssl rand -base64 32)';

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

export const webhooksSection = section({
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
