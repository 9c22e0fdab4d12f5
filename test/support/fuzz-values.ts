/**
 * JSON for a schema of the OpenAPI document: what it allows, what it nearly allows, and what nobody should send.
 *
 * Values are texts of JSON, not objects: a text can say what no object can (`1e400`, a key twice). `@@name@@` in them
 * stands for something that exists when the request is sent (`fillIn`).
 */
import fc from "fast-check";
import type { JsonSchema, OpenApiDocument } from "../../src/api/openapi.js";
import { HOSTILE_STRINGS } from "./sql-stores.js";

/** What exists now, by the name of the parameter or member that means it. */
export type Subjects = Readonly<Record<string, string>>;

export function fillIn(text: string, subjects: Subjects, quote: (value: string) => string): string {
  return text.replaceAll(/@@(\w+)@@/g, (_, name: string) => quote(subjects[name] ?? "none"));
}

const SUBJECTS: readonly string[] = ["thread_id", "run_id", "checkpoint_id", "assistant_id", "graph_id", "cron_id"];

const ATTACKS = [
  ...HOSTILE_STRINGS,
  "' OR 1=1 --",
  "%",
  "_",
  '["%"]',
  "*",
  "$[*]",
  "$..*",
  "{{7*7}}",
  "../../etc/passwd",
  "a\r\nx-injected: 1",
  "__pregel_tasks",
  "langgraph_auth_user",
  "constructor",
  "toString",
  "hasOwnProperty",
  "-1",
  "1e400",
  "true",
  "null",
  "[]",
  "{}",
  "\u202e",
  "\ufeff",
  "é".repeat(300),
  "x".repeat(5_000),
  ":",
  "|",
  ".",
  "..",
];

export const attackText: fc.Arbitrary<string> = fc.oneof(
  { arbitrary: fc.constantFrom(...ATTACKS), weight: 4 },
  fc.string({ unit: "binary", maxLength: 20 }),
);

const message = (name: string) =>
  JSON.stringify({ lc: 1, type: "constructor", id: ["langchain_core", "messages", name], kwargs: { content: "hi" } });

const nested = (depth: number, open: string, close: string): string => `${open.repeat(depth)}1${close.repeat(depth)}`;

/** Texts of JSON that have broken parsers, merges and serializers. */
const HOSTILE_JSON = [
  "null",
  "true",
  "0",
  "-0",
  "-1",
  "1.5",
  "1e400",
  "-1e400",
  "1e308",
  "5e-324",
  "9007199254740993",
  "123456789012345678901234567890",
  "[]",
  "{}",
  '""',
  "[null]",
  "[[[]]]",
  '{"__proto__":{"polluted":1}}',
  '{"a":{"__proto__":1}}',
  '{"constructor":{"prototype":{"polluted":1}}}',
  '{"a":1,"a":2}',
  '{"toString":1,"hasOwnProperty":2,"valueOf":{}}',
  '{"toJSON":"x"}',
  '{"then":"x"}',
  '{"length":1e9}',
  '{"lc":2,"type":"constructor","id":["Uint8Array"],"method":"constructor","args":["x"]}',
  '{"lc":2,"type":"undefined","id":["Set"]}',
  '{"lc":1,"type":"secret","id":["PATH"]}',
  '{"lc":1,"type":"not_implemented","id":["x"]}',
  '{"lc":1,"type":"constructor","id":["langchain","llms","openai","OpenAI"],"kwargs":{}}',
  message("HumanMessage"),
  message("RemoveMessage"),
  message("Function"),
  '{"lg_name":"Command","resume":1,"goto":"x","update":{}}',
  '{"lg_name":"Send","node":"x","args":{}}',
  '[{"lg_name":"Command","goto":"x"}]',
  '{"__overwrite__":1}',
  '{"__interrupt__":[{"id":"x"}]}',
  '{"__error__":1}',
  '{"__pregel_checkpointer":1,"__pregel_read":1,"__pregel_resuming":true,"__pregel_scratchpad":{}}',
  '{"configurable":{"__pregel_checkpointer":1,"checkpoint_id":"x","thread_id":"x"}}',
  '{"$ne":null}',
  '{"$gt":""}',
  '{"$in":[1,null,{"$in":[]}]}',
  '{"$regex":".*","$where":"1"}',
  '["~d",0]',
  '["~x","HumanMessage",{},{}]',
  '[["human","hi"]]',
  '{"messages":[{"type":"human","content":"hi"}]}',
  '{"messages":[{"role":"nobody","content":7}]}',
  '{"messages":[{"type":"ai","content":"","tool_calls":[{"id":7,"type":"function","function":{"name":"f","arguments":"{"}}]}]}',
  '{"messages":"hi"}',
  '{"messages":[null,1,[],[[]]]}',
  '{"question":"?"}',
  '{"input":"wait"}',
  nested(190, "[", "]"),
  nested(190, '{"a":', "}"),
  nested(250, "[", "]"),
  nested(3_000, '{"a":', "}"),
  `[${"0,".repeat(3_000)}0]`,
  `{${Array.from({ length: 2_000 }, (_, n) => `"k${n}":${n}`).join(",")}}`,
];

