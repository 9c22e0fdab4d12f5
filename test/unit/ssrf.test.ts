/**
 * T14: whatever URL a webhook has, and whatever its name resolves to, nothing is connected to that is not public. Every
 * URL goes the whole way, rules and try, with a resolver that answers as somebody hostile would; sockets are counted.
 */
import { channel } from "node:diagnostics_channel";
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from "vitest";
import { GatewayError } from "../../src/core/errors.js";
import { addressProblem } from "../../src/webhooks/address.js";
import { createPost, type PostResult } from "../../src/webhooks/post.js";
import { createResolve, type Resolve } from "../../src/webhooks/resolve.js";
import { targetOf, type UrlPolicy } from "../../src/webhooks/url-policy.js";
import { createFakeClock } from "../support/fake-clock.js";
import { startReceiver, type WebhookReceiver } from "../support/webhook-receiver.js";

/** As open as it can be but for private addresses: nothing else stands in the way. */
const OPEN: UrlPolicy = {
  requireHttps: false,
  allowedDomains: [],
  allowedPorts: [],
  maxUrlLength: 65_536,
  disableLoopback: true,
  allowPrivate: false,
};

/** What the resolver says of names. */
const NAMES: Readonly<Record<string, readonly string[]>> = {
  "loopback.attacker.example": ["127.0.0.1"],
  "loopback6.attacker.example": ["::1"],
  "mapped.attacker.example": ["::ffff:127.0.0.1"],
  "ten.attacker.example": ["10.0.0.5"],
  "unique.attacker.example": ["fd12:3456:789a::1"],
  "metadata.attacker.example": ["169.254.169.254"],
  "link.attacker.example": ["fe80::1"],
  "zone.attacker.example": ["fe80::1%eth0"],
  "any.attacker.example": ["0.0.0.0"],
  "any6.attacker.example": ["::"],
  "sixtofour.attacker.example": ["2002:7f00:1::1"],
  "nat64.attacker.example": ["64:ff9b::10.0.0.1"],
  "teredo.attacker.example": ["2001:0:4136:e378:8000:63bf:3fff:fdd2"],
  "mixed.attacker.example": ["93.184.216.34", "10.0.0.1"],
  "mixed6.attacker.example": ["2606:4700::1111", "::1"],
  "garbage.attacker.example": ["not an address"],
  "localhost.": ["127.0.0.1"],
  "127.0.0.1.nip.example": ["127.0.0.1"],
  "xn--nxasmq6b.example": ["192.168.1.1"],
};

