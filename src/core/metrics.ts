/** What heddle counts, as Prometheus metrics of one registry per gateway. */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";

export interface Metrics {
  readonly httpRequests: Counter<"method" | "route" | "status">;
  readonly httpSeconds: Histogram<"method" | "route">;
  /** Runs that ended, by status. */
  readonly runsFinished: Counter<"status">;
  readonly runsActive: Gauge;
  /** From admission to the first event that the graph produced. */
  readonly firstEventSeconds: Histogram;
  readonly openStreams: Gauge;
  /** The text that `/metrics` answers with; `pending` is the queue's depth now. */
  render(pending: number): Promise<string>;
  readonly contentType: string;
}

export function createMetrics(): Metrics {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry });
  const queueDepth = new Gauge({ name: "heddle_runs_pending", help: "Runs that wait for their turn", registers });
  return {
    httpRequests: new Counter({
      name: "heddle_http_requests_total",
      help: "HTTP requests by method, route and status",
      labelNames: ["method", "route", "status"],
      registers,
    }),
    httpSeconds: new Histogram({
      name: "heddle_http_request_seconds",
      help: "Time until the headers of the answer were ready",
      labelNames: ["method", "route"],
      buckets: [0.001, 0.005, 0.02, 0.1, 0.5, 2, 10],
      registers,
    }),
    runsFinished: new Counter({
      name: "heddle_runs_finished_total",
      help: "Runs that ended, by status",
      labelNames: ["status"],
      registers,
    }),
    runsActive: new Gauge({ name: "heddle_runs_active", help: "Runs that execute now", registers }),
    firstEventSeconds: new Histogram({
      name: "heddle_run_first_event_seconds",
      help: "Time from admission to the first event of the graph",
      buckets: [0.005, 0.02, 0.1, 0.5, 2, 10, 60],
      registers,
    }),
    openStreams: new Gauge({ name: "heddle_open_streams", help: "Event streams that clients hold open", registers }),
    async render(pending) {
      queueDepth.set(pending);
      return registry.metrics();
    },
    contentType: registry.contentType,
  };
}
