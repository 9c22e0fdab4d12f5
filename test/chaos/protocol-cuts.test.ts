/**
 * Clients of event streaming that are cut off anywhere and come back: whatever they want to hear, over either transport,
 * from memory, from the ledger of a process that is gone, or in the middle of a run, they know in the end what they would
 * have known. And an event is the same event, however often and from wherever it is told.
 */
import { randomUUID } from "node:crypto";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { arrivedAt, openGate } from "../support/gates.js";
import { startTestGateway, type TestGateway } from "../support/gateway.js";
import { ALL_CHANNELS, isEnd, type WireEvent } from "../support/protocol-client.js";
import { clientStateOf, isFor } from "../support/protocol-state.js";
import {
  commander,
  disorderOf,
  openEvents,
  openSocket,
  type WireFilter,
  type WireReader,
} from "../support/protocol-wire.js";
import { scaled } from "../support/scale.js";

const SEED = Number(process.env.HEDDLE_SEED ?? Date.now() % 2 ** 31);
const CUTS = scaled({ quick: 40, full: 1_500 });
const LIVE_CUTS = scaled({ quick: 6, full: 200 });

const PROTOCOL_GRAPHS = ["transcript", "nestedQuestion", "questions", "fan", "stumble"];
const RUN_GRAPHS = ["talk", "choir", "toolbox"];
const graphs = {
  ...Object.fromEntries(PROTOCOL_GRAPHS.map((name) => [name, `./test/support/protocol-graphs.ts:${name}`])),
  ...Object.fromEntries(RUN_GRAPHS.map((name) => [name, `./test/support/run-graphs.ts:${name}`])),
};

let gateway: TestGateway;
beforeAll(async () => {
  gateway = await startTestGateway({ storage: "sqlite", config: { graphs: { isolation: "inline", ...graphs } } });
  threads.push(...(await Promise.all(histories.map(recorded))));
}, 120_000);
afterAll(() => gateway.stop());

// ---- threads, and all that was said on them

interface Recorded {
  readonly threadId: string;
  readonly all: readonly WireEvent[];
}

const threads: Recorded[] = [];
const HELLO = { messages: [{ role: "user", content: "one two three", id: "h1" }] };

type Step = (threadId: string) => Promise<unknown>;
const start =
  (assistantId: string, input: object = HELLO): Step =>
  (threadId) =>
    commander(gateway.url)(threadId, "run.start", { assistant_id: assistantId, input });
/** With REST's own modes, which decide what the log has. */
const rest =
  (assistantId: string, payload: object): Step =>
  (threadId) =>
    gateway.client.runs.create(threadId, assistantId, { input: HELLO, ifNotExists: "create", ...payload });
const answerOne: Step = async (threadId) => {
  const { interrupts } = await gateway.client.threads.get(threadId);
  const [id] = Object.values(interrupts).flatMap((asked) => asked.map((each) => each.id));
  return commander(gateway.url)(threadId, "input.respond", { namespace: [], interrupt_id: id, response: "yes" });
};

const histories: readonly (readonly Step[])[] = [
  [start("transcript"), answerOne],
  [rest("talk", { streamMode: ["values", "messages-tuple"] }), start("fan", {})],
  [
    start("stumble"),
    rest("toolbox", { streamMode: ["tools", "updates"] }),
    rest("choir", { streamMode: ["checkpoints", "values"], streamSubgraphs: true }),
  ],
  [start("questions", {}), answerOne, answerOne],
  [
    rest("nestedQuestion", { streamMode: ["values", "updates", "debug"], streamSubgraphs: true }),
    rest("nestedQuestion", {
      input: null,
      command: { resume: "yes" },
      streamMode: ["checkpoints", "values"],
      streamSubgraphs: true,
    }),
  ],
];

async function recorded(steps: readonly Step[]): Promise<Recorded> {
  const threadId = randomUUID();
  const stream = await openEvents(gateway.url, threadId);
  const all: WireEvent[] = [];
  for (const step of steps) {
    await step(threadId);
    all.push(...(await stream.until(isEnd)));
  }
  await stream.close();
  return { threadId, all };
}

// ---- clients

interface Cut {
  readonly thread: number;
  readonly filter: WireFilter;
  readonly at: number;
  readonly transport: "sse" | "websocket";
  /** Goes on behind what it has, or is told everything again. */
  readonly since: "last" | "beginning";
}

const segment = fc.constantFrom("llm", "sub", "worker", "inside", "tools", "outside");
const filters: fc.Arbitrary<WireFilter> = fc.record(
  {
    channels: fc.subarray([...ALL_CHANNELS, "custom:step"], { minLength: 1 }),
    namespaces: fc.array(fc.array(segment, { maxLength: 1 }), { minLength: 1, maxLength: 2 }),
    depth: fc.nat(2),
  },
  { requiredKeys: ["channels"] },
);
const cuts: fc.Arbitrary<Cut> = fc.record({
  thread: fc.nat(histories.length - 1),
  filter: fc.oneof(fc.constant({ channels: ALL_CHANNELS }), filters),
  at: fc.nat(),
  transport: fc.constantFrom("sse", "websocket"),
  since: fc.constantFrom("last", "beginning"),
});

