/**
 * Items of the long-term memory, as clients have them: each operation is asked for as somebody. What an auth handler made
 * of the namespace is where it takes place. Graphs reach the memory itself; they are the developer's.
 */
import type { BaseStore, Item, SearchItem } from "@langchain/langgraph-checkpoint";
import type { AuthEvent, Caller, PerCaller } from "../core/caller.js";
import { notFound } from "../core/errors.js";
import { type GetItem, itemNamespaceProblem, labelsProblem, type PutItem, type SearchItems } from "../core/items.js";

export interface NamespaceQuery {
  readonly prefix?: string[] | undefined;
  readonly suffix?: string[] | undefined;
  readonly maxDepth?: number | undefined;
  readonly limit: number;
  readonly offset: number;
}

export interface ItemService {
  put(item: PutItem): Promise<void>;
  /** Throws `not_found`. */
  get(item: GetItem): Promise<Item>;
  remove(namespace: string[], key: string): Promise<void>;
  search(query: SearchItems): Promise<readonly SearchItem[]>;
  listNamespaces(query: NamespaceQuery): Promise<readonly string[][]>;
}

export function createItemService(items: BaseStore): PerCaller<ItemService> {
  return { as: (caller) => itemsAs(caller, items) };
}

function itemsAs(caller: Caller, items: BaseStore): ItemService {
  /** Throws where the authorisation answers what cannot be obeyed: nothing is done then. */
  async function permitted<Value extends object>(event: AuthEvent, value: Value): Promise<Value> {
    const permission = await caller.authorize(event, value);
    if (permission.scope.length === 0) return permission.value;
    throw new Error(`auth: ${event}: items have no metadata to filter by; allow, refuse, or change the namespace`);
  }

  return {
    async put(item) {
      const { namespace, key, value } = item;
      const asked = await permitted("store:put", { namespace, key, value });
      requireItemNamespace(asked.namespace);
      await items.batch([{ ...item, ...asked }]);
    },

    async get(item) {
      const { namespace, key } = item;
      const asked = await permitted("store:get", { namespace, key });
      requireItemNamespace(asked.namespace);
      const [found] = await items.batch<[GetItem]>([{ ...item, ...asked }]);
      if (found === null) throw notFound("item", key);
      return found;
    },

    async remove(namespace, key) {
      const asked = await permitted("store:delete", { namespace, key });
      requireItemNamespace(asked.namespace);
      await items.delete(asked.namespace, asked.key);
    },

    async search(search) {
      const { namespacePrefix, filter, limit, offset, query } = search;
      const asked = await permitted("store:search", { namespace: namespacePrefix, filter, limit, offset, query });
      requireLabels(asked.namespace);
      const [found] = await items.batch<[SearchItems]>([
        { ...search, namespacePrefix: asked.namespace, filter: asked.filter },
      ]);
      return found;
    },

    async listNamespaces({ prefix, suffix, maxDepth, limit, offset }) {
      const asked = await permitted("store:list_namespaces", {
        namespace: prefix,
        suffix,
        max_depth: maxDepth,
        limit,
        offset,
      });
      requireLabels(asked.namespace ?? []);
      return items.listNamespaces({ prefix: asked.namespace, suffix: asked.suffix, maxDepth, limit, offset });
    },
  };
}

/** Clients' own were checked by the API: what is wrong here a handler has written. */
function requireItemNamespace(namespace: readonly unknown[]): void {
  refuse(itemNamespaceProblem(namespace));
}

function requireLabels(labels: readonly unknown[]): void {
  refuse(labelsProblem(labels));
}

function refuse(problem: string | undefined): void {
  if (problem !== undefined) throw new Error(`auth: a handler changed the namespace: ${problem}`);
}
