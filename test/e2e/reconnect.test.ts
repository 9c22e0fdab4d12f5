/**
 * T8 (`npm run reconnect`): clients of the built program whose connections are cut anywhere, and who come back with the id
 * of the last event that they got, see every event once and in order; also while the program is stopped or killed.
 *
 * A seed that failed comes again with HEDDLE_SEED.
 */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { checkHistory, judgedRules } from "../support/history.js";
import { dumpFolder } from "../support/history-dump.js";
import { follow, type Place, type Size } from "../support/reconnecting.js";
import { report, scaled } from "../support/scale.js";
import { type ServedGateway, serveGateway } from "../support/served-gateway.js";

const GRAPHS = fileURLToPath(new URL("../support/stream-graphs.ts", import.meta.url));

function serve(): Promise<ServedGateway> {
  return serveGateway({
    graphs: { count: `${GRAPHS}:count` },
    runs: { concurrency: 100, max_attempts: 100, shutdown_grace_seconds: 0.1 },
  });
}

function placeOf(gateway: ServedGateway): Place {
  return {
    url: gateway.url,
    client: gateway.client,
    isAlone: true,
    async disturb(how) {
      const at = Date.now();
      await gateway.restart(how);
      return { kind: how === "SIGKILL" ? "kill" : "drain", at: how === "SIGKILL" ? at : Date.now() };
    },
    async end() {
      gateway.program.kill("SIGTERM");
      await gateway.program.ended;
      return dumpFolder(join(gateway.folder, ".heddle"));
    },
  };
}

it("readers whose connections are cut lose, repeat and reorder nothing", { timeout: 600_000 }, async () => {
  await using gateway = await serve();
  const size = scaled<Size>({
    quick: { runs: 5, count: { rounds: 10, tokensPerRound: 25 }, delayMs: 2, bytesPerCut: 1_200, disturbances: [] },
    full: { runs: 50, count: { rounds: 20, tokensPerRound: 25 }, delayMs: 2, bytesPerCut: 1_200, disturbances: [] },
  });
  const { seed, wrong, history, figures } = await follow(placeOf(gateway), size);
  report("T8 cuts", figures);
  expect(wrong, `HEDDLE_SEED=${seed}`).toEqual([]);
  expect(judgedRules(history)).toEqual(expect.arrayContaining(["R1", "R3", "R4", "R7", "R10", "R18", "S1"]));
  expect(checkHistory(history), `HEDDLE_SEED=${seed}`).toEqual([]);
  expect(figures.events).toBeGreaterThanOrEqual(scaled({ quick: 5_000, full: 100_000 }));
  expect(figures.reconnects).toBeGreaterThanOrEqual(scaled({ quick: 100, full: 2_000 }));
});

it("nor while the program is stopped and killed under them", { timeout: 600_000 }, async () => {
  await using gateway = await serve();
  const size = scaled<Size>({
    quick: {
      runs: 4,
      count: { rounds: 12, tokensPerRound: 10 },
      delayMs: 20,
      bytesPerCut: 3_000,
      disturbances: ["SIGTERM", "SIGKILL"],
    },
    full: {
      runs: 20,
      count: { rounds: 60, tokensPerRound: 15 },
      delayMs: 20,
      bytesPerCut: 3_000,
      disturbances: ["SIGTERM", "SIGKILL", "SIGTERM", "SIGKILL"],
    },
  });
  const { seed, wrong, history, figures } = await follow(placeOf(gateway), size);
  report("T8 restarts", figures);
  expect(wrong, `HEDDLE_SEED=${seed}`).toEqual([]);
  expect(checkHistory(history), `HEDDLE_SEED=${seed}`).toEqual([]);
  // A restart between runs proves nothing.
  expect(figures["runs interrupted"]).toBeGreaterThanOrEqual((size.runs * size.disturbances.length) / 2);
});
