/**
 * What savers read and write on PostgreSQL. Each is one statement: a checkpoint is read as of one moment, and written in the
 * statement that looks whether the writer may still write.
 */
import { conflict } from "../core/errors.js";
import type { Channels } from "./checkpoint-channels.js";
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
import type { WriteRight } from "./checkpoint-savers.js";
import type { AskPostgres, Statement } from "./postgres-connection.js";
import { type Stored, type StoredType, storedText } from "./serde.js";

/** The checkpoint `c` with its values and writes: one row per text, told apart by `part`. */
const loadText = (which: string): string => `
  WITH c AS MATERIALIZED (SELECT * FROM state_checkpoints WHERE thread_id = $1 AND checkpoint_ns = $2 ${which})
  SELECT 0 AS part, checkpoint_id AS a, parent_checkpoint_id AS b, NULL::integer AS idx, NULL::bigint AS seq,
    type, checkpoint AS value, NULL::bytea AS bytes FROM c
  UNION ALL SELECT 1, NULL, NULL, NULL, NULL, metadata_type, metadata, NULL FROM c
  UNION ALL SELECT 2, NULL, NULL, NULL, NULL, NULL, channels, NULL FROM c
  UNION ALL SELECT 3, v.channel, NULL, NULL, NULL, v.type, v.value, v.bytes
    FROM c, json_each(c.channels::json) AS ref JOIN state_values AS v
      ON v.thread_id = $1 AND v.checkpoint_ns = $2 AND v.channel = ref.key AND v.checkpoint_id = ref.value ->> 1
  UNION ALL SELECT 4, w.task_id, w.channel, w.idx, w.seq, w.type, w.value, w.bytes
    FROM c JOIN state_writes AS w ON w.thread_id = $1 AND w.checkpoint_ns = $2 AND w.checkpoint_id = c.checkpoint_id
      AND ${ofNewestCommand("w")}
  ORDER BY part, a, idx, seq`;

const LOAD_HEAD = loadText("ORDER BY seq DESC LIMIT 1");
const LOAD_ONE = loadText("AND checkpoint_id = $3");

const CHANNELS =
  "SELECT channels FROM state_checkpoints WHERE thread_id = $1 AND checkpoint_ns = $2 AND checkpoint_id = $3";

const VALUES = `
  SELECT v.channel AS a, v.type, v.value, v.bytes FROM unnest($3::text[], $4::text[]) AS ref (channel, checkpoint_id)
  JOIN state_values AS v ON v.thread_id = $1 AND v.checkpoint_ns = $2 AND v.channel = ref.channel
    AND v.checkpoint_id = ref.checkpoint_id`;

const WRITES = `
  SELECT task_id AS a, channel AS b, idx, type, value, bytes FROM state_writes AS w
  WHERE thread_id = $1 AND checkpoint_ns = $2 AND checkpoint_id = $3 AND ${ofNewestCommand("w")}
  ORDER BY task_id, idx, seq`;

/** Of commands only the newest counts: in memory, too, LangGraph replaces all that an earlier one left. */
function ofNewestCommand(w: string): string {
  return `(${w}.task_id <> '${NULL_TASK}' OR ${w}.run_id =
    (SELECT n.run_id FROM state_writes AS n WHERE n.thread_id = ${w}.thread_id AND n.checkpoint_ns = ${w}.checkpoint_ns
      AND n.checkpoint_id = ${w}.checkpoint_id AND n.task_id = '${NULL_TASK}' ORDER BY n.seq DESC LIMIT 1))`;
}

interface Part {
  readonly part: 0 | 1 | 2 | 3 | 4;
  readonly a: string;
  readonly b: string;
  readonly idx: number;
  readonly type: StoredType;
  readonly value: string | null;
  readonly bytes: Uint8Array | null;
}

