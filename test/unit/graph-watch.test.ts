/** Saving a file of a graph's project reloads the graph; a broken save keeps the last good one. Real files and events. */
import { EventEmitter, once } from "node:events";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, expect, it } from "vitest";
import { type Clock, systemClock } from "../../src/core/clock.js";
import { GraphLoadError } from "../../src/graphs/load-error.js";
import { GraphRegistry } from "../../src/graphs/registry.js";
import { watchGraphs } from "../../src/graphs/watch.js";
import { createFakeClock } from "../support/fake-clock.js";
import { type TempProject, tempProject } from "../support/temp-project.js";

const GRAPH = `import { name } from "./name.js";
import { MessagesAnnotation, START, StateGraph } from "@langchain/langgraph";
export const graph = new StateGraph(MessagesAnnotation).addNode("a", () => ({})).addEdge(START, "a").compile({ name });
`;
const files = (name: string) => ({ "package.json": `{ "type": "module" }`, "graph.ts": GRAPH, "name.ts": name });
const named = (name: string) => ({ "name.ts": `export const name = ${name};\n` });

const cleanUps: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

async function project(name: string): Promise<TempProject> {
  const made = await tempProject(files(`export const name = "${name}";\n`));
  cleanUps.push(() => made.remove());
  return made;
}

/** A registry of one graph per project, watched; `next` waits for what the watch says next. */
async function watched(projects: readonly TempProject[], clock: Clock = systemClock) {
  const graphs = Object.fromEntries(
    projects.map(({ folder }, i) => [`g${i}`, { path: join(folder, "graph.ts:graph") }]),
  );
  const registry = new GraphRegistry({ baseDir: "/", graphs });
  await registry.load();
  const events = new EventEmitter();
  const heard: string[] = [];
  const watch = await watchGraphs({
    registry,
    clock,
    ignore: projects.map(({ folder }) => join(folder, "data")),
    onReload: (graphId) => {
      heard.push(graphId);
      events.emit("reload", graphId);
    },
    onError: (error) => {
      heard.push("failed");
      events.emit("failure", error);
    },
  });
  cleanUps.push(() => watch.close());
  return {
    watch,
    heard,
    next: async (event: "reload" | "failure", act: () => Promise<unknown>): Promise<unknown> => {
      const [[value]] = await Promise.all([once(events, event), act()]);
      return value;
    },
    name: (graphId: string) => (registry.sample(graphId) as { name?: string }).name,
  };
}

it("reloads on save, reports a broken save with its place, keeps the last good graph, recovers", async () => {
  const toy = await project("one");
  const { next, name } = await watched([toy]);
  expect(name("g0")).toBe("one");

  expect(await next("reload", () => toy.write(named(`"two"`)))).toBe("g0");
  expect(name("g0")).toBe("two");

  const failure = await next("failure", () => toy.write(named(`"three`)));
  expect(failure).toBeInstanceOf(GraphLoadError);
  expect((failure as GraphLoadError).failure).toMatchObject({
    graphId: "g0",
    file: join(toy.folder, "name.ts"),
    line: 1,
  });
  expect(name("g0")).toBe("two");

  await next("failure", () => rm(join(toy.folder, "name.ts")));
  expect(name("g0")).toBe("two");

  await next("reload", () => toy.write(named(`"three"`)));
  expect(name("g0")).toBe("three");
});

it("reloads only the graphs of the project that changed", async () => {
  const [first, second] = [await project("a"), await project("b")];
  const { next, heard, name } = await watched([first, second]);
  expect(await next("reload", () => second.write(named(`"changed"`)))).toBe("g1");
  expect(heard).toEqual(["g1"]);
  expect([name("g0"), name("g1")]).toEqual(["a", "changed"]);
});

it("leaves alone what is no source: packages, built files, data, dot folders, notes", async () => {
  const [noisy, quiet] = [await project("a"), await project("b")];
  const { next, heard } = await watched([noisy, quiet]);
  const noise = ["dist/a.js", "data/b.json", ".heddle/c.json", "src/dist/d.js", "notes.md", "lib/x.sqlite"];
  await noisy.write(Object.fromEntries(noise.map((path) => [path, "1"])));
  // the noise was there before this save, and would be reloaded with it
  await next("reload", () => quiet.write(named(`"changed"`)));
  expect(heard).toEqual(["g1"]);
});

/** A fake clock that tells when something was scheduled: a change was seen. */
function observedClock() {
  const clock = createFakeClock();
  const scheduled = new EventEmitter();
  const after: Clock["after"] = (delayMs, callback) => {
    const cancel = clock.after(delayMs, callback);
    scheduled.emit("change");
    return cancel;
  };
  return { ...clock, after, seen: (act: () => Promise<unknown>) => Promise.all([once(scheduled, "change"), act()]) };
}

it("takes saves of a short while as one", async () => {
  const toy = await project("one");
  const clock = observedClock();
  const { next, heard, name } = await watched([toy], clock);
  await clock.seen(() => toy.write(named(`"two"`)));
  clock.advance(50);
  await clock.seen(() => toy.write({ "extra.ts": "export {};\n" }));
  expect(clock.pending()).toBe(1);
  clock.advance(50); // a while since the first save, not since the last
  expect(clock.pending()).toBe(1);
  await next("reload", async () => clock.advance(100));
  expect(heard).toEqual(["g0"]);
  expect(name("g0")).toBe("two");
});

it("does nothing more once it is closed, not even what a save had started", async () => {
  const toy = await project("one");
  const clock = observedClock();
  const { watch, heard, name } = await watched([toy], clock);
  await clock.seen(() => toy.write(named(`"two"`)));
  await watch.close();
  expect(clock.pending()).toBe(0);
  expect(heard).toEqual([]);
  expect(name("g0")).toBe("one");
});

it("has nothing to watch where graphs are ready objects", async () => {
  const { watch } = await watched([]);
  await watch.close();
});
