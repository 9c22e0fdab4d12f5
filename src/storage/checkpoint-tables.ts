/**
 * The rows of the checkpoint file: what savers read and write, in statements prepared once per connection.
 *
 * Everything is synchronous: no other code runs between the statements of one call, and a call that changes several rows
 * is one transaction.
 */
import type { Statement } from "better-sqlite3";
import { LONG_CHARS } from "../core/json-text.js";
import { type Channels, refsOf } from "./checkpoint-channels.js";
import {
  type CheckpointKey,
  type CheckpointReads,
  type CheckpointRow,
  type CheckpointWrite,
  type ListQuery,
  type LoadedCheckpoint,
  latestWrites,
  matchesMetadata,
  NULL_TASK,
  type ValueRef,
  type WriteRow,
} from "./checkpoint-rows.js";
import type { Stored } from "./serde.js";
import { inTransaction, type SqliteDatabase } from "./sqlite.js";

interface StoredRow {
  readonly type: Stored["type"];
  readonly value: Stored["data"];
}

const KEY = "thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ?";

/** A long value comes as bytes: as text it would be in the heap of a graph's thread, which is limited, beside what it becomes. */
const OUTSIDE_OF_THE_HEAP = `iif(octet_length(value) >= ${LONG_CHARS}, CAST(value AS BLOB), value)`;

const COLUMNS = `thread_id AS threadId, checkpoint_ns AS checkpointNs, checkpoint_id AS checkpointId,
  parent_checkpoint_id AS parentId, type, checkpoint, metadata_type AS metadataType, metadata, channels`;

/** What `prepareReads` makes: every answer is there when the call returns. */
export type SqliteReads = ReturnType<typeof prepareReads>;

/** Statements that read; the connection may be one that cannot write. */
export function prepareReads(connection: SqliteDatabase) {
  connection.function("metadata_matches", { deterministic: true }, (metadata, filter) =>
    matchesMetadata(String(metadata), String(filter)) ? 1 : 0,
  );
  const prepare = <Row>(sql: string): Statement<unknown[], Row> => connection.prepare<unknown[], Row>(sql);

  const findOne = prepare<RawCheckpoint>(`SELECT ${COLUMNS} FROM checkpoints WHERE ${KEY}`);
  const findHead = prepare<RawCheckpoint>(
    `SELECT ${COLUMNS} FROM checkpoints WHERE thread_id = ? AND checkpoint_ns = ? ORDER BY rowid DESC LIMIT 1`,
  );
  const findChannels = prepare<string>(`SELECT channels FROM checkpoints WHERE ${KEY}`).pluck();
  const findValue = prepare<StoredRow>(
    `SELECT type, ${OUTSIDE_OF_THE_HEAP} AS value FROM channel_values WHERE thread_id = ? AND checkpoint_ns = ? AND channel = ? AND checkpoint_id = ?`,
  );
  // Of commands only the newest counts: in memory, too, LangGraph replaces all that an earlier one left.
  const findWrites = prepare<StoredRow & { taskId: string; idx: number; channel: string }>(
    `SELECT task_id AS taskId, idx, channel, type, ${OUTSIDE_OF_THE_HEAP} AS value FROM writes AS w WHERE ${KEY} AND (task_id <> '${NULL_TASK}'
       OR run_id = (SELECT run_id FROM writes AS c WHERE c.thread_id = w.thread_id AND c.checkpoint_ns = w.checkpoint_ns
         AND c.checkpoint_id = w.checkpoint_id AND c.task_id = '${NULL_TASK}' ORDER BY c.rowid DESC LIMIT 1))
     ORDER BY task_id, idx, rowid`,
  );
  const lists = new Map<string, Statement<unknown[], CheckpointKey>>();

  const readWrites = (key: CheckpointKey): readonly WriteRow[] =>
    latestWrites(
      findWrites
        .all(...columns(key))
        .map(({ taskId, idx, channel, ...stored }) => ({ taskId, idx, channel, stored: toStored(stored) })),
    );
  const readValues = (
    { threadId, checkpointNs }: Omit<CheckpointKey, "checkpointId">,
    refs: readonly ValueRef[],
  ): ReadonlyMap<string, Stored> => {
    const values = new Map<string, Stored>();
    for (const { channel, checkpointId } of refs) {
      const found = findValue.get(threadId, checkpointNs, channel, checkpointId);
      if (found !== undefined) values.set(channel, toStored(found));
    }
    return values;
  };

  return {
    load(threadId: string, checkpointNs: string, checkpointId: string | undefined): LoadedCheckpoint | undefined {
      const raw =
        checkpointId === undefined
          ? findHead.get(threadId, checkpointNs)
          : findOne.get(threadId, checkpointNs, checkpointId);
      if (raw === undefined) return undefined;
      const row = toRow(raw);
      return { row, values: readValues(row, refsOf(row.channels)), writes: readWrites(row) };
    },
    channels(key: CheckpointKey): Channels | undefined {
      const channels = findChannels.get(...columns(key));
      return channels === undefined ? undefined : JSON.parse(channels);
    },
    values: readValues,
    writes: readWrites,
    list(query: ListQuery): readonly CheckpointKey[] {
      const { sql, args } = listSql(query);
      const statement = lists.get(sql) ?? prepare<CheckpointKey>(sql);
      lists.set(sql, statement);
      return statement.all(...args);
    },
  } satisfies CheckpointReads;
}

