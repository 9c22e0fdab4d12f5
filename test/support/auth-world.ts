/** Users of a gateway that knows its callers, and what belongs to each of them. */
import { randomUUID } from "node:crypto";
import { Client } from "@langchain/langgraph-sdk";
import { hashOf } from "../../src/auth/keys.js";
import { startTestGateway, type TestGateway } from "./gateway.js";
import { type Send, sender } from "./http.js";

export interface AuthGateway extends TestGateway {
  /** What a user sends along; `permissions`: only these. */
  headers(user: string, permissions?: typeof NO_PERMISSIONS): Record<string, string>;
}

/** Those of somebody who may do nothing. */
export const NO_PERMISSIONS = ["nothing"] as const;

export type AuthKind = "an Auth object" | "API keys";

/** Whoever there are keys for. */
const USERS = ["ada", "grace", "mallory"];

function keyOf(user: string, permissions: readonly string[] | undefined): string {
  return `hdl_${user}_${permissions?.join("_") ?? "all"}`;
}

/** So that every group of routes is served. */
const UI = { ui: { echo: "./test/support/ui/cards.jsx" } };

/** A gateway that knows its callers in this way, with its owners' things apart. */
export async function startAuthGateway(kind: AuthKind, config: Record<string, unknown> = {}): Promise<AuthGateway> {
  if (kind === "an Auth object") {
    const gateway = await startTestGateway({
      config: { auth: { path: "./test/support/auth.ts:auth" }, ...UI, ...config },
    });
    return {
      ...gateway,
      headers: (user, permissions) => ({
        authorization: `Bearer ${user}${permissions === undefined ? "" : `:${permissions.join(",")}`}`,
      }),
    };
  }
  const empty = await startTestGateway({ storage: "sqlite", config: { auth: { api_keys: true }, ...UI, ...config } });
  const gateway = await empty.revive((database) => {
    const insert = database.prepare("INSERT INTO api_keys VALUES (?, ?, 'hdl_', ?, ?, ?, 0, NULL, NULL)");
    for (const user of USERS) {
      for (const permissions of [undefined, NO_PERMISSIONS]) {
        const key = keyOf(user, permissions);
        insert.run(key, hashOf(key), user, user, JSON.stringify(permissions ?? ["*"]));
      }
    }
  });
  await empty.stop();
  return { ...gateway, headers: (user, permissions) => ({ "x-api-key": keyOf(user, permissions) }) };
}

/** What one user has. Everything of it that can hold a text holds `secret`. */
export interface Belongings {
  readonly thread_id: string;
  /** Of a run that has ended. */
  readonly run_id: string;
  readonly assistant_id: string;
  readonly cron_id: string;
  readonly checkpoint_id: string;
  readonly namespace: readonly string[];
  readonly secret: string;
}

export interface AuthUser extends Belongings {
  readonly send: Send;
  readonly client: Client;
  readonly headers: Record<string, string>;
}

/** `who`, with a thread, a run, an assistant and an item of their own. */
export async function createUser(gateway: AuthGateway, who: string): Promise<AuthUser> {
  const headers = gateway.headers(who);
  const secret = `secret-of-${who}-${randomUUID()}`;
  const client = new Client({ apiUrl: gateway.url, defaultHeaders: headers, callerOptions: { maxRetries: 0 } });
  const { assistant_id } = await client.assistants.create({ graphId: "echo", name: secret, metadata: { secret } });
  const { thread_id } = await client.threads.create({ metadata: { secret } });
  const run = await client.runs.create(thread_id, assistant_id, { input: saying(secret), metadata: { secret } });
  await client.runs.join(thread_id, run.run_id);
  const { checkpoint } = await client.threads.getState(thread_id);
  const cron = await client.crons.createForThread(thread_id, assistant_id, {
    schedule: "0 0 1 1 *",
    metadata: { secret },
  });
  const { cron_id } = cron as unknown as { readonly cron_id: string }; // the SDK's type is a run's
  const namespace = [who, "notes"];
  await client.store.putItem(namespace, "k", { secret });
  const send: Send = (method, path, body, more) => sender(gateway.url)(method, path, body, { ...headers, ...more });
  const checkpoint_id = checkpoint.checkpoint_id ?? "";
  return {
    send,
    client,
    headers,
    secret,
    assistant_id,
    cron_id,
    thread_id,
    run_id: run.run_id,
    checkpoint_id,
    namespace,
  };
}

export function saying(content: string) {
  return { messages: [{ type: "human", content }] };
}

/** Ids of nothing. */
export function nowhere(): Belongings {
  return {
    thread_id: randomUUID(),
    run_id: randomUUID(),
    assistant_id: randomUUID(),
    cron_id: randomUUID(),
    checkpoint_id: randomUUID(),
    namespace: ["nowhere", "notes"],
    secret: "",
  };
}
