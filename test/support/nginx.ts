/** The real nginx with the shipped configuration, on free ports and in a folder of its own. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { startProgram } from "./process.js";

export const NGINX_CONF = fileURLToPath(new URL("../../nginx/nginx.conf", import.meta.url));

/** Where Debian, and others, install it. */
export const NGINX = ["/usr/sbin/nginx", "/usr/bin/nginx", "/usr/local/bin/nginx", "/opt/homebrew/bin/nginx"].find(
  (path) => existsSync(path),
);

export const NGINX_MISSING = "nginx is not installed (apt-get install nginx-light)";

export interface Nginx {
  readonly url: string;
  /** Cuts every connection and comes back at the same address. */
  restart(): Promise<Nginx>;
  /** As after a change of its configuration: a new worker takes what comes, the old one goes on with what it has. */
  reload(): Promise<void>;
  stop(): Promise<void>;
}

/** By what of nginx.conf stands in it once, what stands there instead. */
export type Changes = readonly (readonly [from: string, to: string])[];

/** Takes requests when the promise resolves; forwards to the gateway on `gatewayPort` of 127.0.0.1. */
export async function startNginx(gatewayPort: number, changes: Changes = []): Promise<Nginx> {
  return start({ gatewayPort, port: await freePort(), changes });
}

interface Start {
  readonly gatewayPort: number;
  readonly port: number;
  readonly changes: Changes;
}

async function start(options: Start): Promise<Nginx> {
  const { gatewayPort, port, changes } = options;
  if (NGINX === undefined) throw new Error(NGINX_MISSING);
  const folder = mkdtempSync(join(tmpdir(), "heddle-nginx-"));
  const shipped = readFileSync(NGINX_CONF, "utf8");
  const conf = [
    ...changes,
    ["server 127.0.0.1:2024 ", `server 127.0.0.1:${gatewayPort} `], // another's port may begin with these digits
    ["listen 127.0.0.1:2026;", `listen 127.0.0.1:${port};`],
    ["error_log stderr warn", "error_log stderr notice"],
    ["worker_processes auto", "worker_processes 1"], // kept connections belong to a worker
  ].reduce((text, [from = "", to = ""]) => replaceOnce(text, from, to), shipped);
  writeFileSync(join(folder, "nginx.conf"), conf);
  const program = startProgram(NGINX, ["-e", "stderr", "-p", folder, "-c", join(folder, "nginx.conf")]);
  // It listens before it starts its workers.
  const started = (nth: number) => program.lineNumber("stderr", /start worker process \d+/, nth);
  await started(1);
  let starts = 1;
  const stop = async (): Promise<void> => {
    await program[Symbol.asyncDispose]();
    rmSync(folder, { recursive: true, force: true });
  };
  return {
    url: `http://127.0.0.1:${port}`,
    async restart() {
      await stop();
      return start(options);
    },
    async reload() {
      program.kill("SIGHUP");
      await started(++starts);
    },
    stop,
  };
}

function replaceOnce(text: string, from: string, to: string): string {
  if (text.split(from).length !== 2) throw new Error(`nginx.conf does not say ${from} exactly once`);
  return text.replace(from, to);
}

/** A port that was free a moment ago. */
async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo; // listens on TCP
  await new Promise((resolve) => server.close(resolve));
  return port;
}