export function createPostgresReads(ask: AskPostgres): CheckpointReads {
  const rows = async <Row>(statement: Statement): Promise<readonly Row[]> =>
    (await ask(statement)).rows as readonly Row[]; // as each statement names its columns

  return {
    async load(threadId, checkpointNs, checkpointId) {
      if (![threadId, checkpointNs, checkpointId ?? ""].every(isStorable)) return undefined;
      const statement =
        checkpointId === undefined
          ? { name: "heddle load head", text: LOAD_HEAD, values: [threadId, checkpointNs] }
          : { name: "heddle load", text: LOAD_ONE, values: [threadId, checkpointNs, checkpointId] };
      return toLoaded({ threadId, checkpointNs }, await rows<Part>(statement));
    },

    async channels(key) {
      if (!columns(key).every(isStorable)) return undefined;
      const statement = { name: "heddle channels", text: CHANNELS, values: columns(key) };
      const [found] = await rows<{ readonly channels: string }>(statement);
      return found && (JSON.parse(found.channels) as Channels); // as the saver wrote them
    },

    async values({ threadId, checkpointNs }, refs: readonly ValueRef[]) {
      if (refs.length === 0) return new Map();
      const ids = [refs.map(({ channel }) => channel), refs.map(({ checkpointId }) => checkpointId)];
      const found = await rows<Part>({
        name: "heddle values",
        text: VALUES,
        values: [threadId, checkpointNs, ...ids],
      });
      return new Map(found.map((part) => [part.a, toStored(part)]));
    },

    async writes(key) {
      return toWrites(await rows<Part>({ name: "heddle writes", text: WRITES, values: columns(key) }));
    },

    async list(query) {
      if (query.metadata === undefined) return (await rows<Listed>(listStatement(query, query.limit))).map(keyOf);
      return listMatching(rows, query, query.metadata);
    },
  };
}

function toLoaded(place: Omit<CheckpointKey, "checkpointId">, parts: readonly Part[]): LoadedCheckpoint | undefined {
  const [checkpoint, metadata, channels, ...rest] = parts;
  if (checkpoint === undefined || metadata === undefined || channels === undefined) return undefined;
  const row: CheckpointRow = {
    ...place,
    checkpointId: checkpoint.a,
    parentId: checkpoint.b,
    checkpoint: toStored(checkpoint),
    metadata: toStored(metadata),
    channels: JSON.parse(channels.value ?? "{}") as Channels, // as the saver wrote them
  };
  return {
    row,
    values: new Map(rest.filter(({ part }) => part === 3).map((part) => [part.a, toStored(part)])),
    writes: toWrites(rest.filter(({ part }) => part === 4)),
  };
}

function toWrites(parts: readonly Part[]): readonly WriteRow[] {
  return latestWrites(
    parts.map((part) => ({ taskId: part.a, channel: part.b, idx: part.idx, stored: toStored(part) })),
  );
}

function toStored({ type, value, bytes }: Pick<Part, "type" | "value" | "bytes">): Stored {
  return { type, data: value ?? bytes ?? "" }; // one of the two is there
}

interface Listed extends CheckpointKey {
  readonly metadata: string;
  readonly seq: string;
}

function keyOf({ threadId, checkpointNs, checkpointId }: CheckpointKey): CheckpointKey {
  return { threadId, checkpointNs, checkpointId };
}

/** How many are looked at in one go for those whose metadata matches. */
const SLICE_ROWS = 500;

/** Metadata is compared here, as for SQLite: the server cannot take every JSON text apart. */
async function listMatching(
  rows: <Row>(statement: Statement) => Promise<readonly Row[]>,
  query: ListQuery,
  filter: string,
): Promise<readonly CheckpointKey[]> {
  const limit = query.limit ?? Number.POSITIVE_INFINITY;
  const found: CheckpointKey[] = [];
  for (let before: string | undefined; found.length < limit; ) {
    const slice = await rows<Listed>(listStatement(query, SLICE_ROWS, before));
    for (const listed of slice) {
      if (found.length < limit && matchesMetadata(listed.metadata, filter)) found.push(keyOf(listed));
    }
    before = slice.at(-1)?.seq;
    if (slice.length < SLICE_ROWS) break;
  }
  return found;
}

/** `beforeSeq`: where the slice before this one ended. */
function listStatement(query: ListQuery, limit: number | undefined, beforeSeq?: string): Statement {
  const values: unknown[] = [];
  const bind = (value: unknown): string => `$${values.push(value)}`;
  const place: string[] = [];
  if (query.threadId !== undefined) place.push(`thread_id = ${bind(query.threadId)}`);
  if (query.checkpointNs !== undefined) place.push(`checkpoint_ns = ${bind(query.checkpointNs)}`);
  const conditions = [...place];
  if (query.checkpointId !== undefined) conditions.push(`checkpoint_id = ${bind(query.checkpointId)}`);
  if (query.beforeId !== undefined) conditions.push(writtenBefore(bind(query.beforeId), place));
  if (beforeSeq !== undefined) conditions.push(`seq < ${bind(beforeSeq)}`);
  const text = `SELECT thread_id AS "threadId", checkpoint_ns AS "checkpointNs", checkpoint_id AS "checkpointId", seq
    ${query.metadata === undefined ? "" : ", metadata"} FROM state_checkpoints ${whereOf(conditions)}
    ORDER BY seq DESC LIMIT ${bind(limit ?? null)}`;
  const shape = [query.threadId, query.checkpointNs, query.checkpointId, query.beforeId, beforeSeq, query.metadata];
  return { name: `heddle list ${shape.map((part) => (part === undefined ? 0 : 1)).join("")}`, text, values };
}

