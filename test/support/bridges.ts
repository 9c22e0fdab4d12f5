/** The bridges that the contract of `StreamBridge` and `Signals` is tested with. */
import { onTestFinished } from "vitest";
import type { Signals, StreamBridge } from "../../src/bridge/bridge.js";
import { createMemoryBridge, createMemorySignals, type MemoryBridgeOptions } from "../../src/bridge/memory.js";
import { systemClock } from "../../src/core/clock.js";
import { newKeyPrefix, openRedisProcess, REDIS_MISSING } from "./redis.js";

type Limits = Partial<Omit<MemoryBridgeOptions, "clock">>;

/** Who publishes and who reads: the same, or two processes. */
export interface BridgePair {
  readonly writer: StreamBridge;
  readonly reader: StreamBridge;
  readonly sender: Signals;
  readonly listener: Signals;
  /** Resolves when the reader's side can have everything that was said before. */
  settled(): Promise<void>;
}

export interface BridgeDriver {
  readonly name: string;
  /** Why it cannot be tested here. */
  readonly missing: string | undefined;
  /** To be called within a test. */
  open(limits?: Limits): Promise<BridgePair>;
}

const ROOMY = { maxBytesPerRun: 1e6, maxBytesPerReader: 1e6, maxRetainedBytes: 1e7, retentionMs: 600_000 };

export const BRIDGES: readonly BridgeDriver[] = [
  {
    name: "memory",
    missing: undefined,
    async open(limits) {
      const bridge = createMemoryBridge({ clock: systemClock, ...ROOMY, ...limits });
      const signals = createMemorySignals();
      onTestFinished(() => bridge.close());
      return { writer: bridge, reader: bridge, sender: signals, listener: signals, settled: async () => {} };
    },
  },
  {
    name: "redis, read where it is published",
    missing: REDIS_MISSING,
    async open(limits) {
      const { bridge, signals, link } = await openRedisProcess({ keyPrefix: newKeyPrefix(), limits: limits ?? {} });
      const settled = async (): Promise<void> => void (await link.ask(({ commands }) => commands.ping()));
      return { writer: bridge, reader: bridge, sender: signals, listener: signals, settled };
    },
  },
  {
    name: "redis, read by another process",
    missing: REDIS_MISSING,
    async open(limits = {}) {
      const keyPrefix = newKeyPrefix();
      const writing = await openRedisProcess({ keyPrefix, limits });
      const reading = await openRedisProcess({ keyPrefix, limits });
      return {
        writer: writing.bridge,
        reader: reading.bridge,
        sender: writing.signals,
        listener: reading.signals,
        async settled() {
          await new Promise(setImmediate); // what this turn published leaves at its end
          await writing.link.ask(({ commands }) => commands.ping());
        },
      };
    },
  },
];
