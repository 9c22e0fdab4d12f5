/**
 * Ends the test output with one plain line, `N passed, N failed` (and `, N skipped`), after naming what was skipped and
 * why. Where `CI` is set a skipped test is a failure: there, everything that tests need must be installed. Not counted is
 * what a project leaves out because it is no promise of it (`leftOut`); that is named too.
 */
import type { Reporter, TestCase, TestModule } from "vitest/node";

declare module "vitest" {
  interface TaskMeta {
    /** Why a test that is skipped is no promise of this project. */
    leftOut?: string;
  }
}

export function closingLine(environment: { readonly CI?: string | undefined }): Reporter {
  return {
    onTestRunEnd(modules, unhandledErrors) {
      const tests = modules.flatMap((module) => [...module.children.allTests()]);
      const passed = tests.filter((test) => test.result().state === "passed").length;
      const failed = tests.filter((test) => test.result().state === "failed").length + brokenOutside(modules);
      const unrun = tests.filter((test) => test.result().state === "skipped");
      const leftOut = unrun.filter((test) => test.meta().leftOut !== undefined);
      const skipped = unrun.filter((test) => test.meta().leftOut === undefined);
      for (const test of leftOut) process.stdout.write(`left out: ${test.fullName}: ${test.meta().leftOut}\n`);
      for (const test of skipped) process.stdout.write(`skipped: ${test.fullName}: ${reasonOf(test)}\n`);
      if (environment.CI === "true" && skipped.length > 0) {
        process.stdout.write("nothing may be skipped here (CI=true)\n");
        process.exitCode = 1;
      }
      const counts = `${passed} passed, ${failed + unhandledErrors.length} failed`;
      process.stdout.write(skipped.length === 0 ? `${counts}\n` : `${counts}, ${skipped.length} skipped\n`);
    },
  };
}

/** Files and suites that failed outside of their tests. */
function brokenOutside(modules: readonly TestModule[]): number {
  return modules
    .flatMap((module) => [module, ...module.children.allSuites()])
    .filter((part) => part.errors().length > 0).length;
}

function reasonOf(test: TestCase): string {
  const result = test.result();
  return (result.state === "skipped" && result.note) || "no reason was given";
}
