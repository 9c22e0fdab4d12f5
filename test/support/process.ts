/** Programs under test as child processes: their output by line, their end, and nothing left running. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

export interface ProgramOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Whom it runs as, where that may be chosen. */
  readonly uid?: number;
  readonly gid?: number;
}

export interface ProgramEnd {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: readonly string[];
  readonly stderr: readonly string[];
}

export interface Program {
  readonly pid: number;
  readonly ended: Promise<ProgramEnd>;
  /** The first line, already printed or yet to come, that matches; rejects when the program ends without one. */
  line(stream: "stdout" | "stderr", pattern: RegExp): Promise<string>;
  /** The same for the line number `nth`, from 1, of those that match. */
  lineNumber(stream: "stdout" | "stderr", pattern: RegExp, nth: number): Promise<string>;
  /** All lines so far. */
  printed(): string;
  kill(signal: NodeJS.Signals): void;
  /** Ends it, politely first; for `afterEach`. */
  [Symbol.asyncDispose](): Promise<void>;
}

export function startProgram(command: string, args: readonly string[], options: ProgramOptions = {}): Program {
  const child = spawn(command, args, {
    ...options,
    env: { ...process.env, ...options.env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const lines = { stdout: [] as string[], stderr: [] as string[] };
  const watchers = new Set<() => void>();
  for (const name of ["stdout", "stderr"] as const) {
    createInterface({ input: child[name] }).on("line", (line) => {
      lines[name].push(line);
      for (const watch of watchers) watch();
    });
  }
  const ended = endOf(child, lines);
  return {
    pid: child.pid ?? 0,
    ended,
    line: (stream, pattern) => findLine(lines[stream], { pattern, nth: 1 }, watchers, ended),
    lineNumber: (stream, pattern, nth) => findLine(lines[stream], { pattern, nth }, watchers, ended),
    printed: () => [...lines.stdout, ...lines.stderr].join("\n"),
    kill: (signal) => void child.kill(signal),
    async [Symbol.asyncDispose]() {
      child.kill("SIGTERM");
      const force = setTimeout(() => child.kill("SIGKILL"), 5_000);
      await ended;
      clearTimeout(force);
    },
  };
}

/** Runs to the end. */
export function runProgram(command: string, args: readonly string[], options?: ProgramOptions): Promise<ProgramEnd> {
  return startProgram(command, args, options).ended;
}

/** The built command line program, for `process.execPath`. */
export const HEDDLE = fileURLToPath(new URL("../../dist/main.js", import.meta.url));

async function endOf(child: ChildProcess, lines: { stdout: string[]; stderr: string[] }): Promise<ProgramEnd> {
  const [code, signal] = (await once(child, "close")) as [number | null, NodeJS.Signals | null];
  return { code, signal, ...lines };
}

function findLine(
  lines: readonly string[],
  { pattern, nth }: { readonly pattern: RegExp; readonly nth: number },
  watchers: Set<() => void>,
  ended: Promise<ProgramEnd>,
): Promise<string> {
  return new Promise((resolve, reject) => {
    const look = (): void => {
      const found = lines.filter((line) => pattern.test(line))[nth - 1];
      if (found === undefined) return;
      watchers.delete(look);
      resolve(found);
    };
    watchers.add(look);
    look();
    void ended.then(({ code, stdout, stderr }) => {
      look();
      reject(new Error(`ended with ${code} before ${pattern}:\n${[...stdout, ...stderr].join("\n")}`));
    }, reject);
  });
}