const HOSTILE = (port: number): readonly string[] => [
  // this machine, as IPv4 in every spelling that a URL may have
  `http://127.0.0.1:${port}/`,
  `https://127.0.0.1:${port}/`,
  `http://127.0.0.1.:${port}/`,
  `http://127.1:${port}/`,
  `http://127.0.1:${port}/`,
  `http://127.255.255.254:${port}/`,
  `http://2130706433:${port}/`,
  `http://017700000001:${port}/`,
  `http://0177.0.0.1:${port}/`,
  `http://0x7f000001:${port}/`,
  `http://0x7f.0.0.1:${port}/`,
  `http://0x7f.1:${port}/`,
  `http://0X7F.0x0.0x0.0x1:${port}/`,
  `http://%31%32%37.0.0.1:${port}/`,
  `http://①②⑦.0.0.1:${port}/`,
  `http://１２７．０．０．１:${port}/`,
  `http://127。0。0。1:${port}/`,
  `http://0:${port}/`,
  `http://0.0.0.0:${port}/`,
  `http://00000000:${port}/`,
  `http://0x0:${port}/`,
  // as IPv6
  `http://[::1]:${port}/`,
  `http://[0:0:0:0:0:0:0:1]:${port}/`,
  `http://[0000:0000:0000:0000:0000:0000:0000:0001]:${port}/`,
  `http://[::]:${port}/`,
  `http://[::127.0.0.1]:${port}/`,
  `http://[::7f00:1]:${port}/`,
  `http://[::ffff:127.0.0.1]:${port}/`,
  `http://[::ffff:7f00:1]:${port}/`,
  `http://[0:0:0:0:0:ffff:127.0.0.1]:${port}/`,
  `http://[::ffff:0:127.0.0.1]:${port}/`,
  "http://[::ffff:169.254.169.254]/",
  "http://[::ffff:10.0.0.1]/",
  "http://[2002:7f00:1::]/",
  "http://[2002:a00:1::1]/",
  "http://[2002:c0a8:101::1]/",
  "http://[2002:a9fe:a9fe::]/",
  "http://[64:ff9b::127.0.0.1]/",
  "http://[64:ff9b::a9fe:a9fe]/",
  "http://[64:ff9b::c0a8:101]/",
  "http://[64:ff9b:1::7f00:1]/",
  "http://[2001:0:4136:e378:8000:63bf:3fff:fdd2]/",
  "http://[fe80::1]/",
  "http://[fec0::1]/",
  "http://[fc00::1]/",
  "http://[fd00:ec2::254]/latest/meta-data/",
  "http://[ff02::1]/",
  "http://[2001:db8::1]/",
  "http://[100::1]/",
  "http://[4000::1]/",
  // private and reserved networks
  "http://10.0.0.1/",
  "http://10.255.255.255/",
  "http://167772161/",
  "http://172.16.0.1/",
  "http://172.31.255.254/",
  "http://192.168.0.1/",
  "http://0xc0a80001/",
  "http://192.168.257/",
  "http://100.64.0.1/",
  "http://100.100.100.200/latest/meta-data/",
  "http://169.254.0.1/",
  "http://169.254.169.254/latest/meta-data/",
  "http://2852039166/latest/meta-data/",
  "http://0xa9fea9fe/",
  "http://0251.0376.0251.0376/",
  "http://192.0.0.192/",
  "http://192.0.2.1/",
  "http://198.18.0.1/",
  "http://198.51.100.1/",
  "http://203.0.113.1/",
  "http://192.88.99.1/",
  "http://224.0.0.1/",
  "http://240.0.0.1/",
  "http://255.255.255.255/",
  // names of this machine and of clouds
  `http://localhost:${port}/`,
  `http://LOCALHOST:${port}/`,
  `http://localhost.:${port}/`,
  `http://deep.localhost:${port}/`,
  `http://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ:${port}/`,
  "http://metadata/computeMetadata/v1/",
  "http://metadata.google.internal/computeMetadata/v1/",
  "http://METADATA.google.internal./",
  "http://metadata.goog/",
  // names that resolve to them
  ...Object.keys(NAMES)
    .filter((name) => name.includes(".example"))
    .map((name) => `http://${name}:${port}/`),
  // a public host in front, and the real one behind
  `http://example.com@127.0.0.1:${port}/`,
  `http://example.com:80@127.0.0.1:${port}/`,
  `http://127.0.0.1:${port}#@example.com/`,
  `http://127.0.0.1:${port}\\@example.com/`,
  `http:\\\\127.0.0.1:${port}/`,
  `http:127.0.0.1:${port}/`,
  `http:///127.0.0.1:${port}/`,
  `http://user:secret@example.com/`,
  `\thttp://127.0.0.1:${port}/`,
  `ht\ntp://127.0.0.1:${port}/`,
  // other schemes
  "file:///etc/passwd",
  "file://localhost/etc/passwd",
  `gopher://127.0.0.1:${port}/_POST`,
  `ftp://127.0.0.1:${port}/`,
  `dict://127.0.0.1:${port}/info`,
  "ldap://127.0.0.1/",
  `ws://127.0.0.1:${port}/`,
  "data:text/plain,x",
  "javascript:alert(1)",
  "jar:http://127.0.0.1!/",
  "unix:/var/run/docker.sock",
  "http+unix://%2Fvar%2Frun%2Fdocker.sock/",
  "blob:http://127.0.0.1/x",
  // paths of this server, and what looks like one
  "/runs",
  "//127.0.0.1/",
  `//127.0.0.1:${port}/`,
  `/\\127.0.0.1:${port}/`,
  `/\t/127.0.0.1:${port}/`,
  "\\\\127.0.0.1\\",
  "runs",
  "?x",
  "",
  "http://",
  "http://[::1",
  "http://a b/",
  "http://127.0.0.1:99999/",
];

/** Every socket that this process opens to somewhere. */
const opened: unknown[] = [];
const onSocket = (message: unknown): void => void opened.push(message);

let internal: WebhookReceiver;

beforeAll(async () => {
  channel("net.client.socket").subscribe(onSocket);
  internal = await startReceiver();
});
afterAll(async () => {
  channel("net.client.socket").unsubscribe(onSocket);
  await internal.stop();
});
beforeEach(() => {
  opened.length = 0;
});

function poster(options: { readonly resolve: Resolve; readonly allowPrivate?: boolean }) {
  const clock = createFakeClock();
  const deps = { clock, timeoutMs: 10_000, allowPrivate: false, own: async () => new Response(null), ...options };
  return { clock, post: createPost(deps) };
}

/** As a run that is created with it, and then its sender, take it. */
async function deliver(url: string, policy: UrlPolicy, resolve: Resolve): Promise<PostResult> {
  try {
    const { post } = poster({ resolve, allowPrivate: policy.allowPrivate });
    const target = targetOf(url, policy);
    return await post(target, { headers: {}, body: "{}", user: null }, new AbortController().signal);
  } catch (error) {
    if (!(error instanceof GatewayError) || error.code !== "validation") throw error;
    return { kind: "refused", reason: error.message };
  }
}

const fakeDns: Resolve = async (hostname) => {
  const addresses = NAMES[hostname];
  if (addresses === undefined) throw new Error(`the test resolves no ${hostname}`);
  return addresses.map((address) => ({ address, family: address.includes(":") ? 6 : 4 }));
};

