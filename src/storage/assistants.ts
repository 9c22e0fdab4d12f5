/**
 * Assistants in SQL: a row points at its current version, a version never changes once it is written.
 */
import type { ExpressionBuilder, ExpressionWrapper, Selectable, SqlBool } from "kysely";
import type { Clock } from "../core/clock.js";
import { changeMetadata } from "../core/metadata.js";
import type { Assistant, AssistantVersion, Json, JsonObject, RunConfig } from "../core/model.js";
import { inOrder, requirePageFits } from "../core/page.js";
import { EVERYTHING, type Scope, withoutScopeKeys } from "../core/scope.js";
import { transact } from "./commit-group.js";
import {
  bytesOf,
  columnContains,
  columnIncludes,
  type Database,
  decodeText,
  encodeText,
  isListed,
  isPostgres,
  locked,
  type Schema,
} from "./database.js";
import type { ASSISTANT_SORT_COLUMNS, AssistantFilter, AssistantStore, NewAssistant } from "./ports/assistants.js";
import type { Page, PageLimits, PageQuery } from "./ports/page.js";
import { columnInScope } from "./scope-sql.js";

export interface SqlAssistantStoreDeps {
  readonly database: Database;
  readonly clock: Clock;
  readonly scope?: Scope;
}

const SORT_COLUMNS = {
  assistant_id: "assistants.assistant_id",
  graph_id: "assistant_versions.graph_id",
  name: "assistant_versions.name",
  created_at: "assistants.created_at",
  updated_at: "assistants.updated_at",
} as const satisfies Record<(typeof ASSISTANT_SORT_COLUMNS)[number], string>;

export class SqlAssistantStore implements AssistantStore {
  private readonly database: Database;
  private readonly clock: Clock;
  private readonly scope: Scope;

  constructor({ database, clock, scope = EVERYTHING }: SqlAssistantStoreDeps) {
    this.database = database;
    this.clock = clock;
    this.scope = scope;
  }

  within(scope: Scope): AssistantStore {
    if (scope.length === 0) return this;
    const { database, clock } = this;
    return new SqlAssistantStore({ database, clock, scope: [...this.scope, ...scope] });
  }

  async create(assistant: NewAssistant): Promise<Assistant | undefined> {
    const now = this.clock.now();
    const { assistantId } = assistant;
    return transact(this.database, async (transaction) => {
      const inserted = await transaction
        .insertInto("assistants")
        .values({ assistant_id: assistantId, version: 1, created_at: now, updated_at: now })
        .onConflict((conflict) => conflict.column("assistant_id").doNothing())
        .executeTakeFirst();
      if (inserted.numInsertedOrUpdatedRows !== 1n) return undefined;
      await transaction
        .insertInto("assistant_versions")
        .values(toVersionRow(assistant, 1, now))
        .execute();
      return { ...assistant, version: 1, createdAt: now, updatedAt: now };
    });
  }

  async get(assistantId: string): Promise<Assistant | undefined> {
    return findCurrent(this.database, assistantId, this.scope);
  }

  async patch(
    assistantId: string,
    change: Partial<Omit<NewAssistant, "assistantId">>,
    { ofVersion }: { readonly ofVersion?: number } = {},
  ): Promise<Assistant | undefined> {
    const now = this.clock.now();
    return transact(this.database, async (transaction) => {
      const current = await lockCurrent(transaction, assistantId, this.scope);
      if (current === undefined) return undefined;
      if (ofVersion !== undefined && current.version !== ofVersion) return undefined;
      const { newest } = await transaction
        .selectFrom("assistant_versions")
        .select((eb) => eb.fn.max("version").as("newest"))
        .where("assistant_id", "=", assistantId)
        .executeTakeFirstOrThrow();
      const version = newest + 1;
      const changed: Assistant = {
        ...current,
        ...withoutUndefined(change),
        metadata: changeMetadata(current.metadata, withoutScopeKeys(change.metadata ?? {}, this.scope)),
        version,
        updatedAt: now,
      };
      await transaction
        .insertInto("assistant_versions")
        .values(toVersionRow(changed, version, now))
        .execute();
      await pointTo(transaction, assistantId, { version, now });
      return changed;
    });
  }

  async remove(assistantId: string): Promise<boolean> {
    return transact(this.database, async (transaction) => {
      if ((await lockCurrent(transaction, assistantId, this.scope)) === undefined) return false;
      await transaction.deleteFrom("assistants").where("assistant_id", "=", assistantId).execute();
      return true;
    });
  }

