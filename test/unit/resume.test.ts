/** What a resume answers, and what it must never answer. */
import { describe, expect, it } from "vitest";
import type { Json } from "../../src/core/model.js";
import { normaliseResume } from "../../src/runs/resume.js";

const A = "a".repeat(32);
const B = "b".repeat(32);
const GONE = "0".repeat(32);
const one = { t1: [{ id: A, value: "a?" }] };
const two = { t1: [{ id: A, value: "a?" }], t2: [{ id: B, value: "b?" }] };
/** A subgraph's question is listed by its own task and by its parent's. */
const listedTwice = { t1: [{ id: A, value: "a?" }], t2: [{ id: A, value: "a?" }] };

describe("normaliseResume", () => {
  it.each<[string, Json, typeof one, Json]>([
    ["a scalar answers the only question", "yes", one, { [A]: "yes" }],
    ["false is an answer", false, one, { [A]: false }],
    ["an empty string is an answer", "", one, { [A]: "" }],
    ["a list is an answer", [1, 2], one, { [A]: [1, 2] }],
    ["an object is an answer", { approved: true }, one, { [A]: { approved: true } }],
    ["an empty object is an answer", {}, one, { [A]: {} }],
    ["a map by id stays", { [A]: 1 }, one, { [A]: 1 }],
    ["a map of both stays", { [A]: 1, [B]: 2 }, two, { [A]: 1, [B]: 2 }],
    ["a map of one of two stays", { [B]: 2 }, two, { [B]: 2 }],
    ["one question that is listed twice is one question", "yes", listedTwice, { [A]: "yes" }],
  ])("%s", (_title, resume, pending, expected) => {
    expect(normaliseResume({ resume }, pending)).toEqual({ resume: expected });
  });

  it.each<[string, Json, typeof one]>([
    ["a scalar for two questions", "yes", two],
    ["an object that names none of two questions", { approved: true }, two],
    ["an answer to a question that waits no more", { [GONE]: true }, one],
    ["an answer to one that waits and one that waits no more", { [A]: true, [GONE]: true }, one],
    ["an id and a word", { [A]: true, approved: true }, two],
  ])("refuses %s, naming what waits", (_title, resume, pending) => {
    const ids = Object.values(pending).flatMap((interrupts) => interrupts.map(({ id }) => id));
    expect(() => normaliseResume({ resume }, pending)).toThrow(
      expect.objectContaining({
        code: "validation",
        message: expect.stringContaining(ids.join(", ")),
        details: { interrupt_ids: ids },
      }),
    );
  });

  it("leaves out a resume that has nothing to answer, and keeps the rest of the command", () => {
    expect(normaliseResume({ resume: "yes" }, {})).toEqual({});
    expect(normaliseResume({ resume: { [GONE]: true }, goto: "n" }, {})).toEqual({ goto: "n" });
  });

  it("leaves a command without a resume alone", () => {
    expect(normaliseResume({ update: { x: 1 } }, two)).toEqual({ update: { x: 1 } });
    expect(normaliseResume({ resume: null, goto: "n" }, two)).toEqual({ resume: null, goto: "n" });
  });
});
