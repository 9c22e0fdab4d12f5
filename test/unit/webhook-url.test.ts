/** The rules for webhook URLs (`webhooks.url`): what each key forbids, and what the refusal says. */
import { describe, expect, it } from "vitest";
import { targetOf, type UrlPolicy } from "../../src/webhooks/url-policy.js";

const DEFAULTS: UrlPolicy = {
  requireHttps: true,
  allowedDomains: [],
  allowedPorts: [],
  maxUrlLength: 4_096,
  disableLoopback: true,
  allowPrivate: false,
};

describe("by default", () => {
  it.each([
    "https://example.com/hook?token=1",
    "https://example.com:8443/",
    "https://1.1.1.1/",
    "https://EXAMPLE.com.",
  ])("takes %s", (url) => {
    expect(targetOf(url, DEFAULTS)).toMatchObject({ kind: "remote" });
  });

  it.each([
    ["http://example.com/", "webhooks.url.require_https"],
    ["/runs", "webhooks.url.disable_loopback"],
    ["https://localhost/", "webhooks.url.allow_private"],
    ["https://127.0.0.1/", "webhooks.url.allow_private"],
    [`https://example.com/${"x".repeat(4_096)}`, "webhooks.url.max_url_length"],
    ["https://user:pass@example.com/", "webhooks.headers"],
    ["ftp://example.com/", "ftp:"],
    ["hook", "no URL"],
  ])("refuses %.40s and names what forbids it", (url, named) => {
    expect(() => targetOf(url, DEFAULTS)).toThrow(named);
  });
});

describe("allowed_domains", () => {
  const policy = { ...DEFAULTS, allowedDomains: ["hooks.example.com", "*.Corp.example"] };

  it.each(["hooks.example.com", "a.corp.example", "a.b.corp.example", "HOOKS.example.com."])("takes %s", (host) => {
    expect(targetOf(`https://${host}/`, policy)).toMatchObject({ kind: "remote" });
  });

  it.each(["corp.example", "evilcorp.example", "hooks.example.com.evil.example", "x.hooks.example.com", "1.1.1.1"])(
    "refuses %s",
    (host) => {
      expect(() => targetOf(`https://${host}/`, policy)).toThrow("webhooks.url.allowed_domains");
    },
  );

  it("does not open private addresses", () => {
    const local = { ...DEFAULTS, allowedDomains: ["localhost", "127.0.0.1"] };
    expect(() => targetOf("https://localhost/", local)).toThrow("webhooks.url.allow_private");
    expect(() => targetOf("https://127.0.0.1/", local)).toThrow("webhooks.url.allow_private");
  });
});

describe("allowed_ports", () => {
  const policy = { ...DEFAULTS, allowedPorts: [443, 8443] };

  it.each(["https://example.com/", "https://example.com:443/", "https://example.com:8443/"])("takes %s", (url) => {
    expect(targetOf(url, policy)).toMatchObject({ kind: "remote" });
  });

  it("refuses others, the default of http as well", () => {
    expect(() => targetOf("https://example.com:22/", policy)).toThrow("webhooks.url.allowed_ports");
    expect(() => targetOf("http://example.com/", { ...policy, requireHttps: false })).toThrow("port 80");
  });
});

describe("disable_loopback: false", () => {
  const policy = { ...DEFAULTS, disableLoopback: false };

  it("takes paths of this server, without leaving it", () => {
    expect(targetOf("/runs?x=1#y", policy)).toEqual({ kind: "own", path: "/runs?x=1" });
    expect(targetOf("/a/../../runs", policy)).toEqual({ kind: "own", path: "/runs" });
  });

  it.each(["//example.com/", "/\\example.com/", "/\n/example.com"])("refuses %j, which is none", (url) => {
    expect(() => targetOf(url, policy)).toThrow("no path of this server");
  });

  it("does not open this machine's address", () => {
    expect(() => targetOf("https://127.0.0.1/", policy)).toThrow("webhooks.url.allow_private");
  });
});

describe("allow_private: true", () => {
  it("takes hosts of this machine and of private networks", () => {
    const policy = { ...DEFAULTS, requireHttps: false, allowPrivate: true };
    for (const host of ["localhost:8080", "127.0.0.1", "[::1]", "10.0.0.7", "app.localhost"]) {
      expect(targetOf(`http://${host}/`, policy)).toMatchObject({ kind: "remote" });
    }
  });
});
