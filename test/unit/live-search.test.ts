/** A search that goes on, over real threads and a clock that is set by hand. */
import { describe, expect, it, onTestFinished } from "vitest";
import { type LiveChange, openLiveSearch } from "../../src/threads/live-search.js";
import {
  admission,
  claim,
  leaseOf,
  newThread,
  openSqlStores,
  outcome,
  projection,
  reservation,
} from "../support/sql-stores.js";

const GATHER_MS = 50;

async function open({ filter = {}, limit = 10, maxBytes = 1e9 }: Partial<Parameters<typeof openLiveSearch>[1]> = {}) {
  const stores = await openSqlStores();
  const { threads, clock, changes } = stores;
  const put = (threadId: string, metadata = {}) => threads.create(newThread({ threadId, metadata }));
  await put("a", { team: "blue" });
  clock.advance(1);
  await put("b", { team: "blue" });
  clock.advance(1);
  await put("c", { team: "red" });
  const start = async () => {
    const live = await openLiveSearch({ threads, changes, clock }, { filter, limit, maxBytes, withValues: true });
    const stop = new AbortController();
    const told = live.changes(stop.signal);
    onTestFinished(async () => {
      stop.abort();
      await told.return(undefined);
    });
    const first = (await told.next()).value;
    /** What is told after `change`. */
    const toldAfter = async (change: () => Promise<unknown>) => {
      const next = told.next();
      await change();
      while (clock.pending() === 0) await new Promise(setImmediate);
      clock.advance(GATHER_MS);
      return shown((await next).value);
    };
    return { first: shown(first), told, toldAfter, stop };
  };
  return { ...stores, changes, put, start };
}

const shown = (changes: readonly LiveChange[] | undefined) =>
  changes?.map((change) =>
    change.kind === "ready" ? "ready" : change.kind === "remove" ? `-${change.threadId}` : `+${change.thread.threadId}`,
  );

const BLUE = { metadata: { team: "blue" } };

describe("a search that goes on", () => {
  it("tells first the newest that match, the newest last, and that this was all", async () => {
    expect((await (await open({ filter: BLUE })).start()).first).toEqual(["+a", "+b", "ready"]);
    expect((await (await open({ limit: 2 })).start()).first).toEqual(["+b", "+c", "ready"]);
  });

  it("tells what comes to match, what changes, and what matches no more", async () => {
    const { start, threads, put } = await open({ filter: BLUE });
    const { toldAfter } = await start();
    expect(await toldAfter(() => put("d", { team: "blue" }))).toEqual(["+d"]);
    expect(await toldAfter(() => threads.patch("a", { metadata: { title: "x" } }))).toEqual(["+a"]);
    expect(await toldAfter(() => threads.patch("c", { metadata: { team: "blue" } }))).toEqual(["+c"]);
    expect(await toldAfter(() => threads.patch("b", { metadata: { team: "red" } }))).toEqual(["-b"]);
    expect(await toldAfter(() => threads.markDeleting("d"))).toEqual(["-d"]);
    expect(await toldAfter(() => threads.remove("a"))).toEqual(["-a"]);
    expect(await toldAfter(() => threads.saveProjection("c", projection({ valuesJson: '{"n":1}' })))).toEqual(["+c"]);
  });

  it("tells of every change of a run", async () => {
    const stores = await open({ filter: { status: "busy" } });
    const { toldAfter } = await stores.start();
    expect(await toldAfter(() => stores.runs.admit(admission({ runId: "r1", threadId: "a" })))).toEqual(["+a"]);
    const run = await claim(stores);
    expect(await toldAfter(() => stores.runs.finish(leaseOf(run), outcome()))).toEqual(["-a"]);
  });

  it("tells nothing of a thread that never matched, and nothing for a change of no account", async () => {
    const { start, threads } = await open({ filter: BLUE });
    const { toldAfter } = await start();
    const told = await toldAfter(async () => {
      await threads.patch("c", { metadata: { title: "secret" } });
      await threads.remove("c");
      await threads.reserve("b", reservation("owner"));
      await threads.patch("a", { metadata: { title: "x" } });
    });
    expect(told).toEqual(["+a"]);
  });

  it("tells several changes of one thread once, as it is in the end", async () => {
    const { start, threads } = await open({ filter: BLUE });
    const { toldAfter } = await start();
    const told = await toldAfter(async () => {
      await threads.patch("a", { metadata: { team: "red" } });
      await threads.patch("a", { metadata: { team: "blue" } });
      await threads.patch("b", { metadata: { n: 1 } });
      await threads.remove("b");
    });
    expect(told).toEqual(["-b", "+a"]);
  });

  it("is limited to the ids that it names", async () => {
    const { start, threads } = await open({ filter: { ids: ["a", "c"] } });
    const { first, toldAfter } = await start();
    expect(first).toEqual(["+a", "+c", "ready"]);
    const told = await toldAfter(async () => {
      await threads.patch("b", { metadata: { n: 1 } });
      await threads.patch("c", { metadata: { n: 1 } });
    });
    expect(told).toEqual(["+c"]);
  });

  it("looks in parts at threads that are too large for one page", async () => {
    const large = { text: "x".repeat(1_000) };
    const { start, threads } = await open({ filter: BLUE, limit: 1, maxBytes: 1_500 });
    await threads.patch("a", { metadata: large });
    await threads.patch("b", { metadata: large });
    const { toldAfter } = await start();
    const told = await toldAfter(async () => {
      await threads.patch("a", { metadata: { n: 1 } });
      await threads.patch("b", { metadata: { n: 1 } });
    });
    expect(told).toEqual(["+a", "+b"]);
  });

  it("is refused where its first page is too large, and listens no more", async () => {
    const { start, threads, changes } = await open({ maxBytes: 10 });
    await expect(start()).rejects.toMatchObject({ code: "validation" });
    let heard = 0;
    changes.on(() => heard++);
    await threads.patch("a", { metadata: { n: 1 } });
    expect(heard).toBe(1);
  });

  it("ends with its signal, and leaves nothing behind", async () => {
    const { start, clock } = await open();
    const { told, stop } = await start();
    const next = told.next();
    stop.abort();
    expect(await next).toEqual({ done: true, value: undefined });
    expect(clock.pending()).toBe(0);
  });
});
