/**
 * What a run had begun to say when its process died, and will say again under another id.
 *
 * Clients that put messages together keep one until a state that had it is followed by a state that has not. So behind the
 * first state of a later claim the messages that it lacks are told as part of it, and then the state as it is. That first
 * state is in every reader's log (`bridge/folding.ts`). A state without any message takes nothing back: clients take it for
 * one that says nothing of messages.
 */
import type { Json, JsonObject } from "../core/model.js";
import { isObject, parseObject } from "./json-object.js";

export interface TakenBack {
  /** The root's clients were told of a message with this id. */
  told(messageId: string): void;
  /** The run goes on with another claim. */
  claim(): void;
  /** The states to tell behind this one of the root, as JSON. */
  behind(valuesJson: string): readonly string[];
}

export function createTakenBack(): TakenBack {
  const ids = new Set<string>();
  /** Of the claims before, until the first state of this one. */
  let doubtful: readonly string[] = [];

  return {
    told: (messageId) => void ids.add(messageId),
    claim() {
      doubtful = [...ids];
    },
    behind(valuesJson) {
      if (doubtful.length === 0) return [];
      const values = parseObject(valuesJson);
      const messages = values?.messages;
      const known = Array.isArray(messages) && messages.length > 0 ? messages : undefined;
      const lacking = known === undefined ? [] : doubtful.filter((id) => !known.some((each) => idOf(each) === id));
      doubtful = [];
      if (known === undefined || lacking.length === 0) return [];
      return [JSON.stringify({ ...values, messages: [...known, ...lacking.map(placeholder)] }), valuesJson];
    },
  };
}

/** Clients that have the message keep what they have. */
function placeholder(id: string): JsonObject {
  return { type: "ai", id, content: "", additional_kwargs: {}, response_metadata: {} };
}

function idOf(message: Json): unknown {
  return isObject(message) ? message.id : undefined;
}
