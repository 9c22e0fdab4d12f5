/** `heddle doctor` at a public address: a real nginx, wrong in one way at a time, and the line that puts it right. */
import { createServer, request as requestHttp } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { issueTicket } from "../../src/auth/doctor-tickets.js";
import { systemClock } from "../../src/core/clock.js";
import { PROBE_PATHS } from "../../src/core/doctor-probe.js";
import type { Finding } from "../../src/doctor/finding.js";
import { examineAddress } from "../../src/doctor/public-address.js";
import { SqlApiKeyStore } from "../../src/storage/api-keys.js";
import { createDatabase, type Database } from "../../src/storage/database.js";
import { openSqlite } from "../../src/storage/sqlite.js";
import { startTestGateway, type TestGateway } from "../support/gateway.js";
import { type Changes, NGINX, NGINX_MISSING, startNginx } from "../support/nginx.js";

const PREFIX = "/api/langgraph";

interface Seen {
  readonly gateway: TestGateway;
  readonly database: Database;
}

let gateways: readonly Seen[] = [];
let gateway: TestGateway;
let database: Database;

beforeAll(async () => {
  gateways = [await start(), await start()];
  [{ gateway, database }] = gateways as [Seen];
});

afterAll(async () => {
  for (const each of gateways) {
    await each.database.destroy();
    await each.gateway.stop();
  }
});

async function start(): Promise<Seen> {
  const started = await startTestGateway({ storage: "sqlite", config: { auth: { api_keys: true } } });
  return { gateway: started, database: createDatabase(openSqlite(join(started.dataDir, "heddle.db"), "FULL")) };
}

function ticket(of = database): ReturnType<typeof issueTicket> {
  return issueTicket(new SqlApiKeyStore({ database: of, clock: systemClock }), systemClock);
}

async function examine(url: string, text: string): Promise<readonly Finding[]> {
  const found: Finding[] = [];
  const address = { url, ticket: text, bodyLimit: 2 * 1_024 ** 2, clock: systemClock };
  for await (const finding of examineAddress(address)) found.push(finding);
  return found;
}

/** What is found through an nginx that differs from the shipped one. */
async function through(seen: Seen, changes: Changes, prefix = PREFIX): Promise<readonly Finding[]> {
  const nginx = await startNginx(Number(new URL(seen.gateway.url).port), changes);
  const { text, withdraw } = await ticket(seen.database);
  try {
    return await examine(nginx.url + prefix, text);
  } finally {
    await withdraw();
    await nginx.stop();
  }
}

function complaints(found: readonly Finding[]): readonly string[] {
  return found.filter(({ level }) => level !== "ok").map(({ check }) => check);
}

