/**
 * The one path of a request: whatever base path it came under, the application's own code and the built-in routes are
 * asked for the same one, so that none of them can be passed by under another spelling.
 *
 * 1. Under a base path a built-in route is the route without it: `/api/threads` is `/threads`.
 * 2. So is a path of the application, unless it has paths of its own there: then `/api/hello` stays what it is.
 */
import type { Route } from "./route.js";

export interface Paths {
  /** Of a path that is decoded, and without a slash at its end. */
  canonical(path: string): string;
  /** Whether a path that came is under any base path. */
  isServed(path: string): boolean;
  /** Whether a canonical path is a built-in one, whatever the method. */
  isBuiltIn(path: string): boolean;
  /** Whether a built-in route answers this to everybody, or to those that it knows by itself. */
  isOpen(method: string, path: string): boolean;
}

export function createPaths(
  basePaths: readonly string[],
  routes: readonly Route[],
  hasOwnPathsUnder: ((base: string) => boolean) | null,
): Paths {
  const prefixes = basePaths.filter((base) => base !== "/").sort((a, b) => b.length - a.length);
  const servesRoot = prefixes.length < basePaths.length;
  const builtIn = patternOf(routes);
  const open = patternOf(routes.filter(({ access, method }) => access === "everybody" && method === "get"));
  const ownAccess = patternOf(routes.filter(({ access }) => typeof access === "function"));
  const unowned = new Set(hasOwnPathsUnder === null ? [] : prefixes.filter((base) => !hasOwnPathsUnder(base)));
  const isUnder = (path: string, base: string): boolean => path === base || path.startsWith(`${base}/`);
  return {
    canonical(path) {
      for (const base of prefixes) {
        if (!isUnder(path, base)) continue;
        const rest = path.slice(base.length) || "/";
        if (builtIn.test(rest) || unowned.has(base)) return rest;
      }
      return path;
    },
    isServed: (path) => servesRoot || prefixes.some((base) => isUnder(path, base)),
    isBuiltIn: (path) => builtIn.test(path),
    isOpen: (method, path) => ownAccess.test(path) || ((method === "GET" || method === "HEAD") && open.test(path)),
  };
}

function patternOf(routes: readonly Route[]): RegExp {
  const sources = routes.map(({ path }) => path.replaceAll(/[.]/g, "\\.").replaceAll(/\{\w+\}/g, "[^/]+"));
  return sources.length === 0 ? /(?!)/ : new RegExp(`^(?:${[...new Set(sources)].join("|")})$`);
}
