/** Whether an assistant's graph can be talked to: one that gives no input schema is given the chance. */
import type { Assistant } from "../core/model.js";
import type { GraphHost } from "../graphs/host.js";
import { isObject } from "../protocol/json-object.js";

export type TakesMessages = (assistant: Assistant) => Promise<boolean>;

const MAX_KNOWN = 10_000;

/**
 * Asks a graph once for each version of an assistant that takes messages: its thread may be busy. A graph that takes none is
 * asked again, because it may be another one after its file has changed.
 */
export function createTakesMessages(host: Pick<GraphHost, "schemas">): TakesMessages {
  const known = new Set<string>();
  return async ({ assistantId, version, graphId, config }) => {
    const key = `${assistantId} ${version}`;
    if (known.has(key)) return true;
    const { input_schema: schema } = await host.schemas(graphId, config);
    const takes = !isObject(schema?.properties) || "messages" in schema.properties;
    if (known.size >= MAX_KNOWN) known.clear();
    if (takes) known.add(key);
    return takes;
  };
}
