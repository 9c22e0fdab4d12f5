/** Which events a filter is for: by this rule and by the SDK's own, over everything that can be asked. */
import { matchesSubscription } from "@langchain/langgraph-sdk/client";
import fc from "fast-check";
import { expect, it } from "vitest";
import { type EventFilter, isWanted } from "../../src/protocol/filter.js";

it.each<[string, string, readonly string[], EventFilter, boolean]>([
  ["its channel", "values", [], { channels: ["values"] }, true],
  ["no channel of its", "values", [], { channels: ["updates", "custom"] }, false],
  ["a named channel", "custom:a", [], { channels: ["custom:a"] }, true],
  ["another name", "custom:a", [], { channels: ["custom:b"] }, false],
  ["all names", "custom:a", [], { channels: ["custom"] }, true],
  ["a name, for what has none", "custom", [], { channels: ["custom:a"] }, false],
  ["no namespaces: everywhere", "values", ["a:1", "b:2"], { channels: ["values"], namespaces: [] }, true],
  ["the root, and all below", "values", ["a:1", "b:2"], { channels: ["values"], namespaces: [[]] }, true],
  ["the root alone", "values", ["a:1"], { channels: ["values"], namespaces: [[]], depth: 0 }, false],
  ["one level below", "values", ["a:1"], { channels: ["values"], namespaces: [[]], depth: 1 }, true],
  ["two levels below one", "values", ["a:1", "b:2"], { channels: ["values"], namespaces: [[]], depth: 1 }, false],
  ["a node, whatever its task", "values", ["a:1"], { channels: ["values"], namespaces: [["a"]] }, true],
  ["a task", "values", ["a:1"], { channels: ["values"], namespaces: [["a:1"]] }, true],
  ["another task", "values", ["a:1"], { channels: ["values"], namespaces: [["a:2"]] }, false],
  ["a node that begins alike", "values", ["ab:1"], { channels: ["values"], namespaces: [["a"]] }, false],
  ["what is below, not above", "values", ["a:1"], { channels: ["values"], namespaces: [["a", "b"]] }, false],
  ["one of several", "values", ["b:1"], { channels: ["values"], namespaces: [["a"], ["b"]], depth: 0 }, true],
])("%s", (_, channel, namespace, filter, expected) => {
  expect(isWanted({ channel, namespace }, filter)).toBe(expected);
});

it("as the SDK decides", () => {
  const segment = fc.constantFrom("a", "b", "a:1", "a:2", "b:1");
  const namespace = fc.array(segment, { maxLength: 3 });
  const channel = fc.constantFrom("values", "messages", "custom", "custom:x", "custom:y");
  const filter = fc.record(
    {
      channels: fc.uniqueArray(channel, { minLength: 1 }),
      namespaces: fc.array(namespace, { minLength: 1, maxLength: 2 }),
      depth: fc.nat(2),
    },
    { requiredKeys: ["channels"] },
  );
  fc.assert(
    fc.property(channel, namespace, filter, (said, place, wanted) => {
      const [method, name] = said.split(":");
      const data = name === undefined ? { payload: 1 } : { name, payload: 1 };
      const event = { type: "event", method, params: { namespace: place, timestamp: 0, data } };
      const theirs = matchesSubscription(event as never, wanted as never);
      expect(isWanted({ channel: said, namespace: place }, wanted)).toBe(theirs);
    }),
  );
});
