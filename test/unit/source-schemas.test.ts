/** When a graph's types are analysed, and when what is known is enough: analyses are counted. */
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Log } from "../../src/core/log.js";
import type { AnalysisQuestion } from "../../src/schemas/analyser.js";
import { type Analysis, analyse } from "../../src/schemas/analysis.js";
import { createAnalysisCache } from "../../src/schemas/cache.js";
import type { ParsedPackages } from "../../src/schemas/project-program.js";
import { createSourceSchemas, type SourceSchemas } from "../../src/schemas/source-schemas.js";
import type { TypeScript } from "../../src/schemas/type-schema.js";
import { findTypescript } from "../../src/schemas/typescript.js";
import { createFakeClock, type FakeClock } from "../support/fake-clock.js";
import { type TempProject, tempProject } from "../support/temp-project.js";

const ts = createRequire(import.meta.url)("typescript") as TypeScript;
const parsed: ParsedPackages = new Map();
const ANSWER_MS = 10_000;

/** A graph whose state another file says, which is as much of a graph as these tests need. */
const PROJECT = {
  "package.json": '{ "type": "module" }',
  "graph.ts": `import type { State } from "./state.js";
    export declare const graph: { lg_is_pregel: true; "~RunOutput": State; "~InputType": State; "~OutputType": State };
    export const nothing = 7;`,
  "state.ts": "export interface State { topic: string }",
  "plain.js": "export const graph = {};",
};

/** A compiler of the project's own, as far as finding it goes. */
function typescriptOf(version: string): { readonly [path: string]: string } {
  const folder = "node_modules/typescript";
  const manifest = JSON.stringify({ version, main: "main.js" });
  return { [`${folder}/package.json`]: manifest, [`${folder}/main.js`]: "" };
}

let project: TempProject;
let clock: FakeClock;
let analysed: AnalysisQuestion[];
let logged: unknown[];

beforeEach(async () => {
  project = await tempProject(PROJECT, "own");
  clock = createFakeClock();
  analysed = [];
  logged = [];
});
afterEach(() => project.remove());

type Analyse = (question: AnalysisQuestion) => Promise<Analysis>;
const reallyAnalyse: Analyse = async ({ target }) => analyse(ts, target, parsed);

/** A gateway's, as after a start. */
function open(answer: Analyse = reallyAnalyse, compiler = findTypescript): SourceSchemas {
  const analyser = {
    analyse(question: AnalysisQuestion) {
      analysed.push(question);
      return answer(question);
    },
  };
  const locate = (graphId: string) => {
    const [file = "", exportName = "graph"] = graphId.split(":");
    return graphId === "object" ? undefined : { file: join(project.folder, file), exportName };
  };
  const log = { warn: (fields: unknown) => void logged.push(fields) } as unknown as Log;
  const cache = createAnalysisCache();
  return createSourceSchemas({ locate, findTypescript: compiler, analyser, cache, answerMs: ANSWER_MS, clock, log });
}

async function fieldsOf(sources: SourceSchemas, graphId = "graph.ts"): Promise<readonly string[] | undefined> {
  const schema = (await sources.of(graphId)).get("")?.state_schema;
  return schema ? Object.keys(schema.properties ?? {}) : undefined;
}

async function cached(): Promise<readonly string[]> {
  const folder = join(project.folder, "node_modules/.cache/heddle");
  return (await readdir(folder)).map((name) => join(folder, name));
}

