import { defineConfig } from "vitest/config";
import { closingLine } from "./test/support/closing-line.js";

/** What is about a database, and not about files. */
const STORE_TESTS = [
  "assistant-store",
  "audit-retention",
  "cron-store",
  "item-meaning",
  "item-store",
  "long-states",
  "run-admission",
  "run-admission-claim",
  "run-audit",
  "run-claims",
  "run-end",
  "run-invariants",
  "run-ledger",
  "run-rollback",
  "run-store",
  "scope",
  "thread-expiry",
  "thread-search",
  "thread-store",
  "webhook-outbox",
].map((name) => `test/contract/${name}.test.ts`);
/** What is about one address, and not about the process behind it. */
const CLUSTER_TESTS = [
  "a2a",
  "assistant-graphs",
  "assistant-search",
  "assistants",
  "cancel",
  "generative-ui",
  "hostile",
  "joining",
  "large-lists",
  "mcp",
  "multitask",
  "openai-face",
  "openapi",
  "partial",
  "protocol",
  "protocol-commands",
  "protocol-socket",
  "protocol-wire",
  "resume",
  "run-options",
  "runs",
  "semantic-memory",
  "server-queue",
  "state",
  "state-graphs",
  "state-update",
  "stateless",
  "store",
  "streams",
  "switches",
  "thread-mirror",
  "thread-search",
  "thread-search-more",
  "thread-stream",
  "threads",
];
const SOME_CLUSTER_TESTS = ["joining", "multitask", "resume", "streams"];
const ON_STORES = ["test/unit/live-search.test.ts"];

/** What crosses between a run and its thread; CI runs every file of the suite in threads, too. */
const WHERE_THREADS_MATTER = [
  "assistant-graphs",
  "cancel",
  "partial",
  "resume",
  "run-options",
  "state",
  "state-graphs",
  "state-update",
  "store",
  "streams",
  "thread-mirror",
].map((name) => `test/conformance/${name}.test.ts`);

const IN_CI = process.env.CI !== undefined;
const IS_WHOLE = process.env.HEDDLE_SCALE === "full";

/** Minutes each, whatever their scale: these run as the commands of docs/reliability.md. */
const LONG_TESTS = ["react-chat-cluster", "upgrade"];

/** Most of a minute or more each, about what `cluster`, `crash-loop` and others touch as well: CI runs them with the rest. */
const CI_TESTS = [
  "backup",
  "cancels",
  "cli",
  "clock-jumps",
  "doctor-nginx",
  "drain",
  "outages",
  "react-chat",
  "react-chat-nginx",
  "reconnect-cluster",
  "replicas",
  "restart",
  "slow-readers",
  "storage-faults",
  "takeover",
  "thread-host",
];

export default defineConfig({
  test: {
    // Limits for what hangs, not for what is slow: machines differ, and some do other work beside.
    testTimeout: 120_000,
    expect: { poll: { timeout: 30_000 } },
    hookTimeout: 120_000,
    maxWorkers: IN_CI ? 2 : 3, // they wait for a third of the time
    maxConcurrency: 4, // of the browser suites, which mostly wait
    globalSetup: ["test/support/own-servers.ts"],
    reporters: ["default", closingLine(process.env)],
    projects: [
      // Functions and objects in memory: nothing of one file concerns another, so LangGraph is loaded once per process.
      { extends: true, test: { name: "unit", include: ["test/unit/**/*.test.ts"], isolate: false } },
      {
        extends: true,
        test: { name: "quick", include: ["test/**/*.test.ts"], exclude: ["test/unit/**", "test/e2e/**"] },
      },
      {
        // The same promises with graphs in worker threads.
        extends: true,
        test: {
          name: "threads",
          include: IN_CI ? ["test/conformance/**/*.test.ts"] : WHERE_THREADS_MATTER,
          exclude: ["test/conformance/authorization.test.ts"], // who may ask has nothing to do with where graphs run
          env: { HEDDLE_TEST_ISOLATION: "thread" },
          globalSetup: ["test/support/build-dist.ts"],
        },
      },
      {
        // The same promises of the stores on PostgreSQL (test/support/postgres.ts).
        extends: true,
        test: { name: "postgres", include: [...STORE_TESTS, ...ON_STORES], env: { HEDDLE_TEST_DATABASE: "postgres" } },
      },
      {
        // Joining and streaming, the stock hook included, with a bridge that processes share.
        extends: true,
        test: {
          name: "redis",
          include: (IN_CI ? ["joining", "protocol", "stateless", "streams"] : ["streams"]).map(
            (name) => `test/conformance/${name}.test.ts`,
          ),
          env: { HEDDLE_TEST_BRIDGE: "redis" },
        },
      },
      {
        // The same promises of the built program as two api and two workers behind nginx (docs/reliability.md says what is left out).
        extends: true,
        test: {
          name: "cluster",
          include: (IS_WHOLE ? CLUSTER_TESTS : IN_CI ? SOME_CLUSTER_TESTS : []).map(
            (name) => `test/conformance/${name}.test.ts`,
          ),
          fileParallelism: false, // each is four processes already
          testTimeout: 360_000, // which a test may start anew, twice
          hookTimeout: 360_000,
          env: { HEDDLE_TEST_CLUSTER: "1", HEDDLE_TEST_ISOLATION: "thread" },
          globalSetup: ["test/support/build-dist.ts"],
        },
      },
      {
        extends: true,
        test: {
          name: "e2e",
          include: ["test/e2e/**/*.test.ts"],
          exclude: (IS_WHOLE ? [] : IN_CI ? LONG_TESTS : [...LONG_TESTS, ...CI_TESTS]).map(
            (name) => `test/e2e/${name}.test.ts`,
          ),
          globalSetup: ["test/support/build-dist.ts"],
        },
      },
    ],
  },
});
