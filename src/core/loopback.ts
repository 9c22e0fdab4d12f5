/**
 * How the project's own code reaches the gateway that it runs in: `new Client()` of LangGraph's SDK, made without a URL,
 * uses the fetch that is found here. Its requests are like any other's: whoever they are from stands in their headers, and
 * nothing of what their caller is doing reaches what they start. A run that a graph asks for is not a part of that graph.
 */
import { AsyncLocalStorage } from "node:async_hooks";

const FETCH = Symbol.for("langgraph_api:fetch");
const URL_OF_SERVER = Symbol.for("langgraph_api:url");

export type LoopbackFetch = (input: string | URL | Request, init?: RequestInit) => Promise<Response>;

/** Binds it for this thread until the returned function is called; the last gateway of a process has it. */
export function bindLoopback(fetch: LoopbackFetch, basePath: string): () => void {
  const shared = globalThis as { [name: symbol]: unknown };
  const outside = AsyncLocalStorage.snapshot(); // LangGraph takes what runs inside of a node for its child
  const bound: LoopbackFetch = (input, init) => outside(fetch, input, init);
  shared[FETCH] = bound;
  shared[URL_OF_SERVER] = `http://localhost${basePath === "/" ? "" : basePath}`;
  return () => {
    if (shared[FETCH] !== bound) return;
    delete shared[FETCH];
    delete shared[URL_OF_SERVER];
  };
}

/** Sends to the server at the address that `serverUrl` resolves with, whatever host the request names. */
export function loopbackOverHttp(serverUrl: () => Promise<string>): LoopbackFetch {
  return async (input, init) => {
    const request = new Request(input, init);
    const { pathname, search } = new URL(request.url);
    return fetch(new Request(new URL(`${pathname}${search}`, await serverUrl()), request));
  };
}
