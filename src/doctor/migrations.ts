/** What the version of a database means for whoever wants to start on it. */
import type { MigrationState } from "../storage/migration-state.js";
import { type Finding, ok, warning } from "./finding.js";

export function judgeMigrations(check: string, { pending, unknown }: MigrationState): Finding {
  if (unknown.length > 0) {
    const what = `a later heddle has changed it (${unknown.join(", ")})`;
    return warning(check, what, "Bring this heddle to that version too.");
  }
  if (pending.length === 0) return ok(check, "as this heddle needs it");
  return warning(check, `${pending.length} migrations are pending, from ${pending[0]} on`, "Run heddle migrate.");
}
