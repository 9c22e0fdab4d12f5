/** The command as people use it: the built program in a process of its own. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { makeDatabase, POSTGRES_MISSING } from "../support/postgres-server.js";
import { HEDDLE, type Program, type ProgramEnd, runProgram, startProgram } from "../support/process.js";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));

let folder: string;
let programs: Program[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "heddle-cli-"));
  programs = [];
});

afterEach(async () => {
  for (const program of programs) await program[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
});

/** The graphs of a project of its own, which finds its packages where heddle has them. */
function project(config: object, files: Readonly<Record<string, string>> = {}): void {
  configure(config);
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
  symlinkSync(join(ROOT, "node_modules"), join(folder, "node_modules"));
}

function configure(config: object): void {
  writeFileSync(join(folder, "config.yaml"), JSON.stringify({ graphs: { echo: example("echo") }, ...config }));
}

function example(name: string): string {
  return `${join(ROOT, "examples/graphs", name)}.ts:graph`;
}

function heddle(...args: string[]): Promise<ProgramEnd> {
  return runProgram(process.execPath, [HEDDLE, ...args], { cwd: folder });
}

function start(command: "serve" | "dev", args: string[] = [], env: Record<string, string> = {}): Program {
  const program = startProgram(process.execPath, [HEDDLE, command, "--port", "0", ...args], { cwd: folder, env });
  programs.push(program);
  return program;
}

async function addressOf(program: Program): Promise<string> {
  const line = await program.line("stdout", /^heddle listening on /);
  return line.slice("heddle listening on ".length);
}

