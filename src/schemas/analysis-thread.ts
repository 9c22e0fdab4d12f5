/** The composition root of the thread that analyses types. It ends when it is told to, or is ended. */
import { createRequire } from "node:module";
import { parentPort } from "node:worker_threads";
import { describeError } from "../core/errors.js";
import type { AnalysisAnswer, AnalysisQuestion } from "./analyser.js";
import { analyse } from "./analysis.js";
import type { ParsedPackages } from "./project-program.js";
import type { TypeScript } from "./type-schema.js";

if (parentPort === null) throw new Error("this module is started as a worker thread");
const port = parentPort;
const require = createRequire(import.meta.url);
/** By the compiler that parsed them: two do not understand each other's. */
const parsed = new Map<string, ParsedPackages>();

port.on("message", ({ typescript, target }: AnalysisQuestion) => {
  port.postMessage(answer(typescript, target));
});

function answer(typescript: string, target: AnalysisQuestion["target"]): AnalysisAnswer {
  try {
    const packages = parsed.get(typescript) ?? new Map();
    parsed.set(typescript, packages);
    return { analysis: analyse(require(typescript) as TypeScript, target, packages) }; // found by `findTypescript`
  } catch (error) {
    return { error: describeError(error).message };
  }
}