async function connect(threadId: string, transport: Cut["transport"], filter: WireFilter): Promise<WireReader> {
  if (transport === "sse") return openEvents(gateway.url, threadId, filter);
  const socket = await openSocket(gateway.url, threadId);
  expect(await socket.ask("subscription.subscribe", filter)).toMatchObject({ type: "success" });
  return socket;
}

async function read(
  threadId: string,
  { transport, filter }: Pick<Cut, "transport" | "filter">,
  last: WireEvent,
): Promise<readonly WireEvent[]> {
  const reader = await connect(threadId, transport, filter);
  const events = await reader.until(({ event_id: id }) => id === last.event_id);
  await reader.close();
  expect(disorderOf(events)).toBeUndefined();
  return events;
}

/** Times may be those of a group of events that were kept as one. */
const timeless = (events: readonly WireEvent[]) =>
  events.map((event) => ({ ...event, params: { ...event.params, timestamp: 0 } }));
const idsOf = (events: readonly WireEvent[]) => events.map(({ event_id: id }) => id);

const check = <T>(arbitrary: fc.Arbitrary<T>, numRuns: number, property: (value: T) => Promise<void>) =>
  fc.assert(fc.asyncProperty(arbitrary, property), { seed: SEED, numRuns });

describe(`a client that is cut off and comes back (HEDDLE_SEED=${SEED})`, { timeout: 900_000 }, () => {
  it("while the log is in memory hears exactly what is missing", async () => {
    await check(cuts, CUTS, async ({ thread, filter, at, transport, since }) => {
      const { threadId, all } = threads[thread] ?? { threadId: "", all: [] };
      const wanted = all.filter((event) => isFor(event, filter));
      const last = wanted.at(-1);
      const cut = wanted[at % Math.max(wanted.length - 1, 1)];
      fc.pre(last !== undefined && cut !== undefined && cut !== last);
      if (last === undefined || cut === undefined) return;
      const before = await read(threadId, { transport, filter: { ...filter, since: 0 } }, cut);
      const from = since === "last" ? cut.seq : 0;
      const after = await read(threadId, { transport, filter: { ...filter, since: from } }, last);
      expect(since === "last" ? [...before, ...after] : after).toEqual(wanted);
      expect(clientStateOf([...before, ...after])).toEqual(clientStateOf(wanted));
    });
  });

  it("while a run goes on hears the rest of it, and of the next", async () => {
    const live = fc.record({
      holdAt: fc.nat(3),
      at: fc.nat(),
      transport: fc.constantFrom("sse" as const, "websocket" as const),
      filter: fc.constantFrom<WireFilter>(
        { channels: ALL_CHANNELS },
        { channels: ["messages", "values"] },
        { channels: ALL_CHANNELS, namespaces: [[]], depth: 1 },
      ),
    });
    await check(live, LIVE_CUTS, async ({ holdAt, at, transport, filter }) => {
      const [threadId, gate] = [randomUUID(), randomUUID()];
      const witness = await openEvents(gateway.url, threadId);
      const configurable = { gate, hold_at: holdAt };
      const params = { assistant_id: "talk", input: HELLO, config: { configurable } };
      const early = await connect(threadId, transport, filter);
      await commander(gateway.url)(threadId, "run.start", params);
      if (holdAt < 3) await arrivedAt(gate);
      const first = await early.until((event) => isFor(event, filter));
      await early.close();
      const more = await read(threadId, { transport, filter }, first.at(-1) as WireEvent);
      expect(more).toEqual(first);
      const cut = first[at % first.length]?.seq ?? 0;
      const late = await connect(threadId, transport, { ...filter, since: cut });
      openGate(gate);
      const run = await witness.until(isEnd);
      await start("fan", {})(threadId);
      const all = [...run, ...(await witness.until(isEnd))];
      const wanted = all.filter((event) => isFor(event, filter));
      const rest = await late.until(({ event_id: id }) => id === wanted.at(-1)?.event_id);
      expect(rest).toEqual(wanted.filter(({ seq }) => seq > cut));
      expect(clientStateOf([...first, ...rest])).toEqual(clientStateOf(wanted));
      await Promise.all([late.close(), witness.close()]);
    });
  });

  it("after a restart knows all the same, though states in between are kept no more", async () => {
    gateway = await gateway.restart();
    await check(cuts, CUTS, async ({ thread, filter, at, transport, since }) => {
      const { threadId, all } = threads[thread] ?? { threadId: "", all: [] };
      const wanted = all.filter((event) => isFor(event, filter));
      const last = wanted.at(-1);
      const index = at % Math.max(wanted.length - 1, 1);
      fc.pre(last !== undefined && wanted[index] !== undefined && wanted[index] !== last);
      if (last === undefined) return;
      const before = wanted.slice(0, index + 1);
      const from = since === "last" ? (before.at(-1)?.seq ?? 0) : 0;
      const after = await read(threadId, { transport, filter: { ...filter, since: from } }, last);
      const told = new Set(idsOf(after));
      expect(timeless(after)).toEqual(timeless(wanted.filter(({ event_id: id }) => told.has(id))));
      const gone = wanted.filter(({ event_id: id, seq }) => seq > from && !told.has(id));
      expect(gone.filter(({ method }) => method !== "values")).toEqual([]);
      expect(clientStateOf([...before, ...after])).toEqual(clientStateOf(wanted));
    });
  });
});
