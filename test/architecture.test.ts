/** Who may import whom (docs/architecture.md): the table as data, checked against every import in `src`. */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { describe, expect, it } from "vitest";

const SRC = resolve(import.meta.dirname, "../src");

/** A folder of `src` may import these folders besides itself; a path names single files, or folders below, that are open to it. */
const MAY_IMPORT: { readonly [folder: string]: readonly string[] } = {
  core: [],
  auth: ["core", "config/config-error", "graphs/project-export", "storage/ports"],
  items: ["core"],
  storage: ["core"],
  bridge: ["core"],
  config: ["core"],
  ui: ["core", "config/config-error"],
  telemetry: ["core"],
  graphs: ["core", "config/config-error", "storage/ports", "protocol/messages"],
  schemas: ["core", "graphs/host"],
  runs: ["core", "storage/ports", "bridge/bridge", "bridge/fold", "bridge/folding", "graphs/host"],
  threads: ["core", "storage/ports", "bridge/bridge", "graphs/host"],
  webhooks: ["core", "storage/ports"],
  crons: ["core", "runs", "storage/ports", "bridge/bridge"],
  protocol: ["core", "runs", "threads", "graphs/host", "storage/ports", "bridge/bridge", "bridge/fold"],
  faces: ["core", "protocol", "runs", "threads", "graphs/host", "graphs/assistants"],
  api: [
    "core",
    "config/config-error",
    "protocol",
    "faces",
    "runs",
    "threads",
    "crons",
    "graphs",
    "items",
    "ui",
    "storage/ports",
    "bridge/bridge",
  ],
  doctor: ["core", "config", "config.ts", "keys.ts", "auth/doctor-tickets", "graphs/project-export", "storage"],
  maintenance: ["core", "config.ts", "storage", "threads"],
  "config.ts": ["core", "config"],
  "main.ts": [
    "core",
    "config",
    "config.ts",
    "keys.ts",
    "server.ts",
    "maintenance",
    "doctor",
    "graphs/blame",
    "graphs/checkpoint-version",
    "graphs/load-error",
    "storage/data-file",
    "storage/item-models",
    "storage/migration-state",
    "storage/sqlite",
  ],
  "keys.ts": ["core", "auth/keys", "storage"],
  "thread.ts": ["core", "storage", "graphs"],
  "listener.ts": ["core", "api"],
  composition: [
    "core",
    "config/config-error",
    "config.ts",
    "thread.ts",
    "listener.ts",
    "auth",
    "items",
    "storage",
    "bridge",
    "graphs",
    "schemas",
    "runs",
    "threads",
    "webhooks",
    "crons",
    "protocol",
    "ui",
    "telemetry",
    "api",
  ],
  "server.ts": ["core", "config.ts", "composition", "graphs/blame", "graphs/checkpoint-version", "storage/data-file"],
};

/** Packages that only these places may import. */
const RESERVED: { readonly [name: string]: readonly string[] } = {
  esbuild: ["ui/bundles"],
  "@opentelemetry/api": ["telemetry"],
  "@opentelemetry/sdk-trace": ["telemetry"],
  "@opentelemetry/resources": ["telemetry"],
  "@opentelemetry/exporter-trace-otlp-http": ["telemetry"],
  langsmith: ["graphs/langsmith"],
  hono: ["api"],
  ws: ["api", "doctor/probe-client"],
  pg: ["storage", "doctor/postgres"],
  ioredis: ["bridge/redis-link", "doctor/redis"],
  "@hono/node-server": ["listener.ts"],
  "better-sqlite3": ["storage"],
  kysely: ["storage"],
  "@langchain/langgraph-checkpoint-sqlite": ["storage"],
  "@langchain/langgraph-checkpoint-postgres": ["storage"],
  jiti: ["graphs"],
  jose: ["auth"],
  chokidar: ["graphs"],
  typescript: ["schemas"],
  "ipaddr.js": ["webhooks"],
  commander: ["main.ts"],
  croner: ["crons/schedule"],
  yaml: ["config"],
  pino: ["core/log"],
  "prom-client": ["core/metrics"],
};

