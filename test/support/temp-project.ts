/** Throw-away folders with the files of a user's project, with heddle's packages or their own. */
import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";

const PACKAGES = resolve(import.meta.dirname, "../../node_modules");

export interface TempProject {
  readonly folder: string;
  write(files: { readonly [path: string]: string }): Promise<void>;
  /** Gives the project its own copies of these packages and of all that they depend on. */
  copyPackages(names: readonly string[], into?: string): Promise<void>;
  remove(): Promise<void>;
}

/** A project with heddle's LangChain and zod (`linked`) or with no package (`own`). Whoever makes one removes it. */
export async function tempProject(
  files: { readonly [path: string]: string },
  packages: "linked" | "own" = "linked",
): Promise<TempProject> {
  const folder = await mkdtemp(join(tmpdir(), "heddle-project-"));
  const project: TempProject = {
    folder,
    async write(more) {
      for (const [path, text] of Object.entries(more)) {
        await mkdir(dirname(join(folder, path)), { recursive: true });
        await writeFile(join(folder, path), text);
      }
    },
    async copyPackages(names, into = "node_modules") {
      const wanted = [...names];
      for (let name = wanted.pop(); name !== undefined; name = wanted.pop()) {
        const to = join(folder, into, name);
        if (await exists(to)) continue;
        await cp(join(PACKAGES, name), to, { recursive: true, dereference: true });
        const manifest = JSON.parse(await readFile(join(to, "package.json"), "utf8")) as Manifest;
        for (const dependency of Object.keys({ ...manifest.dependencies, ...manifest.peerDependencies })) {
          const nested = await exists(join(to, "node_modules", dependency));
          if (!nested && (await exists(join(PACKAGES, dependency)))) wanted.push(dependency);
        }
      }
    },
    remove: () => rm(folder, { recursive: true, force: true }),
  };
  await project.write(files);
  await mkdir(join(folder, "node_modules"), { recursive: true }); // its own, so that what is cached there goes with it
  if (packages === "linked") {
    for (const name of ["@langchain", "zod"]) await symlink(join(PACKAGES, name), join(folder, "node_modules", name));
  }
  return project;
}

interface Manifest {
  readonly dependencies?: Record<string, string>;
  readonly peerDependencies?: Record<string, string>;
}

async function exists(path: string): Promise<boolean> {
  return readFile(join(path, "package.json")).then(
    () => true,
    () => false,
  );
}
