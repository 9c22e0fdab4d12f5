/** Backups are whole or not there, and a restore happens or does not. */
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import { backUp } from "../../src/maintenance/backup.js";
import { restore } from "../../src/maintenance/restore.js";
import { copyDatabase, requireSound } from "../../src/storage/copy.js";
import { RESTORE_MARK, requireRestored } from "../../src/storage/data-file.js";
import { openSnapshot } from "../../src/storage/snapshot.js";
import { lockDataFolder } from "../../src/storage/sqlite.js";
import { openFolder, temporaryFolder, threadsIn } from "../support/data-folder.js";

const options = { version: "0.0.0", report: () => {} };
const plain = { replace: false, report: () => {} };
const both = (...ids: string[]) => ({ rows: ids, states: ids });

async function folderWith(...threadIds: string[]): Promise<string> {
  const dataDir = join(temporaryFolder(), "data");
  mkdirSync(dataDir);
  const folder = await openFolder(dataDir);
  for (const threadId of threadIds) await folder.addThread(threadId);
  await folder.close();
  return dataDir;
}

async function backupOf(dataDir: string): Promise<string> {
  const target = join(temporaryFolder(), "backup");
  await backUp(dataDir, target, options);
  return target;
}

describe("a snapshot", () => {
  it("holds both files as they stood at one moment, and nobody waits for it", async () => {
    const dataDir = await folderWith("before");
    const writer = await openFolder(dataDir);
    const snapshot = openSnapshot(dataDir);
    const copies = temporaryFolder();
    try {
      await writer.addThread("after", { text: "long ".repeat(1_000_000) });
      for (const { name, connection } of snapshot.files) {
        await copyDatabase(connection, join(copies, name), () => {});
        await writer.addThread(`while ${name} is copied`);
      }
    } finally {
      snapshot.close();
      await writer.close();
    }
    expect(threadsIn(copies)).toEqual(both("before"));
    expect(threadsIn(dataDir).rows).toHaveLength(4);
  });

  it("is copied in steps while others write, and never begins anew", async () => {
    const dataDir = await folderWith("small");
    const writer = await openFolder(dataDir);
    await writer.addThread("large", { text: "x".repeat(9_000_000) });
    const snapshot = openSnapshot(dataDir);
    const copies = temporaryFolder();
    const progress: number[] = [];
    let writes = 0;
    try {
      for (const { name, connection } of snapshot.files) {
        await copyDatabase(connection, join(copies, name), (done) => {
          if (name === "checkpoints.db") progress.push(done);
          writer.connection.exec("UPDATE threads SET updated_at = updated_at + 1");
          writer.checkpoints.copyThread({ from: "small", to: `copy ${++writes}` });
        });
        requireSound(join(copies, name));
      }
    } finally {
      snapshot.close();
      await writer.close();
    }
    expect(progress.length).toBeGreaterThan(3);
    expect(progress).toEqual(progress.toSorted((a, b) => a - b));
    expect(progress.at(-1)).toBe(1);
    expect(threadsIn(copies)).toEqual(both("large", "small"));
  });
});

describe("a backup", () => {
  it("holds the databases as one file each, and says what it is", async () => {
    const backup = await backupOf(await folderWith("t1", "t2"));
    expect(readdirSync(backup).toSorted()).toEqual(["backup.json", "checkpoints.db", "heddle.db"]);
    expect(JSON.parse(readFileSync(join(backup, "backup.json"), "utf8"))).toMatchObject({
      format: 1,
      version: "0.0.0",
    });
    expect(threadsIn(backup)).toEqual(both("t1", "t2"));
  });

  it("replaces nothing", async () => {
    const dataDir = await folderWith("t1");
    const target = temporaryFolder();
    await expect(backUp(dataDir, target, options)).rejects.toThrow(`${target} is there already`);
    expect(readdirSync(target)).toEqual([]);
  });

  it("that cannot be made leaves nothing", async () => {
    const target = join(temporaryFolder(), "backup");
    await expect(backUp(temporaryFolder(), target, options)).rejects.toThrow("no heddle.db in");
    expect(readdirSync(dirname(target))).toEqual([]);

    const dataDir = await folderWith("t1");
    const fails = { version: "0.0.0", report: () => failing() };
    await expect(backUp(dataDir, target, fails)).rejects.toThrow("nobody listens");
    expect(readdirSync(dirname(target))).toEqual([]);
  });
});

function failing(): never {
  throw new Error("nobody listens");
}

