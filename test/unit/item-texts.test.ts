/** Which texts of a value are embedded: what LangGraph's own store would embed, within limits. */
import { Embeddings } from "@langchain/core/embeddings";
import { InMemoryStore } from "@langchain/langgraph-checkpoint";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { JsonObject } from "../../src/core/model.js";
import { textsAt } from "../../src/storage/item-texts.js";

const BOOK: JsonObject = {
  title: "Tea",
  pages: 12,
  isbn: null,
  chapters: [{ text: "one", tags: ["a", "b"] }, { text: "two" }, "loose"],
  author: { name: "Li", born: { year: 1900 } },
};

/** Remembers what it was asked to embed. */
class Recorder extends Embeddings {
  readonly texts: string[] = [];
  constructor() {
    super({});
  }
  override async embedDocuments(texts: string[]): Promise<number[][]> {
    this.texts.push(...texts);
    return texts.map(() => [1]);
  }
  override async embedQuery(): Promise<number[]> {
    return [1];
  }
}

async function textsOfReference(value: JsonObject, paths: readonly string[]): Promise<readonly string[]> {
  const embeddings = new Recorder();
  await new InMemoryStore({ index: { dims: 1, embeddings } }).put(["a"], "k", { ...value }, [...paths]);
  return embeddings.texts;
}

describe("the texts at a path", () => {
  it.each<[string, readonly string[]]>([
    ["title", ["Tea"]],
    ["pages", ["12"]],
    ["isbn", []],
    ["none", []],
    ["title.none", []],
    ["chapters[0].text", ["one"]],
    ["chapters[-1]", ["loose"]],
    ["chapters[9].text", []],
    ["chapters[*].text", ["one", "two"]],
    ["chapters[*].tags[*]", ["a", "b"]],
    ["author.born", ['{\n  "year": 1900\n}']],
    ["author.*", ["Li", '{\n  "year": 1900\n}']],
    ["{title,author.name}", ["Tea", "Li"]],
    ["$", [JSON.stringify(BOOK, null, 2)]],
    ["", [JSON.stringify(BOOK, null, 2)]],
    ["constructor", []],
  ])("%j", async (path, expected) => {
    expect(textsAt(BOOK, [path])).toEqual(expected);
    expect((await textsOfReference(BOOK, [path])).toSorted()).toEqual(expected.toSorted());
  });

  it("come once, whatever leads to them", () => {
    expect(textsAt(BOOK, ["title", "title", "{title}"])).toEqual(["Tea"]);
  });

  it("are what LangGraph's store embeds, of any value at any path", async () => {
    const name = fc.constantFrom("a", "b", "c", "0", "length");
    const { value } = fc.letrec((tie) => ({
      value: fc.dictionary(name, tie("part"), { maxKeys: 3 }),
      part: fc.oneof(
        { maxDepth: 4 },
        fc.oneof(fc.constantFrom("x", "y", ""), fc.integer({ min: -2, max: 2 }), fc.boolean(), fc.constant(null)),
        fc.array(tie("part"), { maxLength: 3 }),
        tie("value"),
      ),
    }));
    const token = fc.oneof(
      name,
      fc.constantFrom("[*]", "[0]", "[-1]", "[7]", "[x]", "*", "{a,b}", "{a.b, c}", "{}", "[0"),
    );
    const path = fc.oneof(
      fc.array(token, { maxLength: 4 }).map((tokens) => tokens.join(".")),
      fc.array(token, { maxLength: 3 }).map((tokens) => tokens.join("")),
      fc.constantFrom("$", "", "$.a", "a..b", ".a", "a{b", "[[0]]"),
    );
    await fc.assert(
      fc.asyncProperty(value, fc.array(path, { maxLength: 3 }), async (any, paths) => {
        const expected = await textsOfReference(any as JsonObject, paths);
        expect(textsAt(any as JsonObject, paths).toSorted()).toEqual([...new Set(expected)].toSorted());
      }),
      { numRuns: 500 },
    );
  });
});

describe("a value that makes too much of a path", () => {
  const list = (length: number) => ({ list: Array.from({ length }, (_, n) => `text ${n}`) });

  it.each<[string, JsonObject, readonly string[]]>([
    ["texts", list(1_001), ["list[*]"]],
    ["characters", { long: "x".repeat(5_000_000) }, ["long"]],
    ["characters of objects", { long: { text: "x".repeat(5_000_000) } }, ["long"]],
    ["characters, again and again", { long: "x".repeat(3_000_000) }, ["{long,long}"]],
    ["steps", list(10_000), Array.from({ length: 200 }, () => "list[*].none")],
  ])("is refused: %s", (_, value, paths) => {
    expect(() => textsAt(value, paths)).toThrow(/index/);
  });

  it("is taken up to the limits", () => {
    expect(textsAt(list(1_000), ["list[*]"])).toHaveLength(1_000);
  });
});
