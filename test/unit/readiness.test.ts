/** When the gateway says that requests should come. */
import { expect, it } from "vitest";
import { createReadiness } from "../../src/core/readiness.js";
import { createFakeClock } from "../support/fake-clock.js";

function open(check: () => Promise<void> = async () => {}) {
  const clock = createFakeClock();
  return { clock, readiness: createReadiness({ clock, checks: [async () => {}, check] }) };
}

it("starts, is ready, drains, and never comes back", async () => {
  const { readiness } = open();
  expect(await readiness.reason()).toBe("the gateway is starting");
  readiness.open();
  expect(await readiness.reason()).toBeNull();
  expect(readiness.requireOpen()).toBeUndefined();
  readiness.drain();
  readiness.open();
  expect(await readiness.reason()).toBe("the gateway is stopping");
  expect(readiness.isDraining).toBe(true);
  expect(() => readiness.requireOpen()).toThrow(expect.objectContaining({ code: "unavailable" }));
});

it("is what its checks say, tried at most once a second however many ask", async () => {
  let tries = 0;
  let failure: Error | undefined = new Error("the disk is full");
  const { clock, readiness } = open(async () => {
    tries++;
    if (failure !== undefined) throw failure;
  });
  readiness.open();
  const asked = await Promise.all([readiness.reason(), readiness.reason(), readiness.reason()]);
  expect(asked).toEqual(Array(3).fill("the disk is full"));
  failure = undefined;
  clock.advance(999);
  expect(await readiness.reason()).toBe("the disk is full");
  expect(tries).toBe(1);
  clock.advance(1);
  expect(await readiness.reason()).toBeNull();
  expect(tries).toBe(2);
});

it("says that it drains to whoever asked before it began to", async () => {
  let finish = (): void => {};
  const { readiness } = open(() => new Promise((resolve) => (finish = resolve)));
  readiness.open();
  const asked = readiness.reason();
  readiness.drain();
  finish();
  expect(await asked).toBe("the gateway is stopping");
});
