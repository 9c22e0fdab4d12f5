/** The port of assistants and their versions. */
import type { Assistant, AssistantVersion, JsonObject } from "../../core/model.js";
import type { Page, PageLimits, PageQuery, Scoped } from "./page.js";

export const ASSISTANT_SORT_COLUMNS = ["assistant_id", "graph_id", "name", "created_at", "updated_at"] as const;

export interface AssistantFilter {
  readonly metadata?: JsonObject | undefined;
  readonly graphId?: string | undefined;
  /** Case-insensitive substring. */
  readonly name?: string | undefined;
}

export type NewAssistant = Omit<AssistantVersion, "version" | "createdAt">;

export interface AssistantStore extends Scoped<AssistantStore> {
  /** Version 1; undefined when the id is taken. */
  create(assistant: NewAssistant): Promise<Assistant | undefined>;
  get(assistantId: string): Promise<Assistant | undefined>;
  /**
   * A new version with `change` applied becomes current; metadata is merged shallowly. undefined, and no version, when
   * `ofVersion` is given and not the current one.
   */
  patch(
    assistantId: string,
    change: Partial<Omit<NewAssistant, "assistantId">>,
    options?: { readonly ofVersion?: number },
  ): Promise<Assistant | undefined>;
  remove(assistantId: string): Promise<boolean>;
  search(filter: AssistantFilter, page: PageQuery<(typeof ASSISTANT_SORT_COLUMNS)[number]>): Promise<Page<Assistant>>;
  count(filter: AssistantFilter): Promise<number>;
  /** Newest version first; undefined when there is no such assistant. */
  versions(
    assistantId: string,
    query: PageLimits & { readonly metadata?: JsonObject | undefined },
  ): Promise<readonly AssistantVersion[] | undefined>;
  /** Makes an existing version current again; undefined when assistant or version is missing. */
  setLatest(assistantId: string, version: number): Promise<Assistant | undefined>;
}
