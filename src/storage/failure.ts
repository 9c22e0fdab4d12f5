/** What it means for a client that the database failed: come back later, and why; never the database's own words alone. */
import { GatewayError } from "../core/errors.js";

const MEANINGS: readonly (readonly [code: RegExp, meaning: string])[] = [
  [/^SQLITE_FULL/, "the disk is full and nothing was written: make room in the data folder, nothing needs a restart"],
  [/^SQLITE_(BUSY|LOCKED|PROTOCOL)/, "another program keeps the database locked: nothing was written"],
  [/^SQLITE_READONLY/, "the database has become read-only: nothing was written"],
  [/^SQLITE_(IOERR|CANTOPEN|NOLFS)/, "the disk of the data folder does not work"],
  [/^SQLITE_(CORRUPT|NOTADB)/, "the database is damaged: stop the gateway and restore the data folder"],
  // Those of `postgres-failure.ts`.
  [/^PG_UNREACHABLE$/, "the database cannot be reached: try again in a moment"],
  [/^PG_TIMEOUT$/, "the database did not answer in time: try again in a moment"],
  [/^PG_BUSY$/, "the database has no room for another connection: try again in a moment"],
  [/^PG_FULL$/, "the disk of the database is full and nothing was written: make room there, nothing needs a restart"],
  [/^PG_READONLY$/, "the database takes no writes at the moment: nothing was written"],
  [/^PG_REFUSED$/, "the database refuses the gateway's user: see its log"],
  // Two transactions that waited for each other, more often than was tried.
  [/^40(001|P01)$/, "others were writing the same: nothing was written, try again in a moment"],
];

/** `unavailable` for what the disk, the file or another program is to blame for; undefined for everything else. */
export function storageFailure(error: unknown): GatewayError | undefined {
  const code = storageCode(error);
  const found = code === undefined ? undefined : MEANINGS.find(([pattern]) => pattern.test(code));
  return found === undefined ? undefined : new GatewayError("unavailable", found[1]);
}

/** Whether a database server failed, and not a file here. */
export function isOfServer(error: unknown): boolean {
  return storageCode(error)?.startsWith("PG_") === true;
}

/** Whether it is the storage that failed, and not what was asked of it: it may work again in a moment. */
export function isAway(error: unknown): boolean {
  return error instanceof GatewayError ? error.code === "unavailable" : storageFailure(error) !== undefined;
}

/** Thrown out of a transaction that must begin anew, because what it was about to write is there by now. */
export class WrittenMeanwhile extends Error {
  override readonly name = "WrittenMeanwhile";
  readonly code = "40001"; // as if the database had seen it
}

/** Whether the same transaction may do better: others were in its way, or the database was away before it was committed. */
export function isTransient(error: unknown): boolean {
  const { code, isCommit } = (error ?? {}) as { readonly code?: unknown; readonly isCommit?: boolean };
  return typeof code === "string" && (/^40(001|P01)$/.test(code) || (code === "PG_UNREACHABLE" && isCommit === false));
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

const CODE = /^(SQLITE_|PG_|40(001|P01)$)/;

/** The code of the error, or of one that it was caused by. */
function storageCode(error: unknown): string | undefined {
  for (let depth = 0, at = error; depth < 5 && typeof at === "object" && at !== null; depth++) {
    const { code, cause } = at as { readonly code?: unknown; readonly cause?: unknown };
    if (typeof code === "string" && CODE.test(code)) return code;
    at = cause;
  }
  return undefined;
}
