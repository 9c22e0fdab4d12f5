/** The kinds of keys that `config.yaml` is made of. */
import { z } from "zod";

/** A mapping with exactly these keys, absent or empty meaning all defaults; the result is camelCase. */
export function section<Shape extends z.ZodRawShape>(shape: Shape) {
  const known = Object.keys(shape).join(", ");
  const object = z.strictObject(shape, {
    error: (issue) => (issue.code === "unrecognized_keys" ? `unknown key (known here: ${known})` : undefined),
  });
  return z.preprocess(emptyWhenAbsent, object).transform((value) => camelKeys(value));
}

export function emptyWhenAbsent(value: unknown): unknown {
  return value ?? {};
}

export function list<Item extends z.ZodType>(item: Item) {
  return z.array(item).readonly();
}

export function oneOf<const Values extends readonly [string, ...string[]]>(...values: Values) {
  return z.enum(values, {
    error: (issue) => `expected ${values.join(" or ")}, got ${JSON.stringify(issue.input)}`,
  });
}

const UNIT_BYTES: Readonly<Record<string, number>> = { b: 1, kb: 1_024, mb: 1_024 ** 2, gb: 1_024 ** 3 };

export function byteSize(byDefault: string) {
  const error = 'expected a number of bytes or a size such as "20mb"';
  return z
    .union([z.int().positive(), z.string().regex(/^[1-9]\d*\s*(b|kb|mb|gb)$/i, error)], { error })
    .default(byDefault)
    .transform((size) => {
      if (typeof size === "number") return size;
      const unit = size.replace(/^[\d\s]+/, "").toLowerCase();
      return Number.parseInt(size, 10) * (UNIT_BYTES[unit] ?? 1);
    });
}

type Camel<Name extends string> = Name extends `${infer Head}_${infer Tail}`
  ? `${Head}${Capitalize<Camel<Tail>>}`
  : Name;
type CamelKeys<T> = { readonly [Key in keyof T as Camel<Key & string>]: T[Key] };

function camelKeys<T extends object>(value: T): CamelKeys<T> {
  const renamed = Object.entries(value).map(([key, item]) => [
    key.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase()),
    item,
  ]);
  return Object.fromEntries(renamed) as CamelKeys<T>; // the same renaming as in the type
}
