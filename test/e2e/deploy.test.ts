/** `deploy/` against what it deploys. Docker and Kubernetes do not run here: what can be checked without them is. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { parse, parseAllDocuments } from "yaml";
import { NGINX, NGINX_CONF, NGINX_MISSING } from "../support/nginx.js";
import { HEDDLE, runProgram } from "../support/process.js";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const read = (path: string): string => readFileSync(join(ROOT, path), "utf8");

interface Service {
  readonly command?: readonly string[];
  readonly depends_on?: Readonly<Record<string, unknown>>;
  readonly environment?: Readonly<Record<string, string>>;
  readonly healthcheck?: unknown;
  readonly image: string;
  readonly volumes?: readonly string[];
}

const compose = parse(read("deploy/compose.yaml"), { merge: true }) as {
  readonly services: Readonly<Record<string, Service>>;
};
const heddles = Object.entries(compose.services).filter(([, { image }]) => image === "heddle");

interface Container {
  readonly args: readonly string[];
  readonly ports?: readonly { readonly name: string; readonly containerPort: number }[];
  readonly env: readonly { readonly name: string }[];
  readonly readinessProbe?: Probe;
  readonly livenessProbe?: Probe;
  readonly startupProbe?: Probe;
}

interface Probe {
  readonly httpGet: { readonly path: string; readonly port: string };
}

interface Manifest {
  readonly kind: string;
  readonly metadata: { readonly name: string };
  readonly spec: {
    readonly selector?: unknown;
    readonly ports?: readonly { readonly targetPort: string }[];
    readonly template?: {
      readonly metadata?: { readonly labels: Readonly<Record<string, string>> };
      readonly spec: { readonly terminationGracePeriodSeconds?: number; readonly containers: readonly Container[] };
    };
  };
}

const manifests = ["heddle", "migrate"].flatMap((name) =>
  parseAllDocuments(read(`deploy/kubernetes/${name}.yaml`)).map((document) => {
    if (document.errors.length > 0) throw document.errors[0] as Error;
    return document.toJS() as Manifest;
  }),
);
const containers = manifests.flatMap(({ spec }) => spec.template?.spec.containers ?? []);

const config = parse(read("deploy/config.yaml")) as {
  readonly server: { readonly drain_delay_seconds: number };
  readonly runs: { readonly shutdown_grace_seconds: number };
};
const drainSeconds = config.server.drain_delay_seconds + config.runs.shutdown_grace_seconds;

describe("the Dockerfile", () => {
  const lines = read("deploy/Dockerfile").split("\n");

  it("copies what there is, and what .dockerignore lets through", () => {
    const copied = lines.flatMap((line) => {
      const [command, ...words] = line.split(/\s+/);
      return command !== "COPY" || words.some((word) => word.startsWith("--from")) ? [] : words.slice(0, -1);
    });
    const allowed = read(".dockerignore").split("\n");

    expect(copied.length).toBeGreaterThan(5);
    expect(copied.filter((path) => !existsSync(join(ROOT, path)) || !allowed.includes(`!${path}`))).toEqual([]);
  });

  it("leaves no development behind, and no rights", () => {
    const last = lines.slice(lines.lastIndexOf(lines.findLast((line) => line.startsWith("FROM ")) ?? ""));

    expect(lines).toContain("RUN npm ci --omit=dev");
    expect(last.indexOf("USER node")).toBeLessThan(last.findIndex((line) => line.startsWith("ENTRYPOINT")));
    expect(last).toContain("USER node");
  });

  it("has a health check that tells a gateway that answers from one that does not", async () => {
    const [, json = ""] = /HEALTHCHECK[\s\S]*?CMD (\[.*\])/.exec(lines.join("\n")) ?? [];
    const [command, ...args] = JSON.parse(json) as [string, ...string[]];

    expect(command).toBe("node");
    const deaf = args.map((arg) => arg.replace("2024", "1"));
    expect((await runProgram(process.execPath, deaf)).code).toBe(1);
  });
});

describe("compose.yaml", () => {
  it("has nginx, two gateways of each role, PostgreSQL and Redis", () => {
    expect(Object.keys(compose.services).sort()).toEqual(
      ["api-1", "api-2", "migrate", "nginx", "postgres", "redis", "worker-1", "worker-2"].sort(),
    );
    expect(heddles.map(([name]) => name)).toEqual(["migrate", "api-1", "api-2", "worker-1", "worker-2"]);
  });

  it("migrates before anything is served", () => {
    for (const [name, { command, depends_on }] of heddles) {
      if (name === "migrate") expect(command).toEqual(["migrate"]);
      else {
        expect(depends_on).toMatchObject({ migrate: { condition: "service_completed_successfully" } });
        expect(command).toContain("--no-migrate");
      }
    }
  });

  it("gives what is drained the time for it", () => {
    const [, grace] = /stop_grace_period: (\d+)s/.exec(read("deploy/compose.yaml")) ?? [];
    expect(Number(grace)).toBeGreaterThan(drainSeconds);
  });

  it("mounts files that are there", () => {
    const mounted = Object.values(compose.services).flatMap(({ volumes = [] }) =>
      volumes.filter((volume) => volume.startsWith("./")).map((volume) => volume.split(":")[0] ?? ""),
    );
    expect([...new Set(mounted)].sort()).toEqual(["./config.yaml", "./nginx.conf"]);
    expect(mounted.filter((path) => !existsSync(join(ROOT, "deploy", path)))).toEqual([]);
  });
});

describe("what is deployed", () => {
  const variables = [...read("deploy/config.yaml").matchAll(/\$\{(\w+)\}/g)].map(([, name]) => name);

  it("gets every variable that its configuration asks for", () => {
    expect(variables.sort()).toEqual(["DATABASE_URL", "REDIS_URL"]);
    for (const [, { environment }] of heddles) expect(Object.keys(environment ?? {}).sort()).toEqual(variables);
    for (const { env } of containers) expect(env.map(({ name }) => name).sort()).toEqual(variables);
  });

  it("is started by commands that there are", async () => {
    const commands = [...heddles.map(([, { command = [] }]) => command), ...containers.map(({ args }) => args)];
    const options: Record<string, string> = {};
    for (const name of new Set(commands.map(([first = ""]) => first))) {
      const { code, stdout } = await runProgram(process.execPath, [HEDDLE, name, "--help"]);
      expect(code).toBe(0);
      options[name] = stdout.join("\n");
    }
    const unknown = commands.flatMap(([name = "", ...args]) =>
      args.filter((arg) => arg.startsWith("--") && options[name]?.includes(`${arg} `) !== true),
    );

    expect([...new Set(unknown)]).toEqual([]);
  });
});

describe("the Kubernetes example", () => {
  it("has the two roles, a service for one of them, the migration, and budgets", () => {
    expect(manifests.map(({ kind, metadata }) => `${kind} ${metadata.name}`)).toEqual([
      "Deployment heddle-api",
      "Deployment heddle-worker",
      "Service heddle",
      "PodDisruptionBudget heddle-api",
      "PodDisruptionBudget heddle-worker",
      "Job heddle-migrate",
    ]);
    expect(manifests[2]?.spec.selector).toEqual({ app: "heddle", role: "api" });
  });

  it("asks what a gateway answers, where it listens", () => {
    for (const { spec } of manifests.filter(({ kind }) => kind === "Deployment")) {
      for (const { args, ports, ...probes } of spec.template?.spec.containers ?? []) {
        expect(args[args.indexOf("--port") + 1]).toBe(String(ports?.[0]?.containerPort));
        expect(args[args.indexOf("--role") + 1]).toBe(spec.template?.metadata?.labels.role);
        const { startupProbe, livenessProbe, readinessProbe } = probes;
        expect([startupProbe, livenessProbe, readinessProbe].map((probe) => probe?.httpGet)).toEqual([
          { path: "/ok", port: "http" },
          { path: "/ok", port: "http" },
          { path: "/ready", port: "http" },
        ]);
      }
      const preStopSeconds = 5;
      expect(spec.template?.spec.terminationGracePeriodSeconds).toBeGreaterThan(preStopSeconds + drainSeconds);
    }
  });
});

describe("deploy/nginx.conf", () => {
  const changes = [
    ["    server 127.0.0.1:2024 max_fails=1 fail_timeout=5s;", "    server api-1:2024 max_fails=1 fail_timeout=5s;"],
    ["    # server 127.0.0.1:2025 max_fails=1 fail_timeout=5s;", "    server api-2:2024 max_fails=1 fail_timeout=5s;"],
  ] as const;

  it("differs from the shipped one in the gateways and in where it listens only", () => {
    const rest = (text: string): readonly string[] => {
      const lines = text.slice(text.indexOf("daemon off;")).split("\n");
      return lines.filter(
        (line) => !changes.flat().includes(line as never) && !/^ *(#.*)?listen |This machine only/.test(line),
      );
    };

    expect(rest(read("deploy/nginx.conf"))).toEqual(rest(readFileSync(NGINX_CONF, "utf8")));
    for (const [, there] of changes) expect(read("deploy/nginx.conf").split("\n")).toContain(there);
  });

  it("is one that nginx takes", async (context) => {
    context.skip(NGINX === undefined, NGINX_MISSING);
    const folder = mkdtempSync(join(tmpdir(), "heddle-nginx-"));
    const file = join(folder, "nginx.conf");
    writeFileSync(file, read("deploy/nginx.conf").replaceAll(/api-\d:/g, "127.0.0.1:")); // names of another network
    const end = await runProgram(NGINX ?? "", ["-t", "-e", "stderr", "-p", folder, "-c", file]);
    rmSync(folder, { recursive: true });

    expect(end.stderr.join("\n")).toContain("test is successful");
  });
});
