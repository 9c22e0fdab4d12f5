/**
 * Components of generative UI: one bundle of files per entry of `ui`, made when the gateway starts and kept in memory.
 *
 * 1. A file is found by its name among those that were made. No name that a client sends ever becomes a path.
 * 2. A bundle is what the SDK's `LoadExternalComponent` runs: a script that defines `render(name, id)` under a global
 *    name, with React and LangGraph's SDK taken from the page.
 * 3. esbuild is loaded only where there is something to bundle, and its process ends with that.
 */
import { createHash } from "node:crypto";
import { basename, dirname, join, resolve } from "node:path";
import type { BuildFailure, BuildOptions } from "esbuild";
import { ConfigError } from "../config/config-error.js";

export interface UiOptions {
  /** Where each bundle begins: a module whose default export has the components by name. */
  readonly ui: { readonly [name: string]: string };
  readonly baseDir: string;
  /** Packages that bundles take from the page, besides React and LangGraph's SDK. */
  readonly shared: readonly string[];
  /** Small and without assertions, or readable with its sources. */
  readonly target: "production" | "development";
}

export interface UiFile {
  readonly name: string;
  readonly content: Uint8Array<ArrayBuffer>;
  /** Changes with the content. */
  readonly version: string;
}

export interface UiBundle {
  /** The script's global name. */
  readonly globalName: string;
  /** The script and, where components import styles, their style sheet. */
  readonly files: readonly UiFile[];
}

export interface UiBundles {
  get(name: string): UiBundle | undefined;
  names(): readonly string[];
  /** Where the bundle begins. */
  file(name: string): string | undefined;
  /** Bundles again; throws a `ConfigError` and keeps the bundle as it was. */
  rebuild(name: string): Promise<void>;
}

/** Throws a `ConfigError` for an entry that cannot be bundled. */
export async function createUiBundles(options: UiOptions): Promise<UiBundles> {
  const files = new Map(Object.entries(options.ui).map(([name, path]) => [name, resolve(options.baseDir, path)]));
  const bundles = new Map<string, UiBundle>();
  const rebuild = async (name: string): Promise<void> => {
    const file = files.get(name);
    if (file !== undefined) bundles.set(name, await bundle(name, file, options));
  };
  for (const name of files.keys()) await rebuild(name);
  return { rebuild, get: (name) => bundles.get(name), names: () => [...files.keys()], file: (name) => files.get(name) };
}

const FROM_PAGE = ["react", "react-dom", "@langchain/langgraph-sdk"];
const AS_DATA = ["png", "jpg", "jpeg", "gif", "webp", "avif", "svg", "woff", "woff2"];

async function bundle(name: string, file: string, options: UiOptions): Promise<UiBundle> {
  const { build, stop } = await loadEsbuild();
  const globalName = `__LGUI_${name.replace(/[^a-zA-Z0-9]/g, "_")}`;
  try {
    const { outputFiles } = await build({ ...buildOptions(file, options), ...wrapped(globalName) });
    const made = outputFiles.map(({ path, contents }) => ({
      name: basename(path),
      content: new Uint8Array(contents),
      version: createHash("sha256").update(contents).digest("hex").slice(0, 16),
    }));
    return { globalName, files: made };
  } catch (error) {
    throw new ConfigError(`ui.${name}: ${file} cannot be bundled: ${firstProblem(error)}`);
  } finally {
    await stop(); // 3
  }
}

async function loadEsbuild(): Promise<Pick<typeof import("esbuild"), "build" | "stop">> {
  try {
    return await import("esbuild");
  } catch (error) {
    throw new ConfigError(`ui: bundles are made with esbuild, which cannot be loaded: ${(error as Error).message}`);
  }
}

function buildOptions(file: string, { baseDir, shared, target }: UiOptions) {
  const isSmall = target === "production";
  return {
    stdin: { contents: entry(file), resolveDir: dirname(file), sourcefile: "entrypoint.ts", loader: "ts" },
    outfile: join(baseDir, "entrypoint.js"), // a name: nothing is written
    write: false,
    bundle: true,
    format: "cjs",
    platform: "browser",
    target: "es2020",
    jsx: "automatic",
    minify: isSmall,
    sourcemap: isSmall ? false : "inline",
    external: [...FROM_PAGE, ...shared],
    loader: Object.fromEntries(AS_DATA.map((extension) => [`.${extension}`, "dataurl"])),
    absWorkingDir: baseDir,
    logLevel: "silent",
  } as const satisfies BuildOptions;
}

/** 2. `LoadExternalComponent` shows what it is given under the element that asked, in that element's shadow root. */
function entry(file: string): string {
  return `
    import components from ${JSON.stringify(file)};
    export function render(name: string, id: string) {
      if (!Object.hasOwn(components, name)) throw new Error("there is no component " + JSON.stringify(name));
      const target = document.createElement("div");
      document.getElementById(id)!.shadowRoot!.appendChild(target);
      (globalThis as any)[Symbol.for("LGUI_EXT_STORE")].respond(id, (components as any)[name], target);
    }
  `;
}

/** What the bundle requires is asked of the page, without a global `require` of its own. */
function wrapped(globalName: string): Pick<BuildOptions, "banner" | "footer"> {
  return {
    banner: { js: `var ${globalName} = ((require, module) => {` },
    footer: { js: `return module.exports; })(globalThis[Symbol.for("LGUI_REQUIRE")], { exports: {} });` },
  };
}

function firstProblem(error: unknown): string {
  const [problem] = (error as Partial<BuildFailure>).errors ?? [];
  if (problem === undefined) return (error as Error).message;
  const { text, location } = problem;
  return location === null ? text : `${location.file}:${location.line}: ${text}`;
}
