/** What a command is refused with: the protocol's own codes, told in an error envelope. */
import { GatewayError } from "../core/errors.js";

export type CommandErrorCode =
  | "invalid_argument"
  | "unknown_command"
  | "unknown_error"
  | "no_such_run"
  | "no_such_subscription"
  | "no_such_namespace"
  | "no_such_interrupt"
  | "no_such_checkpoint"
  | "permission_denied"
  | "not_supported";

export class CommandError extends Error {
  override readonly name = "CommandError";
  readonly code: CommandErrorCode;

  constructor(code: CommandErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}

/** Failures that say "later", or that say nothing of the command: HTTP has words for them, the protocol has none. */
const OF_TRANSPORT: ReadonlySet<GatewayError["code"]> = new Set([
  "unavailable",
  "too_many_requests",
  "too_large",
  "unauthenticated",
]);

/** The envelope's words for what a command threw; undefined for what the transport tells, and for bugs. */
export function commandErrorOf(thrown: unknown): CommandError | undefined {
  if (thrown instanceof CommandError) return thrown;
  if (!(thrown instanceof GatewayError) || OF_TRANSPORT.has(thrown.code) || isMissingThread(thrown)) return undefined;
  switch (thrown.code) {
    case "unsupported":
      return new CommandError("not_supported", thrown.message);
    case "forbidden":
      return new CommandError("permission_denied", thrown.message);
    default:
      return new CommandError("invalid_argument", thrown.message);
  }
}

/** HTTP answers 404, as it does everywhere for a thread that is not there. */
export function isMissingThread(thrown: unknown): boolean {
  return thrown instanceof GatewayError && thrown.code === "not_found" && thrown.message.startsWith("thread ");
}
