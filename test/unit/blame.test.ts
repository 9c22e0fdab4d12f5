/** Whose code runs, and what an execution leaves behind. */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, it } from "vitest";
import { blamed, createBlame } from "../../src/graphs/blame.js";
import type { ExecuteResult, GraphEvent } from "../../src/graphs/host.js";

const FINISHED: ExecuteResult = { kind: "finished", projection: null };

function collectGarbage(): void {
  setFlagsFromString("--expose-gc");
  (runInNewContext("gc") as () => void)(); // what the flag makes
}

it("an execution that is over holds nothing of a graph that listens to its signal for ever", async () => {
  const outer = new AbortController();
  async function executeOnce(): Promise<WeakRef<object>> {
    const held = { state: "large" };
    async function* execute(signal: AbortSignal): AsyncGenerator<GraphEvent, ExecuteResult> {
      signal.addEventListener("abort", () => void held.state);
      return FINISHED;
    }
    const execution = blamed(createBlame(), { label: "run", signal: outer.signal }, execute);
    expect(await execution.next()).toEqual({ done: true, value: FINISHED });
    return new WeakRef(held);
  }
  const held = await executeOnce();
  await expect
    .poll(() => {
      collectGarbage();
      return held.deref() === undefined;
    })
    .toBe(true);
  expect(outer.signal.aborted).toBe(false);
});

it("an abort reaches the execution with its reason, whether it comes before or during it", async () => {
  for (const comesBefore of [true, false]) {
    const outer = new AbortController();
    if (comesBefore) outer.abort("shutdown");
    async function* execute(signal: AbortSignal): AsyncGenerator<GraphEvent, ExecuteResult> {
      yield { event: "custom", namespace: [], data: "1" };
      return { kind: "failed", error: { error: "Stopped", message: String(signal.reason) }, projection: null };
    }
    const execution = blamed(createBlame(), { label: "run", signal: outer.signal }, execute);
    await execution.next();
    outer.abort("shutdown");
    expect(await execution.next()).toMatchObject({ value: { error: { message: "shutdown" } } });
  }
});
