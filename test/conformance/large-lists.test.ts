/** Lists of large rows: what would be too much for one answer is refused, and the refusal says how to go on. */
import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startTestGateway, type TestGateway } from "../support/gateway.js";

let gateway: TestGateway;

const LARGE = "x".repeat(300_000);
/** An assistant shows its context as its configurable as well. */
const HALF = LARGE.slice(150_000);

beforeAll(async () => {
  gateway = await startTestGateway({ config: { server: { page_limit: "1mb" } } });
});

afterAll(() => gateway.stop());

async function ask(method: string, path: string, body?: unknown) {
  const response = await fetch(`${gateway.url}${path}`, {
    method,
    body: body === undefined ? null : JSON.stringify(body),
  });
  return { status: response.status, body: (await response.json()) as unknown, headers: response.headers };
}

/** Four rows of 300 KB each, of which three go on one page of 1 MB. */
const LISTS = {
  async "threads/search"() {
    const kind = randomUUID();
    for (let index = 0; index < 4; index++) {
      const { thread_id: threadId } = await gateway.client.threads.create({ graphId: "echo", metadata: { kind } });
      await gateway.client.threads.updateState(threadId, { values: { messages: [LARGE] } });
    }
    return (limit: number) => ask("POST", "/threads/search", { metadata: { kind }, limit });
  },
  async "threads/{thread_id}/runs"() {
    const { thread_id: threadId } = await gateway.client.threads.create();
    for (let index = 0; index < 4; index++) {
      await gateway.client.runs.create(threadId, "echo", { input: { messages: [LARGE] }, afterSeconds: 3_600 });
    }
    return (limit: number) => ask("GET", `/threads/${threadId}/runs?limit=${limit}`);
  },
  async "assistants/search"() {
    const name = randomUUID();
    for (let index = 0; index < 4; index++) {
      await gateway.client.assistants.create({ graphId: "echo", name, context: { HALF } });
    }
    return (limit: number) => ask("POST", "/assistants/search", { name, limit });
  },
  async "assistants/{assistant_id}/versions"() {
    const { assistant_id: id } = await gateway.client.assistants.create({ graphId: "echo", context: { HALF } });
    for (let index = 0; index < 3; index++) await gateway.client.assistants.update(id, { name: String(index) });
    return (limit: number) => ask("POST", `/assistants/${id}/versions`, { limit });
  },
  async "store/items/search"() {
    const namespace = [randomUUID()];
    for (let index = 0; index < 4; index++) await gateway.client.store.putItem(namespace, String(index), { LARGE });
    return async (limit: number) => {
      const answer = await ask("POST", "/store/items/search", { namespace_prefix: namespace, limit });
      return { ...answer, body: (answer.body as { readonly items?: unknown }).items ?? answer.body };
    };
  },
};

describe.each(Object.entries(LISTS))("%s", (_path, fill) => {
  it("refuses a page that is too large with the limit that fits, and serves that", async () => {
    const list = await fill();
    const refused = await list(10);
    expect(refused).toMatchObject({ status: 422, body: { code: "validation", limit: 3 } });
    expect(refused.body).toMatchObject({ detail: expect.stringMatching(/ask for 3 at a time$/) });
    const page = await list(3);
    expect([page.status, (page.body as unknown[]).length]).toEqual([200, 3]);
  });
});

it("a batch of runs that takes too much from its assistants is refused, and none of them is created", async () => {
  const { assistant_id: assistantId } = await gateway.client.assistants.create({ graphId: "echo", context: { HALF } });
  const batch = (length: number) => ask("POST", "/runs/batch", Array(length).fill({ assistant_id: assistantId }));
  expect(await batch(4)).toMatchObject({ status: 422, body: { code: "validation", limit: 3 } });
  expect(await gateway.client.threads.count({ metadata: { assistant_id: assistantId } })).toBe(0);
  expect(await batch(3)).toMatchObject({ status: 200 });
});

it("a list that leaves out what is large is no large list", async () => {
  const { thread_id: threadId } = await gateway.client.threads.create();
  for (let index = 0; index < 4; index++) {
    await gateway.client.runs.create(threadId, "echo", { input: { messages: [LARGE] }, afterSeconds: 3_600 });
  }
  const runs = await gateway.client.runs.list(threadId, { select: ["run_id", "status"] });
  expect(runs.map(({ status }) => status)).toEqual(Array(4).fill("pending"));
});

it("an assistant goes with all its threads, however much they hold", async () => {
  const { assistant_id: assistantId } = await gateway.client.assistants.create({ graphId: "echo" });
  for (let index = 0; index < 4; index++) {
    const metadata = { assistant_id: assistantId };
    const { thread_id: threadId } = await gateway.client.threads.create({ graphId: "echo", metadata });
    await gateway.client.threads.updateState(threadId, { values: { messages: [LARGE] } });
  }
  await gateway.client.assistants.delete(assistantId, { deleteThreads: true });
  expect(await gateway.client.threads.count({ metadata: { assistant_id: assistantId } })).toBe(0);
});

describe.each(["GET", "POST"])("a history (%s)", (method) => {
  it("ends early where its states are large, says where it goes on, and loses none", async () => {
    const { thread_id: threadId } = await gateway.client.threads.create({ graphId: "echo" });
    for (let index = 0; index < 6; index++) {
      await gateway.client.threads.updateState(threadId, { values: { messages: [LARGE.slice(index)] } });
    }
    const page = (limit: number, before?: string) =>
      method === "POST"
        ? ask("POST", `/threads/${threadId}/history`, { limit, before })
        : ask("GET", `/threads/${threadId}/history?limit=${limit}${before === undefined ? "" : `&before=${before}`}`);
    // Where the limit ends a page its client knows that there may be more.
    expect((await page(1)).headers.get("x-pagination-next")).toBeNull();

    const lengths: number[] = [];
    const seen: unknown[] = [];
    let before: string | undefined;
    do {
      const { status, body, headers } = await page(1_000, before);
      expect(status).toBe(200);
      const states = body as { readonly values: { readonly messages: readonly unknown[] } }[];
      lengths.push(states.length);
      seen.push(...states.map(({ values }) => values.messages.length));
      before = headers.get("x-pagination-next") ?? undefined;
    } while (before !== undefined);
    expect(seen).toEqual([6, 5, 4, 3, 2, 1]);
    // A page is 1 MB: states of 6 to 4 times 300 KB are alone, those of 3 and 2 do not go together, those of 2 and 1 do.
    expect(lengths).toEqual([1, 1, 1, 1, 2]);
  });
});
