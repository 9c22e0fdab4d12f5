/** Which events a subscription is for: channels, namespaces, depth below them. Pure. */
import { isPrefixMatch } from "@langchain/langgraph/stream";
import type { ProtocolEvent } from "./event.js";

export interface EventFilter {
  readonly channels: readonly string[];
  /** Prefixes; a segment without `:` matches whatever follows it there. None: everywhere. */
  readonly namespaces?: readonly (readonly string[])[] | undefined;
  /** How many levels below its prefix an event may lie; any number without it. */
  readonly depth?: number | undefined;
}

/** Whether the event is one of the filter's. `custom` takes every named channel with it. */
export function isWanted(
  { channel, namespace }: Pick<ProtocolEvent, "channel" | "namespace">,
  filter: EventFilter,
): boolean {
  const { channels, namespaces, depth } = filter;
  const isInChannel = channels.includes(channel) || (channel.startsWith("custom:") && channels.includes("custom"));
  if (!isInChannel) return false;
  if (namespaces === undefined || namespaces.length === 0) return true;
  return namespaces.some(
    (prefix) =>
      isPrefixMatch([...namespace], [...prefix]) && (depth === undefined || namespace.length - prefix.length <= depth),
  );
}
