#!/usr/bin/env node
/**
 * The command `heddle`: arguments → configuration → a gateway that runs until a signal.
 *
 * Standard output carries one line, the address, once requests are answered; logs go to standard error. What a person can
 * mend ends with one line and exit code 1. SIGTERM and SIGINT stop cleanly with exit code 0; a second one ends at once.
 */
import { createRequire } from "node:module";
import { constants } from "node:os";
import { Command, InvalidArgumentError } from "commander";
import { ConfigError } from "./config/config-error.js";
import { loadConfig } from "./config.js";
import { createLog, type Log } from "./core/log.js";
import { GraphLoadError } from "./graphs/load-error.js";
import { startGateway } from "./server.js";
import { DataFolderError } from "./storage/sqlite.js";

interface ServeOptions {
  readonly config?: string;
  readonly host?: string;
  readonly port?: number;
  readonly data?: string;
  readonly allowUnauthenticated?: boolean;
}

function createProgram(): Command {
  const { version } = createRequire(import.meta.url)("../package.json") as { version: string };
  const program = new Command("heddle")
    .description("The LangGraph Platform API for your LangGraph.js agents, on your own machine")
    .version(version)
    .showHelpAfterError("(heddle --help shows what there is)");
  addServeOptions(program.command("serve"))
    .description("serve the graphs of config.yaml or langgraph.json")
    .action((options: ServeOptions) => run(options, { watch: false }));
  addServeOptions(program.command("dev"))
    .description("the same, and load graphs again whenever their files change")
    .action((options: ServeOptions) => run(options, { watch: true }));
  return program;
}

function addServeOptions(command: Command): Command {
  return command
    .option("-c, --config <file>", "a config.yaml or a langgraph.json (default: ./config.yaml, then ./langgraph.json)")
    .option("-H, --host <address>", "address to listen on (default: 127.0.0.1)")
    .option("-p, --port <number>", "port to listen on, 0 for a free one (default: 2024)", parsePort)
    .option("-d, --data <folder>", "folder of the databases (default: .heddle beside the configuration)")
    .option(
      "--allow-unauthenticated",
      "listen where other machines can reach it although callers are not authenticated",
    );
}

function parsePort(text: string): number {
  const port = Number(text);
  if (/^\d+$/.test(text) && port <= 65_535) return port;
  throw new InvalidArgumentError("expected a number from 0 to 65535.");
}

async function run(options: ServeOptions, { watch }: { readonly watch: boolean }): Promise<void> {
  const { config, variables, warnings } = loadConfig({
    cwd: process.cwd(),
    file: options.config,
    environment: process.env,
    overrides: { ...options, dataDir: options.data },
  });
  Object.assign(process.env, variables);
  const format = watch && config.log.format === "auto" ? "pretty" : config.log.format;
  const log = createLog({ level: config.log.level, format });
  for (const warning of warnings) log.warn(warning);
  reportRejections(log);
  const stopRequested = onStopSignal(log);
  const gateway = await startGateway(config, { log, watch });
  process.stdout.write(`heddle listening on ${gateway.url}\n`);
  await stopRequested;
  await gateway.stop();
  // Whatever user code left open must not keep a stopped server alive.
  process.exit(0);
}

/** A promise that a graph forgot must not take every other run along. */
function reportRejections(log: Log): void {
  process.on("unhandledRejection", (reason) => {
    log.error({ err: reason }, "a promise was rejected and nobody handled it");
  });
}

/** `npm` and process managers pass a signal on to a process that got it already. */
const SAME_SIGNAL_MS = 200;

/** Resolves at the first signal; the next one ends the process. */
function onStopSignal(log: Log): Promise<void> {
  return new Promise((resolve) => {
    let first: { readonly signal: string; readonly at: number } | undefined;
    const onSignal = (signal: "SIGINT" | "SIGTERM"): void => {
      if (first === undefined) {
        first = { signal, at: Date.now() };
        log.info({ signal }, "stopping");
        resolve();
      } else if (signal !== first.signal || Date.now() - first.at > SAME_SIGNAL_MS) {
        process.exit(128 + constants.signals[signal]);
      }
    };
    process.on("SIGINT", onSignal);
    process.on("SIGTERM", onSignal);
  });
}

/** One line for what a person can mend; undefined for a bug. */
function explain(error: unknown): string | undefined {
  if (error instanceof ConfigError || error instanceof DataFolderError || error instanceof GraphLoadError) {
    return error.message;
  }
  if (
    !(error instanceof Error) ||
    !("syscall" in error) ||
    (error.syscall !== "listen" && error.syscall !== "getaddrinfo")
  ) {
    return undefined;
  }
  const { code, address, port } = error as NodeJS.ErrnoException & { address?: string; port?: number };
  if (code === "EADDRINUSE") return `port ${port} of ${address} is in use (--port takes another one, 0 a free one)`;
  return `cannot listen: ${error.message}`;
}

try {
  await createProgram().parseAsync(process.argv);
} catch (error) {
  const line = explain(error);
  process.stderr.write(
    line === undefined ? `heddle: ${(error as Error).stack ?? String(error)}\n` : `heddle: ${line}\n`,
  );
  process.exit(1);
}
