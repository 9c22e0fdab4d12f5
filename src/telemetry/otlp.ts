/**
 * Traces of runs by OpenTelemetry, sent to a collector over OTLP/HTTP.
 *
 * 1. Nothing waits for the collector: spans are queued, dropped when the queue is full, and sent beside.
 * 2. A collector that does not take them is logged once, and once more when it does again.
 * 3. Nothing is registered globally: what the project traces by itself is its own.
 *
 * This module is loaded only where an endpoint is set.
 */
import { type Context, ROOT_CONTEXT, type Span, SpanKind, SpanStatusCode, trace } from "@opentelemetry/api";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-http";
import { defaultResource, detectResources, envDetector, resourceFromAttributes } from "@opentelemetry/resources";
import { BatchSpanProcessor, type SpanExporter, TracerProvider } from "@opentelemetry/sdk-trace";
import type { Clock } from "../core/clock.js";
import type { Log } from "../core/log.js";
import type { Run } from "../core/model.js";
import type { RunTrace, SpanNote, Tracing } from "../core/tracing.js";

export interface OtlpOptions {
  /** Of the collector; traces go to `/v1/traces` under it. */
  readonly endpoint: string;
  readonly serviceName: string;
  readonly version: string;
  /** Whether inputs and outputs are sent. */
  readonly content: boolean;
}

const SEND_MS = 1_000;
const TIMEOUT_MS = 5_000;
/** How long stopping waits for what is left to be sent, to a collector that is not known to fail. */
const FLUSH_MS = 500;

export function openTracing(
  { endpoint, serviceName, version, content }: OtlpOptions,
  { clock, log }: { readonly clock: Clock; readonly log: Log },
): Tracing {
  const url = `${endpoint.replace(/\/+$/, "")}/v1/traces`;
  const exporter = tellingExporter(new OTLPTraceExporter({ url, timeoutMillis: TIMEOUT_MS }), { endpoint, log });
  const own = resourceFromAttributes({ "service.name": serviceName, "service.version": version });
  const provider = new TracerProvider({
    resource: defaultResource()
      .merge(detectResources({ detectors: [envDetector] }))
      .merge(own),
    spanProcessors: [
      new BatchSpanProcessor({ exporter, scheduledDelayMillis: SEND_MS, exportTimeoutMillis: TIMEOUT_MS }),
    ],
  });
  const tracer = provider.getTracer("heddle", version);

  function begin(run: Run, startedAt: number): RunTrace {
    const options = { kind: SpanKind.CONSUMER, startTime: timeOf(startedAt), attributes: attributesOf(run, startedAt) };
    const root = tracer.startSpan(`run ${run.graphId}`, options, parentOf(run.payload.traceparent));
    const inRoot = trace.setSpan(ROOT_CONTEXT, root);
    const open = new Map<string, Span>();

    function note(said: SpanNote): void {
      if (said.type === "start") {
        const parent = said.parent === null ? undefined : open.get(said.parent);
        const context = parent === undefined ? inRoot : trace.setSpan(ROOT_CONTEXT, parent);
        const kind = said.kind === "client" ? SpanKind.CLIENT : SpanKind.INTERNAL;
        const { name, attributes } = said;
        open.set(said.id, tracer.startSpan(name, { kind, startTime: timeOf(said.at), attributes }, context));
        return;
      }
      const span = open.get(said.id);
      open.delete(said.id);
      span?.setAttributes({ ...said.attributes });
      if (said.error !== null) span?.setStatus({ code: SpanStatusCode.ERROR });
      span?.end(timeOf(said.at));
    }

    return {
      recording: root.isRecording() ? { content } : undefined,
      add(data) {
        try {
          for (const said of JSON.parse(data) as SpanNote[]) note(said); // from `graphs/span-recorder.ts`
        } catch (error) {
          log.warn({ err: error, runId: run.runId }, "what a run did could not be traced"); // a graph broke its thread
        }
      },
      end(status, endedAt) {
        for (const span of [...open.values()].reverse()) span.end(timeOf(endedAt)); // its thread went
        if (status !== null) root.setAttribute("heddle.status", status);
        if (status === "error" || status === "timeout") root.setStatus({ code: SpanStatusCode.ERROR });
        root.end(timeOf(endedAt));
      },
    };
  }

  return {
    begin,
    async close() {
      if (exporter.isFailing()) return; // 1
      let forget = (): void => {};
      const limit = new Promise<void>((resolve) => {
        forget = clock.after(FLUSH_MS, resolve);
      });
      await Promise.race([provider.shutdown().catch(() => {}), limit]); // the exporter has told what failed
      forget();
    },
  };
}

interface TellingExporter extends SpanExporter {
  isFailing(): boolean;
}

/** 2 */
function tellingExporter(
  exporter: SpanExporter,
  { endpoint, log }: { readonly endpoint: string; readonly log: Log },
): TellingExporter {
  let isFailing = false;
  return {
    isFailing: () => isFailing,
    export(spans, done) {
      exporter.export(spans, (result) => {
        const fails = result.code !== 0;
        if (fails && !isFailing) log.warn({ err: result.error, endpoint }, "traces cannot be sent; they are dropped");
        if (!fails && isFailing) log.info({ endpoint }, "traces are sent again");
        isFailing = fails;
        done(result);
      });
    },
    shutdown: () => exporter.shutdown(),
    forceFlush: async () => exporter.forceFlush?.(),
  };
}

function attributesOf(run: Run, startedAt: number) {
  return {
    "heddle.run_id": run.runId,
    "heddle.thread_id": run.threadId,
    "heddle.assistant_id": run.assistantId,
    "heddle.graph_id": run.graphId,
    "heddle.attempt": run.attempt,
    "heddle.queue_ms": Math.max(0, startedAt - Math.max(run.createdAt, run.runAfter)),
  };
}

/** Of the request that created the run. */
function parentOf(traceparent: string | undefined): Context {
  if (traceparent === undefined) return ROOT_CONTEXT;
  const [, traceId = "", spanId = "", flags = "00"] = traceparent.split("-");
  const parent = { traceId, spanId, traceFlags: Number.parseInt(flags, 16), isRemote: true };
  return trace.setSpanContext(ROOT_CONTEXT, parent);
}

/** As seconds and nanoseconds: plain numbers are taken for times since the process began when they are small. */
function timeOf(ms: number): [number, number] {
  return [Math.floor(ms / 1_000), Math.round((ms % 1_000) * 1e6)];
}
