/** Copies of LangGraph's checkpoint package that run code from data are refused before anything of the project runs. */
import { join } from "node:path";
import { afterEach, expect, it } from "vitest";
import { requireSafeCheckpoints, UnsafePackageError } from "../../src/graphs/checkpoint-version.js";
import { loadGraphModule, locateGraph } from "../../src/graphs/load.js";
import { type TempProject, tempProject } from "../support/temp-project.js";

let project: TempProject;
afterEach(() => project.remove());

const manifest = (name: string, version: string, main = "index.js"): string => JSON.stringify({ name, version, main });
const CHECKPOINT = "node_modules/@langchain/langgraph-checkpoint";

/** A project whose own copy has this version, as it was published: its package.json cannot be asked for. */
async function withOwnCopy(version: string): Promise<string> {
  const exported = { name: "@langchain/langgraph-checkpoint", version, exports: { ".": "./dist/index.js" } };
  project = await tempProject(
    {
      "graph.mjs": "globalThis.projectRan = true;\n",
      [`${CHECKPOINT}/package.json`]: JSON.stringify(exported),
      [`${CHECKPOINT}/dist/index.js`]: "",
      [`${CHECKPOINT}/dist/package.json`]: '{ "type": "module" }',
    },
    "own",
  );
  return join(project.folder, "graph.mjs");
}

it.each(["0.0.18", "1.0.9", "1.1.3", "1.1.4", "1.1.4-rc.1", "unknown"])("%s is refused", async (version) => {
  const file = await withOwnCopy(version);
  expect(() => requireSafeCheckpoints(file)).toThrow(UnsafePackageError);
});

it.each(["1.1.5", "1.1.10", "1.2.0", "2.0.0", "10.0.0-rc.0"])("%s may be used", async (version) => {
  expect(requireSafeCheckpoints(await withOwnCopy(version))).toBeUndefined();
});

it("a graph of such a project does not load, nothing of it runs, and one line says what to install", async () => {
  await withOwnCopy("1.1.3");
  const loading = loadGraphModule(locateGraph("toy", "./graph.mjs:graph", project.folder), { modules: "fresh" });
  await expect(loading).rejects.toThrow(
    `graph "toy" did not load: ./graph.mjs (export "graph"): @langchain/langgraph-checkpoint 1.1.3 in ${join(project.folder, CHECKPOINT)} can be made to run code by the data that it reads; it must be 1.1.5 or later: npm install @langchain/langgraph-checkpoint@^1.1.5`,
  );
  expect("projectRan" in globalThis).toBe(false);
});

it("a copy that only the project's LangGraph, or the one of its `langchain`, would use is refused as well", async () => {
  for (const [user, inside] of [
    ["@langchain/langgraph", "@langchain/langgraph"],
    ["langchain", "langchain/node_modules/@langchain/langgraph"],
  ] as const) {
    const copy = `node_modules/${inside}/node_modules/@langchain/langgraph-checkpoint`;
    project = await tempProject(
      {
        "graph.mjs": "",
        [`node_modules/${user}/package.json`]: manifest(user, "1.0.0"),
        [`node_modules/${user}/index.js`]: "",
        [`node_modules/${inside}/package.json`]: manifest("@langchain/langgraph", "1.0.0"),
        [`node_modules/${inside}/index.js`]: "",
        [`${copy}/package.json`]: manifest("@langchain/langgraph-checkpoint", "1.1.2"),
        [`${copy}/index.js`]: "",
      },
      "own",
    );
    const file = join(project.folder, "graph.mjs");
    expect(() => requireSafeCheckpoints(file)).toThrow(`1.1.2 in ${join(project.folder, copy)}`);
    if (user !== "langchain") await project.remove();
  }
});

it("heddle's own copy, and that of a project which uses it, may be used", async () => {
  expect(requireSafeCheckpoints(import.meta.filename)).toBeUndefined();
  project = await tempProject({ "graph.mjs": "" });
  expect(requireSafeCheckpoints(join(project.folder, "graph.mjs"))).toBeUndefined();
});
