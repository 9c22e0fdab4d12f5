/** The keys of webhooks, in both files: what stops a start, and what becomes of them. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type LoadedConfig, loadConfig } from "../../src/config.js";

const SECRET = `whsec_${Buffer.alloc(32, 7).toString("base64")}`;

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "heddle-webhook-config-"));
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

function loadYaml(webhooks: string, environment: Record<string, string> = {}): LoadedConfig["config"]["webhooks"] {
  writeFileSync(join(folder, "config.yaml"), `graphs: { a: ./a.ts:a }\nwebhooks:\n${webhooks}`);
  return loadConfig({ cwd: folder, environment }).config.webhooks;
}

function loadJson(content: object, environment: Record<string, string> = {}): LoadedConfig {
  writeFileSync(join(folder, "langgraph.json"), JSON.stringify({ graphs: { a: "./a.ts:a" }, ...content }));
  return loadConfig({ cwd: folder, environment });
}

describe("webhooks.secret", () => {
  it("is one secret, several, or none", () => {
    expect(loadYaml(`  secret: ${SECRET}`).secret).toEqual([SECRET]);
    expect(loadYaml(`  secret: ["${SECRET}", "\${OTHER}"]`, { OTHER: SECRET }).secret).toEqual([SECRET, SECRET]);
    for (const none of ["", "  secret: null", "  secret: []", '  secret: ""', "  secret: ${UNSET:-}"]) {
      expect(loadYaml(none).secret).toEqual([]);
    }
  });

  it.each(["hunter2-hunter2-hunter2-hunter2", "whsec_", "whsec_c2hvcnQ=", `whsec_${"A".repeat(100)}`, "whsec_!!!"])(
    "stops the start when it is none, and is not shown: %s",
    (secret) => {
      const load = () => loadYaml(`  secret: "${secret}"`);
      expect(load).toThrow(/^config.yaml: webhooks.secret.0: expected "whsec_"/);
      if (secret !== "whsec_") expect(load).not.toThrow(secret); // the message names the prefix
    },
  );
});

describe("webhooks.headers", () => {
  const load = (value: string, environment: Record<string, string> = {}, more = "") =>
    loadYaml(`${more}  headers:\n    authorization: ${value}`, environment).headers;

  it("takes variables that are for webhooks", () => {
    expect(load("Bearer ${{ env.LG_WEBHOOK_TOKEN }}", { LG_WEBHOOK_TOKEN: "t" })).toEqual({
      authorization: "Bearer t",
    });
    expect(load("${{env.HOOK_A}}${{ env.HOOK_B }}", { HOOK_A: "a", HOOK_B: "b" }, "  env_prefix: HOOK_\n")).toEqual({
      authorization: "ab",
    });
  });

  it.each([
    [
      "${{ env.LG_WEBHOOK_TOKEN }}",
      {},
      "config.yaml: webhooks.headers.authorization: the environment variable LG_WEBHOOK_TOKEN is not set",
    ],
    ["${{ env.DATABASE_URL }}", { DATABASE_URL: "secret" }, "DATABASE_URL does not begin with LG_WEBHOOK_"],
    ["${{ LG_WEBHOOK_TOKEN }}", { LG_WEBHOOK_TOKEN: "t" }, "cannot read ${{ LG_WEBHOOK_TOKEN }}"],
    ["${{ env.LG_WEBHOOK_TOKEN }}", { LG_WEBHOOK_TOKEN: "a\r\nb: c" }, "characters that a header cannot have"],
  ])("stops the start for %s", (value, environment, message) => {
    expect(() => load(value, environment)).toThrow(message);
  });

  it.each(["host", "Content-Length", "webhook-signature", "a b"])("leaves %s alone", (name) => {
    expect(() => loadYaml(`  headers: { "${name}": x }`)).toThrow("webhooks.headers");
  });
});

describe("webhooks.url", () => {
  it("is strict by default", () => {
    expect(loadYaml("").url).toEqual({
      requireHttps: true,
      allowedDomains: [],
      allowedPorts: [],
      maxUrlLength: 4_096,
      disableLoopback: true,
      allowPrivate: false,
    });
  });

  it.each(["  url: { allowed_domains: ['https://x'] }", "  url: { allowed_ports: [0] }", "  url: { allow: true }"])(
    "stops the start for %s",
    (wrong) => {
      expect(() => loadYaml(wrong)).toThrow("config.yaml: webhooks.url");
    },
  );
});

describe("langgraph.json", () => {
  it("says the same, and its variables count", () => {
    const { config, warnings } = loadJson({
      env: { LG_WEBHOOK_TOKEN: "from-file", LG_WEBHOOK_OTHER: "o" },
      http: { disable_webhooks: true },
      webhooks: {
        headers: { "x-token": "${{ env.LG_WEBHOOK_TOKEN }}" },
        url: {
          require_https: false,
          allowed_domains: ["*.x.example"],
          allowed_ports: [8443],
          max_url_length: 99,
          disable_loopback: false,
        },
      },
    });
    expect(warnings).toEqual([]);
    expect(config.server.disableWebhooks).toBe(true);
    expect(config.webhooks.headers).toEqual({ "x-token": "from-file" });
    expect(config.webhooks.url).toEqual({
      requireHttps: false,
      allowedDomains: ["*.x.example"],
      allowedPorts: [8443],
      maxUrlLength: 99,
      disableLoopback: false,
      allowPrivate: false,
    });
  });

  it("stops the start for a variable that is not set", () => {
    const webhooks = { headers: { "x-token": "${{ env.LG_WEBHOOK_TOKEN }}" } };
    expect(() => loadJson({ webhooks })).toThrow(
      "langgraph.json: webhooks.headers.x-token: the environment variable LG_WEBHOOK_TOKEN is not set",
    );
    expect(loadJson({ webhooks }, { LG_WEBHOOK_TOKEN: "t" }).config.webhooks.headers).toEqual({ "x-token": "t" });
  });
});
