/**
 * Assistants: configured graphs with versions. Every graph has one system assistant under the Platform's derived id;
 * a graph's id is accepted wherever an assistant's is.
 */
import { badRequest, conflict, invalid, notFound } from "../core/errors.js";
import { newId, systemAssistantId } from "../core/ids.js";
import type { Assistant, AssistantVersion, Json, JsonObject, RunConfig } from "../core/model.js";
import type { AssistantFilter, AssistantStore, NewAssistant, Page } from "../storage/storage.js";
import type { GraphHost, GraphInfo } from "./host.js";

export interface AssistantDraft {
  readonly assistantId?: string | undefined;
  readonly graphId: string;
  readonly name?: string | undefined;
  readonly description?: string | null | undefined;
  readonly config?: RunConfig | undefined;
  readonly context?: Json | undefined;
  readonly metadata?: JsonObject | undefined;
  readonly ifExists: "raise" | "do_nothing";
}

export type AssistantChange = Partial<Omit<AssistantDraft, "assistantId" | "ifExists">>;

export interface AssistantService {
  /** At start: every graph has its system assistant, which shows the graph's current defaults. */
  syncSystemAssistants(): Promise<void>;
  /** By assistant or graph id; throws `not_found`. */
  require(idOrGraphId: string): Promise<Assistant>;
  /** Its current configuration; empty when there is no such assistant. */
  configOf(assistantId: string): Promise<RunConfig>;
  create(draft: AssistantDraft): Promise<Assistant>;
  patch(idOrGraphId: string, change: AssistantChange): Promise<Assistant>;
  /** Refuses the assistants of graphs that are served: every start would bring them back. */
  remove(idOrGraphId: string): Promise<Assistant>;
  search(filter: AssistantFilter, page: Parameters<AssistantStore["search"]>[1]): Promise<Page<Assistant>>;
  count(filter: AssistantFilter): Promise<number>;
  versions(idOrGraphId: string, query: Parameters<AssistantStore["versions"]>[1]): Promise<readonly AssistantVersion[]>;
  setLatest(idOrGraphId: string, version: number): Promise<Assistant>;
}

