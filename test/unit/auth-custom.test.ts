/** The application's own authentication: nobody becomes anybody by mistake, and nothing is done that was not allowed. */
import { Auth, HTTPException } from "@langchain/langgraph-sdk/auth";
import { describe, expect, it } from "vitest";
import { createCustomCallers, unhandledEvents } from "../../src/auth/custom.js";
import type { Caller } from "../../src/core/caller.js";
import { createFakeClock } from "../support/fake-clock.js";

const REQUEST = new Request("http://localhost/threads?q=1", { headers: { "x-user": "ada" } });

function authenticateWith(answer: (request: Request) => unknown, unhandled: "allow" | "deny" = "allow") {
  const auth = new Auth().authenticate(answer as () => string);
  const clock = createFakeClock();
  return { clock, authenticate: createCustomCallers({ auth, unhandled, clock }).authenticate };
}

function callerWith(on: (auth: Auth) => unknown, unhandled: "allow" | "deny" = "allow"): Promise<Caller> {
  const auth = new Auth().authenticate(() => ({ identity: "ada", permissions: ["p"] }));
  on(auth as Auth);
  return createCustomCallers({ auth, unhandled, clock: createFakeClock() }).authenticate(REQUEST);
}

describe("authenticate", () => {
  it.each<[unknown, object]>([
    ["ada", { identity: "ada", display_name: "ada", permissions: [], is_authenticated: true }],
    [
      { identity: "ada", permissions: ["a"], display_name: "Ada", org: 7 },
      { identity: "ada", permissions: ["a"], display_name: "Ada", is_authenticated: true, org: 7 },
    ],
    [{ identity: "ada" }, { identity: "ada", permissions: [] }],
  ])("knows a user by %j", async (answer, user) => {
    expect((await authenticateWith(() => answer).authenticate(REQUEST)).user).toMatchObject(user);
  });

  it.each([undefined, null, "", { identity: "ada", is_authenticated: false, permissions: [] }])(
    "knows nobody by %j",
    async (answer) => {
      const asked = authenticateWith(() => answer).authenticate(REQUEST);
      await expect(asked).rejects.toMatchObject({ code: "unauthenticated" });
    },
  );

  it.each<[unknown]>([
    [true],
    [7],
    [{}],
    [{ identity: 7 }],
    [{ identity: "" }],
    [["ada"]],
    [{ identity: "ada", permissions: "all" }],
  ])("takes %j for an error of the application, not for a user", async (answer) => {
    const asked = authenticateWith(() => answer).authenticate(REQUEST);
    await expect(asked).rejects.toThrow(/^auth: authenticate returned/);
  });

  it("is shown the request without its body", async () => {
    const request = new Request("http://localhost/x", { method: "POST", body: "secret", headers: { "x-user": "ada" } });
    let seen: Request | undefined;
    await authenticateWith((shown) => {
      seen = shown;
      return shown.headers.get("x-user");
    }).authenticate(request);
    expect([seen?.method, seen?.url, seen?.body]).toEqual(["POST", "http://localhost/x", null]);
    expect(await request.text()).toBe("secret");
  });

  it("refuses in its own words, with its status and headers", async () => {
    const { authenticate } = authenticateWith(() => {
      throw new HTTPException(402, { message: "pay first", headers: { "x-plan": "none" } });
    });
    await expect(authenticate(REQUEST)).rejects.toMatchObject({
      name: "RefusedError",
      status: 402,
      message: "pay first",
      headers: { "x-plan": "none" },
    });
  });

  it("is an error where it throws anything else, or a status that is none", async () => {
    const plain = authenticateWith(() => {
      throw new RangeError("no database");
    }).authenticate(REQUEST);
    await expect(plain).rejects.toThrow(RangeError);
    const ok = authenticateWith(() => {
      throw Object.assign(new Error("fine"), { status: 200 });
    }).authenticate(REQUEST);
    await expect(ok).rejects.not.toMatchObject({ name: "RefusedError" });
  });

  it("is not waited for without end", async () => {
    const { clock, authenticate } = authenticateWith(() => new Promise(() => {}));
    const asked = authenticate(REQUEST);
    await new Promise(setImmediate);
    clock.advance(10_000);
    await expect(asked).rejects.toMatchObject({ code: "unavailable" });
    expect(clock.pending()).toBe(0);
  });
});