  async search(
    filter: AssistantFilter,
    page: PageQuery<(typeof ASSISTANT_SORT_COLUMNS)[number]>,
  ): Promise<Page<Assistant>> {
    const named = await this.named(filter);
    const total = await this.countNamed(named);
    if (total <= page.offset) return { rows: [], total };
    const found = await currentVersions(this.database)
      .select(["assistants.assistant_id", bytesOf(VERSION_TEXTS).as("bytes")])
      .where((eb) => matches(eb, named, this.scope))
      .orderBy(SORT_COLUMNS[page.sortBy], page.sortOrder)
      .$if(page.sortBy !== "assistant_id", (query) => query.orderBy("assistants.assistant_id", page.sortOrder))
      .limit(page.limit)
      .offset(page.offset)
      .execute();
    requirePageFits(
      found.map(({ bytes }) => bytes),
      page.maxBytes,
    );
    const ids = found.map((row) => row.assistant_id);
    if (ids.length === 0) return { rows: [], total };
    const rows = await currentVersions(this.database)
      .select(ASSISTANT_COLUMNS)
      .where("assistants.assistant_id", "in", ids)
      .execute();
    return { rows: inOrder(ids, rows.map(toAssistant), ({ assistantId }) => assistantId), total };
  }

  async count(filter: AssistantFilter): Promise<number> {
    return this.countNamed(await this.named(filter));
  }

  /**
   * PostgreSQL knows other lower cases than JavaScript, and its texts have no halves of surrogate pairs: the names of all that
   * meet the rest of the filter are read, and compared here.
   */
  private async named({ name = "", ...filter }: AssistantFilter): Promise<NamedFilter> {
    if (name === "") return filter;
    if (!isPostgres(this.database)) return { ...filter, name };
    const rows = await currentVersions(this.database)
      .select(["assistants.assistant_id", "assistant_versions.name"])
      .where((eb) => matches(eb, filter, this.scope))
      .execute();
    const wanted = name.toLowerCase();
    const ids = rows.filter((row) => decodeText(row.name).toLowerCase().includes(wanted));
    return { ...filter, ids: ids.map((row) => row.assistant_id) };
  }

  private async countNamed(filter: NamedFilter): Promise<number> {
    const { total } = await currentVersions(this.database)
      .select((eb) => eb.fn.countAll<number>().as("total"))
      .where((eb) => matches(eb, filter, this.scope))
      .executeTakeFirstOrThrow();
    return total;
  }

  async versions(
    assistantId: string,
    query: PageLimits & { readonly metadata?: JsonObject | undefined },
  ): Promise<readonly AssistantVersion[] | undefined> {
    if ((await findCurrent(this.database, assistantId, this.scope)) === undefined) return undefined;
    const { metadata = {} } = query;
    const found = await this.database
      .selectFrom("assistant_versions")
      .select(["version", bytesOf(VERSION_TEXTS).as("bytes")])
      .where("assistant_id", "=", assistantId)
      .$if(Object.keys(metadata).length > 0, (versions) => versions.where(columnContains("metadata", metadata)))
      .orderBy("version", "desc")
      .limit(query.limit)
      .offset(query.offset)
      .execute();
    requirePageFits(
      found.map(({ bytes }) => bytes),
      query.maxBytes,
    );
    if (found.length === 0) return [];
    const rows = await this.database
      .selectFrom("assistant_versions")
      .selectAll()
      .where("assistant_id", "=", assistantId)
      .where(
        "version",
        "in",
        found.map(({ version }) => version),
      )
      .orderBy("version", "desc")
      .execute();
    return rows.map(toVersion);
  }

  async setLatest(assistantId: string, version: number): Promise<Assistant | undefined> {
    const now = this.clock.now();
    return transact(this.database, async (transaction) => {
      if ((await lockCurrent(transaction, assistantId, this.scope)) === undefined) return undefined;
      const found = await transaction
        .selectFrom("assistant_versions")
        .select("version")
        .where("assistant_id", "=", assistantId)
        .where("version", "=", version)
        .executeTakeFirst();
      if (found === undefined) return undefined;
      await pointTo(transaction, assistantId, { version, now });
      return findCurrent(transaction, assistantId, this.scope);
    });
  }
}

