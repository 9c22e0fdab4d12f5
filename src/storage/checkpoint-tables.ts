/**
 * The rows of the checkpoint file: what savers read and write, in statements prepared once per connection.
 *
 * Everything is synchronous: no other code runs between the statements of one call, and a call that changes several rows
 * is one transaction.
 */
import { isDeepStrictEqual } from "node:util";
import type { Statement } from "better-sqlite3";
import type { Channels, ChannelValue } from "./checkpoint-channels.js";
import type { Stored } from "./serde.js";
import type { SqliteDatabase } from "./sqlite.js";

export interface CheckpointKey {
  readonly threadId: string;
  readonly checkpointNs: string;
  readonly checkpointId: string;
}

export interface CheckpointRow extends CheckpointKey {
  readonly parentId: string | null;
  readonly checkpoint: Stored;
  readonly metadata: Stored;
  readonly channels: Channels;
}

export interface WriteRow {
  readonly taskId: string;
  readonly idx: number;
  readonly channel: string;
  readonly stored: Stored;
}

export interface ListQuery {
  readonly threadId: string | undefined;
  readonly checkpointNs: string | undefined;
  readonly checkpointId: string | undefined;
  /** Only checkpoints older than this one. */
  readonly beforeId: string | undefined;
  /** JSON object: each of its members must be equal in the stored metadata. */
  readonly metadata: string | undefined;
  readonly limit: number | undefined;
}

export interface CheckpointTables {
  /** Without an id the newest of the namespace. */
  find(threadId: string, checkpointNs: string, checkpointId: string | undefined): CheckpointRow | undefined;
  channels(key: CheckpointKey): Channels | undefined;
  /** The value of `channel` that this checkpoint stored. */
  value(key: CheckpointKey, channel: string): Stored | undefined;
  /** In the order of tasks, and of each task's writes. */
  writes(key: CheckpointKey): readonly WriteRow[];
  /** Newest first. */
  list(query: ListQuery): readonly CheckpointKey[];
  insertCheckpoint(row: CheckpointRow, values: readonly ChannelValue[], runId: string): void;
  /** A write that exists is replaced (`replace`: special channels) or kept (`keep`). */
  insertWrites(key: CheckpointKey, writes: readonly WriteRow[], runId: string, existing: "replace" | "keep"): void;
}

interface StoredRow {
  readonly type: Stored["type"];
  readonly value: Stored["data"];
}

const KEY = "thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ?";

const COLUMNS = `thread_id AS threadId, checkpoint_ns AS checkpointNs, checkpoint_id AS checkpointId,
  parent_checkpoint_id AS parentId, type, checkpoint, metadata_type AS metadataType, metadata, channels`;

