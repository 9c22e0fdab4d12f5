/** Values that user code may throw, return or write, and that have broken loggers, serializers and error handlers before. */

const no = (): never => {
  throw new Error("do not look");
};

/** Throws at everything that can be asked of it. */
function wall(target: object): object {
  const traps = Object.getOwnPropertyNames(Reflect).map((trap) => [trap, no]);
  return new Proxy(target, Object.fromEntries(traps));
}

function withMember(error: Error, name: string, member: PropertyDescriptor): Error {
  return Object.defineProperty(error, name, { configurable: true, ...member });
}

function circular(): Record<string, unknown> {
  const value: Record<string, unknown> = { name: "circular" };
  value.self = value;
  return value;
}

function ringOfErrors(): Error {
  const ring = new AggregateError([], "a ring");
  ring.errors.push(ring, new Error("a part", { cause: ring }));
  return Object.assign(ring, { cause: ring });
}

/** `levels` arrays, each of which holds the next one twice: 2 ** levels ways lead to the innermost. */
export function doubled(levels: number): unknown {
  let value: unknown = ["bottom"];
  for (let level = 0; level < levels; level++) value = [value, value];
  return value;
}

function nestedArrays(levels: number): unknown {
  let value: unknown = "bottom";
  for (let level = 0; level < levels; level++) value = [value];
  return value;
}

class Trap {
  readonly shown = 1;
  get hidden(): never {
    return no();
  }
}

/** By name: what `throw` meets. The large ones take `size` characters. */
export const HOSTILE_ERRORS: Readonly<Record<string, (size: number) => unknown>> = {
  undefined: () => undefined,
  null: () => null,
  false: () => false,
  string: () => "just a string",
  "empty string": () => "",
  number: () => 42,
  bigint: () => 10n,
  symbol: () => Symbol("a symbol"),
  function: () => Object.assign(() => 1, { toString: no }),
  circular,
  "object without prototype": () => Object.assign(Object.create(null) as object, { shown: 1 }),
  "wall of a Proxy": () => wall(new Error("behind the wall")),
  "revoked Proxy": () => {
    const { proxy, revoke } = Proxy.revocable({}, {});
    revoke();
    return proxy;
  },
  "message that throws": () => withMember(new Error("x"), "message", { get: no }),
  "name that throws": () => withMember(new TypeError("its name is a trap"), "name", { get: no }),
  "stack that throws": () => withMember(new TypeError("its stack is a trap"), "stack", { get: no }),
  "toJSON that throws": () => withMember(new TypeError("its toJSON is a trap"), "toJSON", { value: no }),
  "toString that throws": () => withMember(new TypeError("its toString is a trap"), "toString", { value: no }),
  "message that is no text": () => Object.assign(new Error("x"), { message: circular() }),
  "name that is no text": () => withMember(new Error("its name is an object"), "name", { value: { a: 1 } }),
  "huge message": (size) => new Error("x".repeat(size)),
  "huge message of quotes": (size) => new Error('"'.repeat(size)),
  "huge message of surrogates": (size) => new Error("\ud83d\ude00\udc00".repeat(size / 3)),
  "huge name": (size) => withMember(new Error("its name is huge"), "name", { value: "N\u0000".repeat(size / 2) }),
  "huge stack": (size) => withMember(new Error("its stack is huge"), "stack", { value: "s".repeat(size) }),
  frozen: () => Object.freeze(new RangeError("cannot be changed")),
  "ring of AggregateErrors": ringOfErrors,
  "AggregateError without words": () => new AggregateError([new Error("first"), new Error("second")], ""),
  "error that causes itself": () => {
    const error = new Error("caused by itself");
    return Object.assign(error, { cause: error });
  },
};

/** By name: what a value of the state or an event may hold. */
export const HOSTILE_VALUES: Readonly<Record<string, () => unknown>> = {
  ...errorsAsValues(),
  "boxed bigint": () => Object(1n),
  "String whose toString throws": () => Object.defineProperty(new String("x"), "toString", { value: no }),
  "array with a toJSON that throws": () => Object.assign([1, 2], { toJSON: no }),
  "toJSON that makes another": () => {
    const again = (): unknown => ({ toJSON: again });
    return again();
  },
  "instance with a getter that throws": () => new Trap(),
  "getter that throws": () => Object.defineProperty({}, "trap", { enumerable: true, get: no }),
  "getter that changes its mind": () => {
    let reads = 0;
    return Object.defineProperty({}, "trap", { enumerable: true, get: () => (reads++ === 0 ? 1 : 10n) });
  },
  "5,000 levels": () => nestedArrays(5_000),
  "sparse array": () => Object.assign([], { length: 2 ** 32 - 1 }),
  "keys with NUL and half pairs": () => ({ "a\u0000b": 1, "\ud800": 2, "\udc00": { "": 3 } }),
  "member __proto__": () => JSON.parse('{"__proto__":{"polluted":true},"constructor":{"prototype":1}}'),
  "invalid date": () => new Date(Number.NaN),
  "weak collections": () => [new WeakMap(), new WeakSet()],
  "promise and buffers": () => [Promise.resolve(1), new SharedArrayBuffer(8), new DataView(new ArrayBuffer(8))],
};

function errorsAsValues(): Record<string, () => unknown> {
  return Object.fromEntries(Object.entries(HOSTILE_ERRORS).map(([name, make]) => [name, () => make(30_000)]));
}
