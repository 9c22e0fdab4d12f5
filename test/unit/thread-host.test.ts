/** When a graph thread counts as answering. What threads do to each other is in e2e/thread-host. */
import { expect, it, onTestFinished, vi } from "vitest";
import { silentLog } from "../../src/core/log.js";
import { createThreadHost } from "../../src/graphs/thread-host.js";
import { createFakeClock } from "../support/fake-clock.js";
import { claimedRun } from "../support/sql-stores.js";

const PING_MS = 1_000;

it("a run's thread answers until it has missed two pings, and again when it answers the next", async () => {
  const clock = createFakeClock();
  const answers = new Int32Array(new SharedArrayBuffer(4));
  const host = await createThreadHost({
    entry: new URL("../support/deaf-thread.mjs", import.meta.url),
    worker: { workerData: { answers } },
    serve: () => undefined,
    threads: 1,
    stuckAfterMs: 60_000,
    clock,
    log: silentLog,
  });
  onTestFinished(() => host.close());
  const request = {
    ...claimedRun({ runId: "r1" }),
    input: { kind: "continue" },
    pendingBefore: {},
    keepPartialOn: undefined,
  } as const;
  const ended = host.execute(request, new AbortController().signal).next();
  await vi.waitFor(() => expect(host.isAnswering("r1")).toBe(true), { timeout: 15_000 });
  expect(host.isAnswering("another")).toBe(false);

  clock.advance(PING_MS); // watching begins with a ping at once, which nobody answered: this one counts it
  expect(host.isAnswering("r1")).toBe(true);
  clock.advance(PING_MS);
  expect(host.isAnswering("r1")).toBe(false);

  Atomics.store(answers, 0, 1);
  clock.advance(PING_MS);
  await vi.waitFor(() => expect(host.isAnswering("r1")).toBe(true), { timeout: 15_000 });
  await host.close();
  expect((await ended).done).toBe(true);
});
