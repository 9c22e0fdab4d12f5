/**
 * One WebSocket of the protocol: commands in, answers and events out.
 *
 * 1. The answer to a subscription comes before its events, and each subscription's events come in order.
 * 2. Subscriptions go on over runs until they are taken back or the socket closes; the run goes on without any.
 * 3. The client's reading speed is the pace. One that takes nothing for 30 s is cut off, and so is one that answers no ping.
 */
import { type RawData, WebSocket } from "ws";
import type { z } from "zod";
import { StreamBrokenError } from "../bridge/bridge.js";
import type { Caller, PerCaller } from "../core/caller.js";
import type { Clock } from "../core/clock.js";
import { GatewayError } from "../core/errors.js";
import { newId } from "../core/ids.js";
import type { Log } from "../core/log.js";
import type { JsonObject } from "../core/model.js";
import { CommandError, commandErrorOf } from "../protocol/command-error.js";
import type { ProtocolCommands } from "../protocol/commands.js";
import { seqOfEventId } from "../protocol/event.js";
import { parseJsonBody } from "./edge.js";
import { validationError } from "./errors.js";
import {
  type CommandEnvelope,
  commandEnvelope,
  reconnectParams,
  subscription,
  toCommand,
  unsubscribeParams,
} from "./protocol-commands.js";
import { failure, success } from "./protocol-envelopes.js";
import type { EventStreams, Subscription } from "./protocol-stream.js";
import type { HeaderRules } from "./run-request.js";
import { createSocketEvents } from "./socket-events.js";

export interface SocketSessionDeps {
  readonly commands: PerCaller<ProtocolCommands>;
  readonly streams: PerCaller<EventStreams>;
  readonly headerRules: HeaderRules;
  readonly clock: Clock;
  readonly log: Log;
}

export interface SocketClient {
  readonly socket: WebSocket;
  readonly threadId: string;
  /** Those of the request that opened the socket. */
  readonly headers: Headers;
  readonly caller: Caller;
}

export interface SocketSession {
  /** Closes the socket so that its client comes back. */
  stop(): void;
}

const STALL_MS = 30_000;
const PING_MS = 15_000;
/** What one socket may ask for at once. */
const MAX_SUBSCRIPTIONS = 1_000;
const MAX_COMMANDS = 100;

const UNSUPPORTED_DATA = 1003;
const SERVICE_RESTART = 1012;

/** Undefined for what was answered already. */
type Answer = { readonly result: JsonObject; readonly appliedThroughSeq?: number } | undefined;