/** The function that does a write, in one transaction. */
export function prepareWrites(connection: SqliteDatabase): (write: CheckpointWrite) => void {
  const insertCheckpoint = connection.prepare(
    `INSERT INTO checkpoints (thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, run_id,
     type, checkpoint, metadata_type, metadata, channels)
     VALUES (?, ?, ?, ?, ?, ?, CAST(? AS TEXT), ?, CAST(? AS TEXT), ?)
     ON CONFLICT DO UPDATE SET parent_checkpoint_id = excluded.parent_checkpoint_id, run_id = excluded.run_id,
       type = excluded.type, checkpoint = excluded.checkpoint, metadata_type = excluded.metadata_type,
       metadata = excluded.metadata, channels = excluded.channels`,
  );
  const insertValue = byType((value) =>
    connection.prepare(
      `INSERT OR REPLACE INTO channel_values (thread_id, checkpoint_ns, channel, checkpoint_id, type, value)
       VALUES (?, ?, ?, ?, ?, ${value})`,
    ),
  );
  const replaceWrite = byType((value) =>
    connection.prepare(
      `INSERT OR REPLACE INTO writes (thread_id, checkpoint_ns, checkpoint_id, task_id, idx, run_id, channel, type, value)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ${value})`,
    ),
  );
  const hasWrite = connection
    .prepare<unknown[], number>(`SELECT 1 FROM writes WHERE ${KEY} AND task_id = ? AND idx = ?`)
    .pluck();

  return inTransaction(connection, (write: CheckpointWrite) => {
    if (write.kind === "checkpoint") {
      const { row, values, runId } = write;
      const { threadId, checkpointNs, checkpointId, checkpoint, metadata } = row;
      for (const { channel, stored } of values) {
        insertValue(stored).run(threadId, checkpointNs, channel, checkpointId, stored.type, stored.data);
      }
      const content = [checkpoint.type, checkpoint.data, metadata.type, metadata.data, JSON.stringify(row.channels)];
      insertCheckpoint.run(...columns(row), row.parentId, runId, ...content);
      return;
    }
    const { key, writes, runId, existing } = write;
    for (const { taskId, idx, channel, stored } of writes) {
      const isKept = existing === "keep" && taskId !== NULL_TASK; // a task does the same again, a command does not
      if (isKept && hasWrite.get(...columns(key), taskId, idx) !== undefined) continue;
      replaceWrite(stored).run(...columns(key), taskId, idx, runId, channel, stored.type, stored.data);
    }
  });
}

/** The statement for a value: JSON is text in the file, however it came. */
function byType(prepare: (value: string) => Statement): (stored: Stored) => Statement {
  const [bytes, json] = [prepare("?"), prepare("CAST(? AS TEXT)")];
  return ({ type }) => (type === "bytes" ? bytes : json);
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
  const asked = (conditions: readonly Condition[]): readonly Condition[] =>
    conditions.filter(({ values }) => !values.includes(undefined));
  const place = asked([
    { sql: "thread_id = ?", values: [query.threadId] },
    { sql: "checkpoint_ns = ?", values: [query.checkpointNs] },
  ]);
  const conditions = asked([
    ...place,
    { sql: "checkpoint_id = ?", values: [query.checkpointId] },
    writtenBefore(query.beforeId, place),
    { sql: "metadata_matches(metadata, ?)", values: [query.metadata] },
  ]);
  return {
    sql: `SELECT thread_id AS threadId, checkpoint_ns AS checkpointNs, checkpoint_id AS checkpointId FROM checkpoints
      ${whereOf(conditions)} ORDER BY rowid DESC LIMIT ?`,
    args: [...conditions.flatMap(({ values }) => values), query.limit ?? -1],
  };
}

interface Condition {
  readonly sql: string;
  readonly values: readonly unknown[];
}

function whereOf(conditions: readonly Condition[]): string {
  return conditions.length === 0 ? "" : `WHERE ${conditions.map(({ sql }) => sql).join(" AND ")}`;
}

/** Before the checkpoint `id` at this place; where there is none, up to the last one with a smaller id. */
function writtenBefore(id: string | undefined, place: readonly Condition[]): Condition {
  const lastWhere = (sql: string) => `SELECT max(rowid) FROM checkpoints ${whereOf([...place, { sql, values: [id] }])}`;
  const values = [...place.flatMap((condition) => condition.values), id];
  return {
    sql: `rowid <= coalesce((${lastWhere("checkpoint_id = ?")}) - 1, (${lastWhere("checkpoint_id < ?")}))`,
    values: [...values, ...values],
  };
}
