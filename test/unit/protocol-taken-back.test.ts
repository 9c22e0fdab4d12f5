/** What a run's log becomes when it goes on with another claim. */
import { describe, expect, it } from "vitest";
import type { StreamEvent } from "../../src/bridge/bridge.js";
import { fold, unfolded } from "../../src/bridge/fold.js";
import type { StreamMode } from "../../src/core/model.js";
import type { ProtocolEvent } from "../../src/protocol/event.js";
import { createProjection } from "../../src/protocol/projection.js";
import { runRequest } from "../support/run-request.js";

type Draft = Pick<StreamEvent, "event" | "data">;

const draft = (event: string, data: unknown): Draft => ({ event, data: JSON.stringify(data) });
const message = (id: string) => ({ type: "ai", id, content: id, additional_kwargs: {}, response_metadata: {} });
const values = (...ids: readonly string[]) => draft("values", { messages: ids.map(message), n: 1 });
const checkpoint = (id: string) => draft("checkpoint", { id, step: 1, source: "loop" });
const token = (id: string) =>
  draft("messages", [
    { ...message(id), type: "AIMessageChunk", tool_call_chunks: [] },
    { langgraph_node: "agent", langgraph_checkpoint_ns: "agent:1" },
  ]);
const BEGIN = draft("metadata", { run_id: "r1" });

/** Each list is what a claim says. */
function logOf(...claims: readonly (readonly Draft[])[]): readonly StreamEvent[] {
  return claims.flatMap((drafts, claim) =>
    [BEGIN, ...drafts].map((each, seq) => ({ ...each, namespace: [], at: 0, id: { fence: claim + 1, seq } })),
  );
}

function project(
  log: readonly StreamEvent[],
  streamModes: readonly StreamMode[] = ["values"],
): readonly ProtocolEvent[] {
  const payload = { ...runRequest({}), streamModes } as never; // all of it that is read
  const projection = createProjection({ runId: "r1", graphId: "g", payload, firstClaim: 1 });
  return log.flatMap((entry) => projection.push(entry));
}

/** States by the ids of their messages, checkpoints by theirs. */
function told(events: readonly ProtocolEvent[]): readonly string[] {
  return events.flatMap(({ method, data }) => {
    const { messages, id } = JSON.parse(data) as { messages?: { id: string }[]; id?: string };
    if (method === "checkpoints") return [`checkpoint ${id}`];
    return method === "values" ? [(messages ?? []).map((each) => each.id).join(" ")] : [];
  });
}

describe("a claim after the first", () => {
  it("takes back what the one before had begun to say: a state that has it, and one that has not", () => {
    const log = logOf([values("h"), token("a")], [checkpoint("c"), values("h"), token("b"), values("h", "b")]);
    expect(told(project(log))).toEqual(["h", "checkpoint c", "h", "h a", "h", "h b"]);
  });

  it("takes nothing back that the state has, and nothing twice", () => {
    const log = logOf([values("h"), token("a"), values("h", "a"), token("b")], [values("h", "a"), values("h", "a")]);
    expect(told(project(log))).toEqual(["h", "h a", "h a", "h a b", "h a", "h a"]);
    expect(told(project(logOf([values("h")], [values("h")])))).toEqual(["h", "h"]);
  });

  it("takes back what several claims before it had begun to say", () => {
    const log = logOf([values("h"), token("a")], [token("b")], [values("h")]);
    expect(told(project(log))).toEqual(["h", "h", "h a b", "h"]);
  });

  it("lets the checkpoint go with its state, where LangGraph tells the state first", () => {
    const log = logOf([values("h"), token("a")], [values("h"), checkpoint("c")]);
    expect(told(project(log, ["values", "checkpoints"]))).toEqual(["h a", "h", "checkpoint c", "h"]);
  });

  it("tells the same events under the same ids to those who are told the log folded", () => {
    const log = logOf([values("h"), token("a")], [values("h"), token("b"), values("h", "b"), values("h", "b", "c")]);
    const raw = project(log);
    const folded = project(fold(log).flatMap(unfolded));
    expect(folded.length).toBeLessThan(raw.length);
    const byId = new Map(raw.map((event) => [event.id, event]));
    for (const event of folded) expect(event).toEqual(byId.get(event.id));
    expect(told(folded)).toContain("h a");
  });
});
