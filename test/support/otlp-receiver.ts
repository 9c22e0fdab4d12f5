/** A collector of OpenTelemetry traces on a free port. */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

export interface ReceivedSpan {
  readonly name: string;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string | undefined;
  readonly startMs: number;
  readonly endMs: number;
  readonly failed: boolean;
  readonly attributes: Readonly<Record<string, unknown>>;
}

export interface OtlpReceiver {
  readonly url: string;
  readonly spans: readonly ReceivedSpan[];
  /** All that came, as text. */
  readonly text: () => string;
  readonly resource: () => Readonly<Record<string, unknown>>;
  /** How many requests came. */
  readonly requests: () => number;
  close(): Promise<void>;
}

/** `status`: what it answers; "never": nothing. */
export async function startOtlpReceiver(status: number | "never" = 200): Promise<OtlpReceiver> {
  const spans: ReceivedSpan[] = [];
  const texts: string[] = [];
  let resource = {};
  let requests = 0;
  const server = createServer(async (request, response) => {
    requests++;
    let text = "";
    for await (const chunk of request) text += String(chunk);
    texts.push(text);
    if (request.url === "/v1/traces") {
      for (const group of (JSON.parse(text) as Wire).resourceSpans) {
        resource = valuesOf(group.resource.attributes);
        spans.push(...group.scopeSpans.flatMap((scope) => scope.spans.map(received)));
      }
    }
    if (status !== "never") response.writeHead(status, { "content-type": "application/json" }).end("{}");
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    spans,
    text: () => texts.join("\n"),
    resource: () => resource,
    requests: () => requests,
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}

interface Wire {
  readonly resourceSpans: readonly {
    readonly resource: { readonly attributes: readonly WireAttribute[] };
    readonly scopeSpans: readonly { readonly spans: readonly WireSpan[] }[];
  }[];
}

interface WireSpan {
  readonly name: string;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly status: { readonly code?: number };
  readonly attributes: readonly WireAttribute[];
}

interface WireAttribute {
  readonly key: string;
  readonly value: Readonly<Record<string, unknown>>;
}

function received(span: WireSpan): ReceivedSpan {
  const { name, traceId, spanId, parentSpanId } = span;
  const ms = (nano: string): number => Number(BigInt(nano) / 1_000_000n);
  return {
    name,
    traceId,
    spanId,
    parentSpanId,
    startMs: ms(span.startTimeUnixNano),
    endMs: ms(span.endTimeUnixNano),
    failed: span.status.code === 2,
    attributes: valuesOf(span.attributes),
  };
}

function valuesOf(attributes: readonly WireAttribute[]): Record<string, unknown> {
  return Object.fromEntries(attributes.map(({ key, value }) => [key, Object.values(value)[0]]));
}
