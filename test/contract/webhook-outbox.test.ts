/** The outbox of webhooks: one row for every end of a run, written with that end; claims that survive whoever holds them. */
import { describe, expect, it } from "vitest";
import type { WebhookDelivery } from "../../src/storage/ports/webhooks.js";
import { SqlWebhookOutbox } from "../../src/storage/webhook-outbox.js";
import {
  admission,
  claim,
  leaseOf,
  newRun,
  newThread,
  openSqlStores,
  outcome,
  PAYLOAD,
  projection,
  type SqlStores,
} from "../support/sql-stores.js";
import { onSqlite } from "../support/test-database.js";

const HOOK = "https://hooks.example/a?token=t";
const payload = { ...PAYLOAD, webhook: HOOK };
const ROOM = { limit: 100, roomOf: () => 100 };
const SHORT_MS = 30_000;

async function open() {
  const stores = await openSqlStores();
  return { ...stores, stores, outbox: new SqlWebhookOutbox(stores) };
}

async function admitAndClaimHooked({ stores }: { readonly stores: SqlStores }, runId = "r1") {
  await stores.runs.admit(admission({ runId, payload }));
  return claim(stores);
}

/** Makes `runId` end on a thread of its own, with a webhook to `url`. */
async function end({ stores }: { readonly stores: SqlStores }, runId: string, url = HOOK): Promise<void> {
  await stores.runs.admit(admission({ runId, threadId: `t-${runId}`, payload: { ...PAYLOAD, webhook: url } }));
  await stores.runs.finish(leaseOf(await claim(stores)), outcome());
}

const idsOf = (deliveries: readonly WebhookDelivery[]) => deliveries.map(({ ended }) => ended.run.runId);

describe("an end writes what its webhook tells", () => {
  it.each(["success", "error", "timeout", "interrupted"] as const)(
    "as %s, with the state that the run left",
    async (status) => {
      const kit = await open();
      const { runs, outbox, clock } = kit;
      const run = await admitAndClaimHooked(kit);
      const startedAt = clock.now();
      clock.advance(500);
      const error = status === "error" ? { error: "Error", message: "no" } : null;
      const asked = { task: [{ id: "q", value: "sure?" }] };
      const end = { status, error, projection: projection({ valuesJson: '{"a":1}', interrupts: asked }) };
      expect(await runs.finish(leaseOf(run), outcome(end))).toBe(true);
      const [delivery, ...others] = await outbox.claim(SHORT_MS, ROOM);
      expect(others).toEqual([]);
      expect(delivery).toEqual({
        id: expect.any(Number),
        url: HOOK,
        host: "hooks.example",
        tries: 1,
        ended: {
          run: await runs.get("t1", "r1"),
          status,
          startedAt,
          endedAt: clock.now(),
          valuesJson: '{"a":1}',
          interrupts: asked,
        },
      });
      expect(delivery?.ended.run).toMatchObject({ status, error });
    },
  );

  it("with the thread's state where the run changed none", async () => {
    const kit = await open();
    await kit.threads.create(newThread());
    await kit.threads.saveProjection("t1", projection({ valuesJson: '{"before":true}' }));
    const run = await admitAndClaimHooked(kit);
    await kit.runs.finish(leaseOf(run), outcome({ status: "error", projection: null }));
    const [delivery] = await kit.outbox.claim(SHORT_MS, ROOM);
    expect(delivery?.ended.valuesJson).toBe('{"before":true}');
  });

  it("also for a run that was cancelled before it started", async () => {
    const kit = await open();
    await kit.runs.admit(admission({ runId: "r1", payload }));
    expect(await kit.runs.requestCancel("t1", "r1", "interrupt")).toBe("ended");
    const [delivery] = await kit.outbox.claim(SHORT_MS, ROOM);
    expect(delivery?.ended).toMatchObject({ status: "interrupted", startedAt: null, valuesJson: null });
  });

  it.each(["interrupt", "rollback"] as const)(
    "also for those that a later run's admission cancels (%s)",
    async (action) => {
      const kit = await open();
      await kit.runs.admit(admission({ runId: "r1", payload }));
      await kit.runs.admit(admission({ runId: "r2" }, { cancelInFlight: action }));
      const deliveries = await kit.outbox.claim(SHORT_MS, ROOM);
      expect(deliveries.map(({ ended }) => [ended.run.runId, ended.status])).toEqual([
        ["r1", action === "rollback" ? "rollback" : "interrupted"],
      ]);
    },
  );

  it("also for a run that is rolled back, although its row goes", async () => {
    const kit = await open();
    await kit.threads.create(newThread());
    await kit.threads.saveProjection("t1", projection({ valuesJson: '{"before":true}' }));
    const run = await admitAndClaimHooked(kit);
    await kit.runs.requestCancel("t1", "r1", "rollback");
    await kit.runs.markRollingBack(leaseOf(run));
    expect(await kit.outbox.nextDueAt([])).toBeUndefined(); // it has not ended yet
    await kit.runs.removeRolledBack(run);
    await kit.runs.removeRolledBack(run); // as a start after a crash may
    const deliveries = await kit.outbox.claim(SHORT_MS, ROOM);
    expect(deliveries.map(({ ended }) => ended)).toMatchObject([{ status: "rollback", valuesJson: '{"before":true}' }]);
    expect(await kit.runs.get("t1", "r1")).toBeUndefined();
  });

  it("tells when the run first started, however often it was claimed", async () => {
    const kit = await open();
    const first = await admitAndClaimHooked(kit);
    const startedAt = kit.clock.now();
    await kit.runs.release(leaseOf(first));
    kit.clock.advance(1_000);
    await kit.runs.finish(leaseOf(await claim(kit.stores)), outcome());
    const [delivery] = await kit.outbox.claim(SHORT_MS, ROOM);
    expect(delivery?.ended.startedAt).toBe(startedAt);
  });
});

