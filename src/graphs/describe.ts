/** What a graph looks like to clients: its schemas, its drawing, its subgraphs. Runs nothing of the graph. */
import type { RunnableConfig } from "@langchain/core/runnables";
import { schemaMetaRegistry } from "@langchain/langgraph/zod";
import { toPlain } from "../core/json.js";
import type { JsonObject } from "../core/model.js";
import type { CompiledGraph } from "./compiled-graph.js";
import { definitionSchema, type SchemaRegistry } from "./definition-schema.js";
import type { GraphSchemas } from "./host.js";

/** What a `StateGraph` keeps of its definitions; named alike in every 1.x. */
interface Definitions {
  readonly _schemaRuntimeDefinition?: unknown;
  readonly _inputRuntimeDefinition?: unknown;
  readonly _outputRuntimeDefinition?: unknown;
  readonly _configRuntimeSchema?: unknown;
  /** That of the graph's own copy of LangGraph. */
  readonly _metaRegistry?: SchemaRegistry;
}

/** Stands for an input that is any part of the state. */
const PARTIAL_STATE = Symbol.for("langgraph.state.partial");

/** The schemas that a graph gives at run time; `null` for what it does not (`Annotation`, the functional API). */
export function graphSchemas(graph: CompiledGraph): GraphSchemas {
  const definitions = (graph.builder ?? {}) as Definitions;
  const registry = definitions._metaRegistry ?? schemaMetaRegistry;
  const { _schemaRuntimeDefinition: state, _inputRuntimeDefinition: input } = definitions;
  const context = definitionSchema(definitions._configRuntimeSchema, "context", registry);
  return {
    input_schema:
      input === PARTIAL_STATE
        ? definitionSchema(state, "partial", registry)
        : definitionSchema(input, "input", registry),
    output_schema: definitionSchema(definitions._outputRuntimeDefinition, "state", registry),
    state_schema: definitionSchema(state, "state", registry),
    config_schema: context, // LangGraph checks a run's `context` with it, or its `configurable` where it gives none
    context_schema: context,
  };
}

/** `{nodes, edges}`; `xray` draws subgraphs open, `true` all of them, a number that many levels. */
export async function drawGraph(
  graph: CompiledGraph,
  config: RunnableConfig,
  xray: boolean | number,
): Promise<JsonObject> {
  const drawing = await graph.getGraphAsync({ ...config, xray });
  const { nodes, edges } = drawing.toJSON();
  const drawn = Object.values(drawing.nodes); // toJSON keeps their order and leaves their metadata out
  const described = nodes.map((node, index) => ({ ...node, ...metadataOf(drawn[index]) }));
  return toPlain({ nodes: described, edges }) as JsonObject; // proven by the literal
}

function metadataOf(node: { readonly metadata?: unknown } | undefined): object {
  const metadata = node?.metadata;
  const isGiven = typeof metadata === "object" && metadata !== null && Object.keys(metadata).length > 0;
  return isGiven ? { metadata } : {};
}

export interface SubgraphQuery {
  /** Only this one (`node` or `node|node`); null for all. */
  readonly namespace: string | null;
  /** With those below. */
  readonly recurse: boolean;
}

/** Schemas by namespace. LangGraph's own filter is not used: it finds a nested namespace only when asked to recurse. */
export async function describeSubgraphs(
  graph: CompiledGraph,
  { namespace, recurse }: SubgraphQuery,
): Promise<{ readonly [namespace: string]: GraphSchemas }> {
  const deep = recurse || namespace !== null;
  const found: Record<string, GraphSchemas> = {};
  for await (const [name, subgraph] of graph.getSubgraphsAsync(undefined, deep)) {
    const wanted = namespace === null || name === namespace || (recurse && name.startsWith(`${namespace}|`));
    if (wanted) found[name] = graphSchemas(subgraph);
  }
  return found;
}
