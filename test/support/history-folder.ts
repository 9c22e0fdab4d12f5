/** The checker at the end of tests that keep no history of their own: judges by what is left in a data folder. */
import { checkHistory, type Violation } from "./history.js";
import type { History } from "./history-data.js";
import { dumpFolder } from "./history-dump.js";

/** Of a gateway that has nothing under way any more, whether it still serves or not. `more`: what the test knows besides. */
export function violationsIn(dataDir: string, more: Partial<History> = {}): readonly Violation[] {
  return checkHistory({ ...dumpFolder(dataDir), clock: "system", ...more });
}
