/** A graph host that fills in, from the types of a graph's source, the schemas that the graph itself does not give. */
import type { GraphHost, GraphSchemas } from "../graphs/host.js";
import type { SourceSchemas } from "./source-schemas.js";

export function withSourceSchemas(host: GraphHost, sources: Pick<SourceSchemas, "of">): GraphHost {
  return {
    ...host,

    async schemas(graphId, config) {
      const given = await host.schemas(graphId, config);
      return isComplete(given) ? given : complete(given, (await sources.of(graphId)).get(""));
    },

    async subgraphs(graphId, config, options) {
      const given = await host.subgraphs(graphId, config, options);
      if (Object.values(given).every(isComplete)) return given;
      const told = await sources.of(graphId);
      const completed = Object.entries(given).map(([namespace, schemas]) => [
        namespace,
        complete(schemas, told.get(namespace)),
      ]);
      return Object.fromEntries(completed);
    },
  };
}

/** A context is not among it: most graphs have none, and whoever gives a state at run time gives that too. */
function isComplete({ state_schema, input_schema, output_schema }: GraphSchemas): boolean {
  return state_schema !== null && input_schema !== null && output_schema !== null;
}

function complete(given: GraphSchemas, told: GraphSchemas | undefined): GraphSchemas {
  return {
    input_schema: given.input_schema ?? told?.input_schema ?? null,
    output_schema: given.output_schema ?? told?.output_schema ?? null,
    state_schema: given.state_schema ?? told?.state_schema ?? null,
    config_schema: given.config_schema ?? told?.config_schema ?? null,
    context_schema: given.context_schema ?? told?.context_schema ?? null,
  };
}