export const hostileJson: fc.Arbitrary<string> = fc.oneof(
  { arbitrary: fc.constantFrom(...HOSTILE_JSON), weight: 5 },
  { arbitrary: attackText.map((text) => JSON.stringify(text)), weight: 3 },
  { arbitrary: attackText.map((key) => `{${JSON.stringify(key)}:1}`), weight: 1 },
  fc.json({ maxDepth: 3 }),
);

/** A member of an object or an item of a list of texts; a leaf is a text of JSON. */
type Tree = string | readonly Tree[] | { readonly members: readonly (readonly [key: string, value: Tree])[] };

/** Texts of JSON for the schemas of `document`. */
export function valuesOf(document: OpenApiDocument) {
  const resolve = (schema: JsonSchema): JsonSchema => {
    const { $ref: ref } = schema as { readonly $ref?: string };
    return ref === undefined ? schema : (document.components.schemas[ref.split("/").at(-1) ?? ""] ?? {});
  };

  function tree(schema: JsonSchema, name: string, depth: number): fc.Arbitrary<Tree> {
    const given = resolve(schema) as SchemaParts;
    const options = given.anyOf ?? given.oneOf;
    const own = (): fc.Arbitrary<Tree> => {
      if (given.const !== undefined) return fc.constant(JSON.stringify(given.const));
      if (given.enum !== undefined) return fc.constantFrom(...given.enum.map((word) => JSON.stringify(word)));
      if (options !== undefined) return fc.oneof(...options.map((option) => tree(option, name, depth + 1)));
      switch (given.type) {
        case "null":
          return fc.constant("null");
        case "boolean":
          return fc.constantFrom("true", "false");
        case "integer":
        case "number":
          return numbers(given);
        case "string":
          return strings(given);
        case "array":
          return fc
            .array(tree(given.items ?? {}, name, depth + 1), { minLength: given.minItems ?? 0, maxLength: 3 })
            .map((items): Tree => items);
        case "object":
          return depth > 6 ? fc.constant("{}") : objects(given, depth);
        default:
          return fc.oneof(fc.constantFrom("{}", "null", "[]", '"text"'), hostileJson);
      }
    };
    const known = KNOWN[name];
    if (known !== undefined) return fc.oneof({ arbitrary: known, weight: 8 }, own());
    if (SUBJECTS.includes(name)) return fc.oneof({ arbitrary: fc.constant(`"@@${name}@@"`), weight: 8 }, own());
    return own();
  }

  function objects({ properties = {}, required = [] }: SchemaParts, depth: number): fc.Arbitrary<Tree> {
    const members = Object.entries(properties).map(([key, schema]) =>
      fc
        .tuple(tree(schema, key, depth + 1), fc.nat(3))
        .map(([value, chance]) => (required.includes(key) || chance === 0 ? ([[key, value]] as const) : [])),
    );
    return members.length === 0
      ? fc.constantFrom("{}", '{"a":1}', '{"graph_id":"echo"}')
      : fc.tuple(...members).map((chosen): Tree => ({ members: chosen.flat() }));
  }

  return {
    valid: (schema: JsonSchema, name = ""): fc.Arbitrary<string> => tree(schema, name, 0).map(textOf),
    /** One part of it is replaced, left out, added, or there twice. */
    near: (schema: JsonSchema, name = ""): fc.Arbitrary<string> =>
      fc
        .tuple(tree(schema, name, 0), fc.nat(), fc.constantFrom(...CHANGES), hostileJson, attackText)
        .map(([value, at, change, other, key]) => textOf(changed(value, at, { change, other, key }))),
  };
}

