// `npm start` and `npm run dev`: installs what is missing, builds what is stale, and becomes the command `heddle`.
import { fileURLToPath } from "node:url";
import { buildIfStale } from "./build.mjs";
import { ensureInstalled } from "./ensure-installed.mjs";

try {
  ensureInstalled();
  buildIfStale();
} catch (error) {
  process.stderr.write(`heddle: ${error.message}\n`);
  process.exit(1);
}

// npm passes SIGTERM to the shell between it and this process, and that shell dies without passing it on.
if (process.env.npm_lifecycle_event !== undefined) {
  const shell = process.ppid;
  const watch = setInterval(() => {
    if (process.ppid !== shell) process.kill(process.pid, "SIGTERM");
  }, 250);
  watch.unref();
  for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => clearInterval(watch));
}

const main = new URL("../dist/main.js", import.meta.url);
process.argv = [process.execPath, fileURLToPath(main), ...process.argv.slice(2)];
await import(main.href);