describe("a restore", () => {
  it("makes a folder what it was", async () => {
    const backup = await backupOf(await folderWith("t1"));
    const dataDir = join(temporaryFolder(), "new");
    expect(await restore(backup, dataDir, plain)).toMatchObject({ aside: null });
    expect(threadsIn(dataDir)).toEqual(both("t1"));
    expect(() => requireRestored(dataDir)).not.toThrow();
    expect(readdirSync(dataDir).filter((name) => !name.includes(".db"))).toEqual([]);
  });

  it("that died while it copied is made again like a first one", async () => {
    const backup = await backupOf(await folderWith("t1"));
    const dataDir = join(temporaryFolder(), "new");
    mkdirSync(join(dataDir, "restore.incoming"), { recursive: true });
    writeFileSync(join(dataDir, "restore.incoming/heddle.db"), "half of it");
    await restore(backup, dataDir, plain);
    expect(threadsIn(dataDir)).toEqual(both("t1"));
  });

  it("touches a folder that is not empty only when told to, and puts aside what was there", async () => {
    const backup = await backupOf(await folderWith("t1"));
    const dataDir = await folderWith("other");
    await expect(restore(backup, dataDir, plain)).rejects.toThrow(`${dataDir} is not empty`);
    expect(threadsIn(dataDir)).toEqual(both("other"));

    const { aside } = await restore(backup, dataDir, { ...plain, replace: true });

    expect(threadsIn(dataDir)).toEqual(both("t1"));
    expect(threadsIn(aside ?? "")).toEqual(both("other"));
  });

  it("refuses a folder that a gateway has", async () => {
    const backup = await backupOf(await folderWith("t1"));
    const dataDir = await folderWith("other");
    const unlock = lockDataFolder(dataDir);
    try {
      await expect(restore(backup, dataDir, { ...plain, replace: true })).rejects.toThrow("another heddle process");
    } finally {
      unlock();
    }
    expect(threadsIn(dataDir)).toEqual(both("other"));
  });

  it.each([
    ["that is none", (backup: string) => rmSync(join(backup, "backup.json")), "is no backup that this heddle can read"],
    [
      "without one of its files",
      (backup: string) => rmSync(join(backup, "checkpoints.db")),
      "checkpoints.db is missing",
    ],
    ["in which a byte has changed", changeOneByte, "heddle.db is not what was backed up"],
  ])("refuses a backup %s, and leaves the folder as it was", async (_, spoil, message) => {
    const backup = await backupOf(await folderWith("t1"));
    const dataDir = await folderWith("other");
    spoil(backup);
    await expect(restore(backup, dataDir, { ...plain, replace: true })).rejects.toThrow(message);
    expect(threadsIn(dataDir)).toEqual(both("other"));
    expect(() => requireRestored(dataDir)).not.toThrow();
  });

  const places: Record<string, (dataDir: string, incoming: string) => void> = {
    "before anything was moved": () => {},
    "when the first file of before was moved": (dataDir) => moveAside(dataDir, "heddle.db"),
    "when both were moved": (dataDir) => {
      for (const name of ["heddle.db", "checkpoints.db"]) moveAside(dataDir, name);
    },
    "when the first new one was there": (dataDir, incoming) => {
      for (const name of ["heddle.db", "checkpoints.db"]) moveAside(dataDir, name);
      renameSync(join(incoming, "heddle.db"), join(dataDir, "heddle.db"));
    },
  };
  it.each(Object.entries(places))("that dies %s lets no gateway start, and can be made again", async (_, die) => {
    const backup = await backupOf(await folderWith("t1"));
    const dataDir = await folderWith("other");
    const incoming = join(dataDir, "restore.incoming");
    mkdirSync(incoming);
    for (const name of ["heddle.db", "checkpoints.db"]) {
      writeFileSync(join(incoming, name), readFileSync(join(backup, name)));
    }
    writeFileSync(join(dataDir, RESTORE_MARK), backup);
    die(dataDir, incoming);
    expect(() => requireRestored(dataDir)).toThrow("a restore into");
    await expect(backUp(dataDir, join(temporaryFolder(), "b"), options)).rejects.toThrow("a restore into");

    await restore(backup, dataDir, plain);

    expect(() => requireRestored(dataDir)).not.toThrow();
    expect(threadsIn(dataDir)).toEqual(both("t1"));
    expect(existsSync(incoming)).toBe(false);
  });
});

function changeOneByte(backup: string): void {
  const file = join(backup, "heddle.db");
  const content = readFileSync(file);
  content[content.length - 1] = (content.at(-1) ?? 0) ^ 1;
  writeFileSync(file, content);
}

function moveAside(dataDir: string, name: string): void {
  mkdirSync(join(dataDir, "replaced-before"), { recursive: true });
  renameSync(join(dataDir, name), join(dataDir, "replaced-before", name));
}

it("a copy is read to the end before anybody relies on it", async () => {
  const backup = await backupOf(await folderWith("t1"));
  const file = join(backup, "checkpoints.db");
  const content = readFileSync(file);
  content.fill(0x41, 4_096 * 2, 4_096 * 2 + 200);
  writeFileSync(file, content);
  expect(() => requireSound(file)).toThrow(`${file} is damaged`);
});
