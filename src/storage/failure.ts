/** What it means for a client that the database failed: come back later, and why; never SQLite's own words alone. */
import { GatewayError } from "../core/errors.js";

const MEANINGS: readonly (readonly [code: RegExp, meaning: string])[] = [
  [/^SQLITE_FULL/, "the disk is full and nothing was written: make room in the data folder, nothing needs a restart"],
  [/^SQLITE_(BUSY|LOCKED|PROTOCOL)/, "another program keeps the database locked: nothing was written"],
  [/^SQLITE_READONLY/, "the database has become read-only: nothing was written"],
  [/^SQLITE_(IOERR|CANTOPEN|NOLFS)/, "the disk of the data folder does not work"],
  [/^SQLITE_(CORRUPT|NOTADB)/, "the database is damaged: stop the gateway and restore the data folder"],
];

/** `unavailable` for what the disk, the file or another program is to blame for; undefined for everything else. */
export function storageFailure(error: unknown): GatewayError | undefined {
  const code = sqliteCode(error);
  const found = code === undefined ? undefined : MEANINGS.find(([pattern]) => pattern.test(code));
  return found === undefined ? undefined : new GatewayError("unavailable", found[1]);
}

/** `work`, which throws what its storage failures mean. */
export function explaining<Args extends unknown[], Result>(work: (...args: Args) => Result): (...args: Args) => Result {
  return (...args) => {
    try {
      return work(...args);
    } catch (error) {
      throw storageFailure(error) ?? error;
    }
  };
}

/** The code of the error, or of one that it was caused by. */
function sqliteCode(error: unknown): string | undefined {
  for (let depth = 0, at = error; depth < 5 && typeof at === "object" && at !== null; depth++) {
    const { code, cause } = at as { readonly code?: unknown; readonly cause?: unknown };
    if (typeof code === "string" && code.startsWith("SQLITE_")) return code;
    at = cause;
  }
  return undefined;
}
