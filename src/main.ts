#!/usr/bin/env node
/**
 * The command `heddle`: arguments → configuration → a gateway that runs until a signal, or work on a data folder.
 *
 * Standard output carries the result: of a gateway one line, the address, once requests are answered. Logs and progress go
 * to standard error. What a person can mend ends with one line and exit code 1. SIGTERM and SIGINT stop a gateway cleanly with
 * exit code 0; a second one ends it at once.
 */
import { createRequire } from "node:module";
import { constants } from "node:os";
import { resolve } from "node:path";
import { Command, InvalidArgumentError, Option } from "commander";
import { ConfigError } from "./config/config-error.js";
import { type Config, loadConfig } from "./config.js";
import { systemClock } from "./core/clock.js";
import { createLog, type Log } from "./core/log.js";
import { examine } from "./doctor/doctor.js";
import { type Finding, linesOf, summaryOf } from "./doctor/finding.js";
import { catchStrayErrors, createBlame } from "./graphs/blame.js";
import { UnsafePackageError } from "./graphs/checkpoint-version.js";
import { EmbeddingLoadError, GraphLoadError } from "./graphs/load-error.js";
import { type KeyOptions, type KeyPlace, listKeys, makeKey, revokeKey } from "./keys.js";
import { backUp, type Report } from "./maintenance/backup.js";
import { collectGarbage, lookForGarbage } from "./maintenance/gc.js";
import { lookForMigrations, makeMigrations } from "./maintenance/migrate.js";
import { migrateData } from "./maintenance/migrate-data.js";
import { restore } from "./maintenance/restore.js";
import { startGateway } from "./server.js";
import { unusableStorage } from "./storage/data-file.js";
import { ItemIndexError } from "./storage/item-models.js";
import { PendingMigrationsError } from "./storage/migration-state.js";
import { DataFolderError } from "./storage/sqlite.js";

/** Where the data is. */
interface FolderOptions {
  readonly config?: string;
  readonly data?: string;
}

interface ServeOptions extends FolderOptions {
  readonly host?: string;
  readonly port?: number;
  readonly role?: string;
  readonly migrate?: boolean;
  readonly allowUnauthenticated?: boolean;
}

interface DoctorOptions extends FolderOptions {
  readonly url?: string;
  readonly json?: boolean;
}

function createProgram(): Command {
  const { version, engines } = createRequire(import.meta.url)("../package.json") as {
    version: string;
    engines: { node: string };
  };
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
  addFolderOptions(program.command("gc"))
    .description("tell what threads take, and delete what has expired; beside a running gateway, too")
    .option("-n, --dry-run", "only tell what would go")
    .action((options: FolderOptions & { readonly dryRun?: boolean }) => gc(options));
  addFolderOptions(program.command("backup").argument("<target>", "a folder that is not there yet"))
    .description("copy the databases as of one moment; of a running gateway, too")
    .action((target: string, options: FolderOptions) => backupTo(target, options, version));
  addFolderOptions(program.command("restore").argument("<backup>", "a folder that heddle backup made"))
    .description("make a backup the content of a data folder")
    .option("--replace", "put aside what is there")
    .action((backup: string, options: FolderOptions & { readonly replace?: boolean }) => restoreFrom(backup, options));
  addFolderOptions(program.command("migrate"))
    .description("bring the databases to the version of this heddle; a start does it, too, unless it is told not to")
    .option("-n, --dry-run", "only tell what is pending")
    .action((options: FolderOptions & { readonly dryRun?: boolean }) => migrate(options));
  addFolderOptions(program.command("migrate-data"))
    .description("copy everything from a data folder that no gateway uses to the empty database of database.url")
    .addOption(new Option("--from <database>", "what it is in now").choices(["sqlite"]).makeOptionMandatory())
    .addOption(new Option("--to <database>", "where it goes").choices(["postgres"]).makeOptionMandatory())
    .action((options: FolderOptions) => moveData(options));
  addFolderOptions(program.command("doctor"))
    .description(
      "look for what is wrong with the configuration, the databases, Redis, and what stands in front of heddle",
    )
    .option("-u, --url <address>", "where clients reach the gateway, with the prefix: tested from here", parseAddress)
    .option("--json", "print the findings as JSON")
    .action((options: DoctorOptions) => doctor(options, engines.node));
  addKeysCommand(program);
  return program;
}

