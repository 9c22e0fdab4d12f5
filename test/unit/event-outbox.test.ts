/** Events on their way to another thread: together, in order, and never far ahead of their reader. */
import { expect, it } from "vitest";
import { createEventOutbox, createJoiner, partsOf } from "../../src/graphs/event-outbox.js";
import type { GraphEvent } from "../../src/graphs/host.js";

function openOutbox() {
  const batches: { readonly names: readonly string[]; readonly size: number }[] = [];
  const outbox = createEventOutbox((events, size) => batches.push({ names: events.map(({ event }) => event), size }));
  return { outbox, batches };
}

function event(name: string, chars = 1): GraphEvent {
  return { event: name, namespace: [], data: "x".repeat(chars) };
}

const nextTurn = () => new Promise((resolve) => setImmediate(resolve));

it("what one turn produces leaves together, when the turn is over", async () => {
  const { outbox, batches } = openOutbox();
  outbox.add(event("a"));
  outbox.add(event("b"));
  expect(batches).toEqual([]);
  await nextTurn();
  expect(batches.map(({ names }) => names)).toEqual([["a", "b"]]);
});

it("a turn that does not end is interrupted by size", () => {
  const { outbox, batches } = openOutbox();
  for (let index = 0; index < 3; index++) outbox.add(event(String(index), 40_000));
  expect(batches.map(({ names }) => names)).toEqual([["0", "1"]]);
  outbox.flush();
  expect(batches.map(({ names }) => names)).toEqual([["0", "1"], ["2"]]);
});

it("nothing is sent twice, and a flush of nothing sends nothing", async () => {
  const { outbox, batches } = openOutbox();
  outbox.flush();
  outbox.add(event("a"));
  outbox.flush();
  await nextTurn();
  expect(batches.map(({ names }) => names)).toEqual([["a"]]);
});

it("it waits for its reader when a window full is under way, and goes on when enough of it was taken", async () => {
  const { outbox, batches } = openOutbox();
  let room: Promise<void> | undefined;
  let added = 0;
  for (; room === undefined && added < 100; added++) room = outbox.add(event("big", 100_000));
  expect(added).toBeLessThan(20);

  let hasRoom = false;
  const waiting = room?.then(() => {
    hasRoom = true;
  });
  await nextTurn();
  expect(hasRoom).toBe(false);
  outbox.took(batches[0]?.size ?? 0);
  await waiting;
  expect(hasRoom).toBe(true);
});

it.each([1, 500_000, 524_288, 524_289, 3_000_000])(
  "an event of %s characters travels in parts that are not long, and arrives whole",
  (chars) => {
    const long = { event: "values", namespace: ["a"], data: `${"\u{1f600}".repeat(chars / 2)}x` };
    const parts = [...partsOf(long)];
    expect(parts.every(({ data }) => data.length <= 512 * 1_024)).toBe(true);
    const join = createJoiner();
    const joined = parts.map((part) => join(structuredClone(part)));
    expect(joined.slice(0, -1).every((event) => event === undefined)).toBe(true);
    expect(joined.at(-1)?.data === long.data).toBe(true);
    expect(joined.at(-1)).toMatchObject({ event: "values", namespace: ["a"] });
    const next = event("next");
    expect(join(next)).toBe(next);
  },
);

it("the parts of one long event wait for their reader like events", async () => {
  const { outbox, batches } = openOutbox();
  let waits = 0;
  for (const part of partsOf(event("long", 5_000_000))) {
    const room = outbox.add(part);
    if (room === undefined) continue;
    waits++;
    for (const { size } of batches.splice(0)) outbox.took(size);
    await room;
  }
  expect(waits).toBeGreaterThan(3);
});
