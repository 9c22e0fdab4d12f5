/**
 * The model that tells what texts mean (`store.index.embed`): one of LangChain's packages, found in the user's project, or
 * a function of it.
 *
 * What it answers is checked: one vector of the configured dimensions for each text, of finite numbers. Anything else is
 * refused, because it would make items that no search finds, or finds for no reason.
 */
import { extname } from "node:path";
import { withLimit } from "../core/async.js";
import type { Clock } from "../core/clock.js";
import { describeError, invalid } from "../core/errors.js";
import type { EmbedTexts, ItemIndexConfig } from "../core/items.js";
import { toUnitVector } from "../core/vectors.js";
import { importExport, locateGraph } from "./load.js";
import { EmbeddingLoadError, reasonOf } from "./load-error.js";
import { importPackage } from "./module-import.js";

/** What LangChain calls `Embeddings`, of any copy of it. */
interface Embeddings {
  embedDocuments(texts: string[]): Promise<unknown>;
  embedQuery(text: string): Promise<unknown>;
}

/** The packages of LangChain that have embeddings, by the names that LangChain gives their providers. */
const PROVIDERS: Readonly<Record<string, readonly [packageName: string, exportName: string]>> = {
  openai: ["@langchain/openai", "OpenAIEmbeddings"],
  azure_openai: ["@langchain/openai", "AzureOpenAIEmbeddings"],
  google_genai: ["@langchain/google-genai", "GoogleGenerativeAIEmbeddings"],
  google_vertexai: ["@langchain/google-vertexai", "VertexAIEmbeddings"],
  bedrock: ["@langchain/aws", "BedrockEmbeddings"],
  cohere: ["@langchain/cohere", "CohereEmbeddings"],
  mistralai: ["@langchain/mistralai", "MistralAIEmbeddings"],
  ollama: ["@langchain/ollama", "OllamaEmbeddings"],
};

const MODULE = /^\.(ts|mts|cts|js|mjs|cjs)$/;

/** Throws an `EmbeddingLoadError` for a model that cannot be had. */
export async function loadEmbeddings(
  config: ItemIndexConfig,
  { baseDir, clock }: { readonly baseDir: string; readonly clock: Clock },
): Promise<EmbedTexts> {
  const embeddings = await load(config.embed, baseDir);
  const ask = (texts: readonly string[], purpose: Parameters<EmbedTexts>[1]) =>
    purpose === "documents"
      ? embeddings.embedDocuments([...texts])
      : Promise.all(texts.map((text) => embeddings.embedQuery(text)));
  return async (texts, purpose) => {
    const seconds = config.timeoutMs / 1_000;
    const error = invalid(`store.index.embed did not answer within ${seconds} s: nothing was done`);
    const answer = await withLimit(attempt(ask, texts, purpose), { limitMs: config.timeoutMs, error, clock });
    return toVectors(answer, texts.length, config.dims);
  };
}

/** What user code throws, at once or later, is told in one sentence. */
async function attempt(
  ask: (...args: Parameters<EmbedTexts>) => Promise<unknown>,
  ...args: Parameters<EmbedTexts>
): Promise<unknown> {
  try {
    return await ask(...args);
  } catch (error) {
    throw invalid(`store.index.embed failed, and nothing was done: ${describeError(error).message}`);
  }
}

async function load(embed: string, baseDir: string): Promise<Embeddings> {
  const { file, exportName } = locateGraph("", embed, baseDir);
  if (MODULE.test(extname(file))) return fromProject(embed, { file, exportName });
  const separator = embed.indexOf(":");
  return fromPackage(embed, { provider: embed.slice(0, separator), model: embed.slice(separator + 1), baseDir });
}

