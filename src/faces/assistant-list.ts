/** Assistants as other protocols list them: all of them, under names that lead to them. */
import { GatewayError } from "../core/errors.js";
import { systemAssistantId } from "../core/ids.js";
import { isStorable } from "../core/items.js";
import type { Assistant } from "../core/model.js";
import type { AssistantService } from "../graphs/assistants.js";

type Listing = Pick<AssistantService, "search">;

const PAGE = 100;

/** The oldest first, so that a new one changes nothing about those before it. */
export async function allAssistants(
  assistants: Listing,
  filter: { readonly name?: string } = {},
): Promise<readonly Assistant[]> {
  const all: Assistant[] = [];
  for (;;) {
    const { rows, total } = await assistants.search(filter, {
      limit: PAGE,
      offset: all.length,
      maxBytes: Number.POSITIVE_INFINITY,
      sortBy: "created_at",
      sortOrder: "asc",
    });
    all.push(...rows);
    if (rows.length === 0 || all.length >= total) return all;
  }
}

export interface ModelRef {
  readonly assistant: Assistant;
  /** The version that was asked for; undefined for the current one. */
  readonly version: number | undefined;
}

/**
 * By the id of an assistant or of a graph, by a name that only one assistant has, each also as `name@version`. Throws
 * `not_found`.
 */
export async function requireModel(
  assistants: Pick<AssistantService, "search" | "requireForRun">,
  model: string,
): Promise<ModelRef> {
  const whole = await findModel(assistants, model);
  if (whole !== undefined) return { assistant: whole, version: undefined };
  const [, name, version] = /^(.+)@([1-9]\d{0,8})$/s.exec(model) ?? [];
  const named = name === undefined ? undefined : await findModel(assistants, name);
  if (named === undefined) throw modelNotFound(model);
  return { assistant: named, version: Number(version) };
}

async function findModel(
  assistants: Pick<AssistantService, "search" | "requireForRun">,
  model: string,
): Promise<Assistant | undefined> {
  const byId = await assistants.requireForRun(model).catch(whenMissing);
  if (byId !== undefined) return byId;
  const [only, ...others] = (await allAssistants(assistants, { name: model })).filter(({ name }) => name === model);
  return others.length === 0 ? only : undefined;
}

function whenMissing(error: unknown): undefined {
  if (error instanceof GatewayError && error.code === "not_found") return undefined;
  throw error;
}

function modelNotFound(model: string): GatewayError {
  return new GatewayError("not_found", `the model ${JSON.stringify(model)} does not exist`, { option: "model" });
}

/** What each is called: its name where that leads to it, else its id. */
export function modelNames(all: readonly Assistant[]): ReadonlyMap<string, Assistant> {
  const ids = new Set(all.map(({ assistantId }) => assistantId));
  const counts = new Map<string, number>();
  for (const { name } of all) counts.set(name, (counts.get(name) ?? 0) + 1);
  const leadsElsewhere = ({ name, assistantId }: Assistant): boolean => {
    const owner = ids.has(name) ? name : systemAssistantId(name);
    return owner !== assistantId && ids.has(owner);
  };
  return new Map(
    all.map((assistant) => {
      const { name } = assistant;
      const isClear = counts.get(name) === 1 && name !== "" && isStorable(name) && !leadsElsewhere(assistant);
      return [isClear ? name : assistant.assistantId, assistant];
    }),
  );
}
