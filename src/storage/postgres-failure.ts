/**
 * What the driver, the operating system and the server say when PostgreSQL cannot answer, in the few codes that the rest of
 * heddle knows; `failure.ts` has the words for clients.
 */

/** What keeps PostgreSQL from answering. The message says nothing of what was asked, and no password. */
export class PostgresFailure extends Error {
  override readonly name = "PostgresFailure";
  readonly code: "PG_UNREACHABLE" | "PG_TIMEOUT" | "PG_FULL" | "PG_BUSY" | "PG_READONLY" | "PG_REFUSED";
  /** The connection is of no more use. */
  readonly closes: boolean;
  /** Whether it happened while a commit was being answered: nobody knows what became of it. */
  readonly isCommit: boolean;

  constructor(
    code: PostgresFailure["code"],
    cause: unknown,
    { closes, isCommit }: { readonly closes: boolean; readonly isCommit: boolean },
  ) {
    super(`PostgreSQL: ${(cause as Error).message}`, { cause });
    this.code = code;
    this.closes = closes;
    this.isCommit = isCommit;
  }
}

/** By SQLSTATE, or by the code of Node's error. */
const FAILURES: readonly (readonly [pattern: RegExp, code: PostgresFailure["code"], closes: boolean])[] = [
  [/^(08...|57P0[1-5])$/, "PG_UNREACHABLE", true],
  [
    /^(ECONN[A-Z]+|EPIPE|ETIMEDOUT|E(HOST|NET)(UNREACH|DOWN)|ENETRESET|EADDRNOTAVAIL|E[MN]FILE|ENOTFOUND|EAI_[A-Z]+|ENOENT)$/,
    "PG_UNREACHABLE",
    true,
  ],
  [/^(28...|3D000)$/, "PG_REFUSED", true],
  [/^25P03$/, "PG_TIMEOUT", true],
  [/^(57014|55P03)$/, "PG_TIMEOUT", false],
  [/^(53100|58030)$/, "PG_FULL", false],
  [/^53...$/, "PG_BUSY", false],
  [/^25006$/, "PG_READONLY", true], // perhaps of a server that was demoted: the next connection may find the other
];

/** What the driver says without a code. */
const LOST = /connection (terminated|error)|not queryable|client was closed|using the pool after calling end/i;
const LATE = /query read timeout|timeout exceeded|connection timeout|timeout expired/i;

/** undefined for what is wrong with a statement, which stays as the server said it. */
export function failureOf(error: unknown, { isCommit = false } = {}): PostgresFailure | undefined {
  if (error instanceof PostgresFailure) return error;
  if (!(error instanceof Error)) return undefined;
  const { code, message } = error as Error & { readonly code?: unknown };
  if (typeof code === "string") {
    const found = FAILURES.find(([pattern]) => pattern.test(code));
    return found && new PostgresFailure(found[1], error, { closes: found[2], isCommit });
  }
  if (LATE.test(message)) return new PostgresFailure("PG_TIMEOUT", error, { closes: true, isCommit });
  if (LOST.test(message)) return new PostgresFailure("PG_UNREACHABLE", error, { closes: true, isCommit });
  return undefined;
}

/** For people: without user and password. */
export function addressOf(url: string): string {
  const { protocol, host, pathname } = new URL(url);
  return `${protocol}//${host}${pathname}`;
}