interface SchemaParts {
  readonly type?: string;
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly anyOf?: readonly JsonSchema[];
  readonly oneOf?: readonly JsonSchema[];
  readonly items?: JsonSchema;
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly required?: readonly string[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minItems?: number;
  readonly minLength?: number;
  readonly pattern?: string;
}

/** What makes a request go deep instead of being refused early. */
const KNOWN: Readonly<Record<string, fc.Arbitrary<string>>> = {
  webhook: fc.constant('"/ok"'), // a path of the gateway's own: nobody else is called
  assistant_id: fc.constantFrom('"echo"', '"counter"', '"approval"', '"nested"', '"failing"', '"@@assistant_id@@"'),
  graph_id: fc.constantFrom('"echo"', '"counter"', '"factory"'),
  input: fc.oneof(
    fc.constantFrom('{"messages":[{"type":"human","content":"hi"}]}', "{}", "null", '{"input":"ask"}'),
    hostileJson,
  ),
  after_seconds: fc.constantFrom("0", "0", "0.01", "3600"),
  namespace: fc.constantFrom('["a"]', '["a","b"]', '["users","é"]'),
  namespace_prefix: fc.constantFrom("[]", '["a"]'),
  as_node: fc.constantFrom('"echo"', '"add"', '"__start__"', '"ask"'),
  key: fc.constantFrom('"k"', '"é"'),
  limit: fc.constantFrom("1", "10"),
  offset: fc.constantFrom("0", "1"),
  index: fc.constantFrom("false", "null", '["a"]', '["$"]', '["a[*].b","{a,b}","*.*"]'),
  query: fc.oneof(
    fc.constantFrom("null", '""', '"tea and rain"', '"hi"'),
    attackText.map((text) => JSON.stringify(text)),
  ),
  filter: fc.oneof(fc.constantFrom("null", "{}", '{"a":{"$gt":1}}'), threadFilters()),
  cursor: fc.oneof(
    fc.constantFrom("null", '""'),
    fc.json().map((json) => JSON.stringify(cursorOf(json))),
  ),
  schedule: fc.constantFrom(
    '"* * * * *"',
    '"0 12 L * *"',
    '"*/5 1-3,9 15W 1-6 +MON#2"',
    '"0 0 29 2 *"',
    '"0 0 30 2 *"',
  ),
  timezone: fc.constantFrom('"Europe/Berlin"', '"Australia/Lord_Howe"', '"UTC"', "null"),
  end_time: fc.constantFrom(
    '"2099-01-01T00:00:00Z"',
    '"0000-01-01T00:00:00"',
    '"9999-12-31T23:59:59.999-14:00"',
    "null",
  ),
};

/** Filters of threads, most of which can be read. */
function threadFilters(): fc.Arbitrary<string> {
  const operator = fc.constantFrom("$eq", "$ne", "$gt", "$lte", "$in", "$nin", "$exists", "$contains");
  const field = fc.oneof(
    fc.constantFrom(
      "metadata.graph_id",
      "metadata.a.b",
      "values.messages",
      "values.a",
      "status",
      "updated_at",
      "thread_id",
    ),
    attackText.map((text) => `metadata.${text}`),
  );
  const operand = fc.oneof(fc.constantFrom(1, "idle", "2026-01-01", true, null, ["echo"], { a: 1 }), attackText);
  const leaf = fc.tuple(field, operator, operand).map(([at, name, value]) => ({ [at]: { [name]: value } }));
  const combined = fc.tuple(fc.constantFrom("$and", "$or"), fc.array(leaf, { minLength: 1, maxLength: 3 }));
  return fc
    .oneof(
      leaf,
      combined.map(([name, of]) => ({ [name]: of })),
      leaf.map((of) => ({ $not: of })),
    )
    .map((filter) => JSON.stringify(filter));
}

/** Of the newest threads first, as they are listed; `json` is where it points. */
function cursorOf(json: string): string {
  return Buffer.from(`["updated_at","desc",${json},"a"]`).toString("base64url");
}

function numbers({ minimum = 0, maximum = 1_000 }: SchemaParts): fc.Arbitrary<string> {
  const low = Math.max(Math.ceil(minimum), 1);
  return fc.oneof(
    fc.integer({ min: low, max: Math.min(low + 10, Math.floor(maximum)) }).map(String),
    fc.constantFrom(String(minimum), String(maximum)),
  );
}

function strings({ pattern, minLength = 0 }: SchemaParts): fc.Arbitrary<string> {
  const text =
    pattern === undefined ? fc.oneof(fc.constantFrom("a", "echo", "hi there"), attackText) : fc.constant("a");
  return text.map((value) => JSON.stringify(value.padEnd(minLength, "a")));
}

const CHANGES = ["replace", "replace", "remove", "add", "repeat"] as const;

interface Change {
  readonly change: (typeof CHANGES)[number];
  readonly other: string;
  readonly key: string;
}

/** Changes the `at`-th part that there is, counted round. */
function changed(value: Tree, at: number, how: Change): Tree {
  const chosen = at % countParts(value);
  let seen = -1;
  const visit = (part: Tree): Tree => {
    seen++;
    if (seen === chosen) return apply(part, how);
    if (typeof part === "string") return part;
    if ("members" in part) return { members: part.members.map(([key, member]) => [key, visit(member)] as const) };
    return part.map(visit);
  };
  return visit(value);
}

function apply(part: Tree, { change, other, key }: Change): Tree {
  if (typeof part === "string" || !("members" in part) || change === "replace") return other;
  const [first, ...rest] = part.members;
  switch (change) {
    case "remove":
      return { members: rest };
    case "add":
      return { members: [...part.members, [key, other]] };
    case "repeat":
      return { members: first === undefined ? part.members : [...part.members, [first[0], other]] };
  }
}

function countParts(value: Tree): number {
  if (typeof value === "string") return 1;
  const parts = "members" in value ? value.members.map(([, member]) => member) : value;
  return parts.reduce((sum, part) => sum + countParts(part), 1);
}

function textOf(value: Tree): string {
  if (typeof value === "string") return value;
  if ("members" in value) {
    return `{${value.members.map(([key, member]) => `${JSON.stringify(key)}:${textOf(member)}`).join(",")}}`;
  }
  return `[${value.map(textOf).join(",")}]`;
}
