/**
 * Which model made the vectors of items: those of different models, or of different lengths, cannot be compared.
 *
 * A start with another model than the one that items were embedded with is refused, because it would find them by nothing
 * but filters without anybody being told; unless it is asked to embed them anew (`item-reembedding.ts`).
 */
import type { ItemIndexConfig } from "../core/items.js";
import type { Database } from "./database.js";

/** One line for people whose store cannot be indexed as it is configured; `main.ts` prints it and exits with 1. */
export class ItemIndexError extends Error {
  override readonly name = "ItemIndexError";
}

/** The model's row, made if need be. Throws an `ItemIndexError` when items have vectors of another, unless they may. */
export async function openItemModel(
  database: Database,
  { embed, dims }: Pick<ItemIndexConfig, "embed" | "dims">,
  { mayReplace }: { readonly mayReplace: boolean },
): Promise<number> {
  await database
    .insertInto("item_models")
    .values({ embed, dims })
    .onConflict((conflict) => conflict.columns(["embed", "dims"]).doNothing())
    .execute();
  const models = await database.selectFrom("item_models").selectAll().execute();
  const model = models.find((row) => row.embed === embed && row.dims === dims);
  if (model === undefined) throw new Error(`the model ${embed} has no row`); // it was just made
  if (mayReplace) return model.id;
  for (const other of models) {
    if (other.id !== model.id && (await isUsed(database, other.id))) throw otherModel(model, other);
  }
  return model.id;
}

async function isUsed(database: Database, modelId: number): Promise<boolean> {
  const item = await database
    .selectFrom("items")
    .select("key")
    .where("embedded_by", "=", modelId)
    .limit(1)
    .executeTakeFirst();
  return item !== undefined;
}

interface Model {
  readonly embed: string;
  readonly dims: number;
}

function otherModel(configured: Model, stored: Model): ItemIndexError {
  const show = ({ embed, dims }: Model): string => `${JSON.stringify(embed)} (dims: ${dims})`;
  return new ItemIndexError(
    `store.index: items of this data folder were embedded with ${show(stored)}, which cannot be compared with ` +
      `${show(configured)}. Put that back, or set store.index.reembed: true, which embeds them anew while the server runs`,
  );
}
