/** Structured logs: events with ids, never payloads or secrets. Readable in a terminal, JSON lines otherwise. */
import { type Logger, pino } from "pino";
import { codeOf, describeError, stackOf } from "./errors.js";

export type Log = Pick<Logger, "debug" | "info" | "warn" | "error">;

export type LogLevel = "debug" | "info" | "warn" | "error" | "silent";

export interface LogOptions {
  readonly level: LogLevel;
  readonly format: "auto" | "json" | "pretty";
}

/** Writes to `stream` (standard error by default, so that standard output keeps only what commands print). */
export function createLog(options: LogOptions, stream: NodeJS.WriteStream = process.stderr): Log {
  const pretty = options.format === "pretty" || (options.format === "auto" && stream.isTTY === true);
  return pino(
    {
      level: options.level,
      base: null,
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { err: loggedError },
    },
    pretty ? { write: (line) => void stream.write(humanLine(line)) } : stream,
  );
}

export const silentLog: Log = pino({ level: "silent" });

/** pino's own serializer writes on the error, follows every reference and reads every member: what is thrown may forbid it. */
function loggedError(thrown: unknown): { readonly type: string; readonly message: string; readonly stack?: string } {
  const { error: type, message } = describeError(thrown);
  const code = codeOf(thrown);
  const stack = stackOf(thrown);
  return { type, message, ...(code === undefined ? {} : { code }), ...(stack === undefined ? {} : { stack }) };
}

function humanLine(line: string): string {
  const { level, time, msg, err, ...fields } = JSON.parse(line) as Record<string, unknown> & {
    err?: { message: string; stack?: string };
  };
  const details = Object.entries(fields).map(
    ([key, value]) => `${key}=${typeof value === "string" ? value : JSON.stringify(value)}`,
  );
  const stack = err === undefined ? "" : `\n${err.stack ?? err.message}`;
  return `${String(time).slice(11, 23)} ${String(level).padEnd(5)} ${String(msg)}  ${details.join(" ")}${stack}\n`;
}
