/**
 * Two versions of the built program that follow each other. With HEDDLE_PREVIOUS, a commit, the first is built from it and
 * the second is this one. Without it the first is this one, and the second this one with one more migration: the next
 * release, as far as the database can tell.
 */
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { HEDDLE, runProgram } from "./process.js";

const ROOT = resolve(import.meta.dirname, "../..");

export interface TwoPrograms {
  /** Paths of `main.js`. */
  readonly previous: string;
  readonly next: string;
  [Symbol.asyncDispose](): Promise<void>;
}

export async function twoPrograms(): Promise<TwoPrograms> {
  const folder = mkdtempSync(join(tmpdir(), "heddle-version-"));
  const { HEDDLE_PREVIOUS: commit } = process.env;
  const remove = async (): Promise<void> => rmSync(folder, { recursive: true, force: true });
  if (commit === undefined) {
    return { previous: HEDDLE, next: withOneMoreMigration(folder), [Symbol.asyncDispose]: remove };
  }
  return {
    previous: await builtFrom(commit, folder),
    next: HEDDLE,
    async [Symbol.asyncDispose]() {
      await remove();
      await run("git", ["worktree", "prune"], ROOT);
    },
  };
}

function withOneMoreMigration(folder: string): string {
  cpSync(dirname(HEDDLE), join(folder, "dist"), { recursive: true });
  cpSync(join(ROOT, "package.json"), join(folder, "package.json"));
  symlinkSync(join(ROOT, "node_modules"), join(folder, "node_modules"));
  const file = join(folder, "dist/storage/migrations.js");
  const [before, after, ...more] = readFileSync(file, "utf8").split("export const MIGRATIONS = {\n");
  if (after === undefined || more.length > 0) throw new Error("migrations.js does not say MIGRATIONS exactly once");
  writeFileSync(file, `${before}export const MIGRATIONS = {\n${ONE_MORE}${after}`);
  return join(folder, "dist/main.js");
}

/** Adds and takes nothing away, as every migration that others may run beside. */
const ONE_MORE = `  "999-one-more": {
    async up(db) {
      await sql\`ALTER TABLE runs ADD COLUMN one_more TEXT\`.execute(db);
      await sql\`CREATE TABLE one_more (id INTEGER PRIMARY KEY)\`.execute(db);
    },
  },
`;

async function builtFrom(commit: string, folder: string): Promise<string> {
  const tree = join(folder, "tree");
  await run("git", ["worktree", "add", "--detach", tree, commit], ROOT);
  symlinkSync(join(ROOT, "node_modules"), join(tree, "node_modules"));
  await run(process.execPath, [join(ROOT, "node_modules/typescript/bin/tsc"), "-p", "tsconfig.build.json"], tree);
  return join(tree, "dist/main.js");
}

async function run(command: string, args: readonly string[], cwd: string): Promise<void> {
  const { code, stdout, stderr } = await runProgram(command, args, { cwd });
  if (code !== 0) throw new Error(`${command} ${args.join(" ")}: ${[...stdout, ...stderr].join("\n")}`);
}
