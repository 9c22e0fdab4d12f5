/**
 * Which texts of an item's value are embedded: those at its paths, by the rules of LangGraph's own stores.
 *
 * A path is names separated by periods. `$` at its beginning, and the empty path, is the whole value; `[2]`, `[-1]` and
 * `[*]` are items of a list; `*` is every member or item; `{a,b.c}` is several members, and ends a path. What stands
 * there is a text: strings as they are, numbers and booleans as they print, objects and lists as indented JSON. Where
 * nothing stands, nothing is embedded.
 *
 * Paths come from clients, so what a value may be made into is bounded: more is refused, because what was found of half a
 * value would be wrong.
 */
import { invalid } from "../core/errors.js";
import type { Json, JsonObject } from "../core/model.js";

const MAX_TEXTS = 1_000;
const MAX_CHARS = 4 * 1_024 ** 2;
const MAX_STEPS = 1_000_000;

/** The texts of `value` at `paths`, each once. Throws `validation` where they are too many or too long. */
export function textsAt(value: JsonObject, paths: readonly string[]): readonly string[] {
  const texts = new Set<string>();
  let chars = 0;
  let steps = 0;

  function add(text: string): void {
    texts.add(text);
    chars += text.length; // also of what is there already: it took its time
    if (texts.size > MAX_TEXTS || chars > MAX_CHARS) throw tooMuch();
  }

  function addWhole(part: Json): void {
    if (typeof part === "object" && JSON.stringify(part).length > MAX_CHARS) throw tooMuch(); // indented it is longer still
    add(typeof part === "object" ? JSON.stringify(part, null, 2) : String(part));
  }

  function walk(part: Json, tokens: readonly string[], at: number): void {
    if (++steps > MAX_STEPS) throw tooMuch();
    const token = tokens[at];
    if (token === undefined) {
      if (part !== null) addWhole(part);
      return;
    }
    if (at === 0 && token === "$") addWhole(part);
    if (isGroup(token, "[", "]")) {
      if (Array.isArray(part)) for (const item of itemsAt(part, token.slice(1, -1))) walk(item, tokens, at + 1);
    } else if (isGroup(token, "{", "}")) {
      for (const field of token.slice(1, -1).split(",")) {
        const found = memberAt(part, tokenize(field.trim()));
        if (found !== undefined) addWhole(found);
      }
    } else if (token === "*") {
      if (typeof part === "object" && part !== null) for (const item of Object.values(part)) walk(item, tokens, at + 1);
    } else {
      const found = memberAt(part, [token]);
      if (found !== undefined) walk(found, tokens, at + 1);
    }
  }

  for (const path of paths) walk(value, tokenize(path), 0);
  return [...texts];
}

function tooMuch(): Error {
  return invalid(
    `index: the paths lead to more than ${MAX_TEXTS} texts or ${MAX_CHARS} characters of this value: ` +
      "name fewer with `index`, or index: false",
  );
}

/** An index that is none, or beyond the list, leads nowhere. */
function itemsAt(list: readonly Json[], index: string): readonly Json[] {
  if (index === "*") return list;
  const place = Number.parseInt(index, 10);
  const found = Number.isNaN(place) ? undefined : list.at(place);
  return found === undefined ? [] : [found];
}

function memberAt(part: Json, names: readonly string[]): Json | undefined {
  let found: Json | undefined = part;
  for (const name of names) {
    if (typeof found !== "object" || found === null || !Object.hasOwn(found, name)) return undefined;
    found = (found as JsonObject)[name];
  }
  return names.length === 0 ? undefined : found;
}

const CLOSING: Readonly<Record<string, string>> = { "[": "]", "{": "}" };

/** `a.b[*]{c,d}` → `a`, `b`, `[*]`, `{c,d}`. */
function tokenize(path: string): readonly string[] {
  const tokens: string[] = [];
  let name = "";
  const endName = (): void => {
    if (name !== "") tokens.push(name);
    name = "";
  };
  for (let at = 0; at < path.length; at++) {
    const char = path.charAt(at);
    const closing = CLOSING[char];
    if (closing !== undefined) {
      endName();
      const end = endOfGroup(path, at, closing);
      tokens.push(path.slice(at, end));
      at = end - 1;
    } else if (char === ".") {
      endName();
    } else {
      name += char;
    }
  }
  endName();
  return tokens;
}

function isGroup(token: string, opening: string, closing: string): boolean {
  return token.startsWith(opening) && token.endsWith(closing);
}

/** Behind the bracket that closes the one at `start`; the end of a path that never does. */
function endOfGroup(path: string, start: number, closing: string): number {
  let depth = 0;
  for (let at = start; at < path.length; at++) {
    if (path[at] === path[start]) depth++;
    else if (path[at] === closing && --depth === 0) return at + 1;
  }
  return path.length;
}