/** The directives, without what is said about them. */
function directives(found: readonly Finding[]): readonly string[] {
  return found.flatMap(({ nginx = [] }) => nginx).map((line) => line.replace(/\s*#.*$/, ""));
}

/** One more line for the whole server. */
function add(...lines: readonly string[]): Changes {
  return [["proxy_redirect off;", ["proxy_redirect off;", ...lines].join("\n")]];
}

const BUFFERING = "proxy_buffering on; proxy_ignore_headers X-Accel-Buffering;";
const GZIP = ["gzip_types text/event-stream;", "gzip_proxied any;", "gzip_min_length 1;", "gzip_http_version 1.0;"];
/** How a proxy can be wrong, what is complained of then, and the line that puts it right. */
const WRONG: Readonly<Record<string, readonly [changes: Changes, check: string, line: string]>> = {
  "compresses streams": [
    [["gzip off;", ["gzip on;", ...GZIP, "proxy_hide_header Content-Encoding;"].join("\n")]],
    "compression",
    "gzip off;",
  ],
  "compresses streams, and holds them back for that": [
    [
      ["gzip off;", ["gzip on;", ...GZIP, "proxy_hide_header Content-Encoding;"].join("\n")],
      ["proxy_buffering off;", BUFFERING],
    ],
    "compression",
    "gzip off;",
  ],
  "cuts idle streams before the heartbeat": [
    [["proxy_read_timeout 1h;", "proxy_read_timeout 2s;"]],
    "idle streams",
    "proxy_read_timeout 1h;",
  ],
  "tells a stream that broke as one that ended": [
    [["proxy_http_version 1.1;", "proxy_http_version 1.0;"]],
    "broken streams",
    "proxy_http_version 1.1;",
  ],
  "takes Last-Event-ID away": [
    add('proxy_set_header Last-Event-ID "";'),
    "request headers",
    "proxy_set_header Last-Event-Id $http_last_event_id;",
  ],
  "takes Authorization away": [
    add('proxy_set_header Authorization "";'),
    "request headers",
    "proxy_set_header Authorization $http_authorization;",
  ],
  "puts an Authorization of its own in the place": [
    add('proxy_set_header Authorization "Basic b3BlbjpzZXNhbWU=";'),
    "request headers",
    "proxy_set_header Authorization $http_authorization;",
  ],
  "takes x-api-key away": [
    add('proxy_set_header X-Api-Key "";'),
    "request headers",
    "proxy_set_header X-Api-Key $http_x_api_key;",
  ],
  "passes no header on": [add("proxy_pass_request_headers off;"), "request headers", "proxy_pass_request_headers on;"],
  "names another host": [
    [["proxy_set_header Host $http_host;", "proxy_set_header Host $proxy_host;"]],
    "host",
    "proxy_set_header Host $http_host;",
  ],
  "takes Content-Location away": [
    add("proxy_hide_header Content-Location;"),
    "answer headers",
    "proxy_pass_header Content-Location;",
  ],
  "takes Location away": [add("proxy_hide_header Location;"), "answer headers", "proxy_pass_header Location;"],
  "puts its prefix into Location": [
    [["proxy_redirect off;", "proxy_redirect / /api/langgraph/;"]],
    "answer headers",
    "proxy_redirect off;",
  ],
  "passes no Upgrade on": [
    [["proxy_set_header Upgrade $http_upgrade;", ""]],
    "WebSockets",
    "proxy_set_header Upgrade $http_upgrade;",
  ],
  "passes no Connection on": [
    [["proxy_set_header Connection $connection_upgrade;", 'proxy_set_header Connection "";']],
    "WebSockets",
    "proxy_set_header Connection $connection_upgrade;",
  ],
  "takes small bodies only": [
    [["client_max_body_size 20m;", "client_max_body_size 1m;"]],
    "bodies",
    "client_max_body_size 2m;",
  ],
  "answers in the gateway's place": [
    add("proxy_intercept_errors on;", "error_page 401 /401.html;"),
    "errors",
    "proxy_intercept_errors off;",
  ],
  "leaves the prefix there": [
    [["proxy_pass http://heddle/api/;", "proxy_pass http://heddle;"]],
    "address",
    "location /api/langgraph/ { proxy_pass http://heddle/; }",
  ],
  "replaces the prefix by too much": [
    [["location /api/langgraph/ {", "location /api/langgraph {"]],
    "address",
    "location /api/langgraph/ { proxy_pass http://heddle/; }",
  ],
  "has something else there": [
    [["proxy_pass http://heddle/api/;", 'return 200 "<html>hello</html>";']],
    "address",
    "location /api/langgraph/ { proxy_pass http://heddle/; }",
  ],
  "looks for the gateway where it is not": [
    [["127.0.0.1:2024", "127.0.0.1:2024 down; server 127.0.0.1:1"]],
    "address",
    "server HOST:PORT;",
  ],
};

const RIGHT = ["/api/langgraph", "/api", "/"] as const;

/** Each takes ten seconds, most of them silence. Fewer than one gateway has streams for doctors. */
const AT_ONCE_PER_GATEWAY = 3;

describe("a public address", () => {
  /** By what is wrong, or the prefix of what is right. */
  const found = new Map<string, readonly Finding[]>();

  beforeAll(async () => {
    if (NGINX === undefined) return;
    const waiting = [
      ...RIGHT.map((prefix) => ({ name: prefix, changes: [], prefix })),
      ...Object.entries(WRONG).map(([name, [changes]]) => ({ name, changes, prefix: PREFIX })),
    ];
    const work = async (seen: Seen): Promise<void> => {
      for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
        found.set(next.name, await through(seen, next.changes, next.prefix));
      }
    };
    await Promise.all(gateways.flatMap((seen) => Array.from({ length: AT_ONCE_PER_GATEWAY }, () => work(seen))));
  }, 300_000);

  beforeEach((context) => context.skip(NGINX === undefined, NGINX_MISSING));

  it.each(RIGHT)("is found right behind the shipped nginx.conf, at %s", (prefix) => {
    const findings = found.get(prefix) ?? [];

    expect(findings.filter(({ level }) => level !== "ok")).toEqual([]);
    expect(findings.map(({ check }) => check)).toEqual([
      "address",
      "errors",
      "request headers",
      "host",
      "answer headers",
      "bodies",
      "WebSockets",
      "buffering",
      "compression",
      "idle streams",
      "broken streams",
    ]);
  });

  it.each(Object.entries(WRONG))("that %s", (name, [, check, line]) => {
    const findings = found.get(name) ?? [];

    expect({ complaints: complaints(findings), directives: directives(findings) }).toEqual({
      complaints: [check],
      directives: [line],
    });
  });

  it("that is wrong in many ways has a line for each of them", async () => {
    const findings = await through({ gateway, database }, [
      ["proxy_read_timeout 1h;", "proxy_read_timeout 2s;"],
      ["client_max_body_size 20m;", "client_max_body_size 1m;"],
      ["proxy_redirect off;", "proxy_redirect / /api/langgraph/;\nproxy_hide_header Content-Location;"],
      ["proxy_set_header Upgrade $http_upgrade;", ""],
      ["proxy_set_header Connection $connection_upgrade;", 'proxy_set_header Connection "";'],
    ]);

    expect(directives(findings)).toEqual([
      "proxy_pass_header Content-Location;",
      "proxy_redirect off;",
      "client_max_body_size 2m;",
      "proxy_set_header Upgrade $http_upgrade;",
      "proxy_set_header Connection $connection_upgrade;",
      "proxy_read_timeout 1h;",
    ]);
  });

  it("that holds whole answers back, as nginx itself does only with what it compresses", async () => {
    await using hoarder = await startHoarder(gateway.url);
    const { text, withdraw } = await ticket();
    const findings = await examine(hoarder.url, text);
    await withdraw();

    expect(complaints(findings)).toContain("buffering");
    expect(directives(findings)).toContain("proxy_buffering off;");
  });

  it("of which nobody answers is a finding, not a failure", async () => {
    const findings = await examine("http://127.0.0.1:1/api", "none");

    expect(findings).toEqual([
      { check: "address", level: "problem", message: expect.stringContaining("ECONNREFUSED") as string },
    ]);
  });

  it("of a gateway over another database is told so", async () => {
    const findings = await examine(gateway.url, "a ticket of somebody else");

    expect(complaints(findings)).toEqual(["test"]);
    expect(findings.at(-1)?.message).toContain("another database");
  });
});

/** A proxy that reads an answer to its end before it sends any of it. */
async function startHoarder(target: string): Promise<{ readonly url: string } & AsyncDisposable> {
  const server = createServer(async (request, response) => {
    const { method = "GET", url = "/", headers } = request;
    const asked = requestHttp(target + url, { method, headers }, async (answer) => {
      const parts: Buffer[] = [];
      answer.on("data", (part: Buffer) => parts.push(part));
      answer.on("close", () => {
        const { "transfer-encoding": _, ...kept } = answer.headers;
        response.writeHead(answer.statusCode ?? 502, kept).end(Buffer.concat(parts));
      });
      answer.on("error", () => {}); // the end of a stream that was cut
    });
    request.pipe(asked);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, // listens on TCP
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

describe("what a gateway answers to doctors", () => {
  const paths = Object.values(PROBE_PATHS);
  const status = async (path: string, query: string, method = "GET"): Promise<number> => {
    const body = method === "POST" ? { body: "{ this is no JSON" } : {};
    const response = await fetch(`${gateway.url}${path}?nonce=n&${query}`, { method, ...body });
    await response.body?.cancel();
    return response.status;
  };
  const methodOf = (path: string): string => (path === PROBE_PATHS.body ? "POST" : "GET");

  it.each(paths)("nobody gets at %s without a ticket that is good", async (path) => {
    const { text, withdraw } = await ticket();
    await withdraw();
    for (const query of ["", "ticket=", "ticket=none", `ticket=${text}`]) {
      expect(await status(path, query, methodOf(path))).toBe(401);
    }
  });

  it("a ticket is no API key, and an API key is no ticket", async () => {
    const { text, withdraw } = await ticket();
    const asCaller = await fetch(`${gateway.url}/threads/search`, {
      method: "POST",
      headers: { "x-api-key": text },
      body: "{}",
    });
    await withdraw();

    expect(asCaller.status).toBe(401);
  });

  it("a ticket leaves nothing, and opens no more than a few streams at once", async () => {
    const { text, withdraw } = await ticket();
    const leave = new AbortController();
    const url = `${gateway.url}${PROBE_PATHS.stream}?ticket=${text}`;
    const opened = [];
    for (let stream = 0; stream < 5; stream++) opened.push((await fetch(url, { signal: leave.signal })).status);
    leave.abort();
    await withdraw();

    expect(opened).toEqual([200, 200, 200, 200, 429]);
    const kept = await database
      .selectFrom("api_keys")
      .select("identity")
      .where("identity", "=", "heddle doctor")
      .execute();
    expect(kept).toEqual([]);
  });
});
