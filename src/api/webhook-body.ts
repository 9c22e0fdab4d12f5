/** What a webhook says on the wire: the run as the API shows it, how it ended, and the final state as `wait` answers it. */
import { resultJson } from "../runs/result.js";
import type { WebhookDelivery } from "../storage/ports/webhooks.js";
import { iso, renderRun } from "./render.js";

/** JSON. The stored state goes in as it is: it may be long, and is sent several times. */
export function webhookBody({ ended }: Pick<WebhookDelivery, "ended">, sentAt: number): string {
  const { run, status, startedAt, endedAt, valuesJson, interrupts } = ended;
  const members = JSON.stringify({
    ...renderRun(run),
    status,
    run_started_at: startedAt === null ? null : iso(startedAt),
    run_ended_at: iso(endedAt),
    webhook_sent_at: iso(sentAt),
    ...(run.error === null ? {} : { error: run.error }),
  });
  return `${members.slice(0, -1)},"values":${resultJson({ valuesJson, interrupts, error: null })}}`;
}
