/** A Redis of a test's own, which it may kill, freeze and empty. It keeps nothing when it ends. */
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ownPort } from "./ports.js";
import { type Program, runProgram, startProgram } from "./process.js";

export const STANDARD_REDIS = "redis://127.0.0.1:6379";

/** Where Debian, and others, install it. */
const REDIS_SERVER = ["/usr/bin/redis-server", "/usr/local/bin/redis-server", "/opt/homebrew/bin/redis-server"].find(
  (path) => existsSync(path),
);

export const REDIS_SERVER_MISSING =
  REDIS_SERVER === undefined ? "redis-server is not installed (apt-get install redis-server)" : undefined;

if (REDIS_SERVER_MISSING !== undefined) {
  if (process.env.CI) throw new Error(REDIS_SERVER_MISSING);
  process.stderr.write(`skipped: ${REDIS_SERVER_MISSING}\n`);
}

export interface RedisServer {
  readonly url: string;
  /** At the same port as before, and empty. */
  start(): Promise<void>;
  kill(): Promise<void>;
  /** Answers nothing, and stays connected, until `resume`. */
  freeze(): void;
  resume(): void;
  /** Forgets everything. */
  flush(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** Not started yet. */
export async function prepareRedisServer(): Promise<RedisServer> {
  if (REDIS_SERVER === undefined) throw new Error(REDIS_SERVER_MISSING);
  const command = REDIS_SERVER;
  const port = await ownPort();
  const folder = mkdtempSync(join(tmpdir(), "heddle-redis-"));
  let program: Program | undefined;
  const kill = async (): Promise<void> => {
    program?.kill("SIGKILL");
    await program?.ended;
    program = undefined;
  };
  return {
    url: `redis://127.0.0.1:${port}`,
    async start() {
      const settings = ["--port", String(port), "--save", "", "--appendonly", "no", "--dir", folder];
      program = startProgram(command, settings, { cwd: folder });
      await program.line("stdout", /Ready to accept connections/);
    },
    kill,
    freeze: () => program?.kill("SIGSTOP"),
    resume: () => program?.kill("SIGCONT"),
    async flush() {
      const { code, stdout } = await runProgram(command.replace(/server$/, "cli"), ["-p", String(port), "flushall"]);
      if (code !== 0 || stdout[0] !== "OK") throw new Error(`flushall: ${stdout.join("\n")}`);
    },
    async [Symbol.asyncDispose]() {
      await kill();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
