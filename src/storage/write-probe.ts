/**
 * Tries whether a database can be written: by writing, because a full disk is noticed by nothing else.
 *
 * The probe allocates as much as a good-sized state and takes it back in the same transaction, so that it leaves nothing
 * behind, and commits, so that the log has to grow for it as for any other write.
 */
import { sql } from "kysely";
import type { CommitGroup } from "./commit-group.js";
import { isPostgres } from "./database.js";
import { explaining, storageFailure } from "./failure.js";
import { inTransaction, type SqliteDatabase } from "./sqlite.js";

const INSERT = "INSERT INTO write_probe (payload) VALUES (zeroblob(65536))";
/** Making room is PostgreSQL's business; that it takes a write at all is what is asked. */
const INSERT_A_BYTE = "INSERT INTO write_probe (payload) VALUES ('\\x00')";
const DELETE = "DELETE FROM write_probe";

/** Rejects with a `GatewayError` that says what is wrong. */
export function createWriteProbe(commits: CommitGroup): () => Promise<void> {
  return async () => {
    try {
      await commits.run(async (transaction) => {
        await sql.raw(isPostgres(transaction) ? INSERT_A_BYTE : INSERT).execute(transaction);
        await sql.raw(DELETE).execute(transaction);
      });
    } catch (error) {
      throw storageFailure(error) ?? error;
    }
  };
}

/** The same for a connection that nothing is under way on between two calls; throws instead. */
export function prepareWriteProbe(connection: SqliteDatabase): () => void {
  const insert = connection.prepare(INSERT);
  const remove = connection.prepare(DELETE);
  return explaining(
    inTransaction(connection, () => {
      insert.run();
      remove.run();
    }),
  );
}