describe("nothing is written", () => {
  it("for a run without a webhook", async () => {
    const kit = await open();
    await kit.runs.admit(admission({ runId: "r1" }));
    await kit.runs.finish(leaseOf(await claim(kit.stores)), outcome());
    expect(await kit.outbox.nextDueAt([])).toBeUndefined();
  });

  it("by an end that did not happen: the lease was lost, or a cancel was accepted", async () => {
    const kit = await open();
    const run = await admitAndClaimHooked(kit);
    expect(await kit.runs.finish({ ...leaseOf(run), fence: 9 }, outcome())).toBe(false);
    await kit.runs.requestCancel("t1", "r1", "interrupt");
    expect(await kit.runs.finish(leaseOf(run), outcome())).toBe(false);
    expect(await kit.outbox.nextDueAt([])).toBeUndefined();
  });

  it("when a run ends whose thread somebody is deleting", async () => {
    const kit = await open();
    const run = await admitAndClaimHooked(kit);
    await kit.threads.markDeleting("t1");
    await kit.runs.requestCancel("t1", "r1", "interrupt");
    expect(await kit.runs.finish(leaseOf(run), outcome({ status: "interrupted" }))).toBe(true);
    expect(await kit.outbox.nextDueAt([])).toBeUndefined();
  });
});

describe("a webhook that waits", () => {
  it("goes with a run that is deleted, and leaves others", async () => {
    const kit = await open();
    for (const runId of ["r1", "r2"]) await kit.runs.finish(leaseOf(await admitAndClaimHooked(kit, runId)), outcome());
    await kit.runs.remove("t1", "r1");
    expect(idsOf(await kit.outbox.claim(SHORT_MS, ROOM))).toEqual(["r2"]);
  });

  it("goes with a thread that is deleted, also when its run was rolled back", async () => {
    const kit = await open();
    await kit.runs.finish(leaseOf(await admitAndClaimHooked(kit)), outcome());
    await kit.runs.admit(admission({ runId: "r2", payload }));
    await kit.runs.requestCancel("t1", "r2", "rollback");
    await end(kit, "other");
    await kit.threads.markDeleting("t1");
    expect(idsOf(await kit.outbox.claim(SHORT_MS, ROOM))).toEqual(["other"]);
  });

  it.each(["finish", "cancel"] as const)("outlives the thread that was made for its run (%s)", async (way) => {
    const kit = await open();
    await kit.runs.admit(admission(newRun({ runId: "r1", payload: { ...payload, temporary: true } })));
    if (way === "cancel") await kit.runs.requestCancel(null, "r1", "interrupt");
    else await kit.runs.finish(leaseOf(await claim(kit.stores)), outcome({ deleteThread: true }));
    await kit.threads.remove("t1");
    await kit.threads.create(newThread()); // somebody else's, who knows of the id
    await kit.threads.markDeleting("t1");
    const deliveries = await kit.outbox.claim(SHORT_MS, ROOM);
    expect(idsOf(deliveries)).toEqual(["r1"]);
    expect(deliveries[0]?.ended.valuesJson).toBe(way === "cancel" ? null : '{"messages":[]}');
  });

  it("tells of its own run, whatever ran since", async () => {
    const kit = await open();
    await kit.runs.finish(
      leaseOf(await admitAndClaimHooked(kit)),
      outcome({ projection: projection({ valuesJson: '{"n":1}' }) }),
    );
    await kit.runs.admit(admission({ runId: "r2" }));
    await kit.runs.finish(
      leaseOf(await claim(kit.stores)),
      outcome({ projection: projection({ valuesJson: '{"n":2}' }) }),
    );
    const [delivery] = await kit.outbox.claim(SHORT_MS, ROOM);
    expect(delivery?.ended.valuesJson).toBe('{"n":1}');
  });
});

