/**
 * Crons as clients manage them: create, find, change, delete. Whoever fires them is told of every change.
 *
 * A cron that is enabled and has something left to fire is due at some time; whenever its timetable changes that time
 * is reckoned anew from now on, so that nothing fires for what an earlier timetable, or a pause, has left out.
 */
import type { Signals } from "../bridge/bridge.js";
import type { Caller, PerCaller } from "../core/caller.js";
import type { Clock } from "../core/clock.js";
import { GatewayError, invalid, notFound } from "../core/errors.js";
import { newId } from "../core/ids.js";
import { changeMetadata } from "../core/metadata.js";
import type { Assistant, Cron, CronPayload } from "../core/model.js";
import { withoutScopeKeys } from "../core/scope.js";
import { clientConfigurable, clientContext } from "../core/server-owned.js";
import type { CronFilter, CronStore } from "../storage/ports/crons.js";
import type { Page } from "../storage/ports/page.js";
import { nextTick, requireTimetable } from "./schedule.js";

export interface CronDraft
  extends Pick<Cron, "schedule" | "timezone" | "endAt" | "enabled" | "payload" | "metadata" | "threadId"> {
  /** Or its graph's id. */
  readonly assistantId: string;
  readonly onRunCompleted: "delete" | "keep" | null;
}

/** What is absent stays as it is; metadata is merged, and so are the members of the payload. */
export interface CronChange extends Partial<Omit<CronDraft, "threadId" | "payload">> {
  readonly payload?: Partial<CronPayload>;
}

export interface CronService {
  create(draft: CronDraft): Promise<Cron>;
  require(cronId: string): Promise<Cron>;
  /** Its thread and its assistant are what it was created with. */
  patch(cronId: string, change: CronChange): Promise<Cron>;
  remove(cronId: string): Promise<void>;
  search(filter: CronFilter, page: Parameters<CronStore["search"]>[1]): Promise<Page<Cron>>;
  count(filter: CronFilter): Promise<number>;
}

/** The topic of `Signals` that says that another cron may be due first. */
export const CRONS_CHANGED = "crons";

