/** Callers that heddle knows by itself: keys, tokens, permissions, and what is whose. */

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { exportJWK, generateKeyPair, SignJWT } from "jose";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createBuiltInCallers } from "../../src/auth/built-in.js";
import { createApiKey, hashOf } from "../../src/auth/keys.js";
import { createOwner, labelOf } from "../../src/auth/ownership.js";
import { createTokenVerifier, type TokenOptions } from "../../src/auth/tokens.js";
import type { AuthEvent } from "../../src/core/caller.js";
import type { User } from "../../src/core/model.js";
import { SqlApiKeyStore } from "../../src/storage/api-keys.js";
import { createFakeClock } from "../support/fake-clock.js";
import { openSqlStores } from "../support/sql-stores.js";

const asking = (headers: Record<string, string>) => new Request("http://localhost/", { headers });

describe("an API key", () => {
  async function openKeys() {
    const { database } = await openSqlStores();
    const clock = createFakeClock();
    const keys = new SqlApiKeyStore({ database, clock });
    const callers = createBuiltInCallers({ keys, verifyToken: null, isolation: "owner", clock });
    return { keys, clock, ...callers };
  }
  const KEY = { identity: "ada", name: "laptop", permissions: ["threads"], expiresAt: null };

  it("is its user, as a header of its own or as a bearer", async () => {
    const { keys, authenticate } = await openKeys();
    const secret = await createApiKey(keys, KEY);
    expect(secret).toMatch(/^hdl_[\w-]{43}$/);
    const both: Record<string, string>[] = [{ "x-api-key": secret }, { authorization: `bearer ${secret}` }];
    for (const headers of both) {
      const { user } = await authenticate(asking(headers));
      expect(user).toEqual({
        identity: "ada",
        display_name: "laptop",
        is_authenticated: true,
        permissions: ["threads"],
      });
    }
  });

  it("is kept as its hash only", async () => {
    const { keys } = await openKeys();
    const secret = await createApiKey(keys, KEY);
    const [kept] = await keys.list();
    expect(kept).toMatchObject({ shown: secret.slice(0, 10), identity: "ada" });
    expect(JSON.stringify(kept)).not.toContain(secret.slice(10));
    expect(await keys.find(hashOf(secret))).toEqual(kept);
  });

  it("works no more when it is revoked or its time is over", async () => {
    const { keys, clock, authenticate } = await openKeys();
    const secret = await createApiKey(keys, { ...KEY, expiresAt: clock.now() + 1_000 });
    const ask = () => authenticate(asking({ "x-api-key": secret }));
    expect((await ask()).user?.identity).toBe("ada");
    clock.advance(1_000);
    await expect(ask()).rejects.toMatchObject({ code: "unauthenticated" });
    const other = await createApiKey(keys, KEY);
    const [, { keyId } = { keyId: "" }] = await keys.list();
    expect(await keys.revoke(keyId)).toBe(true);
    expect(await keys.revoke(keyId)).toBe(false);
    await expect(authenticate(asking({ "x-api-key": other }))).rejects.toMatchObject({ code: "unauthenticated" });
  });

  it("vouches for what its user made earlier for as long as one of theirs works", async () => {
    const { keys, recall, authenticate } = await openKeys();
    const { user } = await authenticate(asking({ "x-api-key": await createApiKey(keys, KEY) }));
    expect((await recall(user)).user).toEqual(user);
    const [{ keyId } = { keyId: "" }] = await keys.list();
    await keys.revoke(keyId);
    await expect(recall(user)).rejects.toMatchObject({ code: "unauthenticated" });
    await expect(recall(null)).rejects.toMatchObject({ code: "unauthenticated" });
  });

  it.each([{}, { "x-api-key": "hdl_nobody" }, { authorization: "Basic x" }, { authorization: "Bearer" }])(
    "is asked of whoever sends %j",
    async (headers) => {
      const { authenticate } = await openKeys();
      await expect(authenticate(asking(headers as Record<string, string>))).rejects.toMatchObject({
        code: "unauthenticated",
      });
    },
  );
});

