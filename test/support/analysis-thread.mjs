// The thread that analyses types, from its source: tests of the quick project run without a build.
import { createJiti } from "jiti";

await createJiti(import.meta.url).import("../../src/schemas/analysis-thread.ts");
