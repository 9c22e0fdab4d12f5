/** Assistants under names that lead to them. */
import { describe, expect, it } from "vitest";
import { notFound } from "../../src/core/errors.js";
import { systemAssistantId } from "../../src/core/ids.js";
import type { Assistant } from "../../src/core/model.js";
import { allAssistants, modelNames, requireModel } from "../../src/faces/assistant-list.js";
import { newAssistant } from "../support/sql-stores.js";

function assistant(assistantId: string, name: string): Assistant {
  return { ...newAssistant({ assistantId, name }), version: 1, createdAt: 0, updatedAt: 0 };
}

const AGENT = assistant(systemAssistantId("agent"), "agent");

/** A service that has these, in this order; `agent` is a graph. */
function service(...all: readonly Assistant[]) {
  return {
    async search({ name = "" }: { readonly name?: string | undefined }, page: { limit: number; offset: number }) {
      const found = all.filter((each) => each.name.toLowerCase().includes(name.toLowerCase()));
      return { rows: found.slice(page.offset, page.offset + page.limit), total: found.length };
    },
    async requireForRun(id: string) {
      const wanted = id === "agent" ? AGENT.assistantId : id;
      const found = all.find(({ assistantId }) => assistantId === wanted);
      if (found === undefined) throw notFound("assistant", id);
      return found;
    },
  };
}

describe("all assistants", () => {
  it("are all of them, whatever the size of a page", async () => {
    const many = Array.from({ length: 250 }, (_, index) => assistant(`a${index}`, `n${index}`));
    expect(await allAssistants(service(...many))).toEqual(many);
    expect(await allAssistants(service())).toEqual([]);
  });
});

describe("a model's name", () => {
  it("is the assistant's where that leads to it, else its id", () => {
    const all = [
      AGENT,
      assistant("a1", "one"),
      assistant("a2", "twin"),
      assistant("a3", "twin"),
      assistant("a4", "a1"),
    ];
    expect([...modelNames(all)].map(([name, { assistantId }]) => [name, assistantId])).toEqual([
      ["agent", AGENT.assistantId],
      ["one", "a1"],
      ["a2", "a2"],
      ["a3", "a3"],
      ["a4", "a4"], // its name is another's id
    ]);
    const renamed = assistant(AGENT.assistantId, "renamed");
    expect([...modelNames([renamed, assistant("a1", "agent")]).keys()]).toEqual(["renamed", "a1"]); // a graph's id
    expect([...modelNames([assistant("a1", "")]).keys()]).toEqual(["a1"]);
    expect([...modelNames([assistant("a1", "half \ud800")]).keys()]).toEqual(["a1"]); // no path can say it
  });

  it("leads to the assistant that is listed under it", async () => {
    const all = [
      AGENT,
      assistant("a1", "one"),
      assistant("a2", "twin"),
      assistant("a3", "twin"),
      assistant("a4", "a1"),
    ];
    for (const [name, { assistantId }] of modelNames(all)) {
      expect((await requireModel(service(...all), name)).assistant.assistantId).toBe(assistantId);
    }
  });

  it("may say a version", async () => {
    const all = service(AGENT, assistant("a1", "one"), assistant("a2", "at@2"));
    expect(await requireModel(all, "one@3")).toMatchObject({ assistant: { assistantId: "a1" }, version: 3 });
    expect(await requireModel(all, "agent@12")).toMatchObject({ assistant: AGENT, version: 12 });
    expect(await requireModel(all, "at@2")).toMatchObject({ assistant: { assistantId: "a2" }, version: undefined });
    expect(await requireModel(all, "at@2@1")).toMatchObject({ assistant: { assistantId: "a2" }, version: 1 });
  });

  it.each(["nobody", "twin", "ONE", "one@0", "one@x", "@1", "one@1234567890"])("is not %s", async (model) => {
    const all = service(assistant("a1", "one"), assistant("a2", "twin"), assistant("a3", "twin"));
    await expect(requireModel(all, model)).rejects.toMatchObject({ code: "not_found", details: { option: "model" } });
  });
});