type VersionRow = Selectable<Schema["assistant_versions"]>;
type AssistantRow = Omit<VersionRow, "created_at"> &
  Pick<Selectable<Schema["assistants"]>, "created_at" | "updated_at">;

const ASSISTANT_COLUMNS = [
  "assistants.assistant_id",
  "assistants.version",
  "assistants.created_at",
  "assistants.updated_at",
  "assistant_versions.graph_id",
  "assistant_versions.name",
  "assistant_versions.description",
  "assistant_versions.config",
  "assistant_versions.context",
  "assistant_versions.metadata",
] as const;

/** The columns that may be long. */
const VERSION_TEXTS = ["name", "description", "config", "context", "metadata"].map(
  (column) => `assistant_versions.${column}`,
);

/** A filter by name, or by the ids of those that have it. */
interface NamedFilter extends AssistantFilter {
  readonly ids?: readonly string[];
}

function currentVersions(database: Database) {
  return database
    .selectFrom("assistants")
    .innerJoin("assistant_versions", (join) =>
      join
        .onRef("assistant_versions.assistant_id", "=", "assistants.assistant_id")
        .onRef("assistant_versions.version", "=", "assistants.version"),
    );
}

async function findCurrent(database: Database, assistantId: string, scope: Scope): Promise<Assistant | undefined> {
  const row = await currentVersions(database)
    .select(ASSISTANT_COLUMNS)
    .where("assistants.assistant_id", "=", assistantId)
    .$if(scope.length > 0, (query) => query.where(columnInScope("assistant_versions.metadata", scope)))
    .executeTakeFirst();
  return row === undefined ? undefined : toAssistant(row);
}

/** Locked, because the next version's number is read before it is written. */
async function lockCurrent(database: Database, assistantId: string, scope: Scope): Promise<Assistant | undefined> {
  await locked(
    database.selectFrom("assistants").select("assistant_id").where("assistant_id", "=", assistantId),
  ).executeTakeFirst();
  return findCurrent(database, assistantId, scope);
}

async function pointTo(
  database: Database,
  assistantId: string,
  { version, now }: { readonly version: number; readonly now: number },
): Promise<void> {
  await database
    .updateTable("assistants")
    .set({ version, updated_at: now })
    .where("assistant_id", "=", assistantId)
    .execute();
}

function matches(
  eb: ExpressionBuilder<Schema, "assistants" | "assistant_versions">,
  filter: NamedFilter,
  scope: Scope,
): ExpressionWrapper<Schema, "assistants" | "assistant_versions", SqlBool> {
  const { metadata = {}, graphId, name, ids } = filter;
  const conditions = [];
  if (ids !== undefined) conditions.push(isListed("assistants.assistant_id", ids));
  if (scope.length > 0) conditions.push(columnInScope("assistant_versions.metadata", scope));
  if (graphId !== undefined) conditions.push(eb("assistant_versions.graph_id", "=", graphId));
  if (name !== undefined) conditions.push(columnIncludes("assistant_versions.name", name));
  if (Object.keys(metadata).length > 0) conditions.push(columnContains("assistant_versions.metadata", metadata));
  return eb.and(conditions);
}

function toVersionRow(assistant: NewAssistant, version: number, now: number): VersionRow {
  return {
    assistant_id: assistant.assistantId,
    version,
    graph_id: assistant.graphId,
    name: encodeText(assistant.name),
    description: assistant.description === null ? null : encodeText(assistant.description),
    config: JSON.stringify(assistant.config),
    context: JSON.stringify(assistant.context),
    metadata: JSON.stringify(assistant.metadata),
    created_at: now,
  };
}

function toVersion(row: VersionRow): AssistantVersion {
  return {
    assistantId: row.assistant_id,
    version: row.version,
    graphId: row.graph_id,
    name: decodeText(row.name),
    description: row.description === null ? null : decodeText(row.description),
    config: JSON.parse(row.config) as RunConfig, // JSON columns hold what `toVersionRow` wrote
    context: JSON.parse(row.context) as Json,
    metadata: JSON.parse(row.metadata) as JsonObject,
    createdAt: row.created_at,
  };
}

function toAssistant(row: AssistantRow): Assistant {
  return { ...toVersion(row), updatedAt: row.updated_at };
}

function withoutUndefined<T extends object>(change: T): T {
  return Object.fromEntries(Object.entries(change).filter(([, value]) => value !== undefined)) as T; // members of T
}