async function fromProject(
  embed: string,
  location: { readonly file: string; readonly exportName: string },
): Promise<Embeddings> {
  let exported: unknown;
  try {
    exported = await importExport(location, "cached");
  } catch (error) {
    throw unusable(embed, reasonOf(error));
  }
  if (isEmbeddings(exported)) return exported;
  if (typeof exported !== "function") {
    throw unusable(embed, "the export is neither a function of texts nor Embeddings of LangChain");
  }
  const embedTexts = exported as (texts: string[]) => unknown;
  return {
    embedDocuments: async (texts) => embedTexts(texts),
    async embedQuery(text) {
      const vectors = await embedTexts([text]);
      return Array.isArray(vectors) ? vectors[0] : vectors;
    },
  };
}

async function fromPackage(
  embed: string,
  { provider, model, baseDir }: { readonly provider: string; readonly model: string; readonly baseDir: string },
): Promise<Embeddings> {
  const known = PROVIDERS[provider.replaceAll("-", "_")];
  if (known === undefined || model === "") {
    const providers = Object.keys(PROVIDERS).join(", ");
    throw unusable(embed, `expected "./path.ts:function", or provider:model with one of the providers ${providers}`);
  }
  const [packageName, exportName] = known;
  let module: unknown;
  try {
    module = await importPackage(packageName, baseDir);
  } catch (error) {
    if (!isMissing(error, packageName)) throw unusable(embed, `${packageName}: ${reasonOf(error)}`);
    throw unusable(embed, `the package ${packageName} is not installed beside the graphs (npm install ${packageName})`);
  }
  const Class = (module as Record<string, unknown>)[exportName];
  if (typeof Class !== "function") throw unusable(embed, `${packageName} has no ${exportName}`);
  try {
    const made: unknown = Reflect.construct(Class, [{ model }]);
    if (isEmbeddings(made)) return made;
  } catch (error) {
    throw unusable(embed, describeError(error).message);
  }
  throw unusable(embed, `${exportName} of ${packageName} has no embedDocuments and embedQuery`);
}

/** Not there itself; what is there may miss something else. */
function isMissing(error: unknown, packageName: string): boolean {
  const { code, message } = error as { readonly code?: unknown; readonly message?: unknown };
  const isNotFound = code === "MODULE_NOT_FOUND" || code === "ERR_MODULE_NOT_FOUND";
  return isNotFound && String(message).split("\n", 1)[0]?.includes(`'${packageName}'`) === true;
}

function unusable(embed: string, why: string): EmbeddingLoadError {
  return new EmbeddingLoadError(`store.index.embed ${JSON.stringify(embed)} cannot be used: ${why}`);
}

function isEmbeddings(value: unknown): value is Embeddings {
  if (typeof value !== "object" || value === null) return false;
  const { embedDocuments, embedQuery } = value as Partial<Embeddings>;
  return typeof embedDocuments === "function" && typeof embedQuery === "function";
}

function toVectors(answer: unknown, count: number, dims: number): readonly Float32Array[] {
  if (!Array.isArray(answer) || answer.length !== count) {
    const got = Array.isArray(answer) ? `${answer.length} vectors` : typeof answer;
    throw invalid(`store.index.embed answered with ${got} for ${count} texts: nothing was done`);
  }
  return answer.map((vector) => toVector(vector, dims));
}

function toVector(answer: unknown, dims: number): Float32Array {
  const isList = Array.isArray(answer) || answer instanceof Float32Array || answer instanceof Float64Array;
  if (!isList || answer.length !== dims) {
    const got = isList ? `${answer.length} dimensions` : `${typeof answer} for a vector`;
    throw invalid(`store.index.embed answered with ${got}, and store.index.dims is ${dims}: nothing was done`);
  }
  const isNumeric = !Array.isArray(answer) || answer.every((value) => typeof value === "number");
  const unit = isNumeric ? toUnitVector(answer as readonly number[]) : undefined; // checked: a list of numbers
  if (unit === undefined) throw invalid("store.index.embed answered with what are no finite numbers: nothing was done");
  return unit;
}
