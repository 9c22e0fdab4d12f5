/** What is recorded for event streaming changes nothing of what REST streams. */
import { describe, expect, it } from "vitest";
import type { StreamMode } from "../../src/core/model.js";
import { isShown } from "../../src/runs/reading.js";
import { nestedQuestion, transcript } from "../support/protocol-graphs.js";
import { type RecorderOptions, recordThread } from "../support/recorded-run.js";
import { choir, toolbox } from "../support/run-graphs.js";

const INPUT = { messages: [{ role: "user", content: "one two", id: "h1" }], answers: [] };

/** Ids of tasks, checkpoints, runs, messages and questions. */
const ID = /[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}|\b[0-9a-f]{32}\b/g;

/** What REST streams, with times left out and ids by the order in which they come. */
async function restOf(graph: unknown, options: RecorderOptions): Promise<readonly string[]> {
  const { log } = await recordThread(graph, options).run({ input: INPUT });
  const known = new Map<string, string>();
  const byOrder = (id: string): string => {
    const name = known.get(id) ?? `id${known.size}`;
    known.set(id, name);
    return name;
  };
  const lines = log
    .filter(isShown)
    .map(({ event, namespace, data }) => `${[event, ...namespace].join("|")} ${data}`)
    .map((line) => line.replaceAll(',"tool_call_chunks":[]', "")) // a model that streams returns a chunk
    .map((line) => line.replace(/"id":"run-[^"]*-tool-call-1",|("type":"tool".*?)"id":"[^"]*",/g, "$1")) // named by who sees it first
    .map((line) => line.replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, "now"));
  if (!options.streamModes?.includes("events")) return lines.map((line) => line.replace(ID, byOrder));
  // Callbacks and chunks of a graph come in no order, and name a message when they see it first.
  return lines.map((line) => line.replace(/,"id":"(run-)?[^"]*"/g, "").replace(ID, "id")).toSorted();
}

const MODES: readonly (readonly StreamMode[])[] = [
  ["values"],
  ["updates"],
  ["messages"],
  ["messages-tuple", "custom"],
  ["checkpoints", "values"],
  ["debug"],
  ["tasks", "tools"],
  ["events"],
  ["events", "updates", "messages-tuple"],
  ["values", "updates", "messages", "messages-tuple", "checkpoints", "debug", "tasks", "tools", "custom"],
];

describe.each([
  ["a model, a subgraph and a question", transcript],
  ["a graph inside that asks", nestedQuestion],
  ["a graph inside that speaks and writes", choir],
  ["a tool", toolbox],
])("%s", (_, graph) => {
  it.each(MODES.flatMap((modes) => [false, true].map((subgraphs) => [modes, subgraphs] as const)))(
    "in the modes %j, with subgraphs: %s",
    async (streamModes, subgraphs) => {
      const [on, off] = await Promise.all(
        [true, false].map((eventStreaming) => restOf(graph, { streamModes, subgraphs, eventStreaming })),
      );
      expect(on).toEqual(off);
    },
  );
});