describe("authorize", () => {
  it("asks the most specific handler, and only that one", async () => {
    const asked: string[] = [];
    const note = (name: string) => () => void asked.push(name);
    const caller = await callerWith((auth) =>
      auth
        .on("*", note("*"))
        .on("*:read", note("*:read"))
        .on("threads", note("threads"))
        .on("threads:read", note("threads:read")),
    );
    for (const event of ["threads:read", "threads:update", "assistants:read", "assistants:update"] as const) {
      await caller.authorize(event, {});
    }
    expect(asked).toEqual(["threads:read", "threads", "*:read", "*"]);
  });

  it("tells the handler what is asked, by whom, with which permissions", async () => {
    let seen: unknown;
    const caller = await callerWith((auth) =>
      auth.on("threads:create", (asked) => {
        seen = asked;
      }),
    );
    await caller.authorize("threads:create", { thread_id: "t", metadata: { a: 1 } });
    expect(seen).toMatchObject({
      event: "threads:create",
      resource: "threads",
      action: "create",
      value: { thread_id: "t", metadata: { a: 1 } },
      user: { identity: "ada" },
      permissions: ["p"],
    });
  });

  it("takes what the handler made of the value, and leaves what was sent as it was", async () => {
    const caller = await callerWith((auth) =>
      auth.on("threads:create", ({ value, user }) => {
        value.metadata = { ...value.metadata, owner: user.identity };
        return { owner: user.identity };
      }),
    );
    const sent = Object.freeze({ thread_id: "t", metadata: Object.freeze({ a: 1 }) });
    expect(await caller.authorize("threads:create", sent)).toEqual({
      scope: [{ kind: "equals", key: "owner", value: "ada" }],
      value: { thread_id: "t", metadata: { a: 1, owner: "ada" } },
    });
    expect(sent).toEqual({ thread_id: "t", metadata: { a: 1 } });
  });

  it("is an error where the handler makes something else of a part, and nothing is allowed", async () => {
    const caller = await callerWith((auth) =>
      auth.on("threads:create", ({ value }) => {
        value.metadata = "mine" as never;
      }),
    );
    await expect(caller.authorize("threads:create", { metadata: {} })).rejects.toThrow(
      "made something else of value.metadata",
    );
  });

  it("does with events that nobody decides about as it is told", async () => {
    const open = await callerWith((auth) => auth.on("threads", () => true));
    expect(await open.authorize("store:get", { key: "k" })).toEqual({ scope: [], value: { key: "k" } });
    const closed = await callerWith((auth) => auth.on("threads", () => true), "deny");
    await expect(closed.authorize("store:get", { key: "k" })).rejects.toMatchObject({ code: "forbidden" });
    const auth = new Auth().on(["threads", "assistants", "crons"], () => true).on("*:get", () => true);
    expect(unhandledEvents(auth)).toEqual(["store:put", "store:search", "store:delete", "store:list_namespaces"]);
  });
});

describe("somebody who asked earlier", () => {
  it("is authorised again as the user that they were; of what nobody is known to have made there is none", async () => {
    const auth = new Auth().authenticate(() => "ada").on("threads", ({ user }) => ({ owner: user.identity }));
    const { recall } = createCustomCallers({ auth, unhandled: "allow", clock: createFakeClock() });
    const eve = { identity: "eve", display_name: "Eve", is_authenticated: true, permissions: [] };
    const { scope } = await (await recall(eve)).authorize("threads:create_run", {});
    expect(scope).toEqual([{ kind: "equals", key: "owner", value: "eve" }]);
    await expect(recall(null)).rejects.toMatchObject({ code: "unauthenticated" });
  });
});
