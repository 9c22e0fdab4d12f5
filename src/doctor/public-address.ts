/** The test of a public address: asks the gateway behind it and judges what came back, a question at a time. */
import { randomBytes } from "node:crypto";
import type { Clock } from "../core/clock.js";
import { PROBE_PATHS, probeHeaders, type SeenRequest } from "../core/doctor-probe.js";
import { type Finding, problem } from "./finding.js";
import { type Answer, ask, readStream, trySocket } from "./probe-client.js";
import {
  fillerChars,
  hasLostHeaders,
  isLate,
  jsonOf,
  judgeAnswerHeaders,
  judgeBody,
  judgeErrors,
  judgeRequestHeaders,
  judgeSocket,
  judgeStream,
  judgeWay,
} from "./proxy-advice.js";

export interface PublicAddressDeps {
  /** With the prefix, if there is one. */
  readonly url: string;
  /** One that the gateway can find in its database. */
  readonly ticket: string;
  /** The largest body that the gateway takes. */
  readonly bodyLimit: number;
  readonly clock: Clock;
}

/** A larger one is not sent for the sake of a test. */
const MAX_BODY_BYTES = 64 * 1_024 ** 2;

/** What is found, each as soon as it is. Never throws for what the address does. */
export async function* examineAddress(deps: PublicAddressDeps): AsyncGenerator<Finding> {
  const url = deps.url.replace(/\/+$/, "");
  const at = (path: string, query: Record<string, string> = {}): string =>
    `${url}${path}?${new URLSearchParams({ ticket: deps.ticket, ...query })}`;

  const way = await attempt(() => ask(`${url}/ok`));
  if (way instanceof Error) {
    yield problem("address", `${url} does not answer: ${way.message}`);
    return;
  }
  const found = judgeWay(url, way);
  yield found;
  if (found.level === "problem") return;

  const refused = await attempt(() => ask(`${url}${PROBE_PATHS.headers}?ticket=none&nonce=none`));
  if (refused instanceof Error) {
    yield problem("errors", `what the gateway refuses does not arrive: ${refused.message}`);
  } else {
    yield judgeErrors(refused);
  }

  const nonce = randomBytes(12).toString("base64url");
  const headers = await attempt(() => ask(at(PROBE_PATHS.headers, { nonce }), { headers: probeHeaders(nonce) }));
  const noTest = headers instanceof Error ? problem("test", `it fails: ${headers.message}`) : judgeTicket(headers);
  if (headers instanceof Error || noTest !== undefined) {
    if (noTest !== undefined) yield noTest;
    return;
  }
  const seen = jsonOf(headers.text) as unknown as SeenRequest; // what the gateway answers with 200
  yield* judgeRequestHeaders(seen, url);
  yield* judgeAnswerHeaders(headers, nonce);
  if (hasLostHeaders(seen)) return; // nothing that follows would be understood

  const bytes = Math.min(deps.bodyLimit, MAX_BODY_BYTES);
  const body = Buffer.from(JSON.stringify({ filler: "x".repeat(fillerChars(bytes)) }));
  const upload = { method: "POST", headers: { "content-type": "application/json" }, body } as const;
  yield judgeBody(await attempt(() => ask(at(PROBE_PATHS.body), upload)), bytes);

  yield judgeSocket(await trySocket(at(PROBE_PATHS.socket), nonce), nonce);

  yield* await examineStream(at(PROBE_PATHS.stream), deps.clock);
}

/** Why the gateway does not take part; undefined where it does. */
function judgeTicket({ status, text }: Answer): Finding | undefined {
  if (status === 200) return undefined;
  const code = jsonOf(text)?.code;
  if (code === "unauthenticated") {
    return problem(
      "test",
      "the gateway there does not know this doctor: it uses another database",
      "Run heddle doctor with the configuration, and where the database is a folder on the machine, of that gateway.",
    );
  }
  if (status === 404 && code === "not_found") {
    return problem("test", "the gateway there knows no doctor", "Bring it to the same version as this one.");
  }
  return problem("test", `it is answered with status ${status}, not by the gateway: ${text.slice(0, 200)}`);
}

/** What is late once may be chance; what is late again without compression is held back by something else than that. */
async function examineStream(url: string, clock: Clock): Promise<readonly Finding[]> {
  const offered = await attempt(() => readStream(url, "gzip, deflate, br", clock));
  if (offered instanceof Error) return [problem("streams", `they do not begin: ${offered.message}`)];
  const plain = isLate(offered) ? await attempt(() => readStream(url, "identity", clock)) : null;
  return judgeStream(offered, plain instanceof Error ? null : plain);
}

async function attempt<T>(work: () => Promise<T>): Promise<T | Error> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof Error) return error;
    throw error;
  }
}
