/** When a graph thread counts as answering. What threads do to each other is in e2e/thread-host. */
import { expect, it, onTestFinished, vi } from "vitest";
import { silentLog } from "../../src/core/log.js";
import { createThreadHost } from "../../src/graphs/thread-host.js";
import { createFakeClock } from "../support/fake-clock.js";
import { claimedRun } from "../support/sql-stores.js";

const PING_MS = 1_000;
/** How long threads have to answer; none does. */
const STUCK_MS = 3 * PING_MS;

/** With one thread; `numbers` are those of `deaf-thread.mjs`. */
async function openHost({ stuckAfterMs = 60_000 } = {}) {
  const clock = createFakeClock();
  const numbers = new Int32Array(new SharedArrayBuffer(8));
  const host = await createThreadHost({
    entry: new URL("../support/deaf-thread.mjs", import.meta.url),
    worker: { workerData: { answers: numbers } },
    serve: () => undefined,
    threads: 1,
    stuckAfterMs,
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
  return { clock, numbers, host, request };
}

const soon = { timeout: 15_000 };

it("a run's thread answers until it has missed two pings, and again when it answers the next", async () => {
  const { clock, numbers, host, request } = await openHost();
  const ended = host.execute(request, new AbortController().signal).next();
  await vi.waitFor(() => expect(host.isAnswering("r1")).toBe(true), soon);
  expect(host.isAnswering("another")).toBe(false);

  clock.advance(PING_MS); // watching begins with a ping at once, which nobody answered: this one counts it
  expect(host.isAnswering("r1")).toBe(true);
  clock.advance(PING_MS);
  expect(host.isAnswering("r1")).toBe(false);

  Atomics.store(numbers, 0, 1);
  clock.advance(PING_MS);
  await vi.waitFor(() => expect(host.isAnswering("r1")).toBe(true), soon);
  await host.close();
  expect((await ended).done).toBe(true);
});

it("a run whose thread went counts as answering until its state was read, however long the next thread takes", async () => {
  const { clock, numbers, host, request } = await openHost({ stuckAfterMs: STUCK_MS });
  const stop = new AbortController();
  const ended = host.execute(request, stop.signal).next();
  await vi.waitFor(() => expect(host.isAnswering("r1")).toBe(true), soon);
  stop.abort("shutdown");
  Atomics.store(numbers, 1, 1);
  for (let missed = 0; missed < 2; missed++) clock.advance(PING_MS);
  expect(host.isAnswering("r1")).toBe(false); // its code does not react

  await vi.waitFor(() => {
    clock.advance(PING_MS);
    expect(host.isAnswering("r1")).toBe(true); // nothing of it is left
  }, soon);
  clock.advance(10 * STUCK_MS);
  expect(host.isAnswering("r1")).toBe(true);
  Atomics.store(numbers, 1, 0);
  Atomics.notify(numbers, 1);
  await host.close();
  expect(await ended).toEqual({ done: true, value: { kind: "aborted", projection: null } });
  expect(host.isAnswering("r1")).toBe(false);
});
