/** What a graph thread asks for, on its way: at once where it is little, and never all at once where it is much. */
import { expect, it } from "vitest";
import { createAskOutbox, type ThreadAsk } from "../../src/graphs/ask-outbox.js";

function openOutbox({ refuse = -1 }: { readonly refuse?: number } = {}) {
  const sent: { readonly kind: "one" | "group"; readonly ids: readonly number[] }[] = [];
  const failed: unknown[] = [];
  const send = (kind: "one" | "group", asks: readonly ThreadAsk[]): void => {
    const ids = asks.map(({ id }) => id);
    if (ids.includes(refuse)) throw new Error("cannot be cloned");
    sent.push({ kind, ids });
  };
  const outbox = createAskOutbox({
    one: (ask) => send("one", [ask]),
    group: (asks) => send("group", asks),
    failed: (id, error) => failed.push([id, (error as Error).message]),
  });
  const add = (from: number, to: number): void => {
    for (let id = from; id < to; id++) outbox.add({ id, ask: {}, given: [] });
  };
  return { outbox, add, sent, failed, groups: () => sent.filter(({ kind }) => kind === "group") };
}

const nextTurn = () => new Promise((resolve) => setImmediate(resolve));
const count = (from: number, to: number) => Array.from({ length: to - from }, (_, index) => from + index);

it("a few leave at once, turn after turn, and nobody has to say that they were taken", async () => {
  const { add, sent } = openOutbox();
  for (let turn = 0; turn < 5; turn++) {
    add(turn * 64, turn * 64 + 64);
    expect(sent.length).toBe((turn + 1) * 64);
    await nextTurn();
  }
  expect(sent).toEqual(count(0, 320).map((id) => ({ kind: "one", ids: [id] })));
});

it("of a burst the rest leaves in groups, one when the one before was taken, in the order of the asks", async () => {
  const { outbox, add, sent, groups } = openOutbox();
  add(0, 300);
  expect(sent.length).toBe(64);
  await nextTurn();
  await nextTurn();
  expect(groups().length).toBe(1);
  add(300, 310); // later, but behind them
  await nextTurn();
  expect(groups().length).toBe(1);
  for (let taken = 1; taken <= 4; taken++) {
    outbox.took();
    expect(groups().length).toBe(Math.min(1 + taken, 4));
  }
  expect(sent.flatMap(({ ids }) => ids)).toEqual(count(0, 310));
  await nextTurn();
  add(310, 311);
  expect(sent.at(-1)).toEqual({ kind: "one", ids: [310] });
});

it("who cannot be sent is told, and keeps nobody else", async () => {
  const { outbox, add, sent, failed, groups } = openOutbox({ refuse: 70 });
  add(0, 200);
  await nextTurn();
  expect(failed).toEqual(count(64, 128).map((id) => [id, "cannot be cloned"]));
  expect(groups().map(({ ids }) => ids)).toEqual([count(128, 192)]);
  outbox.took();
  expect(sent.at(-1)?.ids).toEqual(count(192, 200));

  const lone = openOutbox({ refuse: 0 });
  lone.add(0, 2);
  expect([lone.failed, lone.sent]).toEqual([[[0, "cannot be cloned"]], [{ kind: "one", ids: [1] }]]);
});
