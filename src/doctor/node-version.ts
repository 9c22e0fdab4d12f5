/** Whether this Node is one that the package says it runs on. */
import { type Finding, ok, problem } from "./finding.js";

/** `engines`: as package.json has it, ranges of the forms `^A.B.C` and `>=A.B.C`. */
export function examineNode(engines: string, version: string): Finding {
  const isServed = engines.split("||").some((range) => isWithin(range.trim(), partsOf(version)));
  if (isServed) return ok("Node", version);
  return problem("Node", `${version} is not among ${engines}`, "Install another version of Node.");
}

type Version = readonly [major: number, minor: number, patch: number];

function partsOf(version: string): Version {
  const [major = 0, minor = 0, patch = 0] = version.split(/[.-]/).map(Number);
  return [major, minor, patch];
}

function isWithin(range: string, version: Version): boolean {
  const [, kind, text = ""] = /^(\^|>=)(.+)$/.exec(range) ?? [];
  const least = partsOf(text);
  if (kind === undefined || (kind === "^" && version[0] !== least[0])) return false;
  const at = version.findIndex((part, index) => part !== least[index]);
  return at === -1 || (version[at] ?? 0) > (least[at] ?? 0);
}
