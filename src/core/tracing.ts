/**
 * Traces of runs, as the parts of heddle see them: plain data. `telemetry/` makes OpenTelemetry of them, where somebody
 * collects traces; nothing is recorded otherwise.
 */
import type { Run } from "./model.js";

export interface Tracing {
  /** Of one attempt to execute a run. */
  begin(run: Run, startedAt: number): RunTrace;
  /** Sends what is left, within a moment. */
  close(): Promise<void>;
}

export interface RunTrace {
  /** What the graph is to record; undefined where nobody wants to see this trace. */
  readonly recording: SpanRecording | undefined;
  /** Takes the data of a `SPAN_EVENT`. */
  add(data: string): void;
  /** Ends what is still open with it. `status`: null where the attempt could not be brought to an end. */
  end(status: string | null, endedAt: number): void;
}

export interface SpanRecording {
  /** Whether inputs, outputs and the texts of errors are recorded, too. */
  readonly content: boolean;
}

/** What a graph's execution says besides its events; its data are a list of `SpanNote`. Never published. */
export const SPAN_EVENT = "#span";

export type SpanAttributes = { readonly [name: string]: string | number | boolean };

/** The beginning or the end of something that an execution does. Times are epoch milliseconds. */
export type SpanNote =
  | {
      readonly type: "start";
      readonly id: string;
      /** null: the run itself. */
      readonly parent: string | null;
      readonly kind: "internal" | "client";
      readonly name: string;
      readonly at: number;
      readonly attributes: SpanAttributes;
    }
  | {
      readonly type: "end";
      readonly id: string;
      readonly at: number;
      readonly attributes: SpanAttributes;
      /** The name of what was thrown; null for a good end. */
      readonly error: string | null;
    };

const TRACEPARENT = /^(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?$/;

/** The W3C `traceparent` of a request; undefined for none, and for a malformed one, which counts as none. */
export function readTraceparent(text: string | null): string | undefined {
  return text !== null && text.length <= 200 && TRACEPARENT.test(text) ? text.slice(0, 55) : undefined;
}