describe("an analysis", () => {
  it("is made once for all who ask, and holds while the gateway runs", async () => {
    const sources = open();
    expect(await Promise.all([fieldsOf(sources), fieldsOf(sources)])).toEqual([["topic"], ["topic"]]);
    await project.write({ "state.ts": "export interface State { other: string }" }); // the loaded graph stays as it was
    expect(await fieldsOf(sources)).toEqual(["topic"]);
    expect(analysed).toHaveLength(1);
  });

  it("is not made again after a restart or a reload where all files are the same", async () => {
    const sources = open();
    await fieldsOf(sources);
    sources.forget("graph.ts");
    expect(await fieldsOf(sources)).toEqual(["topic"]);
    expect(await fieldsOf(open())).toEqual(["topic"]);
    expect(analysed).toHaveLength(1);
  });

  it.each([
    ["the graph's file", "graph.ts", `${PROJECT["graph.ts"]}\n// changed`],
    ["a file that it imports", "state.ts", "export interface State { topic: string; more: number }"],
    ["a file that comes before another", "tsconfig.json", "{}"],
    ["the project's TypeScript", ...(Object.entries(typescriptOf("5.9.9"))[0] ?? ["", ""])],
  ])("is made again after a reload when it is another: %s", async (_, path, text) => {
    await project.write(typescriptOf("5.9.8"));
    const sources = open();
    await fieldsOf(sources);
    await project.write({ [path]: text });
    sources.forget("graph.ts");
    await fieldsOf(sources);
    expect(analysed).toHaveLength(2);
  });

  it("is made with the project's TypeScript where that has a compiler's interface, else with heddle's", async () => {
    const used = async (version: string) => {
      await project.write(typescriptOf(version));
      await fieldsOf(open());
      return analysed.at(-1)?.typescript.startsWith(project.folder);
    };
    expect(await used("5.9.9")).toBe(true);
    expect(await used("7.0.2")).toBe(false);
  });

  it("is made again when what is on disk cannot be read", async () => {
    await fieldsOf(open());
    const [file = ""] = await cached();
    for (const text of [
      "",
      "{",
      '{"schemas":{}}',
      JSON.stringify({ ...JSON.parse(await readFile(file, "utf8")), files: 7 }),
    ]) {
      await writeFile(file, text);
      expect(await fieldsOf(open())).toEqual(["topic"]);
    }
    expect(analysed).toHaveLength(5);
    expect(await cached()).toEqual([file]); // and no draft of it
  });

  it("is had also where nothing can be kept on disk", async () => {
    await mkdir(join(project.folder, "node_modules/.cache"));
    await writeFile(join(project.folder, "node_modules/.cache/heddle"), "not a folder");
    const sources = open();
    expect(await fieldsOf(sources)).toEqual(["topic"]);
    expect(await fieldsOf(sources)).toEqual(["topic"]);
    expect(analysed).toHaveLength(1);
    expect(logged).toMatchObject([{ reason: expect.stringContaining("heddle") }]);
  });

  it("of what a reload has replaced is not kept", async () => {
    const answers: ((analysis: Analysis) => void)[] = [];
    const sources = open(() => new Promise((resolve) => void answers.push(resolve)));
    const before = fieldsOf(sources);
    await expect.poll(() => analysed.length).toBe(1);
    sources.forget("graph.ts");
    const after = fieldsOf(sources);
    await expect.poll(() => analysed.length).toBe(2);
    answers[0]?.(await reallyAnalyse(analysed[0] as AnalysisQuestion));
    expect(await before).toEqual(["topic"]);
    await project.write({ "state.ts": "export interface State { fresh: string }" });
    answers[1]?.(await reallyAnalyse(analysed[1] as AnalysisQuestion));
    expect(await after).toEqual(["fresh"]);
    expect(await fieldsOf(sources)).toEqual(["fresh"]);
  });
});

describe("what cannot be told", () => {
  it.each(["plain.js", "object"])("is no schema, no analysis and no word in the log: %s", async (graphId) => {
    expect(await fieldsOf(open(), graphId)).toBeUndefined();
    expect([analysed, logged]).toEqual([[], []]);
  });

  it("is said once", async () => {
    const sources = open();
    for (let times = 0; times < 3; times++) {
      expect(await fieldsOf(sources, "graph.ts:nothing")).toBeUndefined();
      sources.forget("graph.ts:nothing");
    }
    expect(logged).toEqual([{ graphId: "graph.ts:nothing", reason: "its type is not a graph but 7" }]);
  });

  it("because nobody installed a compiler is said once", async () => {
    const sources = open(reallyAnalyse, () => undefined);
    expect([await fieldsOf(sources), await fieldsOf(sources)]).toEqual([undefined, undefined]);
    expect(logged).toMatchObject([{ graphId: "graph.ts", reason: expect.stringContaining("not installed") }]);
  });

  it("because it takes long is told to whoever asks later", async () => {
    const answers: ((analysis: Analysis) => void)[] = [];
    const sources = open(() => new Promise((resolve) => void answers.push(resolve)));
    const first = fieldsOf(sources);
    await expect.poll(() => analysed.length).toBe(1);
    clock.advance(ANSWER_MS);
    expect(await first).toBeUndefined();
    expect(logged).toMatchObject([{ graphId: "graph.ts", reason: expect.stringContaining("10 s") }]);
    answers[0]?.(await reallyAnalyse(analysed[0] as AnalysisQuestion));
    expect(await fieldsOf(sources)).toEqual(["topic"]);
    expect(analysed).toHaveLength(1);
  });

  it("because the analysis failed is tried again, but not at once", async () => {
    let isBroken = true;
    const sources = open(async (question) => {
      if (isBroken) throw new Error("out of memory");
      return reallyAnalyse(question);
    });
    expect(await fieldsOf(sources)).toBeUndefined();
    expect(await fieldsOf(sources)).toBeUndefined();
    expect(analysed).toHaveLength(1);
    expect(logged).toEqual([{ graphId: "graph.ts", reason: "out of memory" }]);
    isBroken = false;
    clock.advance(60_000);
    expect(await fieldsOf(sources)).toEqual(["topic"]);
  });
});
