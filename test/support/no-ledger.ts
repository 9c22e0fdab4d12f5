/** For tests in which no run is read after its process: readers have the memory log and the rows. */
import type { StreamBridge } from "../../src/bridge/bridge.js";
import { keepsNothing } from "../../src/runs/ledger-writer.js";
import { createRunTape } from "../../src/runs/tape.js";
import type { RunLedger } from "../../src/storage/ports/ledger.js";
import type { RunStore } from "../../src/storage/ports/runs.js";

const EMPTY: RunLedger = {
  append: async () => {},
  find: async () => undefined,
  newest: async () => undefined,
  end: async () => undefined,
  replace: async () => false,
  trim: async () => {},
  expire: async () => 0,
};

export function withoutLedger({ bridge, runs }: { readonly bridge: StreamBridge; readonly runs: RunStore }) {
  const ledgerWriter = keepsNothing;
  return { ledgerWriter, tape: createRunTape({ bridge, runs, ledger: EMPTY, ledgerWriter }) };
}
