/**
 * From a TypeScript type to JSON Schema (draft 7).
 *
 * 1. What JSON cannot say is open (`{}`), and so is what would make a schema endless or thousands of lines long.
 * 2. Messages are one definition, and a list of them is marked as LangGraph marks it.
 * 3. Objects are open: graphs ignore keys that they do not know.
 * 4. Functions, symbols and what a class keeps to itself are left out.
 */
import type { Program, Symbol as TsSymbol, Type, TypeChecker, TypeReference } from "typescript";
import type { JsonObject } from "../core/model.js";
import { Definitions } from "./definitions.js";
import { MESSAGE, MESSAGE_LIST, messageSchema } from "./message-schema.js";

/** The compiler, of the project's own copy. */
export type TypeScript = typeof import("typescript");

export interface TypeContext {
  readonly ts: TypeScript;
  readonly program: Program;
}

const MAX_PARTS = 2_000;
const MAX_DEPTH = 24;

/** The schema of a type; null for one that says nothing. */
export function typeSchema(context: TypeContext, type: Type): JsonObject | null {
  const writer = new SchemaWriter(context);
  const schema = writer.document(type);
  return Object.keys(schema).length === 0 ? null : schema;
}

class SchemaWriter {
  readonly #ts: TypeScript;
  readonly #program: Program;
  readonly #checker: TypeChecker;
  readonly #definitions = new Definitions<unknown>();
  #parts = 0;
  #depth = 0;

  constructor({ ts, program }: TypeContext) {
    this.#ts = ts;
    this.#program = program;
    this.#checker = program.getTypeChecker();
  }

  document(type: Type): JsonObject {
    return this.#definitions.document(this.#write(type));
  }

  #write(type: Type): JsonObject {
    if (++this.#parts > MAX_PARTS || this.#depth >= MAX_DEPTH) return {}; // 1
    this.#depth++;
    try {
      return this.#named(type);
    } finally {
      this.#depth--;
    }
  }

  /** What has a name and parts may be used twice, or within itself. */
  #named(type: Type): JsonObject {
    const { SymbolFlags, TypeFlags } = this.#ts;
    const symbol = type.getSymbol();
    const isDeclared = symbol !== undefined && (symbol.flags & (SymbolFlags.Interface | SymbolFlags.Class)) !== 0;
    const hasParts = (type.flags & (TypeFlags.Object | TypeFlags.Union | TypeFlags.Intersection)) !== 0;
    const name = type.aliasSymbol?.name ?? (isDeclared ? symbol.name : undefined);
    if (!hasParts || name === undefined || this.#isList(type)) return this.#plain(type);
    if (this.#isMessage(type)) return this.#definitions.refer(MESSAGE, MESSAGE, () => messageSchema);
    return this.#definitions.refer(type, name, () => this.#plain(type));
  }

  #plain(type: Type): JsonObject {
    const { TypeFlags } = this.#ts;
    if (type.isUnion()) return this.#union(type.types);
    if (type.isStringLiteral() || type.isNumberLiteral()) return { const: type.value };
    if (type.flags & TypeFlags.BooleanLiteral) return { const: this.#checker.typeToString(type) === "true" };
    if (type.flags & TypeFlags.StringLike) return { type: "string" };
    if (type.flags & TypeFlags.NumberLike) return { type: "number" };
    if (type.flags & TypeFlags.Null) return { type: "null" };
    if (type.flags & TypeFlags.Never) return { not: {} };
    if (type.flags & TypeFlags.NonPrimitive) return { type: "object" };
    if (type.flags & TypeFlags.Instantiable) return this.#limitOf(type);
    if (type.isIntersection()) return this.#intersection(type.types, type);
    return type.flags & TypeFlags.Object ? this.#object(type) : {}; // 1
  }

  /** A type that depends on a parameter is anything within the parameter's limit. */
  #limitOf(type: Type): JsonObject {
    const limit = this.#checker.getBaseConstraintOfType(type);
    return limit === undefined || limit === type ? {} : this.#write(limit);
  }

