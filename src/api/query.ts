/**
 * Query parameters in all the spellings that clients use: lists as repeated parameters, as a JSON array in
 * one, or separated by commas; booleans as `true`, `True`, `1` and their opposites.
 */
import { z } from "zod";
import { parseJsonBody } from "./edge.js";

const raw = z.array(z.string()).optional();

function last(values: readonly string[] | undefined): string | undefined {
  return values?.at(-1);
}

export function queryString(): z.ZodType<string | undefined> {
  return raw.transform(last).pipe(z.string().optional());
}

export function queryBoolean(fallback: boolean): z.ZodType<boolean> {
  const words: Record<string, boolean> = { true: true, "1": true, "": fallback, false: false, "0": false };
  return raw
    .transform((values) => (values === undefined ? fallback : (words[(last(values) ?? "").toLowerCase()] ?? "invalid")))
    .pipe(z.boolean({ error: "expected true, false, 1 or 0" }))
    .meta({ default: fallback });
}

export function queryInteger(bounds: {
  readonly min: number;
  readonly max: number;
  readonly fallback: number;
}): z.ZodType<number> {
  return raw
    .transform((values) => {
      const text = last(values);
      return text === undefined || text === "" ? bounds.fallback : Number(text);
    })
    .pipe(z.number().int().min(bounds.min).max(bounds.max))
    .meta({ default: bounds.fallback });
}

/** A value as JSON text, judged as a body is; undefined where it is absent or empty. */
export function queryJson<T extends z.ZodType>(value: T): z.ZodType<z.output<T> | undefined> {
  return raw
    .transform((values) => {
      const text = last(values) ?? "";
      return text === "" ? undefined : parseJsonBody(text);
    })
    .pipe(value.optional());
}

/** undefined when the parameter is absent; an empty list when it is present and empty. */
export function queryList<T extends z.ZodType<unknown, string>>(item: T): z.ZodType<z.output<T>[] | undefined> {
  return raw.transform(splitList).pipe(z.array(item).optional());
}

function splitList(values: readonly string[] | undefined): string[] | undefined {
  return values?.flatMap((value) => {
    const text = value.trim();
    if (text.startsWith("[")) {
      try {
        const parsed: unknown = JSON.parse(text);
        if (Array.isArray(parsed))
          return parsed.map((item) => (typeof item === "string" ? item : JSON.stringify(item)));
      } catch {
        return [value]; // no JSON after all: let the item's schema judge the text
      }
    }
    return text === "" ? [] : text.split(",").map((part) => part.trim());
  });
}