/** Before the checkpoint `id` at this place; where there is none, up to the last one with a smaller id. */
function writtenBefore(id: string, place: readonly string[]): string {
  const lastWhere = (sql: string) => `SELECT max(seq) FROM state_checkpoints ${whereOf([...place, sql])}`;
  return `seq <= coalesce((${lastWhere(`checkpoint_id = ${id}`)}) - 1, (${lastWhere(`checkpoint_id < ${id}`)}))`;
}

function whereOf(conditions: readonly string[]): string {
  return conditions.length === 0 ? "" : `WHERE ${conditions.join(" AND ")}`;
}

function columns(key: CheckpointKey): [string, string, string] {
  return [key.threadId, key.checkpointNs, key.checkpointId];
}

// ---- writing

/** What must be there, and stay until the transaction ends, for a write to a thread to be allowed. */
export function heldBy(
  right: WriteRight,
  threadId: string,
): { readonly text: string; readonly values: readonly unknown[] } {
  if (right.kind === "run") return { text: HELD_BY_RUN, values: [right.runId, right.fence] };
  return { text: HELD_BY_RESERVATION, values: [threadId, right.owner] };
}

const HELD_BY_RUN = `SELECT 1 FROM runs WHERE run_id = $1 AND fence = $2 AND status = 'running' AND rolling_back = 0 FOR SHARE`;

const HELD_BY_RESERVATION = `SELECT 1 FROM threads WHERE thread_id = $1 AND reserved_by = $2 AND deleting = 0 FOR SHARE`;

const putText = (held: string): string => `
  WITH held AS MATERIALIZED (${held}),
  stored AS (INSERT INTO state_values (thread_id, checkpoint_ns, checkpoint_id, channel, type, value, bytes)
    SELECT $3, $4, $5, v.channel, v.type, v.value, v.bytes
    FROM held, unnest($17::text[], $18::text[], $19::text[], $20::bytea[]) AS v (channel, type, value, bytes)
    ON CONFLICT (thread_id, checkpoint_ns, channel, checkpoint_id) DO UPDATE
      SET type = excluded.type, value = excluded.value, bytes = excluded.bytes),
  put AS (INSERT INTO state_checkpoints (thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, run_id, type,
      checkpoint, metadata_type, metadata, channels, step, source, parents, delta_counters)
    SELECT $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13::bigint, $14::text,
      $15::jsonb, $16::jsonb FROM held
    ON CONFLICT (thread_id, checkpoint_ns, checkpoint_id) DO UPDATE
      SET parent_checkpoint_id = excluded.parent_checkpoint_id, run_id = excluded.run_id, type = excluded.type,
        checkpoint = excluded.checkpoint, metadata_type = excluded.metadata_type, metadata = excluded.metadata,
        channels = excluded.channels, step = excluded.step, source = excluded.source, parents = excluded.parents,
        delta_counters = excluded.delta_counters)
  SELECT 1 FROM held`;

/** A task does the same again: what it wrote before stays. A command does not, and special channels are replaced. */
const writesText = (held: string): string => `
  WITH held AS MATERIALIZED (${held}),
  put AS (INSERT INTO state_writes AS w (thread_id, checkpoint_ns, checkpoint_id, run_id, task_id, idx, channel, type, value, bytes)
    SELECT $3, $4, $5, $6, v.task_id, v.idx, v.channel, v.type, v.value, v.bytes
    FROM held, unnest($8::text[], $9::integer[], $10::text[], $11::text[], $12::text[], $13::bytea[])
      WITH ORDINALITY AS v (task_id, idx, channel, type, value, bytes, place)
    WHERE $7 OR v.task_id = '${NULL_TASK}' OR NOT EXISTS (SELECT 1 FROM state_writes AS e WHERE e.thread_id = $3
      AND e.checkpoint_ns = $4 AND e.checkpoint_id = $5 AND e.task_id = v.task_id AND e.idx = v.idx)
    ORDER BY v.place
    ON CONFLICT (thread_id, checkpoint_ns, checkpoint_id, task_id, idx, run_id) DO UPDATE
      SET seq = DEFAULT, channel = excluded.channel, type = excluded.type, value = excluded.value, bytes = excluded.bytes)
  SELECT 1 FROM held`;

