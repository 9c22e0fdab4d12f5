/** Commands of event streaming: right, nearly right and hostile. The document says only that they have parameters. */
import fc from "fast-check";
import { hostileJson } from "./fuzz-values.js";

const question = '"interrupt_id":"ffffffffffffffffffffffffffffffff"';

/** By method, parameters that go deep. */
const COMMANDS: readonly (readonly [method: string, params: string])[] = [
  ["run.start", '{"assistant_id":"echo","input":{"messages":[{"type":"human","content":"hi"}]}}'],
  ["run.start", '{"assistant_id":"@@assistant_id@@","input":{"input":"ask"},"multitaskStrategy":"reject"}'],
  [
    "run.start",
    '{"assistant_id":"approval","input":{},"config":{"configurable":{"checkpoint_id":"@@checkpoint_id@@"}}}',
  ],
  ["input.respond", `{"namespace":[],${question},"response":1}`],
  ["input.respond", `{"responses":[{"namespace":["sub"],${question},"response":{}}],"goto":"echo","update":{"a":1}}`],
  ["input.inject", '{"namespace":[],"message":{"role":"user","content":"psst"}}'],
  ["state.get", '{"namespace":[]}'],
  ["state.get", '{"namespace":["sub"],"keys":["messages","__proto__"]}'],
  ["state.listCheckpoints", '{"limit":2,"before":"@@checkpoint_id@@"}'],
  ["state.fork", '{"checkpoint_id":"@@checkpoint_id@@","input":{}}'],
  ["agent.getTree", '{"run_id":"@@run_id@@"}'],
  ["subscription.subscribe", '{"channels":["values","messages","lifecycle"],"namespaces":[[]],"depth":1}'],
  ["subscription.subscribe", '{"channels":["custom:a"],"since":9007199254740991}'],
  ["subscription.unsubscribe", '{"subscription_id":"@@run_id@@.e30"}'],
  [
    "subscription.reconnect",
    '{"run_id":"@@run_id@@","last_event_id":"1-1","subscriptions":["x.eyJjaGFubmVscyI6WyJ2YWx1ZXMiXX0"]}',
  ],
];

/** A method's name in JSON. */
const commandMethod: fc.Arbitrary<string> = fc
  .constantFrom(...COMMANDS.map(([method]) => method), "run.dance", "", "__proto__", "x".repeat(200))
  .map((method) => JSON.stringify(method));

/** Parameters in JSON, those of any method. */
const commandParams: fc.Arbitrary<string> = fc.oneof(
  { arbitrary: fc.constantFrom(...COMMANDS.map(([, params]) => params)), weight: 6 },
  fc.constantFrom(...COMMANDS.map(([, params]) => params.slice(0, params.length / 2))),
  hostileJson,
);

/** A whole command in JSON. */
export const commandText: fc.Arbitrary<string> = fc
  .tuple(
    fc.oneof(
      {
        arbitrary: fc.constantFrom(...COMMANDS).map(([method, params]) => [JSON.stringify(method), params] as const),
        weight: 6,
      },
      fc.tuple(commandMethod, commandParams),
    ),
    fc.oneof({ arbitrary: fc.nat(9).map(String), weight: 8 }, hostileJson),
  )
  .map(([[method, params], id]) => `{"id":${id},"method":${method},"params":${params}}`);
