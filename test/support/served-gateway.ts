/** The built gateway as a process, on a folder and a port that survive it: it can be killed and started again. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Client } from "@langchain/langgraph-sdk";
import { metricOf } from "./metrics.js";
import { HEDDLE, type Program, startProgram } from "./process.js";

export interface ServedGateway {
  readonly url: string;
  readonly client: Client;
  readonly folder: string;
  /** Of the process that serves now. */
  readonly program: Program;
  /** Ends the process and, when `meanwhile` has happened, starts another on the same port. */
  restart(signal: "SIGTERM" | "SIGKILL", meanwhile?: () => Promise<unknown>): Promise<void>;
  /** A figure of `/metrics`. */
  metric(name: string): Promise<number>;
  /** Ends it and removes its folder. */
  [Symbol.asyncDispose](): Promise<void>;
}

/** `config`: what config.yaml says; `nodeArguments` go before the program. */
export async function serveGateway(config: object, nodeArguments: readonly string[] = []): Promise<ServedGateway> {
  const folder = mkdtempSync(join(tmpdir(), "heddle-served-"));
  writeFileSync(join(folder, "config.yaml"), JSON.stringify({ log: { format: "json" }, ...config }));
  let program: Program;

  async function start(port: number): Promise<string> {
    program = startProgram(process.execPath, [...nodeArguments, HEDDLE, "serve", "--port", String(port)], {
      cwd: folder,
    });
    return (await program.line("stdout", /^heddle listening on /)).slice("heddle listening on ".length);
  }

  const url = await start(0);
  return {
    url,
    client: new Client({ apiUrl: url, callerOptions: { maxRetries: 0 } }),
    folder,
    get program() {
      return program;
    },
    async restart(signal, meanwhile) {
      program.kill(signal);
      await program.ended;
      await meanwhile?.();
      await start(Number(new URL(url).port));
    },
    metric: (name) => metricOf(url, name),
    async [Symbol.asyncDispose]() {
      await program[Symbol.asyncDispose]();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Resident memory of a process in bytes, as Linux tells it. */
export function residentBytes(pid: number): number {
  const kilobytes = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
  return Number(kilobytes) * 1_024;
}

/** How many file descriptors a process has open. */
export function openDescriptors(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length;
}