function addKeysCommand(program: Command): void {
  const keys = program.command("keys").description("API keys for auth.api_keys: whoever sends one is who it names");
  addFolderOptions(keys.command("create"))
    .description("make a key and print it: it is shown this once")
    .requiredOption("-i, --identity <who>", "who uses it")
    .option("-n, --name <text>", "what it is for (default: the identity)")
    .option("--permission <permission...>", "what it may do, such as threads:read or threads (default: everything)")
    .option("--expires-in-days <days>", "how long it works (default: until it is revoked)", parseDays)
    .action(async (options: FolderOptions & KeyOptions) => {
      process.stdout.write(`${await makeKey(keyPlaceOf(options), options)}\n`);
    });
  addFolderOptions(keys.command("list"))
    .description("list the keys; the keys themselves are not kept")
    .action(async (options: FolderOptions) => {
      for (const line of await listKeys(keyPlaceOf(options))) process.stdout.write(`${line}\n`);
    });
  addFolderOptions(keys.command("revoke"))
    .description("let a key work no more, at once")
    .argument("<key-id>", "as heddle keys list shows it")
    .action(async (keyId: string, options: FolderOptions) => {
      if (!(await revokeKey(keyPlaceOf(options), keyId))) throw new ConfigError(`there is no key ${keyId} that works`);
    });
}

function parseDays(text: string): number {
  const days = Number(text);
  if (days > 0 && days <= 36_500) return days;
  throw new InvalidArgumentError("expected a number of days.");
}

function addFolderOptions(command: Command): Command {
  return command
    .option("-c, --config <file>", "a config.yaml or a langgraph.json (default: ./config.yaml, then ./langgraph.json)")
    .option("-d, --data <folder>", "folder of the databases (default: .heddle beside the configuration)");
}

