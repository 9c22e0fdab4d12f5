/**
 * The routes, and the project's own app in front of them, as one function from requests to answers.
 *
 * A project's app that is loaded again takes over with the next request; one that does not load leaves the old one there.
 */
import { createApp } from "../api/app.js";
import { type CustomApp, loadCustomApp } from "../api/custom-app.js";
import type { Config } from "../config.js";
import type { Authenticate } from "../core/caller.js";
import type { Log } from "../core/log.js";
import type { Metrics } from "../core/metrics.js";
import { projectFile } from "../graphs/project-export.js";
import { storageFailure } from "../storage/failure.js";
import type { Routes } from "./routes.js";
import type { Runs } from "./runs.js";
import type { Storage } from "./storage.js";
import type { Reloadable } from "./watching.js";

interface AppDeps {
  readonly config: Config;
  readonly routes: Routes["routes"];
  readonly authenticate: Authenticate;
  readonly readiness: Runs["readiness"];
  readonly clock: Storage["clock"];
  readonly log: Log;
  readonly metrics: Metrics;
}

export interface App {
  readonly fetch: ReturnType<typeof createApp>["fetch"];
  /** The project's own app; null where it has none. */
  readonly custom: Reloadable | null;
}

/** The routes alone: of a replica that serves no clients. */
export function bareApp(deps: AppDeps): App {
  const { fetch } = appWith(deps, undefined);
  return { fetch, custom: null };
}

export async function openApp(deps: AppDeps): Promise<App> {
  const { config, log } = deps;
  const { server, baseDir } = config;
  const path = server.app;
  let app = appWith(deps, path === null ? undefined : await loadCustomApp(path, { baseDir, modules: "cached" }));
  if (path !== null && !server.enableCustomRouteAuth && isAuthenticated(config)) {
    log.warn("server.app: its own routes are for everybody (server.enable_custom_route_auth)");
  }
  const reload = async (from: string): Promise<void> => {
    app = appWith(deps, await loadCustomApp(from, { baseDir, modules: "fresh" }));
  };
  return {
    fetch: (...request) => app.fetch(...request),
    custom:
      path === null ? null : { key: "server.app", file: projectFile({ path, baseDir }), reload: () => reload(path) },
  };
}

function appWith(deps: AppDeps, custom: CustomApp | undefined): ReturnType<typeof createApp> {
  const { config, routes, authenticate, readiness, clock, log, metrics } = deps;
  const { server } = config;
  return createApp({
    routes,
    basePaths: server.basePaths,
    cors: server.cors,
    bodyLimit: server.bodyLimit,
    authenticate,
    rejectStatus: config.compat.rejectStatus,
    log,
    metrics,
    now: () => clock.now(),
    explain: storageFailure,
    isDraining: () => readiness.isDraining,
    custom: custom && {
      app: custom,
      order: server.middlewareOrder,
      authenticatesRoutes: server.enableCustomRouteAuth,
    },
  });
}

function isAuthenticated({ auth: { path, apiKeys, jwt } }: Config): boolean {
  return path !== null || apiKeys || jwt !== null;
}
