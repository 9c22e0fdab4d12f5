/** What the main thread and a graph thread say to each other: plain data, and errors in a plain form. */
import { describeError, type ErrorCode, GatewayError } from "../core/errors.js";
import type { JsonObject } from "../core/model.js";
import type { EventPart } from "./event-outbox.js";
import type { ExecuteRequest, ExecuteResult, GraphEvent, GraphHost, GraphInfo } from "./host.js";
import { EmbeddingLoadError, GraphLoadError, type GraphLoadFailure } from "./load-error.js";

/** What of a graph host one question and one answer can do. */
export type CallableMethod = "getState" | "getHistory" | "updateState" | "schemas" | "drawing" | "subgraphs" | "embed";

export interface Call<Method extends CallableMethod = CallableMethod> {
  readonly method: Method;
  readonly args: Parameters<GraphHost[Method]>;
}

export type LocatedGraph = GraphInfo & { readonly file: string | undefined };

export type ToThread =
  | { readonly type: "call"; readonly id: number; readonly call: Call }
  | { readonly type: "reload"; readonly id: number; readonly graphId: string }
  /** `aborted`: it was told to stop before it began, so that nothing of it may run. */
  | {
      readonly type: "execute";
      readonly id: number;
      readonly request: ExecuteRequest;
      readonly aborted: { readonly reason: unknown } | null;
    }
  | { readonly type: "abort"; readonly id: number; readonly reason: unknown }
  /** The reader of an execution took events of this size: as much may follow. */
  | { readonly type: "took"; readonly id: number; readonly size: number }
  /** The answer to what the thread asked. */
  | { readonly type: "answer"; readonly id: number; readonly answer: Answer }
  /** A group of asks was taken: the next may follow. */
  | { readonly type: "took asks" }
  | { readonly type: "ping" };

export type FromThread =
  | { readonly type: "ready"; readonly graphs: readonly LocatedGraph[] }
  | { readonly type: "not ready"; readonly error: PlainError }
  | { readonly type: "events"; readonly id: number; readonly events: readonly EventPart[]; readonly size: number }
  | { readonly type: "answer"; readonly id: number; readonly answer: Answer }
  | ({ readonly type: "ask" } & NumberedAsk)
  | { readonly type: "asks"; readonly asks: readonly NumberedAsk[] }
  | { readonly type: "log"; readonly level: "debug" | "info" | "warn" | "error"; readonly args: readonly unknown[] }
  /** Its code leaves the process, which for a thread means that the thread ends. */
  | { readonly type: "leaving"; readonly label: string | null }
  /** A built-in that everything on it needs works no more, so it ends itself. Whose fault that is, it cannot tell. */
  | { readonly type: "broken"; readonly builtIn: string }
  | { readonly type: "pong" };

/** What the thread asks for; the answer carries the same id. */
export interface NumberedAsk {
  readonly id: number;
  readonly ask: unknown;
}

/** The answer to `execute`. */
export interface ExecutionEnd {
  readonly result: ExecuteResult;
  /** Its state is the last that the execution told, and does not cross again. */
  readonly isStateTold: boolean;
}

/** `told`: the last state of the root that the execution told. */
export function toEnd(result: ExecuteResult, told: string | undefined): ExecutionEnd {
  if (result.kind === "evicted" || result.projection === null) return { result, isStateTold: false };
  if (told === undefined || result.projection.valuesJson !== told) return { result, isStateTold: false };
  return { result: { ...result, projection: { ...result.projection, valuesJson: null } }, isStateTold: true };
}

/** The other way round. */
export function resultOf({ result, isStateTold }: ExecutionEnd, told: string | null): ExecuteResult {
  if (!isStateTold || result.kind === "evicted" || result.projection === null) return result;
  return { ...result, projection: { ...result.projection, valuesJson: told } };
}

/** Whether the event tells a state of the root. */
export function isRootState({ event, namespace }: GraphEvent): boolean {
  return event === "values" && namespace.length === 0;
}

export type Answer = { readonly value: unknown } | { readonly error: PlainError };

export type PlainError =
  | { readonly kind: "gateway"; readonly code: ErrorCode; readonly message: string; readonly details: JsonObject }
  | { readonly kind: "load"; readonly failure: GraphLoadFailure }
  | { readonly kind: "embedding load"; readonly message: string }
  | { readonly kind: "other"; readonly name: string; readonly message: string; readonly stack: string | undefined };

export function toPlainError(error: unknown): PlainError {
  if (error instanceof GatewayError) {
    return { kind: "gateway", code: error.code, message: error.message, details: error.details };
  }
  if (error instanceof GraphLoadError) return { kind: "load", failure: error.failure };
  if (error instanceof EmbeddingLoadError) return { kind: "embedding load", message: error.message };
  const { error: name, message } = describeError(error);
  const stack = error instanceof Error && typeof error.stack === "string" ? error.stack : undefined;
  return { kind: "other", name, message, stack };
}

export function toError(plain: PlainError): Error {
  switch (plain.kind) {
    case "gateway":
      return new GatewayError(plain.code, plain.message, plain.details);
    case "load":
      return new GraphLoadError(plain.failure);
    case "embedding load":
      return new EmbeddingLoadError(plain.message);
    case "other": {
      const error = new Error(plain.message);
      error.name = plain.name;
      if (plain.stack !== undefined) error.stack = plain.stack;
      return error;
    }
  }
}

/** Runs `work` and says how it went. Never throws, and what it returns can always cross. */
export async function answerOf(work: () => unknown): Promise<Answer> {
  try {
    return { value: await work() };
  } catch (error) {
    return { error: toPlainError(error) };
  }
}

/** Questions that wait for their answers. */
export class Questions {
  readonly #waiting = new Map<number, { resolve(value: unknown): void; reject(error: unknown): void }>();
  #lastId = 0;

  /** `send` is given the id that the answer will carry. */
  ask(send: (id: number) => void): Promise<unknown> {
    const id = ++this.#lastId;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      send(id);
    });
  }

  /** It could not be sent. */
  fail(id: number, error: unknown): void {
    this.#waiting.get(id)?.reject(error);
    this.#waiting.delete(id);
  }

  answer(id: number, answer: Answer): void {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    if ("error" in answer) waiting?.reject(toError(answer.error));
    else waiting?.resolve(answer.value);
  }

  /** Nobody will answer any more. */
  rejectEach(errorOf: (id: number) => Error): void {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const [id, { reject }] of waiting) reject(errorOf(id));
  }
}