describe("a webhook that leads inside", () => {
  it("is one of at least eighty", () => {
    expect(new Set(HOSTILE(1)).size).toBeGreaterThanOrEqual(80);
  });

  it.each(HOSTILE(9))("is refused with a reason: %j", async (url) => {
    const result = await deliver(url.replace(":9/", `:${internal.port}/`), OPEN, fakeDns);
    expect(result).toEqual({ kind: "refused", reason: expect.stringMatching(/\w+ \w+/) });
    expect(opened).toEqual([]);
    expect(internal.connections()).toBe(0);
  });

  it("is refused whatever else is allowed, when it is a metadata service", async () => {
    const closed: UrlPolicy = { ...OPEN, allowPrivate: true };
    const urls = ["169.254.169.254", "[fd00:ec2::254]", "100.100.100.200", "metadata.google.internal", "[fe80::1]"];
    for (const host of urls) {
      expect(await deliver(`http://${host}/`, closed, fakeDns)).toMatchObject({ kind: "refused" });
    }
    expect(await deliver("http://metadata.attacker.example/", closed, fakeDns)).toMatchObject({ kind: "refused" });
    expect(opened).toEqual([]);
  });
});

describe("an address", () => {
  it.each([
    "1.1.1.1",
    "93.184.216.34",
    "2606:4700:4700::1111",
    "::ffff:1.1.1.1", // what is inside counts
    "64:ff9b::101:101",
    "2002:101:101::1",
  ])("that is public may be called: %s", (address) => {
    expect(addressProblem(address, { allowPrivate: false })).toBeUndefined();
  });

  it.each(["127.0.0.1", "::1", "10.1.2.3", "192.168.1.1", "100.64.0.1", "fd00::1", "::ffff:127.0.0.1"])(
    "that is private may be called where that is allowed: %s",
    (address) => {
      expect(addressProblem(address, { allowPrivate: true })).toBeUndefined();
      expect(addressProblem(address, { allowPrivate: false })).toContain(address);
    },
  );

  it.each(["0.0.0.0", "169.254.1.1", "224.0.0.1", "255.255.255.255", "::", "fe80::1", "ff02::1", "198.18.0.1"])(
    "that is nobody's is called in no case: %s",
    (address) => {
      expect(addressProblem(address, { allowPrivate: true })).toContain(address);
    },
  );
});

describe("a name that changes its mind", () => {
  const PRIVATE: UrlPolicy = { ...OPEN, allowPrivate: true }; // so that a test may connect at all

  it("is resolved once for a try, and the connection goes to what was checked", async () => {
    const answers = [internalAddress(), "169.254.169.254", "169.254.169.254"];
    let asked = 0;
    const rebinding: Resolve = async () => [{ address: answers[asked++] ?? "", family: 4 }];
    const before = internal.connections();
    const url = `http://rebinding.example:${internal.port}/`;
    expect(await deliver(url, PRIVATE, rebinding)).toEqual({ kind: "delivered", status: 204 });
    expect(asked).toBe(1);
    expect(internal.connections()).toBe(before + 1);
    expect(internal.received.at(-1)?.headers.host).toBe(`rebinding.example:${internal.port}`);
    expect(await deliver(url, PRIVATE, rebinding)).toMatchObject({ kind: "refused" }); // the next try looks again
    expect(internal.connections()).toBe(before + 1);
  });

  it("is refused when only one of its addresses leads inside", async () => {
    expect(await deliver("https://mixed.attacker.example/", OPEN, fakeDns)).toEqual({
      kind: "refused",
      reason: expect.stringContaining("10.0.0.1"),
    });
    expect(opened).toEqual([]);
  });
});

describe("an answer that points elsewhere", () => {
  it("is a failure, and what it points to is not called", async () => {
    const trap = await startReceiver();
    const receiver = await startReceiver({ react: () => "redirect", elsewhere: trap.url });
    onTestFinished(async () => {
      await receiver.stop();
      await trap.stop();
    });
    const result = await deliver(receiver.url, { ...OPEN, allowPrivate: true }, fakeDns);
    expect(result).toEqual({ kind: "failed", reason: "answered with 307" });
    expect(trap.connections()).toBe(0);
    expect(opened).toHaveLength(1);
  });
});

describe("names that nobody answers for", () => {
  it("keep no more than two threads busy, and what waits has its turn", async () => {
    const asked: string[] = [];
    const answers: (() => void)[] = [];
    const resolve = createResolve((hostname) => {
      asked.push(hostname);
      return new Promise((settle) => answers.push(() => settle([])));
    });
    const all = ["a", "b", "c", "d"].map((name) => resolve(name));
    expect(asked).toEqual(["a", "b"]);
    answers[0]?.();
    await all[0];
    expect(asked).toEqual(["a", "b", "c"]);
    answers[1]?.();
    await all[1];
    expect(asked).toEqual(["a", "b", "c", "d"]);
    for (const answer of answers) answer();
    await Promise.all(all);
  });
});

function internalAddress(): string {
  return new URL(internal.url).hostname;
}
