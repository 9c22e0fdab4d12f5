import { describe, expect, it } from "vitest";
import { clientConfigurable, clientContext } from "../../src/core/server-owned.js";

const RESERVED = {
  langgraph_auth_user: { identity: "root" },
  langgraph_auth_user_id: "root",
  langgraph_auth_permissions: ["*"],
  __pregel_checkpointer: 1,
  __anything: 1,
};
const IDENTITY = { thread_id: "x", run_id: "x", graph_id: "x", assistant_id: "x", cron_id: "x" };
const PLACE = { checkpoint_id: "x", checkpoint_ns: "x", checkpoint_map: {} };
const GRAPHS_OWN = { user_id: "bob", model: "m", checkpointer: "kept", threads: 1, "": 1, constructor: 1, a__b: 1 };

describe("what clients send", () => {
  it("as configurable loses every word of the server's, and keeps the graph's own", () => {
    expect(clientConfigurable({ ...RESERVED, ...IDENTITY, ...PLACE, ...GRAPHS_OWN })).toEqual(GRAPHS_OWN);
  });

  it("as context loses what is reserved; ids are words of the graph there", () => {
    expect(clientContext({ ...RESERVED, ...IDENTITY, ...GRAPHS_OWN })).toEqual({ ...IDENTITY, ...GRAPHS_OWN });
    for (const context of [null, "text", 1, ["__a"]]) expect(clientContext(context)).toEqual(context);
  });

  it("is the same object when there is nothing to take out", () => {
    expect(clientConfigurable(GRAPHS_OWN)).toBe(GRAPHS_OWN);
  });
});
