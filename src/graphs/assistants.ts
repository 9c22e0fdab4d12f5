/**
 * Assistants: configured graphs with versions. Every graph has one system assistant under the Platform's derived id;
 * a graph's id is accepted wherever an assistant's is.
 */
import type { Caller, PerCaller } from "../core/caller.js";
import { badRequest, conflict, invalid, notFound } from "../core/errors.js";
import { newId, systemAssistantId } from "../core/ids.js";
import type { Assistant, AssistantVersion, Json, JsonObject, RunConfig } from "../core/model.js";
import { clientConfigurable, clientContext } from "../core/server-owned.js";
import type { AssistantFilter, AssistantStore, NewAssistant } from "../storage/ports/assistants.js";
import type { Page } from "../storage/ports/page.js";
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

export interface AssistantServices extends PerCaller<AssistantService> {
  /** At start: every graph has its system assistant, which shows the graph's current defaults. */
  syncSystemAssistants(): Promise<void>;
  /** Its current configuration; empty when there is no such assistant. */
  configOf(assistantId: string): Promise<RunConfig>;
}

export interface AssistantService {
  /** By assistant or graph id; throws `not_found`. */
  require(idOrGraphId: string): Promise<Assistant>;
  /**
   * The same for a run, as it is now or as `version` has it: who may run may run the graphs themselves, whatever
   * assistants they may read.
   */
  requireForRun(idOrGraphId: string, version?: number): Promise<Assistant>;
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
}): AssistantServices {
  const { host } = deps;

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

  return {
    as: (caller) => asCaller(caller),

    async configOf(assistantId) {
      return (await deps.assistants.get(assistantId))?.config ?? {};
    },

    async syncSystemAssistants() {
      const { assistants } = deps;
      for (const graph of host.graphs()) {
        const wanted = systemAssistant(graph);
        const existing = await assistants.create(wanted).then((made) => made ?? assistants.get(wanted.assistantId));
        if (existing === undefined || sameDefaults(existing, wanted)) continue;
        // Of several replicas that start at once one makes the version; what it makes is what the others want.
        await assistants.patch(wanted.assistantId, wanted, { ofVersion: existing.version });
      }
    },
  };

  /** Of an assistant that the caller may run. */
  async function requireVersion(assistantId: string, version: number): Promise<AssistantVersion> {
    const one = { limit: 1, maxBytes: Number.POSITIVE_INFINITY };
    const [newest] = (await deps.assistants.versions(assistantId, { ...one, offset: 0 })) ?? [];
    const offset = (newest?.version ?? 0) - version; // versions are numbered without holes
    const [found] = offset < 0 ? [] : ((await deps.assistants.versions(assistantId, { ...one, offset })) ?? []);
    if (found === undefined) throw notFound("assistant version", `${assistantId} v${version}`);
    return found;
  }

  function asCaller(caller: Caller): AssistantService {
    async function mayRead(assistantId: string): Promise<AssistantStore> {
      const { scope } = await caller.authorize("assistants:read", { assistant_id: assistantId });
      return deps.assistants.within(scope);
    }

    async function requireIn(assistants: AssistantStore, idOrGraphId: string): Promise<Assistant> {
      const assistant = await assistants.get(resolveId(idOrGraphId));
      if (assistant === undefined) throw notFound("assistant", idOrGraphId);
      return assistant;
    }

    async function requireAssistant(idOrGraphId: string): Promise<Assistant> {
      return requireIn(await mayRead(resolveId(idOrGraphId)), idOrGraphId);
    }

    async function found(
      { graphId, metadata }: AssistantFilter,
      limits: { readonly limit?: number; readonly offset?: number },
    ): Promise<AssistantStore> {
      const { scope } = await caller.authorize("assistants:search", { graph_id: graphId, metadata, ...limits });
      return deps.assistants.within(scope);
    }

    return {
      require: requireAssistant,

      async requireForRun(idOrGraphId, version) {
        const isOpen = systemGraphOf(resolveId(idOrGraphId)) !== undefined;
        const assistant = await (isOpen ? requireIn(deps.assistants, idOrGraphId) : requireAssistant(idOrGraphId));
        if (version === undefined || version === assistant.version) return assistant;
        return { ...assistant, ...(await requireVersion(assistant.assistantId, version)) };
      },

      async create(draft) {
        requireGraph(draft.graphId);
        const assistantId = draft.assistantId ?? newId();
        const { scope, value } = await caller.authorize("assistants:create", {
          assistant_id: assistantId,
          graph_id: draft.graphId,
          name: draft.name ?? "Untitled",
          description: draft.description ?? null,
          metadata: clientMetadata(draft.metadata ?? {}, "client"),
          config: draft.config ?? {},
          context: draft.context ?? {},
          if_exists: draft.ifExists,
        });
        const assistant = {
          assistantId,
          graphId: draft.graphId,
          name: value.name,
          description: value.description,
          metadata: value.metadata,
          ...inSync(clientConfig(value.config), clientContext(value.context)),
        };
        // Under a graph's id nobody would find it: that id leads to the graph's own assistant.
        const created = isGraph(assistantId) ? undefined : await deps.assistants.create(assistant);
        if (created !== undefined) return created;
        const existing =
          draft.ifExists === "raise" ? undefined : await deps.assistants.within(scope).get(resolveId(assistantId));
        if (existing === undefined) throw conflict(`assistant ${assistantId} exists already`);
        return existing;
      },

      async patch(idOrGraphId, change) {
        if (change.graphId !== undefined) requireGraph(change.graphId);
        const { graphId, ...words } = change;
        const { scope, value } = await caller.authorize("assistants:update", {
          assistant_id: resolveId(idOrGraphId),
          graph_id: graphId,
          ...words,
        });
        const assistants = deps.assistants.within(scope);
        const current = await requireIn(assistants, idOrGraphId);
        const ownGraph = systemGraphOf(current.assistantId);
        if (ownGraph !== undefined && graphId !== undefined && graphId !== ownGraph) {
          throw invalid(`assistant ${current.assistantId} belongs to graph "${ownGraph}" and stays with it`);
        }
        const { name, description, config: sentConfig, context: sentContext, metadata: sentMetadata } = value;
        const config = sentConfig && clientConfig(sentConfig);
        const context = sentContext && clientContext(sentContext);
        const metadata = sentMetadata && clientMetadata(sentMetadata, ownGraph === undefined ? "client" : "system");
        const settings =
          config === undefined && context === undefined
            ? {}
            : inSync(
                config ?? withoutConfigurable(current.config),
                context ?? (config?.configurable ? {} : current.context),
              );
        const given = Object.fromEntries(
          Object.entries({ graphId, name, description, metadata, ...settings }).filter(
            ([, each]) => each !== undefined,
          ),
        );
        const patched = await assistants.patch(current.assistantId, given);
        if (patched === undefined) throw notFound("assistant", idOrGraphId);
        return patched;
      },

      async remove(idOrGraphId) {
        const { scope } = await caller.authorize("assistants:delete", { assistant_id: resolveId(idOrGraphId) });
        const assistants = deps.assistants.within(scope);
        const assistant = await requireIn(assistants, idOrGraphId);
        const graphId = systemGraphOf(assistant.assistantId);
        if (graphId !== undefined) {
          throw invalid(`assistant ${assistant.assistantId} belongs to graph "${graphId}" and cannot be deleted`);
        }
        await assistants.remove(assistant.assistantId);
        return assistant;
      },

      async search(filter, page) {
        return (await found(filter, { limit: page.limit, offset: page.offset })).search(filter, page);
      },

      async count(filter) {
        return (await found(filter, {})).count(filter);
      },

      async versions(idOrGraphId, query) {
        const assistants = await mayRead(resolveId(idOrGraphId));
        const versions = await assistants.versions(resolveId(idOrGraphId), query);
        if (versions === undefined) throw notFound("assistant", idOrGraphId);
        return versions;
      },

      async setLatest(idOrGraphId, version) {
        const assistantId = resolveId(idOrGraphId);
        const { scope } = await caller.authorize("assistants:update", { assistant_id: assistantId, version });
        const assistant = await deps.assistants.within(scope).setLatest(assistantId, version);
        if (assistant === undefined) throw notFound("assistant version", `${idOrGraphId} v${version}`);
        return assistant;
      },
    };
  }
}

const CREATED_BY_SYSTEM = "system";

function systemAssistant(graph: GraphInfo): NewAssistant {
  return {
    assistantId: systemAssistantId(graph.graphId),
    graphId: graph.graphId,
    name: graph.graphId,
    description: graph.description,
    config: graph.config,
    context: graph.context,
    metadata: { created_by: CREATED_BY_SYSTEM },
  };
}

/** Only the gateway says that an assistant is a graph's own. */
function clientMetadata({ created_by: creator, ...others }: JsonObject, owner: "client" | "system"): JsonObject {
  if (owner === "system") return { ...others, created_by: CREATED_BY_SYSTEM };
  return creator === undefined || creator === CREATED_BY_SYSTEM ? others : { ...others, created_by: creator };
}

function clientConfig(config: RunConfig): RunConfig {
  const { configurable } = config;
  return configurable === undefined ? config : { ...config, configurable: clientConfigurable(configurable) };
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
