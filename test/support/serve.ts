/** The built program on a folder of its own, started as often as a test wants; all of it is gone when the test is over. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Client } from "@langchain/langgraph-sdk";
import { onTestFinished } from "vitest";
import { HEDDLE, type Program, type ProgramEnd, startProgram } from "./process.js";

export interface ServedFolder {
  readonly folder: string;
  /** Of the databases. */
  readonly dataDir: string;
  /** Starts the program without waiting for anything. */
  spawn(options?: SpawnOptions): Program;
  /** Starts it and waits until it answers. */
  serve(options?: SpawnOptions): Promise<Served>;
}

export interface SpawnOptions {
  /** A free one unless told. */
  readonly port?: number;
  /** Put before the command, to run it in another environment. */
  readonly wrapper?: readonly string[];
  /** Of Node itself. */
  readonly nodeOptions?: readonly string[];
  /** Of `heddle serve`. */
  readonly options?: readonly string[];
}

export interface Served {
  readonly program: Program;
  readonly url: string;
  readonly port: number;
  /** As it comes from the package. */
  readonly client: Client;
  /** Sends the signal and waits for the end. */
  stop(signal: NodeJS.Signals): Promise<ProgramEnd>;
}

/** `config` is that of config.yaml; to be called within a test. */
export function serveFolder(config: Readonly<Record<string, unknown>>): ServedFolder {
  const folder = mkdtempSync(join(tmpdir(), "heddle-serve-"));
  writeFileSync(join(folder, "config.yaml"), JSON.stringify({ data_dir: "data", ...config }));
  const programs: Program[] = [];
  onTestFinished(async () => {
    await Promise.all(programs.map((program) => program[Symbol.asyncDispose]()));
    rmSync(folder, { recursive: true, force: true });
  });

  function spawn({ port = 0, wrapper = [], nodeOptions = [], options = [] }: SpawnOptions = {}): Program {
    const command = [...wrapper, process.execPath, ...nodeOptions, HEDDLE, "serve", "--port", String(port), ...options];
    const program = startProgram(command[0] ?? "", command.slice(1), { cwd: folder });
    programs.push(program);
    return program;
  }

  return {
    folder,
    dataDir: join(folder, "data"),
    spawn,
    async serve(options) {
      const program = spawn(options);
      const line = await program.line("stdout", /^heddle listening on /);
      const url = line.slice("heddle listening on ".length);
      return {
        program,
        url,
        port: Number(new URL(url).port),
        client: new Client({ apiUrl: url }),
        stop(signal) {
          program.kill(signal);
          return program.ended;
        },
      };
    },
  };
}