describe("a claim", () => {
  it("takes the longest due first, no more than asked for, and of a host no more than it has room for", async () => {
    const kit = await open();
    for (const runId of ["a1", "a2", "a3"]) await end(kit, runId, "https://a.example/");
    kit.clock.advance(1);
    for (const runId of ["b1", "b2"]) await end(kit, runId, "https://b.example/");
    const roomOf = (host: string) => (host === "a.example" ? 2 : 1);
    expect(idsOf(await kit.outbox.claim(SHORT_MS, { limit: 2, roomOf }))).toEqual(["a1", "a2"]);
    expect(idsOf(await kit.outbox.claim(SHORT_MS, { limit: 9, roomOf }))).toEqual(["a3", "b1"]);
    expect(idsOf(await kit.outbox.claim(SHORT_MS, { limit: 9, roomOf: () => 0 }))).toEqual([]);
  });

  it("hides the row from others until the lease is over", async () => {
    const kit = await open();
    await end(kit, "r1");
    expect(idsOf(await kit.outbox.claim(SHORT_MS, ROOM))).toEqual(["r1"]);
    expect(await kit.outbox.claim(SHORT_MS, ROOM)).toEqual([]);
    expect(await kit.outbox.nextDueAt([])).toBe(kit.clock.now() + SHORT_MS);
    kit.clock.advance(SHORT_MS);
    expect((await kit.outbox.claim(SHORT_MS, ROOM)).map(({ tries }) => tries)).toEqual([2]);
  });

  it("settles nothing once it is lost", async () => {
    const kit = await open();
    await end(kit, "r1");
    const [lost] = await kit.outbox.claim(SHORT_MS, ROOM);
    kit.clock.advance(SHORT_MS);
    const [held] = await kit.outbox.claim(SHORT_MS, ROOM);
    if (lost === undefined || held === undefined) throw new Error("expected two claims");
    expect(await kit.outbox.remove(lost)).toBe(false);
    expect(await kit.outbox.retryAt(lost, 0)).toBe(false);
    expect(await kit.outbox.release(lost)).toBe(false);
    expect(await kit.outbox.remove(held)).toBe(true);
    expect(await kit.outbox.nextDueAt([])).toBeUndefined();
  });

  it("is due again at the time that its try asks for, or at once without having been one", async () => {
    const kit = await open();
    await end(kit, "r1");
    const claimOne = async () => {
      const [delivery] = await kit.outbox.claim(SHORT_MS, ROOM);
      if (delivery === undefined) throw new Error("nothing is due");
      return delivery;
    };
    await kit.outbox.retryAt(await claimOne(), kit.clock.now() + 5_000);
    expect(await kit.outbox.nextDueAt([])).toBe(kit.clock.now() + 5_000);
    expect(await kit.outbox.nextDueAt(["hooks.example"])).toBeUndefined();
    kit.clock.advance(5_000);
    const second = await claimOne();
    expect(second.tries).toBe(2);
    await kit.outbox.release(second);
    expect((await claimOne()).tries).toBe(2);
  });

  it("is not put off by a clock that was set back while nobody ran", async () => {
    const kit = await open();
    await end(kit, "r1");
    kit.clock.set(-7_200_000);
    expect(await kit.outbox.claim(SHORT_MS, ROOM)).toEqual([]);
    await kit.outbox.rebase();
    expect(idsOf(await kit.outbox.claim(SHORT_MS, ROOM))).toEqual(["r1"]);
  });

  onSqlite("finds what is due without walking all that waits", async () => {
    const kit = await open();
    await end(kit, "r1");
    const statements = await kit.statementsOf(async () => {
      await kit.outbox.claim(SHORT_MS, ROOM);
      await kit.outbox.nextDueAt(["a"]);
      await kit.threads.markDeleting("t-r1");
    });
    const onOutbox = statements.filter((text) => text.includes('"outbox"'));
    expect(onOutbox.length).toBeGreaterThanOrEqual(3);
    for (const text of onOutbox) expect(kit.plan(text)).not.toMatch(/SCAN outbox(?! USING INDEX)|TEMP B-TREE/);
  });
});
