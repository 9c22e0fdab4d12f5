/**
 * Reloads graphs when files of their projects are saved (`heddle dev`).
 *
 * 1. A save reloads every graph whose project holds the file: what a graph imports is not known, its project is.
 * 2. Saves within a short while are one reload, and reloads never overlap.
 * 3. A graph that does not load stays as it was; the next save tries again.
 * 4. After `close` nothing is called any more.
 */
import { existsSync } from "node:fs";
import { dirname, join, relative, sep } from "node:path";
import { type FSWatcher, watch } from "chokidar";
import type { Clock } from "../core/clock.js";
import type { GraphRegistry } from "./registry.js";

export interface GraphWatchOptions {
  readonly registry: Watched;
  readonly clock: Clock;
  /** Absolute folders to leave alone, such as the data folder. */
  readonly ignore: readonly string[];
  readonly onReload: (graphId: string) => void;
  /** With a `GraphLoadError`, or the error of a watcher that cannot watch. */
  readonly onError: (error: unknown) => void;
}

/** Graphs, or what is loaded as they are. */
export type Watched = Pick<GraphRegistry, "file" | "reload"> & { graphs(): readonly { readonly graphId: string }[] };

export interface GraphWatch {
  /** Returns when nothing is watched and no reload is under way. */
  close(): Promise<void>;
}

const DEBOUNCE_MS = 100;
const SOURCE = /\.([cm]?[jt]sx?|json)$/;
const IGNORED_FOLDERS = new Set(["node_modules", "dist", "build", "coverage"]);

/** Watches the projects of all graphs that came from files; returns once it sees changes. */
export async function watchGraphs(options: GraphWatchOptions): Promise<GraphWatch> {
  const { registry, clock, ignore, onError } = options;
  const projects = projectsOf(registry);
  const changed = new Set<string>();
  let cancelTimer = () => {};
  let reloading = Promise.resolve();
  let closed = false;

  const reloadChanged = () => {
    const graphIds = [...changed];
    changed.clear();
    reloading = reloading.then(async () => {
      for (const graphId of graphIds) if (!closed) await reload(graphId, options, () => closed); // 2
    });
  };

  const watcher = watch([...projects.keys()], {
    ignoreInitial: true,
    ignored: (path, stats) => ignore.some((folder) => isWithin(folder, path)) || isIrrelevant(projects, path, stats),
  });
  watcher.on("error", onError);
  watcher.on("all", (_event, path) => {
    if (!SOURCE.test(path)) return; // a folder
    for (const [folder, graphIds] of projects) {
      if (isWithin(folder, path)) for (const graphId of graphIds) changed.add(graphId); // 1
    }
    cancelTimer();
    cancelTimer = clock.after(DEBOUNCE_MS, reloadChanged);
  });
  if (projects.size > 0) await readyOrFailed(watcher);

  return {
    async close() {
      closed = true; // 4
      cancelTimer();
      await watcher.close();
      await reloading;
    },
  };
}

/** A watcher that cannot watch everything has said so to `onError`; the server starts all the same. */
function readyOrFailed(watcher: FSWatcher): Promise<void> {
  return new Promise((resolve) => {
    watcher.once("ready", resolve);
    watcher.once("error", () => resolve());
  });
}

async function reload(
  graphId: string,
  { registry, onReload, onError }: GraphWatchOptions,
  isClosed: () => boolean,
): Promise<void> {
  try {
    await registry.reload(graphId);
    if (!isClosed()) onReload(graphId);
  } catch (error) {
    if (!isClosed()) onError(error); // 3
  }
}

/** Graph ids by the folder of their project: the nearest with a package.json, else the graph's own. */
function projectsOf(registry: GraphWatchOptions["registry"]): ReadonlyMap<string, readonly string[]> {
  const projects = new Map<string, string[]>();
  for (const { graphId } of registry.graphs()) {
    const file = registry.file(graphId);
    if (file === undefined) continue;
    const folder = projectFolder(dirname(file)) ?? dirname(file);
    projects.set(folder, [...(projects.get(folder) ?? []), graphId]);
  }
  return projects;
}

function projectFolder(folder: string): string | undefined {
  if (existsSync(join(folder, "package.json"))) return folder;
  const parent = dirname(folder);
  return parent === folder ? undefined : projectFolder(parent);
}

function isIrrelevant(
  projects: ReadonlyMap<string, unknown>,
  path: string,
  stats: { isFile(): boolean } | undefined,
): boolean {
  if (stats?.isFile() === true && !SOURCE.test(path)) return true;
  return [...projects.keys()].every((folder) => !isWithin(folder, path) || isHidden(relative(folder, path)));
}

/** In a folder of packages, of built files, or one that begins with a dot (`.git`, `.heddle`). */
function isHidden(path: string): boolean {
  return path.split(sep).some((name) => IGNORED_FOLDERS.has(name) || name.startsWith("."));
}

function isWithin(folder: string, path: string): boolean {
  const inside = relative(folder, path);
  return inside === "" || !(inside === ".." || inside.startsWith(`..${sep}`));
}
