/** `auth`: how callers are known. */
import { z } from "zod";
import { list, oneOf, section } from "./fields.js";

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

export const authSection = section({
  path: z.string().min(1).nullable().default(null),
  default: oneOf("allow", "deny").default("allow"),
  api_keys: z.boolean().default(false),
  jwt: jwtSection.nullable().default(null),
  isolation: oneOf("owner", "shared").default("owner"),
});
