/** Who may work on a database of PostgreSQL beside whom. */
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { silentLog } from "../../src/core/log.js";
import { lockDatabase } from "../../src/storage/replica-lock.js";
import { createFakeClock } from "../support/fake-clock.js";
import { makeDatabase, onServer, POSTGRES_MISSING } from "../support/postgres-server.js";

const ALONE = { alone: "stream_bridge.type memory" };

/** Its time flies: nothing here is worth waiting for. */
function hurried() {
  const clock = createFakeClock();
  return { ...clock, after: (_delayMs: number, callback: () => void) => clearable(setTimeout(callback, 5)) };
}

function clearable(timer: NodeJS.Timeout): () => void {
  return () => clearTimeout(timer);
}

async function enter(url: string, company: "replicas" | typeof ALONE, log = silentLog): Promise<() => Promise<void>> {
  const leave = await lockDatabase(url, { company, clock: hurried(), log });
  onTestFinished(leave);
  return leave;
}

describe.skipIf(POSTGRES_MISSING !== undefined)("a database", () => {
  it("is worked on by replicas together", async () => {
    const url = await makeDatabase();
    await Promise.all([enter(url, "replicas"), enter(url, "replicas"), enter(url, "replicas")]);
  });

  it("is for one gateway, where that keeps to itself what others would have to see", async () => {
    const url = await makeDatabase();
    const leave = await enter(url, ALONE);
    await expect(enter(url, ALONE)).rejects.toThrow(
      "another gateway works on this database, and stream_bridge.type memory is for one that is alone",
    );
    await expect(enter(url, "replicas")).rejects.toThrow("another gateway works on this database that must be alone");
    await leave();
    const leaveAgain = await enter(url, "replicas");
    await expect(enter(url, ALONE)).rejects.toThrow("is for one that is alone");
    await leaveAgain();
    await enter(url, ALONE);
  });

  it("stays so when the connection breaks that says it", async () => {
    const url = await makeDatabase();
    const info = vi.fn();
    await enter(url, ALONE, { ...silentLog, info } as typeof silentLog);
    await onServer(
      `select pg_terminate_backend(pid) from pg_locks join pg_database on oid = database
        where locktype = 'advisory' and datname = current_database()`,
      url,
    );
    await vi.waitFor(() => expect(info).toHaveBeenCalledWith("it is said again who works on the database"));
    await expect(enter(url, "replicas")).rejects.toThrow("must be alone");
  });
});
