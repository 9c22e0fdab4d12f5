/**
 * The lives of the graphs below a run's root, from what its log says of namespaces and tasks.
 *
 * 1. A namespace starts with the first thing that is said in it, those above it first, and ends with its task; where the
 *    task's own end is unclear, with what the task above it, or the run, ends as.
 * 2. It ends once; whatever is still going on when the run ends, ends with it and as it does.
 * 3. A graph that `createAgent` made goes by its agent's name, and says which tool call it is for.
 */
import type { JsonObject } from "../core/model.js";

export type LifecycleStatus = "started" | "running" | "completed" | "failed" | "interrupted";

export interface LifecycleEvent {
  readonly namespace: readonly string[];
  readonly data: JsonObject & { readonly event: LifecycleStatus };
}

/** What the log tells of a task: `graphs/task-summary.ts` writes it. */
export interface LoggedTask {
  readonly id: string;
  readonly name: string;
  readonly tool_call_id?: string;
  readonly agent?: string;
  readonly ended?: "result" | "interrupts" | "unclear";
}

export interface Lifecycles {
  /** What a graph's own transformer says started the namespace; told when it starts. */
  causedBy(namespace: readonly string[], cause: JsonObject): void;
  /** Takes note of a task that begins, before the namespace that says so is reached. */
  taskBegins(namespace: readonly string[], task: LoggedTask): void;
  /** Something is said in this namespace. */
  reach(namespace: readonly string[]): readonly LifecycleEvent[];
  taskEnds(namespace: readonly string[], task: LoggedTask): readonly LifecycleEvent[];
  /** The run is over. */
  end(status: LifecycleStatus): readonly LifecycleEvent[];
  /** As it is now, the outermost first. */
  tree(): readonly GraphLife[];
}

export interface GraphLife {
  readonly namespace: readonly string[];
  readonly graphName: string;
  status: LifecycleStatus;
}

export function createLifecycles(): Lifecycles {
  const lives = new Map<string, GraphLife>();
  /** By namespace: the agent whose tasks run in it. */
  const agents = new Map<string, string>();
  /** By task. */
  const toolCalls = new Map<string, string>();
  const causes = new Map<string, JsonObject>();

  function start(namespace: readonly string[]): LifecycleEvent {
    const [name, taskId] = splitSegment(namespace.at(-1) ?? "");
    const agent = agents.get(keyOf(namespace));
    const graphName = agent ?? name;
    lives.set(keyOf(namespace), { namespace, graphName, status: "started" });
    const toolCallId = agent === undefined ? undefined : toolCalls.get(taskId);
    const data = { event: "started", graph_name: graphName } as const;
    const told = causes.get(keyOf(namespace));
    if (told !== undefined) return { namespace, data: { ...data, cause: told } };
    if (toolCallId === undefined) return { namespace, data };
    return { namespace, data: { ...data, cause: { type: "toolCall", tool_call_id: toolCallId } } };
  }

  function finish(life: GraphLife, status: LifecycleStatus): LifecycleEvent {
    life.status = status;
    return { namespace: life.namespace, data: { event: status, graph_name: life.graphName } };
  }

  return {
    causedBy(namespace, cause) {
      causes.set(keyOf(namespace), cause);
    },

    taskBegins(namespace, { id, tool_call_id: toolCallId, agent }) {
      if (toolCallId !== undefined) toolCalls.set(id, toolCallId);
      if (agent !== undefined && !agents.has(keyOf(namespace))) agents.set(keyOf(namespace), agent); // 3
    },

    reach(namespace) {
      if (namespace.length === 0 || lives.has(keyOf(namespace))) return [];
      const events: LifecycleEvent[] = [];
      for (let length = 1; length <= namespace.length; length++) {
        const above = namespace.slice(0, length);
        if (!lives.has(keyOf(above))) events.push(start(above)); // 1
      }
      return events;
    },

    taskEnds(namespace, { id, name, ended }) {
      if (ended === "unclear") return []; // 1
      const path = [...namespace, `${name}:${id}`];
      const status = ended === "interrupts" ? "interrupted" : "completed";
      const ending = [...lives.values()].filter((life) => life.status === "started" && isWithin(life.namespace, path));
      return ending.reverse().map((life) => finish(life, status)); // 1
    },

    end(status) {
      const open = [...lives.values()].filter((life) => life.status === "started");
      return open.reverse().map((life) => finish(life, status)); // 2
    },

    tree: () => [...lives.values()],
  };
}

function keyOf(namespace: readonly string[]): string {
  return namespace.join("|");
}

function isWithin(namespace: readonly string[], path: readonly string[]): boolean {
  return path.every((segment, index) => namespace[index] === segment);
}

/** `node:task` → both. */
function splitSegment(segment: string): readonly [name: string, taskId: string] {
  const colon = segment.indexOf(":");
  return colon === -1 ? [segment, ""] : [segment.slice(0, colon), segment.slice(colon + 1)];
}