async function post(url: string, body: object): Promise<Response> {
  return fetch(url, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
}

/** What the graph `graphId` answers to nothing. */
async function wait(url: string, graphId: string): Promise<unknown> {
  return (await post(`${url}/runs/wait`, { assistant_id: graphId, input: {} })).json();
}

describe("heddle without a server", () => {
  it("tells its version and what it can do", async () => {
    const { version } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as { version: string };

    expect(await heddle("--version")).toMatchObject({ code: 0, stdout: [version] });
    const help = await heddle("--help");
    expect(help.code).toBe(0);
    expect(help.stdout.join("\n")).toMatch(/serve .*\n.*dev /);
    const serveHelp = (await heddle("serve", "--help")).stdout.join("\n");
    for (const option of ["--config", "--host", "--port", "--data", "--allow-unauthenticated"]) {
      expect(serveHelp).toContain(option);
    }
  });

  it("refuses arguments that it does not know", async () => {
    expect(await heddle("serve", "--prot", "1")).toMatchObject({
      code: 1,
      stderr: ["error: unknown option '--prot'", "(Did you mean --port?)", "(heddle --help shows what there is)"],
    });
    expect((await heddle("serve", "--port", "high")).stderr[0]).toContain("expected a number from 0 to 65535");
  });
});

describe("heddle keys", () => {
  it("makes keys that work beside a running gateway, and revokes them at once", async () => {
    project({ auth: { api_keys: true }, log: { level: "warn" } });
    const url = await addressOf(start("serve"));
    const statusFor = async (key: string) =>
      (
        await fetch(`${url}/threads/search`, {
          method: "POST",
          body: "{}",
          headers: { "x-api-key": key },
        })
      ).status;

    const made = await heddle(
      "keys",
      "create",
      "--identity",
      "ada",
      "--name",
      "laptop",
      "--permission",
      "threads",
      "store",
    );
    expect(made).toMatchObject({ code: 0, stderr: [], stdout: [expect.stringMatching(/^hdl_[\w-]{43}$/)] });
    const [key = ""] = made.stdout;
    expect([await statusFor(key), await statusFor(`${key}x`)]).toEqual([200, 401]);

    const [line = "", ...others] = (await heddle("keys", "list")).stdout;
    expect(others).toEqual([]);
    expect(line).toContain(`${key.slice(0, 10)}…  ada (laptop)  threads,store`);
    expect(line).not.toContain(key);
    const [keyId = ""] = line.split(" ");
    expect(await heddle("keys", "revoke", keyId)).toMatchObject({ code: 0, stdout: [], stderr: [] });
    expect(await statusFor(key)).toBe(401);
    expect(await heddle("keys", "revoke", keyId)).toMatchObject({
      code: 1,
      stderr: [`heddle: there is no key ${keyId} that works`],
    });
  });

  it("refuses a start on other machines' addresses only while callers are not known", async () => {
    project({ auth: { api_keys: true }, server: { host: "0.0.0.0" }, log: { level: "warn" } });
    expect(await addressOf(start("serve"))).toMatch(/^http:\/\/0\.0\.0\.0:/);
  });
});

/** For what starts the program a dozen times. */
const MANY_STARTS_MS = 240_000;

describe("heddle migrate", { timeout: MANY_STARTS_MS }, () => {
  it("makes what a start that must not migrate asks for, and tells before what that is", async () => {
    project({ database: { migrate: false } });
    const [refused, flagged] = [await heddle("serve", "--port", "0"), await heddle("migrate", "--dry-run")];
    expect(refused).toMatchObject({ code: 1, stdout: [] });
    expect(refused.stderr).toEqual([
      expect.stringMatching(
        /^heddle: .*heddle\.db: \d+ migrations are pending \(001-core, .*: run heddle migrate first$/,
      ),
    ]);
    expect(flagged).toMatchObject({ code: 0, stderr: [] });
    expect(flagged.stdout[0]).toBe("heddle.db: 001-core is pending");
    expect(flagged.stdout.at(-1)).toBe("nothing was changed");

    const made = await heddle("migrate");
    expect(made).toMatchObject({ code: 0, stderr: [] });
    expect(made.stdout.at(-1)).toBe(`${join(folder, ".heddle")} is as this heddle needs it`);
    expect((await heddle("migrate", "--dry-run")).stdout).toEqual([
      "heddle.db: nothing is pending",
      "checkpoints.db: nothing is pending",
      "nothing was changed",
    ]);
    await addressOf(start("serve"));
    expect(await heddle("migrate")).toMatchObject({ code: 1, stdout: [] }); // a gateway has the folder
  });

  it("is what --no-migrate leaves the work to", async () => {
    project({});
    expect((await heddle("serve", "--port", "0", "--no-migrate")).stderr[0]).toContain("run heddle migrate first");
    expect((await heddle("migrate")).code).toBe(0);
    await addressOf(start("serve", ["--no-migrate"]));
  });
});

describe("on PostgreSQL", { timeout: MANY_STARTS_MS }, () => {
  it("heddle migrate, keys, gc and doctor work on the database that the configuration names, and backup refuses it", async (context) => {
    context.skip(POSTGRES_MISSING !== undefined, POSTGRES_MISSING);
    const url = await makeDatabase();
    project({ database: { type: "postgres", url, migrate: false }, auth: { api_keys: true } });
    const lines = (await heddle("migrate", "--dry-run")).stdout;
    expect(lines).toContain("threads and runs: 001-core is pending");
    expect(lines).toContain("checkpoints: checkpoints 001 is pending");
    expect((await heddle("serve", "--port", "0")).stderr).toEqual([
      expect.stringMatching(/^heddle: threads and runs: \d+ migrations are pending .*: run heddle migrate first$/),
    ]);
    expect((await heddle("doctor")).stdout.filter((line) => line.includes("Run heddle migrate."))).toHaveLength(2);

    const made = await heddle("migrate");
    expect(made).toMatchObject({ code: 0, stderr: [] });
    expect(made.stdout.at(-1)).toBe("the database is as this heddle needs it");
    expect((await heddle("keys", "create", "--identity", "ada")).stdout).toEqual([expect.stringMatching(/^hdl_/)]);
    expect((await heddle("keys", "list")).stdout).toEqual([expect.stringContaining("ada")]);
    expect((await heddle("gc", "--dry-run")).stdout).toEqual(
      expect.arrayContaining(["0 threads, 0 bytes", "nothing was changed"]),
    );
    expect(await heddle("backup", "copy")).toMatchObject({
      code: 1,
      stderr: [expect.stringMatching(/^heddle: database.type is postgres, .*: use pg_dump and pg_restore/)],
    });
    const served = await addressOf(start("serve"));
    const { code, stdout } = await heddle("doctor", "--url", served);
    expect(stdout.filter((line) => line.startsWith("problem"))).toEqual([]);
    expect(code).toBe(0);
    expect(stdout).toContain("ok       database version: as this heddle needs it");
    expect(stdout).toContain("ok       bodies: one of 20m arrives whole");
  });

  it("moves the data of a folder to PostgreSQL, but not from under a gateway", async (context) => {
    context.skip(POSTGRES_MISSING !== undefined, POSTGRES_MISSING);
    const move = ["migrate-data", "--from", "sqlite", "--to", "postgres"] as const;
    project({ log: { level: "warn" } });
    const gateway = start("serve");
    const from = await addressOf(gateway);
    const { thread_id: threadId } = (await (await post(`${from}/threads`, {})).json()) as { thread_id: string };
    const messages = [{ type: "human", content: "hello" }];
    await (await post(`${from}/threads/${threadId}/runs/wait`, { assistant_id: "echo", input: { messages } })).text();
    const stateAt = async (url: string) => (await fetch(`${url}/threads/${threadId}/state`)).json();
    const state = await stateAt(from);
    expect(state).toMatchObject({ values: { messages: [{ content: "hello" }, expect.anything()] } });
    expect((await heddle(...move)).stderr).toEqual([expect.stringContaining("database.type is not postgres")]);

    configure({ database: { type: "postgres", url: await makeDatabase() }, log: { level: "warn" } });
    expect(await heddle(...move)).toMatchObject({
      code: 1,
      stderr: [expect.stringMatching(/^heddle: cannot use the data folder .*: another heddle process is using it$/)],
    });
    gateway.kill("SIGTERM");
    await gateway.ended;
    const moved = await heddle(...move);
    expect(moved.code).toBe(0);
    expect(moved.stdout).toEqual(expect.arrayContaining(["threads: 1 rows", "runs: 1 rows"]));
    expect((await heddle(...move)).stderr.at(-1)).toMatch(/^heddle: the database is not empty, threads has rows: /);
    expect(await stateAt(await addressOf(start("serve")))).toEqual(state);
    expect((await heddle("migrate-data", "--from", "postgres", "--to", "postgres")).stderr[0]).toContain(
      "Allowed choices are sqlite",
    );
  });

  it("heddle says in one line why it cannot use the database, and not its password", async (context) => {
    context.skip(POSTGRES_MISSING !== undefined, POSTGRES_MISSING);
    const url = new URL(await makeDatabase());
    url.pathname = "/heddle_test_nowhere";
    url.password = "secret";
    project({ database: { type: "postgres", url: url.href } });
    expect((await heddle("serve", "--port", "0")).stderr).toEqual([
      `heddle: cannot use the database postgres://${url.host}/heddle_test_nowhere: database "heddle_test_nowhere" does not exist`,
    ]);
  });
});

describe("heddle doctor", { timeout: MANY_STARTS_MS }, () => {
  it("is content with a gateway that works, and ends with 1 where there is a problem", async () => {
    project({ log: { level: "warn" } });
    const url = await addressOf(start("serve"));

    const content = await heddle("doctor", "--url", url);
    expect(content).toMatchObject({ code: 0, stderr: [] });
    expect(content.stdout.at(-1)).toMatch(/^\d+ ok, 0 warnings, 0 problems$/);
    expect(content.stdout).toContain("ok       bodies: one of 20m arrives whole");
    expect((await heddle("keys", "list")).stdout).toEqual([]); // it leaves nothing

    const troubled = await heddle("doctor", "--url", `${url}/agents`, "--json");
    expect(troubled).toMatchObject({ code: 1, stderr: [] });
    const { findings } = JSON.parse(troubled.stdout.join("\n")) as { findings: readonly object[] };
    expect(findings.at(-1)).toMatchObject({ check: "address", level: "problem", nginx: [expect.any(String)] });
  });

  it("tells every error of a configuration", async () => {
    project({ server: { prot: 1 }, log: { level: "loud" } });

    const { code, stdout } = await heddle("doctor");

    expect(code).toBe(1);
    expect(stdout.filter((line) => line.startsWith("problem"))).toEqual([
      expect.stringContaining("config.yaml: server.prot: unknown key"),
      expect.stringContaining("config.yaml: log.level: expected debug"),
    ]);
  });
});

describe("what a person can mend ends with one line and exit code 1", () => {
  async function refusal(...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await heddle("serve", ...args);
    expect({ code, stdout, lines: stderr.length, stderr }).toMatchObject({ code: 1, stdout: [], lines: 1 });
    return stderr[0] ?? "";
  }

  it("no configuration", async () => {
    expect(await refusal()).toBe(
      `heddle: no config.yaml and no langgraph.json in ${folder} (--config names another file)`,
    );
  });

  it("a key that nobody knows", async () => {
    project({ server: { prot: 1 } });
    expect(await refusal()).toContain("heddle: config.yaml: server.prot: unknown key");
  });

  it("a graph that throws, with file, line and export", async () => {
    project({ graphs: { broken: "./broken.ts:graph" } }, { "broken.ts": "\nthrow new Error('no model');\n" });
    expect(await refusal("--port", "0")).toMatch(/^heddle: graph "broken" did not load: .*broken\.ts:2.*no model/);
  });

  it("a graph that is not there", async () => {
    project({ graphs: { gone: "./gone.ts:graph" } });
    expect(await refusal("--port", "0")).toMatch(/^heddle: graph "gone" did not load: .*gone\.ts/);
  });

  it("a port in use", async () => {
    project({ log: { level: "warn" } });
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve));
    const { port } = other.address() as AddressInfo; // listens on TCP
    try {
      expect(await refusal("--port", String(port))).toContain(`heddle: port ${port} of 127.0.0.1 is in use`);
    } finally {
      other.close();
    }
  });

  it("a data folder that is none", async () => {
    project({}, { data: "a file" });
    expect(await refusal("--port", "0", "--data", "data")).toContain(
      `heddle: cannot use the data folder ${join(folder, "data")}: `,
    );
  });

  it("a database that is none", async () => {
    project({});
    mkdirSync(join(folder, "data"));
    writeFileSync(join(folder, "data/lock.db"), "this is not a database, whatever its name says".repeat(100));
    expect(await refusal("--port", "0", "--data", "data")).toContain("heddle: cannot use the data folder");
  });

  it("authentication that cannot be had", async () => {
    project({ auth: { path: "./none.ts:auth" }, log: { level: "warn" } });
    expect(await refusal("--port", "0")).toContain("heddle: auth.path: ");
    configure({ auth: { path: "./wrong.ts:auth" }, log: { level: "warn" } });
    writeFileSync(join(folder, "wrong.ts"), "export const auth = { authenticate() {} };\n");
    expect(await refusal("--port", "0")).toMatch(/^heddle: auth\.path: .*is no Auth object/);
    configure({ auth: { path: "./broken.ts:auth" }, log: { level: "warn" } });
    writeFileSync(join(folder, "broken.ts"), "throw new Error('no secret');\n");
    expect(await refusal("--port", "0")).toMatch(/^heddle: auth\.path: .*does not load: no secret/);
  });

  it("a second process on the same data folder", async () => {
    project({});
    await addressOf(start("serve"));
    expect(await refusal("--port", "0")).toBe(
      `heddle: cannot use the data folder ${join(folder, ".heddle")}: another heddle process is using it`,
    );
  });

  it("an address that others can reach, unless somebody says that callers need no authentication", async () => {
    project({});
    expect(await refusal("--host", "0.0.0.0", "--port", "0")).toContain("heddle: server.host: 0.0.0.0 is reachable");

    const open = start("serve", ["--host", "0.0.0.0", "--allow-unauthenticated"]);
    await addressOf(open);
    await open.line("stderr", /callers are not authenticated/);
  });
});

