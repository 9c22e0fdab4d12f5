/** T13's table: how each route is asked for something that belongs to somebody, and what it is to that somebody. */
import { type Belongings, saying } from "./auth-world.js";

export interface RouteUnderAuth {
  /** `everybody`: answered without asking who it is. */
  readonly access?: "everybody";
  /** The body, for routes that have one. */
  readonly body?: (of: Belongings) => unknown;
  readonly query?: (of: Belongings) => string;
  /** What whoever owns it all is answered with. */
  readonly own: number;
  /** The answer never ends by itself. */
  readonly isEndless?: true;
  /** What somebody else's is answered with: by default as what is not there; `own only`: with what the caller has. */
  readonly foreign?: "own only";
  /** Who lacks the permission is told so, unless the route leaves out what may not be touched. */
  readonly unpermitted?: number;
}

const run = ({ assistant_id }: Belongings) => ({ assistant_id, input: saying("again"), if_not_exists: "reject" });
const open = { access: "everybody", own: 200 } as const;
const search = { body: () => ({}), own: 200, foreign: "own only" } as const;

export const ROUTES_UNDER_AUTH: Readonly<Record<string, RouteUnderAuth>> = {
  "POST /assistants": { body: () => ({ graph_id: "echo" }), own: 200, foreign: "own only" },
  "POST /assistants/search": search,
  "POST /assistants/count": search,
  "GET /assistants/{assistant_id}": { own: 200 },
  "PATCH /assistants/{assistant_id}": { body: () => ({ name: "taken over" }), own: 200 },
  "DELETE /assistants/{assistant_id}": { own: 204 },
  "GET /assistants/{assistant_id}/graph": { own: 200 },
  "GET /assistants/{assistant_id}/schemas": { own: 200 },
  "GET /assistants/{assistant_id}/subgraphs": { own: 200 },
  "GET /assistants/{assistant_id}/subgraphs/{namespace}": { own: 200 },
  "POST /assistants/{assistant_id}/versions": { body: () => ({}), own: 200 },
  "POST /assistants/{assistant_id}/latest": { body: () => ({ version: 1 }), own: 200 },
  "POST /threads": { body: () => ({}), own: 200, foreign: "own only" },
  "POST /threads/search": search,
  "POST /threads/count": search,
  "GET /threads/search/stream": { own: 200, isEndless: true, foreign: "own only" },
  "POST /threads/prune": { body: ({ thread_id }) => ({ thread_ids: [thread_id] }), own: 200, unpermitted: 200 },
  "GET /threads/{thread_id}": { own: 200 },
  "PATCH /threads/{thread_id}": { body: () => ({ metadata: { taken: true } }), own: 200 },
  "DELETE /threads/{thread_id}": { own: 204 },
  "POST /threads/{thread_id}/copy": { own: 200 },
  "GET /threads/{thread_id}/storage": { own: 200 },
  "GET /threads/{thread_id}/state": { own: 200 },
  "POST /threads/{thread_id}/state": { body: () => ({ values: saying("forged") }), own: 200 },
  "PATCH /threads/{thread_id}/state": { body: () => ({ metadata: { taken: true } }), own: 200 },
  "GET /threads/{thread_id}/state/{checkpoint_id}": { own: 200 },
  "POST /threads/{thread_id}/state/checkpoint": {
    body: ({ checkpoint_id }) => ({ checkpoint: { checkpoint_id, checkpoint_ns: "" } }),
    own: 200,
  },
  "GET /threads/{thread_id}/history": { own: 200 },
  "POST /threads/{thread_id}/history": { body: () => ({}), own: 200 },
  "POST /threads/{thread_id}/runs": { body: run, own: 200 },
  "GET /threads/{thread_id}/runs": { own: 200 },
  "POST /threads/{thread_id}/runs/stream": { body: run, own: 200 },
  "POST /threads/{thread_id}/runs/wait": { body: run, own: 200 },
  "GET /threads/{thread_id}/runs/{run_id}": { own: 200 },
  "DELETE /threads/{thread_id}/runs/{run_id}": { own: 204 },
  "GET /threads/{thread_id}/runs/{run_id}/join": { own: 200 },
  "GET /threads/{thread_id}/runs/{run_id}/stream": { own: 200 },
  "POST /threads/{thread_id}/runs/{run_id}/stream": { own: 200 },
  "POST /threads/{thread_id}/runs/{run_id}/cancel": { own: 409 }, // it has ended
  "GET /threads/{thread_id}/runs/{run_id}/events": { own: 200 },
  "POST /runs": { body: run, own: 200 },
  "POST /runs/stream": { body: run, own: 200 },
  "POST /runs/wait": { body: run, own: 200 },
  "POST /runs/batch": { body: (of) => [run(of)], own: 200 },
  "POST /runs/cancel": { body: ({ thread_id }) => ({ thread_id }), own: 404 }, // nothing is in flight
  "GET /runs/{run_id}/stream": { own: 200 },
  "GET /runs/{run_id}/join": { own: 200 },
  "POST /runs/crons": { body: ({ assistant_id }) => ({ assistant_id, schedule: "0 9 * * *" }), own: 200 },
  "POST /threads/{thread_id}/runs/crons": {
    body: ({ assistant_id }) => ({ assistant_id, schedule: "0 9 * * *" }),
    own: 200,
  },
  "POST /runs/crons/search": search,
  "POST /runs/crons/count": search,
  "GET /runs/crons/{cron_id}": { own: 200 },
  "PATCH /runs/crons/{cron_id}": { body: () => ({ enabled: false }), own: 200 },
  "DELETE /runs/crons/{cron_id}": { own: 200 },
  "POST /threads/{thread_id}/commands": { body: () => ({ id: 1, method: "state.get" }), own: 200, unpermitted: 200 }, // told in an envelope
  "POST /threads/{thread_id}/stream/events": { body: () => ({ channels: ["values"] }), own: 200, isEndless: true },
  "GET /threads/{thread_id}/stream/events": { own: 400, unpermitted: 400 }, // without an upgrade
  "GET /threads/{thread_id}/stream": { own: 200, isEndless: true },
  "PUT /store/items": { body: ({ namespace }) => ({ namespace, key: "k", value: { forged: true } }), own: 204 },
  "GET /store/items": { query: ({ namespace }) => `namespace=${namespace.join(".")}&key=k`, own: 200 },
  "DELETE /store/items": { body: ({ namespace }) => ({ namespace, key: "k" }), own: 204 },
  "POST /store/items/search": { body: ({ namespace }) => ({ namespace_prefix: namespace }), own: 200 },
  "POST /store/namespaces": { body: ({ namespace }) => ({ prefix: namespace }), own: 200 },
  "GET /v1/models": { own: 200, foreign: "own only" },
  "GET /v1/models/{model}": { own: 200 },
  "POST /v1/chat/completions": {
    body: ({ assistant_id, thread_id }) => ({
      model: assistant_id,
      messages: [{ role: "user", content: "again" }],
      thread_id,
    }),
    own: 200,
  },
  "POST /mcp": {
    body: () => ({ jsonrpc: "2.0", id: 1, method: "tools/list" }),
    own: 200,
    foreign: "own only",
    unpermitted: 200, // told in an envelope
  },
  "GET /mcp": { own: 405, unpermitted: 405 },
  "DELETE /mcp": { own: 404, unpermitted: 404 },
  "POST /a2a/{assistant_id}": {
    body: ({ thread_id }) => ({
      jsonrpc: "2.0",
      id: 1,
      method: "message/send",
      params: {
        message: { messageId: "m", role: "user", contextId: thread_id, parts: [{ kind: "text", text: "again" }] },
      },
    }),
    own: 200,
  },
  "GET /a2a/{assistant_id}/.well-known/agent-card.json": { own: 200 },
  "GET /.well-known/agent-card.json": { query: ({ assistant_id }) => `assistant_id=${assistant_id}`, own: 200 },
  "POST /ui/{assistant_id}": { body: () => ({ name: "Card" }), own: 200 },
  "GET /ui/{assistant_id}/{file}": { access: "everybody", own: 404 }, // it is named by the id of its graph
  "GET /ok": open,
  "GET /ready": open,
  "GET /info": open,
  "GET /metrics": { own: 200, foreign: "own only" },
  "GET /openapi.json": open,
  "GET /docs": open,
};
