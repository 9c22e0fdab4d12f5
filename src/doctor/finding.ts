/** What `heddle doctor` finds: one line of text for people, with what to do about it, and the same as data. */

export type Level = "ok" | "warning" | "problem";

export interface Finding {
  /** What was looked at, in a word or two. */
  readonly check: string;
  readonly level: Level;
  readonly message: string;
  /** What to do, in a sentence. */
  readonly todo?: string;
  /** The lines that nginx should have for this address, or, after `remove`, should not have. */
  readonly nginx?: readonly string[];
}

export function ok(check: string, message: string): Finding {
  return { check, level: "ok", message };
}

export function warning(check: string, message: string, todo?: string): Finding {
  return { check, level: "warning", message, ...(todo === undefined ? {} : { todo }) };
}

export function problem(check: string, message: string, todo?: string): Finding {
  return { check, level: "problem", message, ...(todo === undefined ? {} : { todo }) };
}

/** For people. */
export function linesOf({ check, level, message, todo, nginx = [] }: Finding): readonly string[] {
  const indent = " ".repeat(LEVEL_WIDTH);
  return [
    `${level.padEnd(LEVEL_WIDTH)}${check}: ${message}`,
    ...(todo === undefined ? [] : [`${indent}${todo}`]),
    ...nginx.map((line) => `${indent}nginx: ${line}`),
  ];
}

const LEVEL_WIDTH = "problem  ".length;

/** The last line for people. */
export function summaryOf(findings: readonly Finding[]): string {
  const count = (level: Level): number => findings.filter((finding) => finding.level === level).length;
  return `${count("ok")} ok, ${count("warning")} warnings, ${count("problem")} problems`;
}