describe("a server", () => {
  it("prints its address and nothing else to standard output, and answers by then", async () => {
    project({});
    const program = start("serve");
    const url = await addressOf(program);

    expect((await fetch(`${url}/ok`)).status).toBe(200);
    program.kill("SIGTERM");
    const end = await program.ended;
    expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/);
    expect(end).toMatchObject({ code: 0, stdout: [`heddle listening on ${url}`] });
  });

  it("keeps its threads over a restart", async () => {
    project({});
    const first = start("serve");
    const created = await post(`${await addressOf(first)}/threads`, { metadata: { topic: "looms" } });
    const { thread_id } = (await created.json()) as { thread_id: string };
    first.kill("SIGINT");
    expect((await first.ended).code).toBe(0);

    const again = await fetch(`${await addressOf(start("serve"))}/threads/${thread_id}`);

    expect(await again.json()).toMatchObject({ thread_id, metadata: { topic: "looms" } });
  });

  it("reads a project's langgraph.json and gives its graphs the variables that it names", async () => {
    project({}, { "graph.ts": graphThatSays("process.env.GREETING"), ".env": "GREETING=from .env\n" });
    rmSync(join(folder, "config.yaml"));
    writeFileSync(join(folder, "langgraph.json"), JSON.stringify({ graphs: { a: "./graph.ts:graph" }, env: ".env" }));

    const url = await addressOf(start("serve"));

    expect(await wait(url, "a")).toMatchObject({ said: "from .env" });
  });

  it("logs a promise that a graph forgot, whose run fails, and goes on", async () => {
    const forgetful = graphThatSays("(void Promise.reject(new Error('forgotten')), 'fine')");
    project({ graphs: { a: "./graph.ts:graph" } }, { "graph.ts": forgetful });
    const program = start("serve");
    const url = await addressOf(program);

    const failed = { __error__: { error: "Error", message: "forgotten" } };
    expect(await wait(url, "a")).toEqual(failed);
    await program.line("stderr", /nobody handled it/);
    expect(await wait(url, "a")).toEqual(failed);
  });
});

