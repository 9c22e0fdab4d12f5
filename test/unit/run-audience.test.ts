/** A run outlives its client for a moment: who comes back in time keeps it alive. */
import { describe, expect, it } from "vitest";
import { createRunAudience } from "../../src/api/run-audience.js";
import { silentLog } from "../../src/core/log.js";
import { createFakeClock } from "../support/fake-clock.js";
import { settle } from "../support/run-kit.js";

function open(graceMs = 2_000) {
  const clock = createFakeClock();
  const cancelled: string[] = [];
  const listeners = new Set<() => void>();
  const audience = createRunAudience({
    clock,
    graceMs,
    cancel: (runId) => cancelled.push(runId),
    onRunEnd(_runId, listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  });
  return {
    clock,
    cancelled,
    close: () => audience.close(),
    /** A client that wants its run to stop when it leaves. */
    client: () => audience.join("run", { cancelOnDisconnect: true }),
    onlooker: () => audience.join("run", { cancelOnDisconnect: false }),
    endRun: () => [...listeners].forEach((listener) => void listener()),
    expectNothingLeft() {
      expect(clock.pending()).toBe(0);
      expect(listeners.size).toBe(0);
    },
  };
}

describe("a run whose client left and wanted it to stop", () => {
  it("is cancelled when nobody has come for the grace, and once", () => {
    const { client, clock, cancelled, expectNothingLeft } = open();
    client()("left");
    clock.advance(1_999);
    expect(cancelled).toEqual([]);
    clock.advance(1);
    expect(cancelled).toEqual(["run"]);
    clock.advance(60_000);
    expect(cancelled).toEqual(["run"]);
    expectNothingLeft();
  });

  it("is cancelled at once without a grace", () => {
    const { client, cancelled, expectNothingLeft } = open(0);
    client()("left");
    expect(cancelled).toEqual(["run"]);
    expectNothingLeft();
  });

  it.each([0, 2_000])("goes on while somebody else reads it, and no longer (a grace of %s ms)", (graceMs) => {
    const { client, onlooker, clock, cancelled, expectNothingLeft } = open(graceMs);
    const leave = onlooker();
    client()("left");
    clock.advance(60_000);
    expect(cancelled).toEqual([]);
    leave("left");
    clock.advance(graceMs);
    expect(cancelled).toEqual(["run"]);
    expectNothingLeft();
  });

  it("goes on when somebody comes within the grace, and has another grace when they leave", () => {
    const { client, onlooker, clock, cancelled } = open();
    client()("left");
    for (let visit = 0; visit < 3; visit++) {
      clock.advance(1_999);
      const leave = onlooker();
      clock.advance(60_000);
      leave("left");
    }
    expect(cancelled).toEqual([]);
    clock.advance(2_000);
    expect(cancelled).toEqual(["run"]);
  });

  it("counts a reader that was cut off as gone", () => {
    const { client, onlooker, clock, cancelled } = open();
    const cutOff = onlooker();
    client()("left");
    cutOff("cut");
    clock.advance(2_000);
    expect(cancelled).toEqual(["run"]);
  });

  it("is left alone when it ends before", () => {
    const { client, onlooker, clock, cancelled, endRun, expectNothingLeft } = open();
    client()("left");
    endRun();
    expectNothingLeft();
    onlooker()("left");
    clock.advance(60_000);
    expect(cancelled).toEqual([]);
    expectNothingLeft();
  });

  it("is left alone when another reader sees its end", () => {
    const { client, onlooker, clock, cancelled, expectNothingLeft } = open();
    const seesTheEnd = onlooker();
    client()("left");
    seesTheEnd("ended");
    clock.advance(60_000);
    expect(cancelled).toEqual([]);
    expectNothingLeft();
  });
});

describe("nothing is cancelled", () => {
  it("for a client that said nothing of it", () => {
    const { onlooker, clock, cancelled, expectNothingLeft } = open();
    onlooker()("left");
    clock.advance(60_000);
    expect(cancelled).toEqual([]);
    expectNothingLeft();
  });

  it.each(["ended", "cut"] as const)("for a client whose answer %s", (end) => {
    const { client, clock, cancelled, expectNothingLeft } = open();
    client()(end);
    clock.advance(60_000);
    expect(cancelled).toEqual([]);
    expectNothingLeft();
  });

  it("when the gateway stops, neither what waits nor who leaves then (R18)", () => {
    const { client, clock, cancelled, close, expectNothingLeft } = open();
    const staying = client();
    client()("left");
    close();
    staying("left");
    clock.advance(60_000);
    expect(cancelled).toEqual([]);
    expectNothingLeft();
  });
});

it("what one run's client wants concerns no other run", () => {
  const clock = createFakeClock();
  const cancelled: string[] = [];
  const audience = createRunAudience({
    clock,
    graceMs: 2_000,
    cancel: (runId) => cancelled.push(runId),
    onRunEnd: () => () => {},
  });
  const stay = audience.join("other", { cancelOnDisconnect: true });
  audience.join("run", { cancelOnDisconnect: true })("left");
  clock.advance(2_000);
  expect(cancelled).toEqual(["run"]);
  stay("ended");
});

describe("among replicas", () => {
  /** Replicas that hear of each other's wishes, or only look. */
  function openReplicas({ hear }: { readonly hear: boolean }) {
    const clock = createFakeClock();
    const abandonedAt = new Map<string, number>();
    const listeners = new Set<() => void>();
    const cancelled: string[] = [];
    const cancelAbandoned = (): void => {
      for (const [runId, at] of abandonedAt) if (clock.now() - at >= GRACE_MS) cancelled.push(runId);
    };
    const replica = () =>
      createRunAudience({
        clock,
        graceMs: GRACE_MS,
        cancel: cancelAbandoned,
        onRunEnd: () => () => {},
        others: {
          async abandon(runId) {
            abandonedAt.set(runId, clock.now());
            if (hear) for (const listener of listeners) listener();
          },
          reclaim: async (runIds) => runIds.filter((runId) => abandonedAt.delete(runId)),
          onAbandoned(_runId, listener) {
            listeners.add(listener);
            return () => listeners.delete(listener);
          },
          lookMs: LOOK_MS,
          log: silentLog,
        },
      });
    const pass = async (ms: number): Promise<void> => {
      for (let left = ms; left > 0; left -= 1_000) {
        clock.advance(Math.min(left, 1_000));
        await settle();
      }
    };
    return { clock, cancelled, abandonedAt, listeners, pass, a: replica(), b: replica() };
  }
  const LOOK_MS = 5_000;
  const GRACE_MS = 6_000;
  const CLIENT = { cancelOnDisconnect: true };
  const ONLOOKER = { cancelOnDisconnect: false };

  it.each([true, false])("a run lives that is read on another one (hints: %s), and no longer", async (hear) => {
    const { a, b, pass, cancelled } = openReplicas({ hear });
    const leave = b.join("run", ONLOOKER);
    a.join("run", CLIENT)("left");
    await pass(60_000);
    expect(cancelled).toEqual([]);
    leave("left"); // it wants nothing itself: the wish is the other client's
    await pass(GRACE_MS);
    expect(cancelled).toEqual(["run"]);
  });

  it("a client that comes back through another one keeps its run", async () => {
    const { a, b, pass, cancelled, abandonedAt } = openReplicas({ hear: false });
    a.join("run", CLIENT)("left");
    await pass(2_000);
    b.join("run", ONLOOKER);
    await settle();
    expect(abandonedAt.size).toBe(0);
    await pass(60_000);
    expect(cancelled).toEqual([]);
  });

  it("a run that nobody comes back to stops when the grace is over", async () => {
    const { a, pass, cancelled } = openReplicas({ hear: true });
    a.join("run", CLIENT)("left");
    await pass(GRACE_MS - 1_000);
    expect(cancelled).toEqual([]);
    await pass(1_000);
    expect(cancelled).toEqual(["run"]);
  });

  it("nothing is left of readers that have gone", async () => {
    const { a, b, clock, listeners, pass } = openReplicas({ hear: true });
    b.join("run", ONLOOKER)("left");
    a.join("run", CLIENT)("ended");
    await pass(1_000);
    for (const audience of [a, b]) audience.close();
    expect([clock.pending(), listeners.size]).toEqual([0, 0]);
  });
});
