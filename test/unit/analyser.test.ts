/** The thread that analyses: there while it is needed, one question at a time, ended when it does not answer. */
import { afterEach, describe, expect, it } from "vitest";
import { type Analyser, createAnalyser } from "../../src/schemas/analyser.js";
import type { Analysis } from "../../src/schemas/analysis.js";
import { createFakeClock } from "../support/fake-clock.js";

/** Answers with the thread's id and how many questions it was asked before; spins, dies or fails where it is told to. */
const THREAD = `
import { parentPort, threadId } from "node:worker_threads";
let asked = 0;
parentPort.on("message", ({ target }) => {
  if (target.exportName === "spin") for (;;);
  if (target.exportName === "exit") process.exit(1);
  if (target.exportName === "crash") throw new Error("crashed");
  if (target.exportName === "fail") return parentPort.postMessage({ error: "no such thing" });
  parentPort.postMessage({ analysis: { schemas: {}, reasons: [threadId + "/" + asked++], files: {} } });
});`;
const LIMIT_MS = 30_000;

const clock = createFakeClock();
let analyser: Analyser;
function open(source = THREAD): void {
  const entry = new URL(`data:text/javascript,${encodeURIComponent(source)}`);
  analyser = createAnalyser({ entry, limitMs: LIMIT_MS, clock });
}
afterEach(async () => {
  await analyser.close();
  expect(clock.pending()).toBe(0);
});

function ask(exportName = "graph"): Promise<string> {
  const question = { typescript: "", target: { file: "", exportName } };
  return analyser.analyse(question).then(({ reasons }: Analysis) => reasons.join());
}

describe("the thread that analyses", () => {
  it("serves one after the other while somebody asks, and ends when nobody does", async () => {
    open();
    const [first, second] = await Promise.all([ask(), ask()]);
    const [thread] = first.split("/");
    clock.advance(9_999);
    expect([first, second, await ask()]).toEqual([`${thread}/0`, `${thread}/1`, `${thread}/2`]);
    clock.advance(10_000);
    expect(await ask()).not.toContain(`${thread}/`);
  });

  it.each([
    ["exit", "the analysis was ended"],
    ["crash", "crashed"],
    ["fail", "no such thing"],
  ])("that does not answer is replaced: %s", async (how, message) => {
    open();
    const [broken, next] = [ask(how), ask()];
    await expect(broken).rejects.toThrow(message);
    expect(await next).toMatch(/^\d+\/0$/);
  });

  it("that cannot start says why", async () => {
    open("import 'nowhere';");
    await expect(ask()).rejects.toThrow("nowhere");
  });

  it("that spins is ended at the limit, and whoever waited behind it is served", async () => {
    open();
    const [spinning, next] = [ask("spin"), ask()];
    const given = expect(spinning).rejects.toThrow("it took more than 30 s");
    await expect.poll(() => clock.pending()).toBe(1);
    clock.advance(LIMIT_MS);
    await given;
    expect(await next).toMatch(/^\d+\/0$/);
  });

  it("is ended by a close, and all who wait hear of it", async () => {
    open();
    const [spinning, next] = [ask("spin"), ask()];
    const heard = Promise.all([expect(spinning).rejects.toThrow("ended"), expect(next).rejects.toThrow("stopping")]);
    await expect.poll(() => clock.pending()).toBe(1);
    await analyser.close();
    await heard;
    await expect(ask()).rejects.toThrow("stopping");
  });
});