export function prepareTables(connection: SqliteDatabase): CheckpointTables {
  connection.function("metadata_matches", { deterministic: true }, matchesMetadata);
  const prepare = <Row>(sql: string): Statement<unknown[], Row> => connection.prepare<unknown[], Row>(sql);

  const findOne = prepare<RawCheckpoint>(`SELECT ${COLUMNS} FROM checkpoints WHERE ${KEY}`);
  const findHead = prepare<RawCheckpoint>(
    `SELECT ${COLUMNS} FROM checkpoints WHERE thread_id = ? AND checkpoint_ns = ? ORDER BY checkpoint_id DESC LIMIT 1`,
  );
  const findChannels = prepare<string>(`SELECT channels FROM checkpoints WHERE ${KEY}`).pluck();
  const findValue = prepare<StoredRow>(
    `SELECT type, value FROM channel_values WHERE thread_id = ? AND checkpoint_ns = ? AND channel = ? AND checkpoint_id = ?`,
  );
  const findWrites = prepare<StoredRow & { taskId: string; idx: number; channel: string }>(
    `SELECT task_id AS taskId, idx, channel, type, value FROM writes WHERE ${KEY} ORDER BY task_id, idx, rowid`,
  );
  const insertCheckpoint = prepare(
    `INSERT OR REPLACE INTO checkpoints (thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, run_id,
     type, checkpoint, metadata_type, metadata, channels) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
  );
  const insertValue = prepare(
    `INSERT OR REPLACE INTO channel_values (thread_id, checkpoint_ns, channel, checkpoint_id, type, value)
     VALUES (?, ?, ?, ?, ?, ?)`,
  );
  const replaceWrite = prepare(
    `INSERT OR REPLACE INTO writes (thread_id, checkpoint_ns, checkpoint_id, task_id, idx, run_id, channel, type, value)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
  );
  const hasWrite = prepare<number>(`SELECT 1 FROM writes WHERE ${KEY} AND task_id = ? AND idx = ?`).pluck();
  const lists = new Map<string, Statement<unknown[], CheckpointKey>>();

  return {
    find(threadId, checkpointNs, checkpointId) {
      const raw =
        checkpointId === undefined
          ? findHead.get(threadId, checkpointNs)
          : findOne.get(threadId, checkpointNs, checkpointId);
      return raw && toRow(raw);
    },
    channels(key) {
      const channels = findChannels.get(...columns(key));
      return channels === undefined ? undefined : JSON.parse(channels);
    },
    value(key, channel) {
      const found = findValue.get(key.threadId, key.checkpointNs, channel, key.checkpointId);
      return found && toStored(found);
    },
    writes(key) {
      const latest = new Map<string, WriteRow>();
      for (const { taskId, idx, channel, ...stored } of findWrites.all(...columns(key))) {
        latest.set(`${idx} ${taskId}`, { taskId, idx, channel, stored: toStored(stored) }); // a later run's comes later
      }
      return [...latest.values()];
    },
    list(query) {
      const { sql, args } = listSql(query);
      const statement = lists.get(sql) ?? prepare<CheckpointKey>(sql);
      lists.set(sql, statement);
      return statement.all(...args);
    },
    insertCheckpoint: connection.transaction((row: CheckpointRow, values: readonly ChannelValue[], runId: string) => {
      const { threadId, checkpointNs, checkpointId } = row;
      for (const { channel, stored } of values) {
        insertValue.run(threadId, checkpointNs, channel, checkpointId, stored.type, stored.data);
      }
      const { checkpoint, metadata } = row;
      const content = [checkpoint.type, checkpoint.data, metadata.type, metadata.data, JSON.stringify(row.channels)];
      insertCheckpoint.run(...columns(row), row.parentId, runId, ...content);
    }),
    insertWrites: connection.transaction(
      (key: CheckpointKey, writes: readonly WriteRow[], runId: string, existing: "replace" | "keep") => {
        for (const { taskId, idx, channel, stored } of writes) {
          if (existing === "keep" && hasWrite.get(...columns(key), taskId, idx) !== undefined) continue;
          replaceWrite.run(...columns(key), taskId, idx, runId, channel, stored.type, stored.data);
        }
      },
    ),
  };
}

interface RawCheckpoint extends CheckpointKey {
  readonly parentId: string | null;
  readonly type: Stored["type"];
  readonly checkpoint: string;
  readonly metadataType: Stored["type"];
  readonly metadata: string;
  readonly channels: string;
}

function toRow({ type, checkpoint, metadataType, metadata, channels, ...key }: RawCheckpoint): CheckpointRow {
  return {
    ...key,
    checkpoint: { type, data: checkpoint },
    metadata: { type: metadataType, data: metadata },
    channels: JSON.parse(channels),
  };
}

function toStored({ type, value }: StoredRow): Stored {
  return { type, data: value };
}

function columns(key: CheckpointKey): [string, string, string] {
  return [key.threadId, key.checkpointNs, key.checkpointId];
}

function listSql(query: ListQuery): { sql: string; args: unknown[] } {
  const conditions: readonly (readonly [sql: string, value: unknown])[] = [
    ["thread_id = ?", query.threadId],
    ["checkpoint_ns = ?", query.checkpointNs],
    ["checkpoint_id = ?", query.checkpointId],
    ["checkpoint_id < ?", query.beforeId],
    ["metadata_matches(metadata, ?)", query.metadata],
  ];
  const asked = conditions.filter(([, value]) => value !== undefined);
  const where = asked.length === 0 ? "" : `WHERE ${asked.map(([sql]) => sql).join(" AND ")}`;
  return {
    sql: `SELECT thread_id AS threadId, checkpoint_ns AS checkpointNs, checkpoint_id AS checkpointId FROM checkpoints
      ${where} ORDER BY checkpoint_id DESC LIMIT ?`,
    args: [...asked.map(([, value]) => value), query.limit ?? -1],
  };
}

/** Both are JSON objects as the serializer wrote them, so that equal values have equal JSON. */
function matchesMetadata(metadata: unknown, filter: unknown): 0 | 1 {
  const stored = JSON.parse(String(metadata));
  const asked = Object.entries(JSON.parse(String(filter)));
  return asked.every(([key, value]) => Object.hasOwn(stored, key) && isDeepStrictEqual(stored[key], value)) ? 1 : 0;
}
