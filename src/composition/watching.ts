/** Loads again what of a project has changed on disk: its graphs, its app, its components. What does not load stays as it was. */
import type { Config } from "../config.js";
import { systemClock } from "../core/clock.js";
import type { Log } from "../core/log.js";
import { watchGraphs } from "../graphs/watch.js";
import type { UiBundles } from "../ui/bundles.js";
import type { Code } from "./code.js";
import type { OnStop } from "./on-stop.js";

/** Of the project, besides its graphs; by the key of the configuration that names it. */
export interface Reloadable {
  readonly key: string;
  readonly file: string;
  reload(): Promise<void>;
}

interface WatchingDeps {
  readonly config: Config;
  readonly code: Pick<Code, "registry" | "sourceSchemas">;
  readonly customApp: Reloadable | null;
  readonly bundles: UiBundles | undefined;
  readonly log: Log;
}

export async function startWatching(deps: WatchingDeps, onStop: OnStop): Promise<void> {
  const { config, code, customApp, bundles, log } = deps;
  const { registry, sourceSchemas } = code;
  const others = [...(customApp === null ? [] : [customApp]), ...reloadableBundles(bundles)];
  const byId = new Map(others.map((each) => [`\0${each.key}`, each])); // no graph can be called so
  const watching = await watchGraphs({
    registry: {
      graphs: () => [...registry.graphs(), ...[...byId.keys()].map((graphId) => ({ graphId }))],
      file: (id) => byId.get(id)?.file ?? registry.file(id),
      reload: (id) => byId.get(id)?.reload() ?? registry.reload(id),
    },
    clock: systemClock,
    ignore: [config.dataDir],
    onReload(id) {
      const key = byId.get(id)?.key;
      if (key !== undefined) return log.info({ key }, "reloaded");
      sourceSchemas.forget(id);
      log.info({ graphId: id }, "graph reloaded");
    },
    onError: (error) => log.error(`${error instanceof Error ? error.message : String(error)} (it stays as it was)`),
  });
  onStop(() => watching.close());
}

function reloadableBundles(bundles: UiBundles | undefined): readonly Reloadable[] {
  return (bundles?.names() ?? []).map((name) => ({
    key: `ui.${name}`,
    file: bundles?.file(name) ?? "",
    reload: async () => bundles?.rebuild(name),
  }));
}