/** Throws for a saver that may not write at all. */
export function requireRight(right: WriteRight): void {
  if (right.kind === "run" || right.owner !== null) return;
  throw new Error("this saver is for reading: a write outside of runs needs the reservation of its thread");
}

/** What is said to whoever lost its right. */
export function rightIsGone(right: WriteRight, threadId: string): Error {
  if (right.kind === "reservation") return conflict(`thread ${threadId} is no longer reserved for this write`);
  return new Error(
    `run ${right.runId} is no longer executed under claim ${right.fence}: its checkpoints can no longer be written`,
  );
}

/** Whether it was written: false when the right is gone, and then nothing changed. May be done twice. */
export async function writeOnPostgres(ask: AskPostgres, right: WriteRight, write: CheckpointWrite): Promise<boolean> {
  const key = write.kind === "checkpoint" ? write.row : write.key;
  const held = heldBy(right, key.threadId);
  for (const text of namesIn(write)) requireStorable(text);
  const statement =
    write.kind === "checkpoint"
      ? {
          name: `heddle put ${right.kind}`,
          text: putText(held.text),
          values: [...held.values, ...checkpointValues(write)],
        }
      : {
          name: `heddle put writes ${right.kind}`,
          text: writesText(held.text),
          values: [...held.values, ...writeValues(write)],
        };
  return (await ask(statement)).rows.length > 0;
}

function checkpointValues({
  row,
  runId,
  values,
}: Extract<CheckpointWrite, { kind: "checkpoint" }>): readonly unknown[] {
  const { checkpoint, metadata, channels, parentId } = row;
  const { step, source, parents, delta_counters } = metadataColumns(storedText(metadata));
  return [
    ...columns(row),
    parentId,
    runId,
    checkpoint.type,
    storedText(checkpoint),
    metadata.type,
    storedText(metadata),
    JSON.stringify(channels),
    step,
    source,
    parents,
    delta_counters,
    values.map(({ channel }) => channel),
    ...storedColumns(values),
  ];
}

/** What queries ask of a checkpoint's metadata, which is JSON text. */
export function metadataColumns(metadata: string) {
  const {
    step,
    source,
    parents,
    counters_since_delta_snapshot: counters,
  } = JSON.parse(metadata) as Partial<Record<string, unknown>>;
  return {
    step: Number.isInteger(step) ? step : null,
    source: typeof source === "string" ? source : null,
    parents: JSON.stringify(parents ?? {}),
    delta_counters: JSON.stringify(counters ?? {}),
  };
}

function writeValues({
  key,
  runId,
  writes,
  existing,
}: Extract<CheckpointWrite, { kind: "writes" }>): readonly unknown[] {
  return [
    ...columns(key),
    runId,
    existing === "replace",
    writes.map(({ taskId }) => taskId),
    writes.map(({ idx }) => idx),
    writes.map(({ channel }) => channel),
    ...storedColumns(writes),
  ];
}

/** Types, texts and bytes of values, each as one array. */
function storedColumns(values: readonly { readonly stored: Stored }[]): readonly unknown[] {
  const data = values.map(({ stored }) => stored.data);
  return [
    values.map(({ stored }) => stored.type),
    data.map((text) => (typeof text === "string" ? text : null)),
    data.map((bytes) =>
      typeof bytes === "string" ? null : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength),
    ),
  ];
}

function namesIn(write: CheckpointWrite): readonly string[] {
  if (write.kind === "checkpoint") return [...columns(write.row), ...Object.keys(write.row.channels)];
  return [...columns(write.key), ...write.writes.flatMap(({ taskId, channel }) => [taskId, channel])];
}

function requireStorable(name: string): void {
  if (isStorable(name)) return;
  throw new Error(`${JSON.stringify(name)}: a name with NUL, U+10FFFF or half a character in it cannot be stored`);
}

/** PostgreSQL's text knows neither NUL nor lone surrogates; U+10FFFF stands for them in other tables. */
export function isStorable(name: string): boolean {
  return !/[\0\p{Surrogate}\u{10FFFF}]/u.test(name);
}