interface Import {
  readonly from: string;
  readonly to: string;
}

const files = readdirSync(SRC, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".ts"));
const sources = new Map(files.map((file) => [file, readFileSync(join(SRC, file), "utf8")]));
const imports = [...sources].flatMap(([from, text]) =>
  [...text.matchAll(/(?:^|\n)\s*(?:import|export)[^;]*?from\s+"([^"]+)"|import\("([^"]+)"\)/g)].map(
    ([, named, dynamic]): Import => ({ from, to: named ?? dynamic ?? "" }),
  ),
);

const own = imports.filter(({ to }) => to.startsWith(".")).map(({ from, to }) => ({ from, to: targetOf(from, to) }));

function targetOf(from: string, to: string): string {
  return relative(SRC, resolve(SRC, dirname(from), to.replace(/\.js$/, ".ts")));
}

/** `runs/worker.ts` → `runs`; a file of the top level is its own place. */
function placeOf(file: string): string {
  return file.includes("/") ? file.slice(0, file.indexOf("/")) : file;
}

describe("the import table", () => {
  it("names every folder and file of src", () => {
    expect([...new Set(files.map(placeOf))].sort()).toEqual(Object.keys(MAY_IMPORT).sort());
  });

  it("finds the imports that it is to check", () => {
    expect(own.length).toBeGreaterThan(100);
    expect(own.filter(({ to }) => !sources.has(to))).toEqual([]);
  });

  it.each(Object.entries(MAY_IMPORT))("lets %s import only %j", (place, allowed) => {
    const opens = (to: string): boolean =>
      placeOf(to) === place ||
      allowed.some((entry) => to === entry || to === `${entry}.ts` || to.startsWith(`${entry}/`));
    const offences = own.filter(({ from, to }) => placeOf(from) === place && !opens(to));
    expect(offences.map(({ from, to }) => `${from} imports ${to}`)).toEqual([]);
  });

  it.each(Object.entries(RESERVED))("keeps the package %s to %j", (name, places) => {
    const users = imports.filter(({ to }) => to === name || to.startsWith(`${name}/`)).map(({ from }) => from);
    expect(users).not.toEqual([]);
    expect(users.filter((from) => !places.some((place) => placeOf(from) === place || from === `${place}.ts`))).toEqual(
      [],
    );
  });

  it.each(["telemetry/otlp", "esbuild"])("loads %s only when it is wanted", (module) => {
    const statically = new RegExp(`\\n(?:import|export) (?!type )[^;]*?from "[^"]*${module}(?:\\.js)?"`);
    const users = [...sources].filter(([, text]) => text.includes(`${module}`) && statically.test(text));
    expect(users.map(([file]) => file)).toEqual([]);
    expect([...sources.values()].some((text) => new RegExp(`import\\("[^"]*${module}`).test(text))).toBe(true);
  });

  it("keeps the process's environment and arguments to main.ts", () => {
    const users = [...sources].filter(([, text]) => /process\.(env|argv)\b/.test(text)).map(([file]) => file);
    expect(users).toEqual(["main.ts"]);
  });

  it("has no cycles, cycles of types included", () => {
    expect(findCycle()).toBeUndefined();
  });
});

/** A path of files that leads back to its start. */
function findCycle(): readonly string[] | undefined {
  const done = new Set<string>();
  const visit = (file: string, path: readonly string[]): readonly string[] | undefined => {
    if (path.includes(file)) return [...path.slice(path.indexOf(file)), file];
    if (done.has(file)) return undefined;
    for (const { from, to } of own) {
      const cycle = from === file ? visit(to, [...path, file]) : undefined;
      if (cycle !== undefined) return cycle;
    }
    done.add(file);
    return undefined;
  };
  for (const file of files) {
    const cycle = visit(file, []);
    if (cycle !== undefined) return cycle;
  }
  return undefined;
}
