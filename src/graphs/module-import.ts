/**
 * Imports TypeScript and JavaScript modules of a user's project, without a build step (jiti).
 *
 * The first import is what Node would do: a module is evaluated once per process, and plain JavaScript is loaded natively.
 * A fresh import evaluates the project's own files again, so that it sees what was saved since; packages stay as they are.
 */
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { createJiti, type Jiti, type JitiOptions } from "jiti";

/** Imports `file`; throws what the module throws while it is compiled, resolved or evaluated. */
export async function importModule(file: string): Promise<unknown> {
  return createJiti(file, optionsFor(file)).import(file);
}

/** The same, evaluating `file` and everything of its project that it imports anew. */
export async function importModuleFresh(file: string): Promise<unknown> {
  return createFreshJiti(file).import(file);
}

/** Imports a package as a module in `folder` would. */
export async function importPackage(name: string, folder: string): Promise<unknown> {
  const file = join(folder, "heddle.js"); // need not exist
  return createJiti(file, optionsFor(file)).import(name);
}

function optionsFor(file: string): JitiOptions {
  return { tsconfigPaths: true, fsCache: compiledFolder(dirname(file)) };
}

/**
 * Where compiled modules are kept: with the project's packages, else nowhere. jiti's own choice, a folder under the
 * system's temporary one, is writable by every user of the machine, and what it holds is executed.
 */
function compiledFolder(folder: string): string | false {
  const packages = join(folder, "node_modules");
  if (existsSync(packages)) return join(packages, ".cache", "jiti");
  const parent = dirname(folder);
  return parent === folder ? false : compiledFolder(parent);
}

/** What jiti's own entry points hand to its core. */
interface JitiHost {
  readonly onError: (error: unknown) => never;
  readonly nativeImport: (id: string | URL) => Promise<unknown>;
  readonly createRequire: (from: string) => NodeJS.Require;
}

/**
 * jiti leaves plain JavaScript to Node, which never forgets a module. Its core takes the native loaders as arguments and
 * compiles a module itself where they fail: so for the project's files they are made to fail.
 */
function createFreshJiti(file: string): Jiti {
  const require = createRequire(import.meta.url);
  const folder = join(dirname(require.resolve("jiti/package.json")), "dist");
  const createCore = require(join(folder, "jiti.cjs")) as (id: string, options: JitiOptions, host: JitiHost) => Jiti;
  const transform: JitiOptions["transform"] = (options) => require(join(folder, "babel.cjs"))(options);
  return createCore(
    file,
    { ...optionsFor(file), moduleCache: false, transform },
    {
      onError: (error) => {
        throw error;
      },
      nativeImport: async (id) => {
        if (isProjectScript(String(id))) throw new NotNative();
        return import(String(id));
      },
      createRequire: freshRequire,
    },
  );
}

/** Never leaves jiti: it asks for the compiled module instead. */
class NotNative extends Error {}

function freshRequire(from: string): NodeJS.Require {
  const native = createRequire(from);
  const fresh = (id: string): unknown => {
    if (isProjectScript(id)) throw new NotNative();
    return isProjectFile(id) && id.endsWith(".json") ? JSON.parse(readFileSync(id, "utf8")) : native(id);
  };
  return Object.assign(fresh, native);
}

function isProjectScript(id: string): boolean {
  return isProjectFile(id) && /\.[cm]?[jt]sx?$/.test(id);
}

function isProjectFile(id: string): boolean {
  const path = id.startsWith("file:") ? fileURLToPath(id) : id;
  return /^(\/|[A-Za-z]:[\\/])/.test(path) && !/[\\/]node_modules[\\/]/.test(path);
}
