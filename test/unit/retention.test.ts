import { describe, expect, it, vi } from "vitest";
import { silentLog } from "../../src/core/log.js";
import { startSweeper } from "../../src/storage/sweeper.js";
import { createRetention, type RetentionDeps } from "../../src/threads/retention.js";
import { createFakeClock } from "../support/fake-clock.js";

/** Threads by id, all of them expired, in a store that gives each away once. */
function expired(count: number, outgrownCount = 0) {
  const waiting = Array.from({ length: count }, (_, n) => `old${n}`);
  const outgrown = new Set(Array.from({ length: outgrownCount }, (_, n) => `grown${n}`));
  const finishDeletion = vi.fn(async (_threadId: string) => {});
  const pruneToLatest = vi.fn((_threadId: string) => {});
  const deps: RetentionDeps = {
    threads: {
      markExpired: async (limit) => waiting.splice(0, limit),
      listOutgrown: async (limit) => [...outgrown].slice(0, limit),
      async pruneOutgrown(threadId, prune) {
        if (!outgrown.has(threadId)) return false;
        prune({});
        return outgrown.delete(threadId);
      },
    },
    checkpoints: { pruneToLatest },
    finishDeletion,
    log: silentLog,
  };
  return { deps, waiting, outgrown, finishDeletion, pruneToLatest };
}

/** Batches of one sweep, to its end. */
async function sweepOnce(next: ReturnType<typeof createRetention>): Promise<number[]> {
  const batches: number[] = [];
  for (;;) {
    const { deleted, pruned, more } = await next();
    batches.push(deleted + pruned);
    if (!more) return batches;
  }
}

describe("a sweep", () => {
  it("works in batches, with a pause between them, until nothing is left", async () => {
    const { deps, finishDeletion, pruneToLatest } = expired(50, 5);
    const batches = await sweepOnce(createRetention(deps, { limit: 1_000 }));
    expect(batches).toEqual([20, 20, 15, 0]);
    expect(finishDeletion).toHaveBeenCalledTimes(50);
    expect(pruneToLatest).toHaveBeenCalledTimes(5);
  });

  it("handles no more threads than its limit; the next one goes on", async () => {
    const { deps, waiting } = expired(70);
    const next = createRetention(deps, { limit: 25 });
    expect(await sweepOnce(next)).toEqual([20, 5]);
    expect(waiting).toHaveLength(45);
    expect(await sweepOnce(next)).toEqual([20, 5]);
    expect(await sweepOnce(next)).toEqual([20, 0]);
    expect(waiting).toEqual([]);
  });

  it("finishes what can be finished, and tries the rest again the next time", async () => {
    const { deps, outgrown, finishDeletion, pruneToLatest } = expired(3, 2);
    finishDeletion.mockRejectedValueOnce(new Error("the disk is full"));
    pruneToLatest.mockImplementationOnce(() => {
      throw new Error("the disk is full");
    });
    const next = createRetention(deps, { limit: 1_000 });

    expect(await sweepOnce(next)).toEqual([3, 0]);
    expect(finishDeletion.mock.calls.flat()).toEqual(["old0", "old1", "old2"]);
    expect([...outgrown]).toEqual(["grown0"]);

    expect(await sweepOnce(next)).toEqual([2, 0]);
    expect(finishDeletion).toHaveBeenLastCalledWith("old0");
    expect(outgrown.size).toBe(0);
  });

  it("comes once per interval, its batches a pause apart", async () => {
    const clock = createFakeClock();
    const { deps, waiting } = expired(70);
    const next = createRetention(deps, { limit: 40 });
    const sweep = async () => {
      const { deleted, more } = await next();
      return { deleted, more };
    };
    const sweeper = startSweeper({ clock, log: silentLog, intervalMs: 60_000, pauseMs: 50, what: "threads", sweep });
    const left: number[] = [];
    for (const ms of [59_999, 1, 49, 1, 59_999, 1, 50]) {
      clock.advance(ms);
      await vi.waitFor(() => expect(clock.pending()).toBe(1)); // the batch that was due is done
      left.push(waiting.length);
    }
    expect(left).toEqual([70, 50, 50, 30, 30, 10, 0]);
    await sweeper.stop();
    expect(clock.pending()).toBe(0);
  });

  it("has the effect of one when two do it at once", async () => {
    const { deps, finishDeletion, pruneToLatest } = expired(45, 45);
    const sweepers = [createRetention(deps, { limit: 1_000 }), createRetention(deps, { limit: 1_000 })];
    await Promise.all(sweepers.map(sweepOnce));
    expect(new Set(finishDeletion.mock.calls.flat()).size).toBe(45);
    expect(finishDeletion).toHaveBeenCalledTimes(45);
    expect(pruneToLatest).toHaveBeenCalledTimes(45);
  });
});