describe("a token", () => {
  const folder = mkdtempSync(join(tmpdir(), "heddle-auth-"));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  const NOW = Math.floor(Date.now() / 1_000); // jose reads the system's clock
  let signWith: Awaited<ReturnType<typeof generateKeyPair>>["privateKey"];
  let options: TokenOptions;

  beforeAll(async () => {
    const { publicKey, privateKey } = await generateKeyPair("ES256");
    signWith = privateKey;
    const jwksFile = join(folder, "jwks.json");
    const key = { ...(await exportJWK(publicKey)), kid: "k1", alg: "ES256" };
    writeFileSync(jwksFile, JSON.stringify({ keys: [key] }));
    options = {
      jwksUrl: null,
      jwksFile,
      issuer: "https://issuer.example",
      audience: "heddle",
      algorithms: ["ES256"],
      clockToleranceSeconds: 30,
      identityClaim: "sub",
      permissionsClaim: "permissions",
      defaultPermissions: ["threads"],
    };
  });

  const CLAIMS = { iss: "https://issuer.example", aud: "heddle", sub: "ada", exp: NOW + 600 };
  const tokenOf = (claims: object, key = signWith) =>
    new SignJWT({ ...CLAIMS, ...claims }).setProtectedHeader({ alg: "ES256", kid: "k1" }).sign(key);
  const userOf = async (token: string | Promise<string>): Promise<User> => createTokenVerifier(options)(await token);

  it("is its subject, with the permissions that it names, or the default ones", async () => {
    expect(await userOf(tokenOf({}))).toMatchObject({ identity: "ada", permissions: ["threads"] });
    const named = await userOf(tokenOf({ name: "Ada", permissions: ["a", "b"] }));
    expect(named).toEqual({ identity: "ada", display_name: "Ada", is_authenticated: true, permissions: ["a", "b"] });
    expect((await userOf(tokenOf({ permissions: "a  b" }))).permissions).toEqual(["a", "b"]);
    expect((await userOf(tokenOf({ permissions: [] }))).permissions).toEqual([]);
  });

  it.each<[string, object]>([
    ["of another issuer", { iss: "https://other.example" }],
    ["for another audience", { aud: "other" }],
    ["that is over", { exp: NOW - 31 }],
    ["that is not valid yet", { nbf: NOW + 60 }],
    ["without an end", { exp: undefined }],
    ["without a subject", { sub: undefined }],
  ])("%s is refused", async (_what, claims) => {
    await expect(userOf(tokenOf(claims))).rejects.toMatchObject({ code: "unauthenticated" });
  });

  it("signed by somebody else, in another way, or not at all is refused", async () => {
    const { privateKey } = await generateKeyPair("ES256");
    await expect(userOf(tokenOf({}, privateKey))).rejects.toMatchObject({ code: "unauthenticated" });
    const secret = new TextEncoder().encode("x".repeat(32));
    const shared = new SignJWT(CLAIMS).setProtectedHeader({ alg: "HS256", kid: "k1" }).sign(secret);
    await expect(userOf(shared)).rejects.toMatchObject({ code: "unauthenticated" });
    const [, body] = (await tokenOf({})).split(".");
    const none = `${Buffer.from('{"alg":"none"}').toString("base64url")}.${body}.`;
    for (const token of [none, "x", "a.b.c", ""]) {
      await expect(userOf(token)).rejects.toMatchObject({ code: "unauthenticated" });
    }
  });

  it("is told from a key where both are taken", async () => {
    const { authenticate } = createBuiltInCallers({
      keys: { find: async () => undefined, list: async () => [] },
      verifyToken: createTokenVerifier(options),
      isolation: "shared",
      clock: createFakeClock(),
    });
    const { user } = await authenticate(asking({ authorization: `Bearer ${await tokenOf({})}` }));
    expect(user?.identity).toBe("ada");
    const key = authenticate(asking({ authorization: "Bearer hdl_x" }));
    await expect(key).rejects.toThrow("the API key is not valid");
  });
});

describe("somebody whom heddle knows by itself", () => {
  const user = (permissions: readonly string[], identity = "ada"): User => ({
    identity,
    display_name: identity,
    is_authenticated: true,
    permissions,
  });

  it.each<[string, AuthEvent, boolean]>([
    ["*", "threads:read", true],
    ["threads", "threads:read", true],
    ["threads:*", "threads:read", true],
    ["*:read", "assistants:read", true],
    ["threads:read", "threads:read", true],
    ["threads:read", "threads:create_run", false],
    ["assistants", "threads:read", false],
    ["*:create", "threads:create_run", false],
    ["thread", "threads:read", false],
  ])("with %s and %s: %s", async (permission, event, isAllowed) => {
    const asked = createOwner(user([permission]), "shared").authorize(event, {});
    if (isAllowed) expect((await asked).scope).toEqual([]);
    else await expect(asked).rejects.toMatchObject({ code: "forbidden" });
  });

  it("has what bears their identity, and reads what the graphs bring along", async () => {
    const ada = createOwner(user(["*"]), "owner");
    const owned = { kind: "equals", key: "owner", value: "ada" };
    expect((await ada.authorize("threads:read", {})).scope).toEqual([owned]);
    expect((await ada.authorize("assistants:delete", {})).scope).toEqual([owned]);
    const readable = { kind: "any", of: [[owned], [{ kind: "equals", key: "created_by", value: "system" }]] };
    expect((await ada.authorize("assistants:read", {})).scope).toEqual([readable]);
    const made = await ada.authorize("threads:create", { metadata: { owner: "eve", a: 1 } });
    expect(made.value).toEqual({ metadata: { owner: "ada", a: 1 } });
  });

  it("has the items under their identity", async () => {
    const mail = createOwner(user(["*"], "ada@b.c%"), "owner");
    expect(labelOf({ identity: "ada@b.c%" })).toBe("ada@b%2Ec%25");
    const namespace = ["ada@b%2Ec%25", "notes"];
    expect((await mail.authorize("store:put", { namespace })).value).toEqual({ namespace });
    expect((await mail.authorize("store:search", { namespace: [] })).value).toEqual({ namespace: ["ada@b%2Ec%25"] });
    for (const event of ["store:get", "store:put", "store:delete"] as const) {
      for (const foreign of [[], ["eve"], ["ada"]]) {
        await expect(mail.authorize(event, { namespace: foreign })).rejects.toMatchObject({ code: "forbidden" });
      }
    }
    await expect(mail.authorize("store:search", { namespace: ["eve"] })).rejects.toMatchObject({ code: "forbidden" });
  });
});
