/** What holds after every step of any sequence of transitions. */

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type CancelAction, isInFlight, type Run } from "../../src/core/model.js";
import type { BriefRun } from "../../src/storage/ports/runs.js";
import {
  admission,
  createSqlStores,
  LEASE_MS,
  leaseOf,
  outcome,
  reservation,
  type SqlStores,
} from "../support/sql-stores.js";
import { ON_POSTGRES } from "../support/test-database.js";

describe("any sequence of admissions, claims, ends, cancels and crashes", () => {
  type Step =
    | {
        readonly kind: "admit";
        readonly thread: string;
        readonly delay: number;
        readonly cancel: CancelAction | null;
        readonly claimed: boolean;
      }
    | { readonly kind: "claim" | "crash" | "tick" }
    | { readonly kind: "finish" | "release" | "rollback"; readonly pick: number }
    | { readonly kind: "cancel"; readonly pick: number; readonly action: CancelAction }
    | { readonly kind: "reserve" | "free"; readonly thread: string };

  const thread = fc.constantFrom("t1", "t2");
  const action = fc.constantFrom<CancelAction>("interrupt", "rollback");
  const step: fc.Arbitrary<Step> = fc.oneof(
    fc.record({
      kind: fc.constant("admit" as const),
      thread,
      delay: fc.constantFrom(0, 0, 5, -10),
      cancel: fc.option(action),
      claimed: fc.boolean(),
    }),
    fc.record({ kind: fc.constantFrom("claim" as const, "claim" as const, "crash" as const, "tick" as const) }),
    fc.record({ kind: fc.constantFrom("finish" as const, "release" as const, "rollback" as const), pick: fc.nat(9) }),
    fc.record({ kind: fc.constant("cancel" as const), pick: fc.nat(9), action }),
    fc.record({ kind: fc.constantFrom("reserve" as const, "free" as const), thread }),
  );

  it("runs at most one run per thread, in order, numbers its claims, and is busy exactly while a run is in flight", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
        const stores = await createSqlStores();
        try {
          for (const [index, next] of steps.entries()) {
            await take(stores, next, `r${index}`);
            await checkInvariants(stores);
          }
        } finally {
          await stores.close();
        }
      }),
      { numRuns: ON_POSTGRES ? 20 : 150 },
    );
  }, 60_000);

  async function take(stores: SqlStores, next: Step, runId: string): Promise<void> {
    const { runs, threads, clock } = stores;
    const running = [...(await runs.listInFlight({ status: "running" }))].reverse();
    const inFlight = await runs.listInFlight({});
    switch (next.kind) {
      case "admit":
        await runs.admit(
          admission(
            { runId, threadId: next.thread, runAfter: clock.now() + next.delay },
            {
              cancelInFlight: next.cancel ?? undefined,
              claim: next.claimed ? { workerId: "w1", leaseMs: LEASE_MS } : null,
            },
          ),
        );
        return;
      case "claim": {
        const run = await runs.claim("w1", LEASE_MS);
        if (run !== undefined) await expectHead(stores, run, inFlight);
        return;
      }
      case "crash":
        await runs.recoverOrphans();
        return;
      case "tick":
        clock.advance(3);
        return;
      case "finish":
      case "release":
      case "rollback": {
        const run = running[next.pick];
        if (run === undefined) return;
        if (next.kind === "finish") await runs.finish(leaseOf(run), outcome());
        if (next.kind === "release") await runs.release(leaseOf(run));
        if (next.kind === "rollback" && (await runs.markRollingBack(leaseOf(run)))) await runs.removeRolledBack(run);
        return;
      }
      case "cancel": {
        const run = inFlight[next.pick];
        if (run !== undefined) await runs.requestCancel(run.threadId, run.runId, next.action);
        return;
      }
      case "reserve": {
        const busy = inFlight.some((run) => run.threadId === next.thread);
        const answer = await threads.reserve(next.thread, reservation("x"));
        if (busy) expect(answer).not.toBe("reserved");
        return;
      }
      case "free":
        await threads.release(next.thread, "x");
    }
  }

  /** A claimed run was due, and the first of its thread: claimed before, then due time, then creation (as ids grow). */
  async function expectHead(stores: SqlStores, run: Run, before: readonly BriefRun[]): Promise<void> {
    expect(run.runAfter).toBeLessThanOrEqual(stores.clock.now());
    const [head] = before
      .filter((other) => other.threadId === run.threadId)
      .sort(
        (a, b) =>
          Number(b.fence > 0) - Number(a.fence > 0) ||
          a.runAfter - b.runAfter ||
          Number(a.runId.slice(1)) - Number(b.runId.slice(1)),
      );
    expect(head?.runId).toBe(run.runId);
    expect(before.some((other) => other.threadId === run.threadId && other.status === "running")).toBe(false);
  }

  async function checkInvariants({ runs, threads, column }: SqlStores): Promise<void> {
    for (const threadId of ["t1", "t2"]) {
      const found = await threads.get(threadId);
      const all = (await runs.list(threadId, { limit: 100, offset: 0, maxBytes: 1e9, withPayload: true })).rows;
      const running = all.filter((run) => run.status === "running");
      expect(running.length).toBeLessThanOrEqual(1);
      const [claims = 0] = await column("SELECT claims FROM threads WHERE thread_id = ?", threadId);
      const audited = "SELECT count(*) FROM run_audit WHERE thread_id = ? AND new_status = 'running'";
      expect([claims]).toEqual(await column(audited, threadId));
      for (const { firstClaim, fence } of running) expect((firstClaim ?? 0) + fence - 1).toBe(claims);
      if (found !== undefined) expect(found.status === "busy").toBe(all.some((run) => isInFlight(run.status)));
    }
  }
});
