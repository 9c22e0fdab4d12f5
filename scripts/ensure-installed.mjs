// Installs what is missing, so that `npm start` and `npm test` work on a fresh clone. Does nothing when all is there.
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../", import.meta.url));
const [major, minor] = process.versions.node.split(".").map(Number);
// As src/storage/sqlite.ts chooses: version 12 for Node 20, version 13 (its binary comes ready made) from Node 22 on.
const usesReadyDriver = major >= 22;

/** Throws when something is still missing afterwards. */
export function ensureInstalled() {
  if (!((major === 20 && minor >= 19) || (major === 22 && minor >= 12) || major >= 24)) {
    throw new Error(`Node ${process.versions.node} is not supported: use 20.19 or newer, 22.12 or newer, or 24`);
  }
  if (isInstalled() && driverLoads()) return;
  process.stderr.write(
    `heddle: installing dependencies${usesReadyDriver ? "" : " (on Node 20 SQLite may be compiled, which takes a minute)"}\n`,
  );
  const hint = usesReadyDriver
    ? ""
    : "; on Node 20 compiling SQLite needs python3, make and a C++ compiler, Node 22 needs none";
  if (npm("ci", "--no-audit", "--no-fund", ...(usesReadyDriver ? ["--ignore-scripts"] : [])) !== 0) {
    throw new Error(`npm ci failed${hint}`);
  }
  if (!driverLoads()) throw new Error(`the SQLite driver does not load on Node ${process.versions.node}${hint}`);
}

/** Compares what npm says it installed with the lock file. */
function isInstalled() {
  const installedPath = join(root, "node_modules/.package-lock.json");
  if (!existsSync(installedPath)) return false;
  const installed = readPackages(installedPath);
  return Object.entries(readPackages(join(root, "package-lock.json"))).every(([path, wanted]) => {
    if (path === "") return true;
    const found = installed[path];
    return found === undefined
      ? wanted.optional === true || wanted.devOptional === true
      : found.version === wanted.version;
  });
}

function readPackages(path) {
  return JSON.parse(readFileSync(path, "utf8")).packages;
}

/** In a process of its own: a driver built for another Node version can end the one that loads it. */
function driverLoads() {
  const name = usesReadyDriver ? "better-sqlite3-napi" : "better-sqlite3";
  const program = `new (require(${JSON.stringify(name)}))(":memory:").close()`;
  return spawnSync(process.execPath, ["-e", program], { cwd: root, stdio: "ignore" }).status === 0;
}

function npm(...args) {
  const stdio = ["ignore", process.stderr.fd, process.stderr.fd];
  const options = { cwd: root, env: { ...process.env, ...localHeaders() }, stdio };
  const npmCli = process.env.npm_execpath;
  return npmCli === undefined
    ? spawnSync("npm", args, { ...options, shell: process.platform === "win32" }).status
    : spawnSync(process.execPath, [npmCli, ...args], options).status;
}

/** Native code compiles against the headers that came with this Node; without them npm would download some. */
function localHeaders() {
  const prefix = dirname(dirname(process.execPath));
  return existsSync(join(prefix, "include/node/node.h")) ? { npm_config_nodedir: prefix } : {};
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    ensureInstalled();
  } catch (error) {
    process.stderr.write(`heddle: ${error.message}\n`);
    process.exit(1);
  }
}
