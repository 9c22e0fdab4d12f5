/** Checkpoints as the `checkpoints` and `debug` modes stream them, and the pointers that name them everywhere. */

import { isCheckpointEnvelope } from "@langchain/langgraph/stream";

interface CheckpointPayload {
  readonly metadata?: { readonly step?: number; readonly source?: string };
  readonly config?: ConfigLike;
  readonly parentConfig?: ConfigLike;
  readonly tasks?: readonly { readonly state?: unknown }[];
}

interface ConfigLike {
  readonly configurable?: { readonly [key: string]: unknown };
}

export function wireCheckpoint(payload: unknown): unknown {
  const { config, parentConfig, tasks, ...rest } = payload as CheckpointPayload; // shape of LangGraph's mapDebugCheckpoint
  return {
    ...rest,
    config: publicConfig(config),
    parent_config: publicConfig(parentConfig),
    checkpoint: pointerOf(config),
    parent_checkpoint: pointerOf(parentConfig),
    tasks: (tasks ?? []).map((task) => ({ ...task, checkpoint: pointerOf(task.state as ConfigLike | undefined) })),
  };
}

/**
 * What identifies a checkpoint, from what the `checkpoints` mode streams or from LangGraph's own envelope: the payload of
 * the protocol's `checkpoints` channel.
 */
export function checkpointEnvelope(payload: unknown): unknown {
  if (isCheckpointEnvelope(payload)) return payload;
  const { config, parentConfig, metadata } = payload as CheckpointPayload; // shape of LangGraph's mapDebugCheckpoint
  const parentId = parentConfig?.configurable?.checkpoint_id;
  return {
    id: config?.configurable?.checkpoint_id,
    ...(parentId === undefined ? {} : { parent_id: parentId }),
    step: metadata?.step,
    source: metadata?.source,
  };
}

/** Without LangGraph's internal keys, which hold functions and whole objects. */
function publicConfig(config: ConfigLike | undefined): unknown {
  if (config === undefined) return null;
  const { callbacks: _callbacks, ...shown } = config as ConfigLike & { callbacks?: unknown };
  const configurable = Object.entries(config.configurable ?? {}).filter(([key]) => !key.startsWith("__"));
  return { ...shown, configurable: Object.fromEntries(configurable) };
}

/** The checkpoint that a config points at, as the wire shows it; null when it points at none. */
export function pointerOf(config: ConfigLike | undefined): Record<string, unknown> | null {
  const configurable = config?.configurable;
  if (configurable === undefined) return null;
  if (configurable.checkpoint_id === undefined && !configurable.checkpoint_ns) return null;
  return {
    thread_id: configurable.thread_id,
    checkpoint_ns: configurable.checkpoint_ns ?? "",
    checkpoint_id: configurable.checkpoint_id ?? null,
    checkpoint_map: configurable.checkpoint_map ?? null,
  };
}
