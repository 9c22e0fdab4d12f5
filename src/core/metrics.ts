/** What heddle counts, as Prometheus metrics of one registry per gateway. */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";

export interface Metrics {
  readonly httpRequests: Counter<"method" | "route" | "status">;
  readonly httpSeconds: Histogram<"method" | "route">;
  /** Runs that ended, by status. */
  readonly runsFinished: Counter<"status">;
  readonly runsActive: Gauge;
  /** Runs whose lease was over, which this replica gave back to the queue. */
  readonly runsTakenOver: Counter;
  /** Runs of this replica whose lease was lost to another. */
  readonly leasesLost: Counter;
  /** From admission to the first event that the graph produced. */
  readonly firstEventSeconds: Histogram;
  readonly openStreams: Gauge;
  /** Written to the run ledger. */
  readonly ledgerBytes: Counter;
  /** Events that could not be written to it in time. */
  readonly ledgerLostEvents: Counter;
  /** 1 while what runs say can be shared with other processes, or need not be; 0 while Redis is away. */
  readonly streamBridgeUp: Gauge;
  readonly streamBridgeOutages: Counter;
  /** Events that were published while Redis was away. */
  readonly unsharedEvents: Counter;
  /** Tries to deliver a webhook, by what became of them; `failed` and `refused` are the last. */
  readonly webhookTries: Counter<"outcome">;
  /** Ticks of crons: fired, skipped (the run was refused), failed (tried again). */
  readonly cronTicks: Counter<"outcome">;
  /** How often ticks of a cron were passed over, for a later one or because its end was past. */
  readonly cronsMissed: Counter;
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
    runsTakenOver: new Counter({
      name: "heddle_runs_taken_over_total",
      help: "Runs that went back to the queue because their worker's lease was over",
      registers,
    }),
    leasesLost: new Counter({
      name: "heddle_leases_lost_total",
      help: "Runs that this replica executed until another one had taken them",
      registers,
    }),
    firstEventSeconds: new Histogram({
      name: "heddle_run_first_event_seconds",
      help: "Time from admission to the first event of the graph",
      buckets: [0.005, 0.02, 0.1, 0.5, 2, 10, 60],
      registers,
    }),
    openStreams: new Gauge({ name: "heddle_open_streams", help: "Event streams that clients hold open", registers }),
    ledgerBytes: new Counter({
      name: "heddle_ledger_bytes_total",
      help: "Bytes of events that were written to the run ledger",
      registers,
    }),
    ledgerLostEvents: new Counter({
      name: "heddle_ledger_lost_events_total",
      help: "Events that the run ledger lacks because they could not be written",
      registers,
    }),
    streamBridgeUp: new Gauge({
      name: "heddle_stream_bridge_up",
      help: "Whether the stream bridge works as configured: 0 while Redis is away",
      registers,
    }),
    streamBridgeOutages: new Counter({
      name: "heddle_stream_bridge_outages_total",
      help: "Times that Redis went away",
      registers,
    }),
    unsharedEvents: new Counter({
      name: "heddle_unshared_events_total",
      help: "Events that were published while Redis was away",
      registers,
    }),
    webhookTries: new Counter({
      name: "heddle_webhook_tries_total",
      help: "Tries to deliver a webhook: delivered, retried later, failed for good, refused by the rules, stopped",
      labelNames: ["outcome"],
      registers,
    }),
    cronTicks: new Counter({
      name: "heddle_cron_ticks_total",
      help: "Ticks of crons: fired, skipped because their run was refused, failed and tried again",
      labelNames: ["outcome"],
      registers,
    }),
    cronsMissed: new Counter({
      name: "heddle_crons_missed_total",
      help: "Times that ticks of a cron were passed over because nothing fired them in time",
      registers,
    }),
    async render(pending) {
      queueDepth.set(pending);
      return registry.metrics();
    },
    contentType: registry.contentType,
  };
}
