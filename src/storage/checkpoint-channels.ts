/**
 * Where the values of a checkpoint's channels are stored.
 *
 * A value is stored by the checkpoint that changed it; later ones refer to it, and short values travel within the
 * references themselves. So a step costs what it changed, however much else the state holds.
 */
import type { ChannelVersions, Checkpoint, CheckpointMetadata } from "@langchain/langgraph-checkpoint";
import { type Stored, storedText } from "./serde.js";

/** For each channel with a stored value. */
export type Channels = Readonly<Record<string, ChannelRef>>;

/** A channel's version, and the checkpoint that stored its value or the value itself. */
export type ChannelRef =
  | readonly [version: ChannelVersion, checkpointId: string]
  | readonly [version: ChannelVersion, checkpointId: null, type: Stored["type"], data: string];

type ChannelVersion = ChannelVersions[string];

export interface ChannelValue {
  readonly channel: string;
  readonly stored: Stored;
}

export interface Placement {
  readonly channels: Channels;
  /** Values that this checkpoint stores. */
  readonly stored: readonly ChannelValue[];
  /** Values of channels without a version: defaults that no task ever wrote to. */
  readonly unversioned: Readonly<Record<string, unknown>>;
}

export interface PlaceRequest {
  readonly checkpoint: Checkpoint;
  readonly metadata: CheckpointMetadata;
  /** The channels that changed since the parent, as LangGraph counts. */
  readonly newVersions: ChannelVersions;
  /** undefined: there is no parent. */
  readonly parent: Channels | undefined;
  readonly dumps: (channel: string, value: unknown) => Stored;
  /** Reads a value that another checkpoint stored. */
  readonly read: (channel: string, checkpointId: string) => Stored | undefined;
}

/** In characters of JSON: below it a row of its own costs more than a copy per checkpoint. */
const MAX_SHORT_CHARS = 500;

/** Decides for each channel of a new checkpoint whether its value is stored anew or is the parent's. */
export function placeChannels(request: PlaceRequest): Placement {
  const { checkpoint, parent, dumps } = request;
  const channels: Record<string, ChannelRef> = {};
  const stored: ChannelValue[] = [];
  const unversioned: Record<string, unknown> = {};
  for (const [channel, value] of Object.entries(checkpoint.channel_values)) {
    const version = checkpoint.channel_versions[channel];
    if (version === undefined) {
      unversioned[channel] = value;
      continue;
    }
    const known = parent?.[channel]?.[0] === version ? parent[channel] : undefined;
    const change = judge(request, channel, known);
    const data = change === "none" ? undefined : dumps(channel, value);
    if (data === undefined || (change === "unknown" && isStored(request, channel, known, data))) {
      if (known !== undefined) channels[channel] = known;
    } else if (typeof data.data === "string" && data.data.length <= MAX_SHORT_CHARS) {
      channels[channel] = [version, null, data.type, data.data];
    } else {
      channels[channel] = [version, checkpoint.id];
      stored.push({ channel, stored: data });
    }
  }
  return { channels, stored, unversioned };
}

/** The value behind a reference; undefined when its row is missing. */
export function resolve(ref: ChannelRef, channel: string, read: PlaceRequest["read"]): Stored | undefined {
  return ref[1] === null ? { type: ref[2], data: ref[3] } : read(channel, ref[1]);
}

/** What is known about a channel's value against the parent's, before looking at it. */
function judge(
  { metadata, newVersions, parent }: PlaceRequest,
  channel: string,
  known: ChannelRef | undefined,
): "changed" | "none" | "unknown" {
  if (Object.hasOwn(newVersions, channel)) return "changed";
  // A state update applies what finished tasks wrote without counting versions up, a copy has its parent's parent.
  if (metadata.source !== "loop" && metadata.source !== "input") return "unknown";
  // LangGraph's contract: what a first checkpoint does not name as new is not stored.
  return known !== undefined || parent === undefined ? "none" : "changed";
}

function isStored(request: PlaceRequest, channel: string, known: ChannelRef | undefined, value: Stored): boolean {
  const stored = known && resolve(known, channel, request.read);
  if (stored === undefined || stored.type !== value.type) return false;
  if (typeof stored.data !== "string" && typeof value.data !== "string") {
    return Buffer.compare(stored.data, value.data) === 0;
  }
  return storedText(stored) === storedText(value);
}