describe("stopping in the middle of a run", () => {
  const slow = { assistant_id: "agent", input: { messages: [{ role: "user", content: "Count to 100" }] } };

  async function streamUntilToken(url: string): Promise<ReadableStreamDefaultReader<string>> {
    const response = await post(`${url}/runs/stream`, {
      ...slow,
      stream_mode: "messages-tuple",
      config: { configurable: { token_delay_ms: 500 } },
    });
    const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
    if (reader === undefined) throw new Error("no stream");
    for (let text = ""; !text.includes("event: messages"); ) {
      const { done, value } = await reader.read();
      if (done) throw new Error(`no token in ${text}`);
      text += value;
    }
    return reader;
  }

  it("breaks the stream instead of ending it, so that clients come back (W2)", async () => {
    project({ graphs: { agent: example("agent") }, runs: { shutdown_grace_seconds: 0 } });
    const program = start("serve", [], { AGENT_MODEL: "scripted" });
    const reader = await streamUntilToken(await addressOf(program));

    program.kill("SIGTERM");

    await expect(drain(reader)).rejects.toThrow("terminated");
    expect((await program.ended).code).toBe(0);
  });

  it("waits for the run, and a second signal ends the process at once", async () => {
    project({ graphs: { agent: example("agent") }, runs: { shutdown_grace_seconds: 600 } });
    const program = start("serve", [], { AGENT_MODEL: "scripted" });
    await streamUntilToken(await addressOf(program));

    program.kill("SIGTERM");
    await program.line("stderr", /stopping/);
    program.kill("SIGINT");

    expect(await program.ended).toMatchObject({ code: 130, signal: null });
  });

  async function drain(reader: ReadableStreamDefaultReader<string>): Promise<void> {
    while (!(await reader.read()).done);
  }
});

