/**
 * The named parts of one schema.
 *
 * A type that is used once, or is hardly longer than a reference, is written where it is used; one that is used more often, or
 * within itself, is a definition that is referred to. So a schema is short, and a type that contains itself has an end.
 */
import type { Json, JsonObject } from "../core/model.js";

export class Definitions<Key> {
  readonly #names = new Map<Key, string>();
  readonly #schemas = new Map<string, JsonObject>();

  /** A reference to the schema of `key`, which `describe` is asked for the first time. */
  refer(key: Key, name: string, describe: () => JsonObject): JsonObject {
    const known = this.#names.get(key);
    if (known !== undefined) return { $ref: PREFIX + known };
    const free = this.#freeName(name.replace(/[^\w.]+/g, "_"));
    this.#names.set(key, free); // before it is described: it may contain itself
    this.#schemas.set(free, {});
    this.#schemas.set(free, describe());
    return { $ref: PREFIX + free };
  }

  /** The whole document, with what it refers to. Its root is written out even where a part refers to it: clients look there. */
  document(root: JsonObject): JsonObject {
    const uses = this.#countUses(root);
    const isShared = (name: string): boolean => uses.get(name) !== 1 && !this.#isShort(name);
    const inline = (node: JsonObject): JsonObject => {
      const name = nameOf(node);
      const { $ref: _, ...beside } = node;
      if (name === undefined || isShared(name)) return mapMembers(node, inline);
      return { ...inline(this.#schemas.get(name) ?? {}), ...beside };
    };
    const name = nameOf(root);
    const document = inline(name === undefined ? root : (this.#schemas.get(name) ?? {}));
    const shared = [...uses.keys()].filter(isShared);
    if (shared.length === 0) return document;
    const definitions = shared.map((name) => [name, mapMembers(this.#schemas.get(name) ?? {}, inline)] as const);
    return { ...document, definitions: Object.fromEntries(definitions) };
  }

  #isShort(name: string): boolean {
    const text = JSON.stringify(this.#schemas.get(name));
    return text.length <= SHORT && !text.includes(PREFIX);
  }

  #freeName(wanted: string): string {
    for (let name = wanted, next = 2; ; name = `${wanted}_${next++}`) if (!this.#schemas.has(name)) return name;
  }

  /** How often each definition is referred to by what the root leads to. */
  #countUses(root: JsonObject): ReadonlyMap<string, number> {
    const uses = new Map<string, number>();
    const visit = (node: JsonObject): JsonObject => {
      const name = nameOf(node);
      if (name !== undefined) {
        const count = (uses.get(name) ?? 0) + 1;
        uses.set(name, count);
        if (count === 1) visit(this.#schemas.get(name) ?? {});
      }
      return mapMembers(node, visit);
    };
    visit(root);
    return uses;
  }
}

const PREFIX = "#/definitions/";
/** Characters. */
const SHORT = 60;

function nameOf({ $ref }: JsonObject): string | undefined {
  return typeof $ref === "string" && $ref.startsWith(PREFIX) ? $ref.slice(PREFIX.length) : undefined;
}

function mapMembers(node: JsonObject, change: (member: JsonObject) => JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(node).map(([key, value]) => [key, mapValue(value, change)]));
}

function mapValue(value: Json, change: (member: JsonObject) => JsonObject): Json {
  if (Array.isArray(value)) return value.map((item: Json) => mapValue(item, change));
  return typeof value === "object" && value !== null ? change(value as JsonObject) : value;
}
