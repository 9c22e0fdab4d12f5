/**
 * A state as the `values` channel shows it: without its interrupts, which have a channel of their own, and with the
 * content of its messages in standard blocks.
 *
 * Nothing else of a message is touched: clients take over what servers add to `additional_kwargs` and the like.
 */
import type { Json, JsonObject } from "../core/model.js";
import { standardContent } from "./content-blocks.js";
import { isObject, parseObject } from "./json-object.js";

/** The text itself when there is nothing to change; undefined when the state has nothing but interrupts. */
export function protocolValues(valuesJson: string): string | undefined {
  if (!valuesJson.includes(INTERRUPTS) && !valuesJson.includes(CONTENT_LIST)) return valuesJson;
  const values = parseObject(valuesJson);
  if (values === undefined) return valuesJson;
  const { __interrupt__: interrupts, ...state } = values;
  const members = Object.entries(state);
  if (interrupts !== undefined && members.length === 0) return undefined;
  const shown = members.map(([name, member]) => [name, standardMember(member)] as const);
  const isChanged = interrupts !== undefined || shown.some(([, member], index) => member !== members[index]?.[1]);
  return isChanged ? JSON.stringify(Object.fromEntries(shown)) : valuesJson;
}

const INTERRUPTS = '"__interrupt__"';
/** Without a space: the log's JSON has none. */
const CONTENT_LIST = '"content":[';

/** A message, or a list with messages; all else is the graph's own. */
function standardMember(member: Json): Json {
  if (!Array.isArray(member)) return isObject(member) ? standardMessage(member) : member;
  const items = member.map((item: Json) => (isObject(item) ? standardMessage(item) : item));
  return items.some((item, index) => item !== member[index]) ? items : member;
}

function standardMessage(message: JsonObject): JsonObject {
  const { content } = message;
  if (!isMessage(message) || !Array.isArray(content)) return message;
  const blocks = standardContent(message, content);
  if (blocks === content) return message;
  return { ...message, content: blocks, ...(message.type === "ai" ? { response_metadata: inStandard(message) } : {}) };
}

/** The dict that a LangChain message becomes has all of these. */
function isMessage({ type, ...message }: JsonObject): boolean {
  return (
    typeof type === "string" && TYPES.has(type) && "additional_kwargs" in message && "response_metadata" in message
  );
}

const TYPES: ReadonlySet<string> = new Set(["ai", "human", "system", "tool", "function", "generic"]);

/** Else LangChain would read the blocks as the provider's once more. */
function inStandard({ response_metadata: metadata }: JsonObject): JsonObject {
  return { ...(isObject(metadata) ? metadata : {}), output_version: "v1" };
}
