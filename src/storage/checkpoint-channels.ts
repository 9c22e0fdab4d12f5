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
}

export interface PlaceRequest {
  readonly checkpoint: Checkpoint;
  readonly metadata: Pick<CheckpointMetadata, "source">;
  /** The channels that changed since the parent, as LangGraph counts. */
  readonly newVersions: ChannelVersions;
  /** undefined: there is no parent. */
  readonly parent: Channels | undefined;
  readonly dumps: (channel: string, value: unknown) => Stored;
  /** What other checkpoints stored of the parent's channels, where `comparesValues`. */
  readonly before: ReadonlyMap<string, Stored>;
}

/** In characters of JSON: below it a row of its own costs more than a copy per checkpoint. */
const MAX_SHORT_CHARS = 500;

/** Decides for each channel of a new checkpoint whether its value is stored anew or is the parent's. */
export function placeChannels(request: PlaceRequest): Placement {
  const { checkpoint, parent, dumps } = request;
  const channels: Record<string, ChannelRef> = {};
  const stored: ChannelValue[] = [];
  for (const [channel, value] of Object.entries(checkpoint.channel_values)) {
    const version = checkpoint.channel_versions[channel];
    if (version === undefined) continue; // a default that no task ever wrote to: the checkpoint itself holds it
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
  return { channels, stored };
}

/** The value behind a reference; undefined when its row is missing from `values`. */
export function resolve(ref: ChannelRef, channel: string, values: ReadonlyMap<string, Stored>): Stored | undefined {
  return ref[1] === null ? { type: ref[2], data: ref[3] } : values.get(channel);
}

/** The values that have rows of their own. */
export function refsOf(channels: Channels): readonly { readonly channel: string; readonly checkpointId: string }[] {
  return Object.entries(channels).flatMap(([channel, ref]) =>
    ref[1] === null ? [] : [{ channel, checkpointId: ref[1] }],
  );
}

/**
 * Whether versions do not tell what changed: a state update applies what finished tasks wrote without counting versions up,
 * a copy has its parent's parent.
 */
export function comparesValues({ source }: PlaceRequest["metadata"]): boolean {
  return source !== "loop" && source !== "input";
}

/** What is known about a channel's value against the parent's, before looking at it. */
function judge(
  { metadata, newVersions, parent }: PlaceRequest,
  channel: string,
  known: ChannelRef | undefined,
): "changed" | "none" | "unknown" {
  if (Object.hasOwn(newVersions, channel)) return "changed";
  if (comparesValues(metadata)) return "unknown";
  // LangGraph's contract: what a first checkpoint does not name as new is not stored.
  return known !== undefined || parent === undefined ? "none" : "changed";
}

function isStored(request: PlaceRequest, channel: string, known: ChannelRef | undefined, value: Stored): boolean {
  const stored = known && resolve(known, channel, request.before);
  if (stored === undefined || stored.type !== value.type) return false;
  if (typeof stored.data !== "string" && typeof value.data !== "string") {
    return Buffer.compare(stored.data, value.data) === 0;
  }
  return storedText(stored) === storedText(value);
}
