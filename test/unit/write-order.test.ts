import { describe, expect, it } from "vitest";
import { createWriteOrder } from "../../src/storage/write-order.js";

function gate<T>() {
  let open = (_value: T): void => {};
  let fail = (_error: Error): void => {};
  const promise = new Promise<T>((resolve, reject) => {
    open = resolve;
    fail = reject;
  });
  return { promise, open, fail };
}

function setUp() {
  const order = createWriteOrder();
  const written: string[] = [];
  const write = (name: string) => async () => {
    written.push(name);
    return name;
  };
  return { order, written, write };
}

const settle = () => new Promise(setImmediate);

describe("the order of writes", () => {
  it("asks at once for what need not wait", () => {
    const { order, written, write } = setUp();
    void order.run(["a"], null, write("first"));
    void order.run(["a"], null, write("second"));
    expect(written).toEqual(["first", "second"]);
  });

  it("is that in which writes of one key came, whichever is ready first", async () => {
    const { order, written, write } = setUp();
    const [slow, quick] = [gate<number>(), gate<number>()];
    const first = order.run(["a", "b"], slow.promise, write("slow"));
    const second = order.run(["b"], quick.promise, write("quick"));
    const third = order.run(["b"], null, write("ready"));
    quick.open(1);
    await settle();
    expect(written).toEqual([]);
    slow.open(1);
    expect(await Promise.all([first, second, third])).toEqual(["slow", "quick", "ready"]);
    expect(written).toEqual(["slow", "quick", "ready"]);
  });

  it("holds off no other key", async () => {
    const { order, written, write } = setUp();
    const never = gate<number>();
    void order.run(["a"], never.promise, write("never"));
    await order.run(["b"], null, write("other"));
    expect(written).toEqual(["other"]);
  });

  it("holds when one in the middle fails early: it neither writes nor lets the next go ahead of the first", async () => {
    const { order, written, write } = setUp();
    const [slow, broken] = [gate<number>(), gate<number>()];
    const first = order.run(["a"], slow.promise, write("slow"));
    const second = order.run(["a"], broken.promise, write("broken"));
    const third = order.run(["a"], null, write("third"));
    broken.fail(new Error("no vector"));
    await settle();
    expect(written).toEqual([]);
    slow.open(1);
    await expect(second).rejects.toThrow("no vector");
    await Promise.all([first, third]);
    expect(written).toEqual(["slow", "third"]);
  });

  it("gives a write what it waited for", async () => {
    const { order } = setUp();
    expect(await order.run(["a"], Promise.resolve(7), async (value) => value)).toBe(7);
    expect(await order.run(["a"], null, async (value) => value)).toBeNull();
  });
});