export function createCronService(deps: {
  readonly crons: CronStore;
  readonly findAssistant: (caller: Caller, idOrGraphId: string) => Promise<Assistant>;
  /** Throws `not_found` for a thread that is not there for the caller. */
  readonly requireThread: (caller: Caller, threadId: string) => Promise<unknown>;
  /** Throws for a webhook that may not be sent. */
  readonly requireWebhook: (url: string) => void;
  readonly signals: Pick<Signals, "send">;
  readonly clock: Clock;
  readonly options: { readonly minIntervalMs: number; readonly maxCrons: number };
}): PerCaller<CronService> {
  const { findAssistant, signals, clock, options } = deps;

  function requireFiring(cron: Pick<Cron, "schedule" | "timezone" | "endAt">): void {
    requireTimetable(cron, { now: clock.now(), minIntervalMs: options.minIntervalMs });
  }

  /** A cron with the change, due when that makes it due. */
  function changed(cron: Cron, { assistantId: _checked, payload, metadata, ...settings }: CronChange): Cron {
    const next: Cron = {
      ...cron,
      ...settings,
      onRunCompleted: completionOf(cron.threadId, settings.onRunCompleted ?? cron.onRunCompleted),
      payload: { ...cron.payload, ...payload },
      metadata: changeMetadata(cron.metadata, metadata ?? {}),
    };
    const isNewTimetable = next.schedule !== cron.schedule || next.timezone !== cron.timezone;
    if (isNewTimetable) requireFiring(next);
    return { ...next, nextRunAt: nextRunOf(next, isNewTimetable ? null : cron.nextRunAt, clock.now()) };
  }

  /** By the id of an assistant instead of its graph's; undefined when there is no such assistant, so no cron of it. */
  async function resolved(caller: Caller, filter: CronFilter): Promise<CronFilter | undefined> {
    if (filter.assistantId === undefined) return filter;
    try {
      return { ...filter, assistantId: (await findAssistant(caller, filter.assistantId)).assistantId };
    } catch (error) {
      if (error instanceof GatewayError && error.code === "not_found") return undefined;
      throw error;
    }
  }

  return {
    as: (caller) => asCaller(caller),
  };

  function asCaller(caller: Caller): CronService {
    async function cronsFor(event: "crons:read" | "crons:delete", cronId: string): Promise<CronStore> {
      const { scope } = await caller.authorize(event, { cron_id: cronId });
      return deps.crons.within(scope);
    }

    async function found(
      { assistantId, threadId }: CronFilter,
      limits: { readonly limit?: number; readonly offset?: number },
    ): Promise<CronStore> {
      const asked = { assistant_id: assistantId, thread_id: threadId, ...limits };
      return deps.crons.within((await caller.authorize("crons:search", asked)).scope);
    }

    return {
      async create(draft) {
        const cronId = newId();
        const { value } = await caller.authorize("crons:create", {
          cron_id: cronId,
          thread_id: draft.threadId,
          schedule: draft.schedule,
          end_time: draft.endAt === null ? null : new Date(draft.endAt).toISOString(),
          user_id: caller.user?.identity ?? null,
          payload: { assistant_id: draft.assistantId, ...changeable(draft.payload) },
          metadata: draft.metadata,
        });
        const { assistantId } = await findAssistant(caller, draft.assistantId);
        if (draft.threadId !== null) await deps.requireThread(caller, draft.threadId);
        requireFiring(draft);
        if (draft.payload.webhook !== undefined) deps.requireWebhook(draft.payload.webhook);
        const { assistant_id: _same, ...payload } = value.payload;
        const cron = {
          ...draft,
          cronId,
          assistantId,
          metadata: value.metadata,
          onRunCompleted: completionOf(draft.threadId, draft.onRunCompleted),
          payload: { ...draft.payload, ...clientPayload(payload) },
          userId: caller.user?.identity ?? null,
          identity: caller.user,
          nextRunAt: nextRunOf(draft, null, clock.now()),
        };
        const created = await deps.crons.create(cron, options.maxCrons);
        if (created === "full")
          throw invalid(`there are ${options.maxCrons} crons, and no more are allowed: delete some`);
        if (created === "no assistant") throw notFound("assistant", draft.assistantId);
        if (created === "no thread") throw notFound("thread", String(draft.threadId));
        signals.send(CRONS_CHANGED);
        return created;
      },

      async require(cronId) {
        const cron = await (await cronsFor("crons:read", cronId)).get(cronId);
        if (cron === undefined) throw notFound("cron", cronId);
        return cron;
      },

      async patch(cronId, change) {
        const { scope, value } = await caller.authorize("crons:update", {
          cron_id: cronId,
          schedule: change.schedule,
          payload: change.payload === undefined ? undefined : changeable(change.payload),
          metadata: change.metadata,
        });
        const { assistantId, metadata } = change;
        if (change.payload?.webhook !== undefined) deps.requireWebhook(change.payload.webhook);
        const assistant = assistantId === undefined ? undefined : await findAssistant(caller, assistantId);
        const given = {
          ...change,
          ...(metadata === undefined ? {} : { metadata: withoutScopeKeys(value.metadata ?? metadata, scope) }),
          ...(change.payload === undefined ? {} : { payload: clientPayload({ ...change.payload, ...value.payload }) }),
        };
        const patched = await deps.crons.within(scope).patch(cronId, (cron) => {
          if (assistant !== undefined && assistant.assistantId !== cron.assistantId) {
            throw invalid("assistant_id: a cron stays with its assistant; create another one");
          }
          return changed(cron, given);
        });
        if (patched === undefined) throw notFound("cron", cronId);
        signals.send(CRONS_CHANGED);
        return patched;
      },

      async remove(cronId) {
        if (!(await (await cronsFor("crons:delete", cronId)).remove(cronId))) throw notFound("cron", cronId);
      },

      async search(filter, page) {
        const crons = await found(filter, { limit: page.limit, offset: page.offset });
        const asked = await resolved(caller, filter);
        return asked === undefined ? { rows: [], total: 0 } : crons.search(asked, page);
      },

      async count(filter) {
        const crons = await found(filter, {});
        const asked = await resolved(caller, filter);
        return asked === undefined ? 0 : crons.count(asked);
      },
    };
  }
}

/** What of a payload auth handlers see, and may change. */
function changeable({
  input,
  config,
  context,
}: Partial<CronPayload>): Pick<Partial<CronPayload>, "input" | "config" | "context"> {
  return {
    ...(input === undefined ? {} : { input }),
    ...(config === undefined ? {} : { config }),
    ...(context === undefined ? {} : { context }),
  };
}

/** When a cron is due that was due at `dueAt`; null: by its timetable alone. */
function nextRunOf(
  cron: Pick<Cron, "schedule" | "timezone" | "endAt" | "enabled">,
  dueAt: number | null,
  now: number,
): number | null {
  if (!cron.enabled) return null;
  if (dueAt === null) return nextTick(cron, now);
  return cron.endAt !== null && dueAt > cron.endAt ? null : dueAt;
}

function completionOf(threadId: string | null, asked: Cron["onRunCompleted"]): Cron["onRunCompleted"] {
  if (threadId === null) return asked ?? "delete";
  if (asked === "delete") throw invalid("on_run_completed: a cron does not delete the thread that it was created for");
  return null;
}

/** Without what only the server says about a run. */
function clientPayload(payload: Partial<CronPayload>): Partial<CronPayload> {
  const { config, context } = payload;
  return {
    ...payload,
    ...(config?.configurable === undefined
      ? {}
      : { config: { ...config, configurable: clientConfigurable(config.configurable) } }),
    ...(context === undefined ? {} : { context: clientContext(context) }),
  };
}