export function openSocketSession(
  deps: SocketSessionDeps,
  { socket, threadId, headers, caller }: SocketClient,
): SocketSession {
  const { headerRules, clock, log } = deps;
  const commands = deps.commands.as(caller);
  const streams = deps.streams.as(caller);
  const closed = new AbortController();
  let commandsUnderWay = 0;
  let isAnswering = true;
  let forgetPing = (): void => {};

  function send(text: string): void {
    if (socket.readyState === WebSocket.OPEN) socket.send(text);
  }

  /** Resolves when the socket took it (3). */
  function sendAll(texts: readonly string[]): Promise<void> {
    return new Promise((resolve) => {
      const forgetStall = clock.after(STALL_MS, () => socket.terminate());
      const taken = (): void => {
        forgetStall();
        resolve();
      };
      for (const [index, text] of texts.entries()) {
        if (socket.readyState !== WebSocket.OPEN) return taken();
        socket.send(text, index === texts.length - 1 ? taken : undefined);
      }
    });
  }

  const events = createSocketEvents({
    streams,
    threadId,
    send: sendAll,
    signal: closed.signal,
    onFailure(error) {
      if (!(error instanceof StreamBrokenError)) log.error({ err: error, threadId }, "an event stream failed");
      stop();
    },
  });

  function requireRoom(): void {
    if (events.count < MAX_SUBSCRIPTIONS) return;
    throw new CommandError("invalid_argument", `a connection has at most ${MAX_SUBSCRIPTIONS} subscriptions`);
  }

  async function execute(envelope: CommandEnvelope): Promise<Answer> {
    switch (envelope.method) {
      case "subscription.subscribe": {
        requireRoom();
        const wanted = parsed(subscription, envelope);
        const id = subscriptionId(wanted);
        await events.subscribe(id, wanted, () => send(success(envelope.id, { subscription_id: id }))); // 1
        return undefined;
      }
      case "subscription.unsubscribe": {
        const { subscription_id: id } = parsed(unsubscribeParams, envelope);
        if (!events.unsubscribe(id))
          throw new CommandError("no_such_subscription", `no subscription ${JSON.stringify(id)}`);
        return { result: {} };
      }
      case "subscription.reconnect":
        return reconnect(envelope);
      default:
        return commands.execute(threadId, toCommand(envelope, headers, headerRules), closed.signal);
    }
  }

  /** Any connection can restore what another had: an id of a subscription says what it is for. */
  async function reconnect(envelope: CommandEnvelope): Promise<Answer> {
    const { run_id: runId, last_event_id: lastEventId, subscriptions: ids } = parsed(reconnectParams, envelope);
    const since = lastEventId === null ? undefined : seqOfEventId(lastEventId);
    if (lastEventId !== null && since === undefined) return { result: { restored: false } };
    const wanted = ids.map((id) => ({ id, filter: filterIn(id) }));
    const unknown = wanted.find(({ filter }) => filter === undefined);
    if (unknown !== undefined)
      throw new CommandError("no_such_subscription", `no subscription ${JSON.stringify(unknown.id)}`);
    const { result } = await commands.execute(threadId, { method: "agent.getTree", runId }, closed.signal);
    const restored = { restored: true, current_namespaces: namespacesIn(result.tree as unknown as TreeNode) }; // as agent.getTree answers
    let isTold = false;
    const tell = (): void => {
      if (!isTold) send(success(envelope.id, restored)); // 1
      isTold = true;
    };
    for (const { id, filter } of wanted) {
      requireRoom();
      if (filter !== undefined) await events.subscribe(id, { ...filter, since }, tell);
    }
    tell();
    return undefined;
  }

  async function onCommand(envelope: CommandEnvelope): Promise<void> {
    if (commandsUnderWay >= MAX_COMMANDS) {
      return send(
        failure(envelope.id, { code: "invalid_argument", message: `${MAX_COMMANDS} commands are under way` }),
      );
    }
    commandsUnderWay++;
    try {
      const answer = await execute(envelope);
      if (answer === undefined) return;
      const { result, appliedThroughSeq } = answer;
      send(success(envelope.id, result, appliedThroughSeq === undefined ? undefined : { threadId, appliedThroughSeq }));
    } catch (error) {
      send(failure(envelope.id, toldOf(error)));
    } finally {
      commandsUnderWay--;
    }
  }

  /** A socket has no statuses: what HTTP would tell by one is told in words. */
  function toldOf(error: unknown): Pick<CommandError, "code" | "message"> {
    const told = commandErrorOf(error);
    if (told !== undefined) return told;
    if (error instanceof GatewayError) return { code: "invalid_argument", message: error.message };
    log.error({ err: error, threadId }, "a command failed");
    return { code: "unknown_error", message: "internal error" };
  }

  function onMessage(data: RawData, isBinary: boolean): void {
    if (isBinary) {
      socket.close(UNSUPPORTED_DATA, "expected text");
      return;
    }
    let value: unknown;
    try {
      value = parseJsonBody(String(data));
    } catch (error) {
      send(failure(null, toldOf(error)));
      return;
    }
    const result = commandEnvelope.safeParse(value);
    if (result.success) void onCommand(result.data);
    else
      send(
        failure(idIn(value), { code: "invalid_argument", message: validationError("command", result.error).message }),
      );
  }

  function ping(): void {
    if (!isAnswering) {
      socket.terminate(); // 3
      return;
    }
    isAnswering = false;
    socket.ping();
    forgetPing = clock.after(PING_MS, ping);
  }

  function stop(): void {
    socket.close(SERVICE_RESTART, "the gateway stops");
    closed.abort();
  }

  socket.on("message", onMessage);
  socket.on("pong", () => {
    isAnswering = true;
  });
  socket.on("error", (error) => log.info({ err: error, threadId }, "a socket failed"));
  socket.on("close", () => {
    forgetPing();
    closed.abort();
  });
  forgetPing = clock.after(PING_MS, ping);
  return { stop };
}

function parsed<T extends z.ZodType>(schema: T, { params }: CommandEnvelope): z.output<T> {
  const result = schema.safeParse(params ?? {});
  if (result.success) return result.data;
  throw new CommandError("invalid_argument", validationError("params", result.error).message);
}

/** Unique, and says what the subscription is for. */
function subscriptionId({ since: _, ...filter }: Subscription): string {
  return `${newId()}.${Buffer.from(JSON.stringify(filter)).toString("base64url")}`;
}

function filterIn(id: string): Subscription | undefined {
  const [, text] = id.split(".", 2);
  if (text === undefined) return undefined;
  try {
    const result = subscription.safeParse(JSON.parse(Buffer.from(text, "base64url").toString()));
    return result.success ? result.data : undefined;
  } catch {
    return undefined; // not an id that was given by `subscriptionId`
  }
}

interface TreeNode {
  readonly namespace: readonly string[];
  readonly status: string;
  readonly children?: readonly TreeNode[];
}

function namespacesIn({
  namespace,
  status,
  children = [],
}: TreeNode): { readonly namespace: readonly string[]; readonly status: string }[] {
  return [{ namespace, status }, ...children.flatMap(namespacesIn)];
}

function idIn(value: unknown): number | null {
  if (typeof value !== "object" || value === null || !("id" in value)) return null;
  return typeof value.id === "number" && Number.isSafeInteger(value.id) && value.id >= 0 ? value.id : null;
}
