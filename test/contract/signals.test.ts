/** What those who wait for a hint may rely on. */
import { beforeEach, describe, expect, it } from "vitest";
import { BRIDGES } from "../support/bridges.js";
import { newKeyPrefix, openRedisProcess, REDIS_MISSING } from "../support/redis.js";

describe.each(BRIDGES)("signals: $name", ({ missing, open }) => {
  beforeEach(({ skip }) => skip(missing !== undefined, missing));

  it("reach who listens now, and nobody else", async () => {
    const { sender, listener } = await open();
    const heard: string[] = [];
    const stop = listener.on("a:1", () => heard.push("first"));
    listener.on("a:1", () => heard.push("second"));
    listener.on("b:1", () => heard.push("b"));
    sender.send("a:1");
    await expect.poll(() => heard).toEqual(["first", "second"]);
    stop();
    stop();
    sender.send("a:1");
    sender.send("nobody:1");
    await expect.poll(() => heard).toEqual(["first", "second", "second"]);
  });

  it("reach every listener although one stops listening meanwhile", async () => {
    const { sender, listener } = await open();
    let heard = 0;
    const stop = listener.on("a:1", () => stop());
    listener.on("a:1", () => heard++);
    sender.send("a:1");
    await expect.poll(() => heard).toBe(1);
  });

  it("wake who listens in the process that sends before anything else happens", async () => {
    const { sender } = await open();
    let heard = 0;
    sender.on("a:1", () => heard++);
    sender.send("a:1");
    expect(heard).toBe(1);
  });
});

describe("hints of many processes", () => {
  beforeEach(({ skip }) => skip(REDIS_MISSING !== undefined, REDIS_MISSING));

  it("reach all of them, and come to their sender once", async () => {
    const keyPrefix = newKeyPrefix();
    const processes = await Promise.all(Array.from({ length: 3 }, () => openRedisProcess({ keyPrefix })));
    const heard = processes.map(() => [] as string[]);
    for (const [index, { signals }] of processes.entries()) {
      for (const topic of ["run:1", "thread:2"]) signals.on(topic, () => heard[index]?.push(topic));
    }
    processes[0]?.signals.send("run:1");
    processes[0]?.signals.send("thread:2");
    processes[0]?.signals.send("run:1"); // one message says it once
    await expect
      .poll(() => heard.slice(1))
      .toEqual([
        ["run:1", "thread:2"],
        ["run:1", "thread:2"],
      ]);
    expect(heard[0]).toEqual(["run:1", "thread:2", "run:1"]);
  });

  it("do not reach gateways of another prefix", async () => {
    const [one, other] = [
      await openRedisProcess({ keyPrefix: newKeyPrefix() }),
      await openRedisProcess({ keyPrefix: newKeyPrefix() }),
    ];
    const heard: string[] = [];
    other.hints.on("thread", (threadId) => heard.push(threadId));
    one.hints.send("thread", "t1");
    await one.link.ask(({ commands }) => commands.ping());
    other.hints.on("thread", () => {});
    const mine = new Promise<void>((resolve) => void one.hints.on("thread", () => resolve(), resolve));
    one.link.fail(one.link.session ?? never(), new Error("a test cuts it"));
    await mine; // who was cut off is told that some may have been missed
    expect(heard).toEqual([]);
  });

  it("of global topics come every second, whether they were sent or not", async () => {
    const { signals } = await openRedisProcess({ keyPrefix: newKeyPrefix() });
    let woken = 0;
    signals.on("runs", () => woken++);
    await expect.poll(() => woken).toBeGreaterThan(1);
  });
});

function never(): never {
  throw new Error("there is no session");
}
