/** An assistant's agent card, for clients of both families at once. Pure. */
import type { Assistant, Json, JsonObject } from "../core/model.js";
import { isObject } from "../protocol/json-object.js";

/** What an agent takes and answers where its assistant does not say so in `metadata.a2a`. */
const INPUT_MODES: readonly string[] = ["text/plain", "application/json", "image/*", "application/octet-stream"];
const OUTPUT_MODES: readonly string[] = ["text/plain", "application/json"];

/** `url` is where the agent is. */
export function agentCard(assistant: Assistant, url: string): JsonObject {
  const { assistantId, graphId, name, version } = assistant;
  const description = assistant.description || `The agent ${name}`;
  const interfaceOf = (protocolVersion: string) => ({ url, protocolBinding: "JSONRPC", protocolVersion });
  return {
    name,
    description,
    version: String(version),
    // Version 1.0 looks here, the newest first,
    supportedInterfaces: [interfaceOf("1.0"), interfaceOf("0.3")],
    // and version 0.3 here.
    protocolVersion: "0.3.0",
    url,
    preferredTransport: "JSONRPC",
    capabilities: {
      streaming: true,
      pushNotifications: false,
      stateTransitionHistory: false,
      extendedAgentCard: false,
    },
    defaultInputModes: modes(assistant, "input_modes") ?? INPUT_MODES,
    defaultOutputModes: modes(assistant, "output_modes") ?? OUTPUT_MODES,
    skills: [{ id: assistantId, name, description, tags: [graphId] }],
  };
}

/** Whether the agent takes files of a type; all types where its assistant says nothing. */
export function takesType(assistant: Assistant, mediaType: string): boolean {
  const accepted = modes(assistant, "input_modes");
  return accepted === undefined || accepted.some((mode) => matches(mode, mediaType));
}

function modes({ metadata }: Assistant, member: "input_modes" | "output_modes"): readonly string[] | undefined {
  const listed: Json | undefined = isObject(metadata.a2a) ? metadata.a2a[member] : undefined;
  const named = Array.isArray(listed) ? listed.filter((mode) => typeof mode === "string") : [];
  return named.length === 0 ? undefined : named;
}

function matches(mode: string, mediaType: string): boolean {
  const [type = "", subtype = ""] = mode.toLowerCase().split("/");
  const [ownType = "", ownSubtype = ""] = mediaType.toLowerCase().split(";")[0]?.split("/") ?? [];
  const fits = (pattern: string, own: string): boolean => pattern === "*" || pattern === own;
  return fits(type, ownType) && fits(subtype, ownSubtype);
}