  /** `string & { brand }` is a string in JSON. */
  #intersection(types: readonly Type[], whole: Type): JsonObject {
    const { TypeFlags } = this.#ts;
    const primitive = types.find(({ flags }) => flags & (TypeFlags.StringLike | TypeFlags.NumberLike));
    return primitive === undefined ? this.#object(whole) : this.#plain(primitive);
  }

  #union(types: readonly Type[]): JsonObject {
    const { TypeFlags } = this.#ts;
    const held = types.filter(
      (type) => !(type.flags & (TypeFlags.Undefined | TypeFlags.Void)) && !this.#has(type, OVERWRITE),
    );
    const others = this.#withoutMessages(held);
    const variants = others.length === held.length ? [] : [this.#messages(held)];
    for (const variant of this.#variants(others)) {
      if (Object.keys(variant).length === 0) return {}; // 1: anything
      if (!variants.some((known) => JSON.stringify(known) === JSON.stringify(variant))) variants.push(variant);
    }
    const [only = {}] = variants;
    return variants.length < 2 ? only : { anyOf: variants };
  }

  /** Literals are one enumeration; null is the last. */
  #variants(types: readonly Type[]): JsonObject[] {
    const { TypeFlags } = this.#ts;
    const written = types
      .filter(({ flags }) => !(flags & TypeFlags.Null))
      .map((type) => (type.isUnion() ? this.#plain(type) : this.#write(type)));
    const literals = written.flatMap((variant) => ("const" in variant ? [variant.const ?? null] : []));
    const isBoolean = literals.includes(true) && literals.includes(false);
    const listed = literals.filter((literal) => !isBoolean || typeof literal !== "boolean");
    const [only = null] = listed;
    return [
      ...(listed.length === 0 ? [] : [listed.length === 1 ? { const: only } : { enum: listed }]),
      ...(isBoolean ? [{ type: "boolean" }] : []),
      ...written.filter((variant) => !("const" in variant)),
      ...(written.length < types.length ? [{ type: "null" }] : []),
    ];
  }

  // ---- messages (2)

  #isMessage(type: Type): boolean {
    return MESSAGE_MEMBERS.every((member) => this.#has(type, member));
  }

  #isMessageList(type: Type): boolean {
    const item = this.#itemOf(type);
    const items = item?.isUnion() ? item.types : item === undefined ? [] : [item];
    return items.some((each) => this.#isMessage(each));
  }

  /** Leaves out messages, and where a reducer takes what can be made one, that too. */
  #withoutMessages(types: readonly Type[]): readonly Type[] {
    const rest = types.filter((type) => !this.#isMessage(type) && !this.#isMessageList(type));
    if (rest.length === types.length) return types;
    const isFields = (type: Type): boolean => this.#has(type, "role") && this.#has(type, "content");
    if (!rest.some(isFields)) return rest;
    const { TypeFlags } = this.#ts;
    return rest.filter((type) => {
      const isRemoval = this.#has(type, "type") && this.#has(type, "id");
      const isText = (type.flags & TypeFlags.StringLike) !== 0 || this.#checker.isTupleType(type);
      return !isFields(type) && !isRemoval && !isText;
    });
  }

  #messages(types: readonly Type[]): JsonObject {
    const message = this.#definitions.refer(MESSAGE, MESSAGE, () => messageSchema);
    return types.some((type) => this.#isMessageList(type))
      ? { type: "array", items: message, ...MESSAGE_LIST }
      : message;
  }

  // ---- objects

  #object(type: Type): JsonObject {
    if (this.#isMessage(type)) return this.#definitions.refer(MESSAGE, MESSAGE, () => messageSchema);
    if (this.#isMessageList(type)) return this.#messages([type]);
    if (this.#checker.isTupleType(type)) return this.#tuple(type as TypeReference); // proven by the checker
    const item = this.#itemOf(type);
    if (item !== undefined) return { type: "array", items: this.#write(item) };
    if (this.#isFunction(type)) return {};
    const symbol = type.getSymbol();
    if (symbol !== undefined && this.#isForeign(symbol, type)) {
      return symbol.name === "Date" ? { type: "string", format: "date-time" } : {};
    }
    return this.#members(type);
  }

  #members(type: Type): JsonObject {
    const properties: [string, JsonObject][] = [];
    const required: string[] = [];
    for (const property of this.#checker.getPropertiesOfType(type)) {
      const value = this.#checker.getTypeOfSymbol(property);
      if (!this.#isShown(property) || this.#isFunction(this.#checker.getNonNullableType(value))) continue; // 4
      properties.push([property.name, { ...this.#write(value), ...this.#documentation(property) }]);
      if (!this.#mayBeAbsent(property, value)) required.push(property.name);
    }
    const { StringLike } = this.#ts.TypeFlags;
    const index = this.#checker.getIndexInfosOfType(type).find(({ keyType }) => keyType.flags & StringLike);
    const others = index === undefined ? {} : this.#write(index.type);
    return {
      type: "object",
      ...(properties.length === 0 ? {} : { properties: Object.fromEntries(properties) }),
      ...(required.length === 0 ? {} : { required }),
      ...(Object.keys(others).length === 0 ? {} : { additionalProperties: others }), // 3
    };
  }

  #tuple(type: TypeReference): JsonObject {
    const { ElementFlags } = this.#ts;
    const { elementFlags } = type.target as import("typescript").TupleType; // a tuple's target is one
    const items = this.#checker.getTypeArguments(type).map((item) => this.#write(item));
    const rest = elementFlags.findIndex((flags) => flags & ElementFlags.Variable);
    const fixed = rest === -1 ? items : items.slice(0, rest);
    const isOpen = rest !== -1;
    return {
      type: "array",
      ...(fixed.length === 0 ? {} : { items: fixed }),
      minItems: elementFlags.filter((flags) => flags & ElementFlags.Required).length,
      ...(isOpen ? {} : { maxItems: fixed.length }),
    };
  }

  #documentation(property: TsSymbol): JsonObject {
    const text = this.#ts.displayPartsToString(property.getDocumentationComment(this.#checker)).trim();
    return text === "" ? {} : { description: text };
  }

  #mayBeAbsent(property: TsSymbol, value: Type): boolean {
    const { SymbolFlags, TypeFlags } = this.#ts;
    const parts = value.isUnion() ? value.types : [value];
    return (property.flags & SymbolFlags.Optional) !== 0 || parts.some(({ flags }) => flags & TypeFlags.Undefined);
  }

  #isShown(property: TsSymbol): boolean {
    const { getCombinedModifierFlags, ModifierFlags } = this.#ts;
    const isHidden = (property.declarations ?? []).some(
      (declaration) => getCombinedModifierFlags(declaration) & (ModifierFlags.Private | ModifierFlags.Protected),
    );
    return !isHidden && !/^__[@#]/.test(String(property.escapedName)); // symbols, `#private`
  }

  #isFunction(type: Type): boolean {
    return type.getCallSignatures().length > 0 || type.getConstructSignatures().length > 0;
  }

  /** Classes and interfaces of the language (`Map`), and classes of packages that do more than hold data. */
  #isForeign(symbol: TsSymbol, type: Type): boolean {
    const { SymbolFlags } = this.#ts;
    if (!(symbol.flags & (SymbolFlags.Interface | SymbolFlags.Class))) return false;
    const files = (symbol.declarations ?? []).map((declaration) => declaration.getSourceFile());
    if (files.some((file) => this.#program.isSourceFileDefaultLibrary(file))) return true;
    const isOfPackage = files.some(({ fileName }) => fileName.includes("/node_modules/"));
    const hasMethods = (): boolean =>
      this.#checker.getPropertiesOfType(type).some(({ flags }) => flags & SymbolFlags.Method);
    return isOfPackage && (symbol.flags & SymbolFlags.Class) !== 0 && hasMethods();
  }

  #isList(type: Type): boolean {
    return this.#checker.isArrayType(type) || this.#checker.isTupleType(type);
  }

  #itemOf(type: Type): Type | undefined {
    if (!this.#checker.isArrayType(type)) return undefined;
    return this.#checker.getTypeArguments(type as TypeReference)[0]; // proven by the checker
  }

  #has(type: Type, member: string): boolean {
    return this.#checker.getPropertyOfType(type, member) !== undefined;
  }
}

/** The member of an update that replaces a value instead of being reduced into it. */
const OVERWRITE = "__overwrite__";

/** What every message has, and nothing else does. */
const MESSAGE_MEMBERS = ["lc_serializable", "content", "_getType"];
