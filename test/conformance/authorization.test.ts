/**
 * T13: who may do what, for every route that the gateway has. The routes come from its own description, so that a new one
 * fails here until the table says how it is asked.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ROUTES_UNDER_AUTH, type RouteUnderAuth } from "../support/auth-routes.js";
import {
  type AuthGateway,
  type AuthKind,
  type AuthUser,
  type Belongings,
  createUser,
  NO_PERMISSIONS,
  nowhere,
  startAuthGateway,
} from "../support/auth-world.js";
import { type RawAnswer, sender } from "../support/http.js";

/** The request that asks the route for what belongs to `of`. */
function requestFor(name: string, route: RouteUnderAuth, of: Belongings) {
  const [method = "", template = ""] = name.split(" ");
  const ids: Readonly<Record<string, unknown>> = { ...of, namespace: "none", model: of.assistant_id };
  const path = template.replace(/\{(\w+)\}/g, (_, id: string) => String(ids[id]));
  return { method, path: route.query ? `${path}?${route.query(of)}` : path, body: route.body?.(of) };
}

/** Without what differs from one asking to the next. */
function told({ status, body }: RawAnswer, of: Belongings): string {
  const { secret: _, namespace, ...ids } = of;
  const text = typeof body === "string" ? body : JSON.stringify(body ?? null);
  const values: readonly string[] = [...Object.values(ids), namespace.join(".")];
  return `${status} ${values.reduce((shown, id) => shown.replaceAll(id, "<id>"), text)}`;
}

describe.each<AuthKind>(["an Auth object", "API keys"])("with %s", (kind) => {
  let gateway: AuthGateway;
  let victim: AuthUser;
  let attacker: AuthUser;

  beforeAll(async () => {
    gateway = await startAuthGateway(kind);
    [victim, attacker] = await Promise.all([createUser(gateway, "ada"), createUser(gateway, "mallory")]);
  });

  afterAll(() => gateway.stop());

  async function ask(
    name: string,
    of: Belongings,
    { headers, body }: { readonly headers: Record<string, string>; readonly body?: unknown },
  ): Promise<RawAnswer> {
    const route = ROUTES_UNDER_AUTH[name];
    if (route === undefined) throw new Error(`${name} is not in the table`);
    const request = requestFor(name, route, of);
    if (route.isEndless !== true) {
      return sender(gateway.url)(request.method, request.path, body ?? request.body, headers);
    }
    const abort = new AbortController();
    const init = request.body === undefined ? {} : { body: JSON.stringify(body ?? request.body) };
    const response = await fetch(`${gateway.url}${request.path}`, {
      method: request.method,
      headers,
      signal: abort.signal,
      ...init,
    });
    const isAnswer = response.headers.get("content-type")?.startsWith("application/json") === true;
    const answer = { status: response.status, headers: response.headers, body: isAnswer ? await response.json() : "" };
    abort.abort();
    return answer;
  }

  /** Everything that the victim has, as the victim sees it. */
  async function snapshot(): Promise<unknown> {
    const { send, thread_id, assistant_id, cron_id, namespace } = victim;
    const answers = await Promise.all([
      send("GET", `/threads/${thread_id}`),
      send("GET", `/threads/${thread_id}/history`),
      send("GET", `/threads/${thread_id}/runs`),
      send("POST", "/threads/search", { limit: 1000 }),
      send("GET", `/runs/crons/${cron_id}`),
      send("GET", `/assistants/${assistant_id}`),
      send("POST", `/assistants/${assistant_id}/versions`, {}),
      send("GET", `/store/items?namespace=${namespace.join(".")}&key=k&refresh_ttl=false`),
    ]);
    return answers.map(({ status, body }) => ({ status, body }));
  }

  it("has every route of the gateway in its table, and no other", async () => {
    const { paths } = (await (await fetch(`${gateway.url}/openapi.json`)).json()) as {
      paths: Record<string, Record<string, unknown>>;
    };
    const routes = Object.entries(paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
    );
    expect(routes.sort()).toEqual(Object.keys(ROUTES_UNDER_AUTH).sort());
  });

  it("has nothing of others for those who know a task's or a question's id", async () => {
    const before = await snapshot();
    const { send } = attacker;
    for (const method of ["tasks/get", "tasks/cancel", "GetTask"]) {
      const call = { jsonrpc: "2.0", id: 1, method, params: { id: victim.run_id } };
      const { body } = await send("POST", `/a2a/${attacker.assistant_id}`, call);
      expect(body).toMatchObject({ error: { code: -32001 } });
    }
    const id = `intr_${"0".repeat(32)}.${victim.thread_id}`;
    const messages = [
      { role: "assistant", tool_calls: [{ id, type: "function", function: { name: "human_input", arguments: "" } }] },
      { role: "tool", tool_call_id: id, content: "yes" },
    ];
    const answer = await send("POST", "/v1/chat/completions", { model: attacker.assistant_id, messages });
    expect(answer).toMatchObject({ status: 404, body: { error: { type: "not_found_error" } } });
    expect(await snapshot()).toEqual(before);
  });

  describe.each(Object.entries(ROUTES_UNDER_AUTH))("%s", (name, route) => {
    if (route.access === "everybody") {
      it("is answered to everybody", async () => {
        expect((await ask(name, victim, { headers: {} })).status).toBe(route.own);
      });
      return;
    }

    it("asks who it is before anything else", async () => {
      const strangers: Record<string, string>[] = [
        {},
        { authorization: "Bearer" },
        { "x-api-key": "hdl_wrong" },
        { "x-auth-scheme": "langsmith" },
      ];
      for (const headers of strangers) {
        const body = route.body === undefined ? {} : { body: "{ this is no JSON" };
        const answer = await ask(name, victim, { headers, ...body });
        expect([headers, answer.status]).toEqual([headers, 401]);
      }
    });

    it("refuses who lacks the permission", async () => {
      const headers = gateway.headers("mallory", NO_PERMISSIONS);
      const { status } = await ask(name, attacker, { headers });
      expect(status).toBe(route.unpermitted ?? 403);
    });

    it("has nothing of others, and tells what is theirs as what is not there", async () => {
      const { headers } = attacker;
      const foreign = await ask(name, victim, { headers });
      expect(JSON.stringify(foreign.body ?? null)).not.toContain(victim.secret);
      if (route.foreign === "own only") return;
      const missing = nowhere();
      expect(told(foreign, victim)).toBe(told(await ask(name, missing, { headers }), missing));
    });

    it("has nothing of others under ids that are mixed", async () => {
      const { headers } = attacker;
      const mixed: readonly Belongings[] = [
        {
          ...attacker,
          run_id: victim.run_id,
          checkpoint_id: victim.checkpoint_id,
          assistant_id: victim.assistant_id,
          cron_id: victim.cron_id,
        },
        { ...victim, thread_id: attacker.thread_id },
        { ...victim, run_id: attacker.run_id, assistant_id: attacker.assistant_id },
      ];
      for (const of of mixed) {
        const { body } = await ask(name, of, { headers });
        expect(JSON.stringify(body ?? null)).not.toContain(victim.secret);
      }
    });

    it("changes nothing of others", async () => {
      const before = await snapshot();
      const { headers } = attacker;
      await ask(name, victim, { headers });
      await ask(name, { ...attacker, run_id: victim.run_id, assistant_id: victim.assistant_id }, { headers });
      expect(await snapshot()).toEqual(before);
    });

    it("answers whose it is", async () => {
      const owner = await createUser(gateway, "grace");
      const { status } = await ask(name, owner, { headers: owner.headers });
      expect(status).toBe(route.own);
    });
  });
});
