/**
 * What the example agent can do: one harmless tool, and two that ask a human first.
 *
 * A guarded tool pauses the run with `interrupt({ action, args, question })`. Resume it with `true`, `false`, or
 * `{ approved, args, reason }`, where `args` replaces what the model wanted to do and `reason` explains a refusal.
 */
import { tool } from "@langchain/core/tools";
import { interrupt } from "@langchain/langgraph";
import { z } from "zod";

/** What a guarded tool shows to the human; the value of the interrupt. */
export interface ApprovalRequest {
  readonly action: string;
  readonly args: Readonly<Record<string, unknown>>;
  readonly question: string;
}

const Decision = z.union([
  z.boolean().transform((approved) => ({ approved, args: undefined, reason: undefined })),
  z.object({
    approved: z.boolean(),
    args: z.record(z.string(), z.unknown()).optional(),
    reason: z.string().optional(),
  }),
]);

const WeatherArgs = z.object({ city: z.string().describe("The city, for example Lisbon") });
const SendArgs = z.object({
  what: z.string().describe("What to send, for example: the report"),
  to: z.string().describe("Who receives it"),
});
const DeleteArgs = z.object({ what: z.string().describe("What to delete, for example: the old drafts") });

const getWeather = tool(({ city }) => JSON.stringify({ city, ...weatherIn(city) }), {
  name: "get_weather",
  description: "Tells the weather in a city.",
  schema: WeatherArgs,
});

const sendMessage = tool(
  (args) => guarded("send_message", SendArgs, args, `Shall I send ${args.what} to ${args.to}?`),
  {
    name: "send_message",
    description: "Sends something to somebody. A human approves it first.",
    schema: SendArgs,
  },
);

const deleteItem = tool((args) => guarded("delete_item", DeleteArgs, args, `Shall I delete ${args.what}?`), {
  name: "delete_item",
  description: "Deletes something for good. A human approves it first.",
  schema: DeleteArgs,
});

/** The tools of the example agent. */
export const agentTools = [getWeather, sendMessage, deleteItem];

/** Asks the human, then reports what was done; throws if the decision or the edited arguments make no sense. */
function guarded<Args extends Record<string, unknown>>(
  action: string,
  schema: z.ZodType<Args>,
  args: Args,
  question: string,
): string {
  const request: ApprovalRequest = { action, args, question };
  const decision = Decision.parse(interrupt<ApprovalRequest, unknown>(request));
  if (!decision.approved) return JSON.stringify({ status: "rejected", reason: decision.reason ?? null, ...args });
  return JSON.stringify({ status: "done", ...schema.parse({ ...args, ...decision.args }) });
}

/** Made-up weather that is always the same for the same city. */
function weatherIn(city: string): { condition: string; temperature_c: number } {
  const seed = [...city.toLowerCase()].reduce((sum, letter) => (sum * 31 + (letter.codePointAt(0) ?? 0)) % 9973, 7);
  const conditions = ["clear skies", "light rain", "scattered clouds", "a stiff breeze", "morning fog"];
  return { condition: conditions[seed % conditions.length] ?? "clear skies", temperature_c: (seed % 27) + 3 };
}