describe("heddle dev", () => {
  it("loads a graph again when its file is saved, keeps the last good one, and keeps the threads", async () => {
    project({ graphs: { a: "./graph.ts:graph" } }, { "graph.ts": graphThatSays("'one'") });
    const program = start("dev");
    const url = await addressOf(program);
    const thread = (await (await post(`${url}/threads`, {})).json()) as { thread_id: string };
    expect(await wait(url, "a")).toMatchObject({ said: "one" });

    writeFileSync(join(folder, "graph.ts"), "export const graph = ;\n");
    await program.line("stderr", /graph\.ts:1/);
    expect(await wait(url, "a")).toMatchObject({ said: "one" });

    writeFileSync(join(folder, "graph.ts"), graphThatSays("'two'"));
    await program.line("stderr", /reloaded/);
    expect(await wait(url, "a")).toMatchObject({ said: "two" });
    expect((await fetch(`${url}/threads/${thread.thread_id}`)).status).toBe(200);
  });

  it("tells the schemas of what was saved", async () => {
    project({ graphs: { a: "./graph.ts:graph" } }, { "graph.ts": TYPED, "topic.ts": "export type Topic = string;" });
    const program = start("dev");
    const url = await addressOf(program);
    await expect.poll(() => topicOf(url), PATIENCE).toEqual({ type: "string" });

    writeFileSync(join(folder, "topic.ts"), 'export type Topic = "news" | "weather";');
    await program.line("stderr", /reloaded/);
    await expect.poll(() => topicOf(url), PATIENCE).toEqual({ enum: ["news", "weather"] });
  });

  /** A compiler on a busy machine. */
  const PATIENCE = { timeout: 50_000 };

  /** What the state schema of the graph `a` says of its topic. */
  async function topicOf(url: string): Promise<unknown> {
    const answer = await fetch(`${url}/assistants/a/schemas`);
    const { state_schema: schema } = (await answer.json()) as {
      state_schema: { properties: { topic: unknown } } | null;
    };
    return schema?.properties.topic;
  }
});

/** Its state is said by types alone. */
const TYPED = `
import { Annotation, START, StateGraph } from "@langchain/langgraph";
import type { Topic } from "./topic.js";
export const graph = new StateGraph(Annotation.Root({ topic: Annotation<Topic> }))
  .addNode("say", () => ({}))
  .addEdge(START, "say")
  .compile();
`;

function graphThatSays(expression: string): string {
  return `
import { START, StateGraph, StateSchema } from "@langchain/langgraph";
import { z } from "zod";
export const graph = new StateGraph(new StateSchema({ said: z.string().default("") }))
  .addNode("say", () => ({ said: ${expression} }))
  .addEdge(START, "say")
  .compile();
`;
}
