/** JSON Web Tokens of an identity provider: verified with its published keys, by algorithms that are named beforehand. */
import { readFileSync } from "node:fs";
import { createLocalJWKSet, createRemoteJWKSet, errors, type JWTPayload, type JWTVerifyGetKey, jwtVerify } from "jose";
import { GatewayError } from "../core/errors.js";
import { toPlain } from "../core/json.js";
import type { JsonObject, User } from "../core/model.js";

export interface TokenOptions {
  /** Where the provider publishes its keys, or a file that holds them. */
  readonly jwksUrl: string | null;
  readonly jwksFile: string | null;
  readonly issuer: string;
  readonly audience: string;
  readonly algorithms: readonly string[];
  readonly clockToleranceSeconds: number;
  readonly identityClaim: string;
  /** A list, or texts with spaces between; a token without it has the default permissions. */
  readonly permissionsClaim: string;
  readonly defaultPermissions: readonly string[];
}

/** Throws what keeps the keys from being read. */
export function createTokenVerifier(options: TokenOptions): (token: string) => Promise<User> {
  const keys = keysOf(options);
  const { issuer, audience, algorithms, clockToleranceSeconds: clockTolerance } = options;

  return async (token) => {
    const { payload } = await jwtVerify(token, keys, {
      issuer,
      audience,
      algorithms: [...algorithms],
      clockTolerance,
      requiredClaims: ["exp"],
    }).catch(refuse);
    return userOf(payload, options);
  };
}

function keysOf({ jwksUrl, jwksFile }: TokenOptions): JWTVerifyGetKey {
  if (jwksUrl !== null) return createRemoteJWKSet(new URL(jwksUrl));
  return createLocalJWKSet(JSON.parse(readFileSync(jwksFile ?? "", "utf8")));
}

/** A token that is not good is the client's; keys that cannot be had are not. */
function refuse(error: unknown): never {
  if (error instanceof errors.JWKSTimeout || !(error instanceof errors.JOSEError)) {
    throw new GatewayError("unavailable", "the keys of the identity provider cannot be had; try again");
  }
  throw new GatewayError("unauthenticated", "the token is not valid, or not valid any more");
}

function userOf(payload: JWTPayload, options: TokenOptions): User {
  const claims = toPlain(payload) as JsonObject; // JSON by its nature
  const identity = claims[options.identityClaim];
  if (typeof identity !== "string" || identity === "") {
    throw new GatewayError("unauthenticated", `the token has no ${options.identityClaim}`);
  }
  const name = claims.name;
  return {
    identity,
    display_name: typeof name === "string" ? name : identity,
    is_authenticated: true,
    permissions: permissionsIn(claims[options.permissionsClaim]) ?? options.defaultPermissions,
  };
}

function permissionsIn(claim: unknown): readonly string[] | undefined {
  if (typeof claim === "string") return claim.split(" ").filter((each) => each !== "");
  if (Array.isArray(claim)) return claim.filter((each) => typeof each === "string");
  return undefined;
}
