/**
 * Chooses the model behind the example agent: a hosted one when a provider's key is set, the script otherwise.
 *
 * `AGENT_MODEL` decides where it is set: `scripted`, or `openai:<model>`, or `anthropic:<model>`. A provider that was
 * asked for but cannot be used is an error, never a quiet fallback to the script.
 */
import type { BaseLanguageModelInput } from "@langchain/core/language_models/base";
import type { BaseChatModel } from "@langchain/core/language_models/chat_models";
import type { AIMessageChunk } from "@langchain/core/messages";
import type { Runnable } from "@langchain/core/runnables";
import { agentScript } from "./agent-script.js";
import { agentTools } from "./agent-tools.js";
import { ScriptedModel } from "./scripted-model.js";

interface Provider {
  readonly id: string;
  readonly keyVariable: string;
  readonly packageName: string;
  readonly className: string;
  readonly defaultModel: string;
}

type ToolCallingModel = BaseChatModel & Required<Pick<BaseChatModel, "bindTools">>;

const providers: readonly Provider[] = [
  {
    id: "openai",
    keyVariable: "OPENAI_API_KEY",
    packageName: "@langchain/openai",
    className: "ChatOpenAI",
    defaultModel: "gpt-5-mini",
  },
  {
    id: "anthropic",
    keyVariable: "ANTHROPIC_API_KEY",
    packageName: "@langchain/anthropic",
    className: "ChatAnthropic",
    defaultModel: "claude-haiku-4-5",
  },
];

/** The agent's model with its tools bound; throws with what to do about it if the wanted one cannot be used. */
export async function agentModel(
  env: Readonly<Record<string, string | undefined>>,
  options: { readonly tokenDelayMs: number },
): Promise<Runnable<BaseLanguageModelInput, AIMessageChunk>> {
  const wanted = env.AGENT_MODEL ?? "";
  if (wanted === "scripted") return scripted(options.tokenDelayMs);
  if (wanted !== "") return hosted(...parseWanted(wanted), "AGENT_MODEL");
  const provider = providers.find(({ keyVariable }) => env[keyVariable]);
  if (provider === undefined) return scripted(options.tokenDelayMs);
  return hosted(provider, provider.defaultModel, provider.keyVariable);
}

function scripted(tokenDelayMs: number): ScriptedModel {
  return new ScriptedModel({ script: agentScript, tokenDelayMs });
}

function parseWanted(wanted: string): [Provider, string] {
  const [id, ...model] = wanted.split(":");
  const provider = providers.find((known) => known.id === id);
  if (provider === undefined) {
    const known = providers.map((each) => `${each.id}:<model>`).join(" or ");
    throw new Error(`AGENT_MODEL=${wanted} is not known: use scripted, or ${known}.`);
  }
  return [provider, model.join(":") || provider.defaultModel];
}

async function hosted(
  provider: Provider,
  model: string,
  because: string,
): Promise<Runnable<BaseLanguageModelInput, AIMessageChunk>> {
  const chat = await loadProvider(provider, model, because);
  return chat.bindTools(agentTools);
}

async function loadProvider(provider: Provider, model: string, because: string): Promise<ToolCallingModel> {
  let loaded: Readonly<Record<string, unknown>>;
  try {
    loaded = await import(provider.packageName);
  } catch (cause) {
    throw new Error(
      `${because} is set, but ${provider.packageName} could not be loaded. Run "npm install ${provider.packageName}", or set AGENT_MODEL=scripted for the offline agent.`,
      { cause },
    );
  }
  const Model = loaded[provider.className];
  // Every provider package exports its chat model as a class that takes `{ model }`; the result is checked below.
  const chat: unknown =
    typeof Model === "function" ? new (Model as new (fields: { model: string }) => unknown)({ model }) : undefined;
  if (!isToolCallingModel(chat)) throw new Error(`${provider.packageName} has no tool-calling ${provider.className}.`);
  return chat;
}

/** By shape, not `instanceof`: the provider may come with its own copy of @langchain/core. */
function isToolCallingModel(value: unknown): value is ToolCallingModel {
  return typeof value === "object" && value !== null && "bindTools" in value && typeof value.bindTools === "function";
}
