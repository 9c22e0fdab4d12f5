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
  stop(): Promise<void>;
}

/** Takes requests when the promise resolves; forwards to the gateway on `gatewayPort` of 127.0.0.1. */
export async function startNginx(gatewayPort: number): Promise<Nginx> {
  return start(gatewayPort, await freePort());
}

async function start(gatewayPort: number, port: number): Promise<Nginx> {
  if (NGINX === undefined) throw new Error(NGINX_MISSING);
  const folder = mkdtempSync(join(tmpdir(), "heddle-nginx-"));
  const shipped = readFileSync(NGINX_CONF, "utf8");
  const conf = [
    ["127.0.0.1:2024", `127.0.0.1:${gatewayPort}`],
    ["127.0.0.1:2026", `127.0.0.1:${port}`],
    ["error_log stderr warn", "error_log stderr notice"],
    ["worker_processes auto", "worker_processes 1"], // kept connections belong to a worker
  ].reduce((text, [from = "", to = ""]) => replaceOnce(text, from, to), shipped);
  writeFileSync(join(folder, "nginx.conf"), conf);
  const program = startProgram(NGINX, ["-e", "stderr", "-p", folder, "-c", join(folder, "nginx.conf")]);
  // It listens before it starts its workers.
  await program.line("stderr", /start worker process \d+/);
  const stop = async (): Promise<void> => {
    await program[Symbol.asyncDispose]();
    rmSync(folder, { recursive: true, force: true });
  };
  return {
    url: `http://127.0.0.1:${port}`,
    async restart() {
      await stop();
      return start(gatewayPort, port);
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
