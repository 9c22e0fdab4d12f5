// Preloaded (`node --import`) into the program under test: a disk that is full while the file HEDDLE_FULL names exists.
// Files of the data folder may not grow any more then, which SQLite tells as SQLITE_FULL, as it does of a full disk.
import { existsSync } from "node:fs";
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);
const name = Number(process.versions.node.split(".")[0]) < 22 ? "better-sqlite3" : "better-sqlite3-napi";
const Driver = require(name);
const connections = new Set();

class Watched extends Driver {
  constructor(...args) {
    super(...args);
    connections.add(this);
  }
}
require.cache[require.resolve(name)].exports = Watched;

let full = false;
setInterval(() => {
  if (existsSync(process.env.HEDDLE_FULL) === full) return;
  full = !full;
  for (const connection of connections) {
    if (!connection.open || connection.readonly || connection.inTransaction) continue;
    if (full) connection.exec("VACUUM"); // no page of what was deleted is left to be used again
    const pages = full ? connection.pragma("page_count", { simple: true }) : 2 ** 31;
    connection.pragma(`max_page_count = ${pages}`);
  }
  process.stdout.write(full ? "disk full\n" : "disk has room\n");
}, 10).unref();