function addServeOptions(command: Command): Command {
  return addFolderOptions(command)
    .option("-H, --host <address>", "address to listen on (default: 127.0.0.1)")
    .option("-p, --port <number>", "port to listen on, 0 for a free one (default: 2024)", parsePort)
    .option("--role <role>", "all, or among replicas: api (serves, executes no run) or worker (the other way round)")
    .option("--no-migrate", "refuse to start where heddle migrate has something to do")
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

function parseAddress(text: string): string {
  if (URL.canParse(text) && /^https?:/.test(text)) return text;
  throw new InvalidArgumentError('expected an address such as "https://agents.example.com/api".');
}

async function run(options: ServeOptions, { watch }: { readonly watch: boolean }): Promise<void> {
  const { config, variables, warnings } = loadConfig({
    cwd: process.cwd(),
    file: options.config,
    environment: process.env,
    overrides: { ...options, dataDir: options.data, migrate: options.migrate === false ? false : undefined },
  });
  Object.assign(process.env, variables);
  const format = watch && config.log.format === "auto" ? "pretty" : config.log.format;
  const log = createLog({ level: config.log.level, format });
  for (const warning of warnings) log.warn(warning);
  const blame = createBlame();
  catchStrayErrors(blame, log);
  const stopRequested = onStopSignal(log);
  const gateway = await keepAwake(startGateway(config, { log, watch, blame }));
  process.stdout.write(`heddle listening on ${gateway.url}\n`);
  await stopRequested;
  await keepAwake(gateway.stop());
  // Whatever user code left open must not keep a stopped server alive.
  process.exit(0);
}

async function gc(options: FolderOptions & { readonly dryRun?: boolean }): Promise<void> {
  const configured = readConfig(options);
  const config = options.data === undefined ? configured : { ...configured, database: { url: null } }; // a folder that is named
  const log = createLog(config.log);
  const work = options.dryRun === true ? lookForGarbage : collectGarbage;
  await inFolder(config.dataDir, () => work({ config, log, print }));
}

async function migrate(options: FolderOptions & { readonly dryRun?: boolean }): Promise<void> {
  const config = readConfig(options);
  const work = options.dryRun === true ? lookForMigrations : makeMigrations;
  await inFolder(config.dataDir, () => work({ config, log: createLog(config.log), print }));
}

async function moveData(options: FolderOptions): Promise<void> {
  const config = readConfig(options);
  const log = createLog(config.log);
  await inFolder(config.dataDir, () => migrateData({ config, clock: systemClock, log, print, report: showProgress() }));
}

/** Ends with code 1 where there is a problem. */
async function doctor({ config: file, data, url, json }: DoctorOptions, engines: string): Promise<void> {
  const overrides = { dataDir: data, allowUnauthenticated: true };
  const source = { cwd: process.cwd(), file, environment: process.env, overrides };
  const findings: Finding[] = [];
  for await (const finding of examine({ source, url: url ?? null, engines, clock: systemClock })) {
    findings.push(finding);
    if (json !== true) for (const line of linesOf(finding)) print(line);
  }
  print(json === true ? JSON.stringify({ findings }, null, 2) : summaryOf(findings));
  if (findings.some(({ level }) => level === "problem")) process.exitCode = 1;
}

async function backupTo(target: string, options: FolderOptions, version: string): Promise<void> {
  const dataDir = dataDirOf(options);
  const { taken_at, files } = await inFolder(dataDir, () =>
    backUp(dataDir, resolve(target), { version, report: showProgress() }),
  );
  print(`${resolve(target)} holds ${dataDir} as of ${taken_at}`);
  for (const [name, { bytes }] of Object.entries(files)) print(`${name}: ${bytes.toLocaleString("en")} bytes`);
}

async function restoreFrom(backup: string, options: FolderOptions & { readonly replace?: boolean }): Promise<void> {
  const dataDir = dataDirOf(options);
  const { manifest, aside } = await inFolder(dataDir, () =>
    restore(resolve(backup), dataDir, { replace: options.replace === true, report: showProgress() }),
  );
  print(`${dataDir} is as it was at ${manifest.taken_at}`);
  if (aside !== null) print(`what was there is in ${aside}`);
}

/** Of a command that serves nobody, so that who may reach the server does not matter. */
function readConfig({ config: file, data }: FolderOptions): Config {
  const overrides = { dataDir: data, allowUnauthenticated: true };
  return loadConfig({ cwd: process.cwd(), file, environment: process.env, overrides }).config;
}

/** A folder that is named needs no configuration. Throws a `ConfigError` where what is kept is in no folder. */
function dataDirOf(options: FolderOptions): string {
  if (options.data !== undefined) return resolve(options.data);
  const { database, dataDir } = readConfig(options);
  if (database.type === "sqlite") return dataDir;
  const instead = database.type === "postgres" ? ": use pg_dump and pg_restore, or name a folder with --data" : "";
  throw new ConfigError(`database.type is ${database.type}, and this is for the data folder of sqlite${instead}`);
}

/** A folder that is named is where keys are, whatever the configuration says. */
function keyPlaceOf(options: FolderOptions): KeyPlace {
  if (options.data === undefined) return readConfig(options);
  return { dataDir: resolve(options.data), database: { url: null, timeoutSeconds: 0, migrate: true } };
}

async function inFolder<T>(dataDir: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof Error && "syscall" in error) throw new DataFolderError(error.message, { cause: error });
    throw unusableStorage({ folder: dataDir, url: null }, error);
  }
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

/** A line at each tenth. */
function showProgress(): Report {
  let shown = "";
  return (what, done) => {
    const line = `${what}: ${Math.floor(done * 10) * 10} %`;
    if (line !== shown) process.stderr.write(`${line}\n`);
    shown = line;
  };
}

/** Whoever reads the output may have seen enough: what was begun goes on. */
function ignoreClosedOutput(error: NodeJS.ErrnoException): void {
  if (error.code !== "EPIPE") throw error;
}

const KEEP_ALIVE_MS = 60_000;

/** What a start or a stop waits for, such as a graph on its thread, keeps no process alive by itself. */
async function keepAwake<T>(work: Promise<T>): Promise<T> {
  const timer = setInterval(() => {}, KEEP_ALIVE_MS);
  try {
    return await work;
  } finally {
    clearInterval(timer);
  }
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
  const mendable = [
    ConfigError,
    DataFolderError,
    EmbeddingLoadError,
    GraphLoadError,
    ItemIndexError,
    PendingMigrationsError,
    UnsafePackageError,
  ];
  if (error instanceof Error && mendable.some((Kind) => error instanceof Kind)) return error.message;
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

process.stdout.on("error", ignoreClosedOutput);
try {
  await createProgram().parseAsync(process.argv);
} catch (error) {
  const line = explain(error);
  process.stderr.write(
    line === undefined ? `heddle: ${(error as Error).stack ?? String(error)}\n` : `heddle: ${line}\n`,
  );
  process.exit(1);
}
