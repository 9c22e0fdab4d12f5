/** What a graph says itself goes before what its types say, and nobody asks its types for nothing. */
import { expect, it } from "vitest";
import type { GraphHost, GraphSchemas } from "../../src/graphs/host.js";
import { withSourceSchemas } from "../../src/schemas/typed-host.js";

const schemas = (names: Partial<Record<keyof GraphSchemas, string>>): GraphSchemas => ({
  input_schema: named(names.input_schema),
  output_schema: named(names.output_schema),
  state_schema: named(names.state_schema),
  config_schema: named(names.config_schema),
  context_schema: named(names.context_schema),
});
const named = (title: string | undefined) => (title === undefined ? null : { title });

const TOLD = schemas({ input_schema: "told", output_schema: "told", state_schema: "told", context_schema: "told" });

/** A host of one graph with one subgraph; counts what it asks of types. */
function hostOf(given: GraphSchemas, told: Readonly<Record<string, GraphSchemas>>) {
  const asked: string[] = [];
  const host = { schemas: async () => given, subgraphs: async () => ({ node: given }) };
  const sources = {
    async of(graphId: string) {
      asked.push(graphId);
      return new Map(Object.entries(told));
    },
  };
  return { asked, host: withSourceSchemas(host as unknown as GraphHost, sources) };
}

it("types fill in what a graph does not say, of the graph and of each subgraph", async () => {
  const given = schemas({ input_schema: "given" });
  const { host } = hostOf(given, { "": TOLD, node: schemas({ state_schema: "of the node" }) });
  expect(await host.schemas("a", {})).toEqual({ ...TOLD, input_schema: { title: "given" } });
  expect(await host.subgraphs("a", {}, { namespace: null, recurse: false })).toEqual({
    node: { ...given, state_schema: { title: "of the node" } },
  });
});

it("what neither says is null", async () => {
  const none = schemas({});
  const { host } = hostOf(none, {});
  expect(await host.schemas("a", {})).toEqual(none);
  expect(await host.subgraphs("a", {}, { namespace: null, recurse: false })).toEqual({ node: none });
});

it("a graph that says what it takes, holds and gives is not analysed, whether or not it has a context", async () => {
  const given = schemas({ input_schema: "given", output_schema: "given", state_schema: "given" });
  const { host, asked } = hostOf(given, { "": TOLD, node: TOLD });
  expect(await host.schemas("a", {})).toEqual(given);
  expect(await host.subgraphs("a", {}, { namespace: null, recurse: false })).toEqual({ node: given });
  expect(asked).toEqual([]);
});
