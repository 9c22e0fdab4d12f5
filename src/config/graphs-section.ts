/** `graphs`: which there are, and how they run. */
import { availableParallelism } from "node:os";
import { extname } from "node:path";
import { z } from "zod";
import { emptyWhenAbsent, oneOf, section } from "./fields.js";

/** A thread is given up before the lease of its runs ends. */
const MAX_STUCK_SECONDS = 12;

const GRAPH_EXTENSIONS = [".ts", ".mts", ".cts", ".js", ".mjs", ".cjs"];

const graphId = z.string().regex(/^(?!__proto__$)[^\p{Cc}]{1,128}$/u, "expected 1 to 128 printable characters");

const runConfig = z
  .object({
    tags: z.array(z.string()).optional(),
    recursion_limit: z.int().positive().optional(),
    configurable: z.record(z.string(), z.json()).optional(),
  })
  .catchall(z.json());

const graphSchema = z.preprocess(
  (value) => (typeof value === "string" ? { path: value } : value),
  section({
    path: z.string().superRefine((path, context) => {
      const file = path.replace(/:[^:\\/]+$/, "");
      if (GRAPH_EXTENSIONS.includes(extname(file))) return;
      const message = `expected "./path.ts:export" with one of ${GRAPH_EXTENSIONS.join(" ")}, got ${JSON.stringify(path)}`;
      context.addIssue({ code: "custom", message });
    }),
    description: z.string().optional(),
    config: runConfig.default({}),
    context: z.json().default({}),
  }),
);

/** Keys of `graphs` that say how graphs run, told apart from graphs of such a name by their values: those are paths. */
const HOST_KEYS: ReadonlySet<string> = new Set(["isolation", "threads", "thread_memory_mb", "stuck_after_seconds"]);

const graphHostSection = section({
  isolation: oneOf("thread", "inline").optional(),
  threads: z
    .int()
    .positive()
    .default(() => Math.max(2, availableParallelism())),
  thread_memory_mb: z.int().min(32).optional(),
  stuck_after_seconds: z.number().min(2).max(MAX_STUCK_SECONDS).default(10),
});

/** Whether an entry of `graphs` says how graphs run instead of naming one. */
export function isHostEntry([key, value]: readonly [string, unknown]): boolean {
  return HOST_KEYS.has(key) && (typeof value === "number" || (typeof value === "string" && !/[./]/.test(value)));
}

export const graphsSection = z
  .preprocess(emptyWhenAbsent, z.record(z.string(), z.unknown()))
  .transform((section, context) => {
    const entries = Object.entries(section);
    const named = entries.filter((entry) => !isHostEntry(entry));
    const graphs = z.record(graphId, graphSchema).safeParse(Object.fromEntries(named));
    const host = graphHostSection.safeParse(Object.fromEntries(entries.filter(isHostEntry)));
    for (const { error } of [graphs, host]) {
      for (const issue of error?.issues ?? []) context.addIssue({ ...issue, input: undefined });
    }
    return graphs.success && host.success ? { graphs: graphs.data, host: host.data } : z.NEVER;
  });
