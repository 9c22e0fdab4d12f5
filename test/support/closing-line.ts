/**
 * Ends the test output with one plain line, `N passed, N failed` (and `, N skipped`), after naming what was skipped and
 * why. Where `CI` is set a skipped test is a failure: there, everything that tests need must be installed.
 */
import type { Reporter, TestCase, TestModule } from "vitest/node";

export function closingLine(environment: { readonly CI?: string | undefined }): Reporter {
  return {
    onTestRunEnd(modules, unhandledErrors) {
      const tests = modules.flatMap((module) => [...module.children.allTests()]);
      const passed = tests.filter((test) => test.result().state === "passed").length;
      const failed = tests.filter((test) => test.result().state === "failed").length + brokenFiles(modules);
      const skipped = tests.filter((test) => test.result().state === "skipped");
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

/** Files that failed outside of their tests. */
function brokenFiles(modules: readonly TestModule[]): number {
  return modules.filter((module) => module.errors().length > 0).length;
}

function reasonOf(test: TestCase): string {
  const result = test.result();
  return (result.state === "skipped" && result.note) || "no reason was given";
}
