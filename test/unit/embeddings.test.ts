/** Loading the model of `store.index.embed`, and judging what it answers. */
import { afterEach, describe, expect, it } from "vitest";
import { systemClock } from "../../src/core/clock.js";
import type { ItemIndexConfig } from "../../src/core/items.js";
import { loadEmbeddings } from "../../src/graphs/embeddings.js";
import { createFakeClock } from "../support/fake-clock.js";
import { type TempProject, tempProject } from "../support/temp-project.js";

let project: TempProject | undefined;
afterEach(() => project?.remove());

const MODEL = `
  export const byLength = (texts) => texts.map((text) => [text.length, 1]);
  export const typed = (texts) => texts.map((text) => new Float32Array([text.length, 1]));
  export default {
    embedDocuments: async (texts) => texts.map((text) => [text.length, 1]),
    embedQuery: async () => [-2, 0],
  };
  export const throws = () => { throw new Error("no quota"); };
  export const never = () => new Promise(() => {});
  export const few = () => [[1, 2]];
  export const short = (texts) => texts.map(() => [1]);
  export const words = (texts) => texts.map(() => ["a", "b"]);
  export const infinite = (texts) => texts.map(() => [Infinity, 1]);
  export const nothing = () => undefined;
  export const number = 12;
`;

const PACKAGE = {
  "node_modules/@langchain/openai/package.json": JSON.stringify({ name: "@langchain/openai", main: "index.js" }),
  "node_modules/@langchain/openai/index.js": `
    exports.OpenAIEmbeddings = class {
      constructor({ model }) { if (model === "none") throw new Error("no API key"); this.model = model; }
      async embedDocuments(texts) { return texts.map(() => [this.model.length, 0]); }
      async embedQuery() { return [0, 1]; }
    };`,
};

async function load(embed: string, files: Record<string, string> = { "model.mjs": MODEL }, clock = systemClock) {
  project = await tempProject(files, "own");
  const config: ItemIndexConfig = { embed, dims: 2, fields: ["$"], timeoutMs: 2_000 };
  return loadEmbeddings(config, { baseDir: project.folder, clock });
}

describe("store.index.embed", () => {
  it.each(["byLength", "typed"])("may be a function of texts: %s", async (name) => {
    const embed = await load(`./model.mjs:${name}`);
    expect(await embed(["abc", ""], "documents")).toEqual([
      new Float32Array([3 / Math.sqrt(10), 1 / Math.sqrt(10)]),
      new Float32Array([0, 1]),
    ]);
    expect(await embed(["abc"], "query")).toEqual(await embed(["abc"], "documents"));
  });

  it("may be LangChain's Embeddings, which see a query differently", async () => {
    const embed = await load("./model.mjs");
    expect(await embed([""], "documents")).toEqual([new Float32Array([0, 1])]);
    expect(await embed([""], "query")).toEqual([new Float32Array([-1, 0])]);
  });

  it("may name a provider, whose package is the project's own", async () => {
    const embed = await load("openai:small:v3", PACKAGE);
    expect(await embed(["a"], "documents")).toEqual([new Float32Array([1, 0])]);
    expect(await embed(["a"], "query")).toEqual([new Float32Array([0, 1])]);
  });

  it.each<[string, Record<string, string> | undefined, RegExp]>([
    ["./none.ts:embed", undefined, /no such file/],
    ["./model.mjs:none", undefined, /no such export; it exports .*"byLength"/],
    ["./model.mjs:number", undefined, /neither a function of texts nor Embeddings/],
    ["./broken.mjs:embed", { "broken.mjs": "throw new Error('at import')" }, /at import/],
    ["openai:small", {}, /@langchain\/openai is not installed beside the graphs \(npm install @langchain\/openai\)/],
    ["openai:none", PACKAGE, /no API key/],
    ["google-genai:embedder", {}, /@langchain\/google-genai is not installed/],
    ["nobody:model", {}, /providers openai, .*ollama/],
    ["openai:", {}, /expected/],
    ["text-embedding-3-small", {}, /expected/],
  ])("%j that cannot be had says why", async (embed, files, why) => {
    const loading = load(embed, files ?? { "model.mjs": MODEL });
    await expect(loading).rejects.toThrow(why);
    await expect(loading).rejects.toMatchObject({
      name: "EmbeddingLoadError",
      message: expect.stringContaining(embed),
    });
  });
});

describe("an embedding", () => {
  it.each<[string, RegExp]>([
    ["throws", /failed.*no quota/],
    ["few", /1 vectors for 2 texts/],
    ["nothing", /undefined for 2 texts/],
    ["short", /1 dimensions, and store.index.dims is 2/],
    ["words", /no finite numbers/],
    ["infinite", /no finite numbers/],
  ])("that cannot be used is refused: %s", async (name, why) => {
    const embed = await load(`./model.mjs:${name}`);
    const refused = embed(["a", "b"], "documents");
    await expect(refused).rejects.toThrow(why);
    await expect(refused).rejects.toMatchObject({ code: "validation" });
  });

  it("that takes too long is left behind", async () => {
    const clock = createFakeClock();
    const embed = await load("./model.mjs:never", { "model.mjs": MODEL }, { ...clock, elapsed: () => 0 });
    const refused = expect(embed(["a"], "documents")).rejects.toThrow("did not answer within 2 s");
    clock.advance(2_000);
    await refused;
    expect(clock.pending()).toBe(0);
  });
});