export function createAssistantService(deps: {
  readonly assistants: AssistantStore;
  readonly host: GraphHost;
}): AssistantService {
  const { assistants, host } = deps;

  function requireGraph(graphId: string): GraphInfo {
    const graph = host.graphs().find((info) => info.graphId === graphId);
    if (graph === undefined) throw notFound("graph", graphId);
    return graph;
  }

  function isGraph(id: string): boolean {
    return host.graphs().some(({ graphId }) => graphId === id);
  }

  function resolveId(idOrGraphId: string): string {
    return isGraph(idOrGraphId) ? systemAssistantId(idOrGraphId) : idOrGraphId;
  }

  /** The graph whose own assistant it is. */
  function systemGraphOf(assistantId: string): string | undefined {
    return host.graphs().find(({ graphId }) => systemAssistantId(graphId) === assistantId)?.graphId;
  }

  async function requireAssistant(idOrGraphId: string): Promise<Assistant> {
    const assistant = await assistants.get(resolveId(idOrGraphId));
    if (assistant === undefined) throw notFound("assistant", idOrGraphId);
    return assistant;
  }

  return {
    require: requireAssistant,

    async configOf(assistantId) {
      return (await assistants.get(assistantId))?.config ?? {};
    },

    async syncSystemAssistants() {
      for (const graph of host.graphs()) {
        const wanted = systemAssistant(graph);
        const existing = await assistants.create(wanted).then((made) => made ?? assistants.get(wanted.assistantId));
        if (existing !== undefined && !sameDefaults(existing, wanted))
          await assistants.patch(wanted.assistantId, wanted);
      }
    },

    async create(draft) {
      requireGraph(draft.graphId);
      const assistantId = draft.assistantId ?? newId();
      const assistant = {
        assistantId,
        graphId: draft.graphId,
        name: draft.name ?? "Untitled",
        description: draft.description ?? null,
        metadata: draft.metadata ?? {},
        ...inSync(draft.config ?? {}, draft.context ?? {}),
      };
      // Under a graph's id nobody would find it: that id leads to the graph's own assistant.
      const created = isGraph(assistantId) ? undefined : await assistants.create(assistant);
      if (created !== undefined) return created;
      if (draft.ifExists === "raise") throw conflict(`assistant ${assistantId} exists already`);
      return requireAssistant(assistantId);
    },

    async patch(idOrGraphId, change) {
      if (change.graphId !== undefined) requireGraph(change.graphId);
      const current = await requireAssistant(idOrGraphId);
      const ownGraph = systemGraphOf(current.assistantId);
      if (ownGraph !== undefined && change.graphId !== undefined && change.graphId !== ownGraph) {
        throw invalid(`assistant ${current.assistantId} belongs to graph "${ownGraph}" and stays with it`);
      }
      const { config, context, ...others } = change;
      const settings =
        config === undefined && context === undefined
          ? {}
          : inSync(
              config ?? withoutConfigurable(current.config),
              context ?? (config?.configurable ? {} : current.context),
            );
      const given = Object.fromEntries(
        Object.entries({ ...others, ...settings }).filter(([, value]) => value !== undefined),
      );
      const patched = await assistants.patch(current.assistantId, given);
      if (patched === undefined) throw notFound("assistant", idOrGraphId);
      return patched;
    },

    async remove(idOrGraphId) {
      const assistant = await requireAssistant(idOrGraphId);
      const graphId = systemGraphOf(assistant.assistantId);
      if (graphId !== undefined) {
        throw invalid(`assistant ${assistant.assistantId} belongs to graph "${graphId}" and cannot be deleted`);
      }
      await assistants.remove(assistant.assistantId);
      return assistant;
    },

    search: (filter, page) => assistants.search(filter, page),
    count: (filter) => assistants.count(filter),

    async versions(idOrGraphId, query) {
      const versions = await assistants.versions(resolveId(idOrGraphId), query);
      if (versions === undefined) throw notFound("assistant", idOrGraphId);
      return versions;
    },

    async setLatest(idOrGraphId, version) {
      const assistant = await assistants.setLatest(resolveId(idOrGraphId), version);
      if (assistant === undefined) throw notFound("assistant version", `${idOrGraphId} v${version}`);
      return assistant;
    },
  };
}

function systemAssistant(graph: GraphInfo): NewAssistant {
  return {
    assistantId: systemAssistantId(graph.graphId),
    graphId: graph.graphId,
    name: graph.graphId,
    description: graph.description,
    config: graph.config,
    context: graph.context,
    metadata: { created_by: "system" },
  };
}

function sameDefaults(existing: Assistant, wanted: NewAssistant): boolean {
  const shown = ({ graphId, description, config, context }: NewAssistant) =>
    JSON.stringify([graphId, description, config, context]);
  return shown(existing) === shown(wanted);
}

function withoutConfigurable(config: RunConfig): RunConfig {
  const { configurable: _configurable, ...others } = config;
  return others;
}

/** `context` is the newer spelling of `config.configurable`: what is given as one shows as both; both at once is refused. */
function inSync(config: RunConfig, context: Json): { readonly config: RunConfig; readonly context: Json } {
  const configurable = config.configurable ?? {};
  const hasContext = typeof context === "object" && context !== null && Object.keys(context).length > 0;
  const hasConfigurable = Object.keys(configurable).length > 0;
  if (hasContext && hasConfigurable && JSON.stringify(context) !== JSON.stringify(configurable)) {
    throw badRequest("cannot specify both config.configurable and context");
  }
  if (hasConfigurable) return { config, context: configurable };
  return hasContext && !Array.isArray(context)
    ? { config: { ...config, configurable: context as JsonObject }, context }
    : { config, context };
}
