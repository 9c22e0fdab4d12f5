/**
 * Which URLs a webhook may have (`webhooks.url`). Asked when a run is created, and again before every try: the rules may
 * have changed since. What a name resolves to is only known when it is sent (`post.ts`). Pure.
 */
import { isIP } from "node:net";
import { type GatewayError, invalid } from "../core/errors.js";
import { addressProblem } from "./address.js";

export interface UrlPolicy {
  readonly requireHttps: boolean;
  /** Host names, `*.example.com` for those below one. Empty: any. */
  readonly allowedDomains: readonly string[];
  /** Empty: any. */
  readonly allowedPorts: readonly number[];
  readonly maxUrlLength: number;
  /** Whether paths of the gateway's own, such as `/threads`, are refused. */
  readonly disableLoopback: boolean;
  /** Whether hosts in this machine and in private networks may be called. */
  readonly allowPrivate: boolean;
}

/** Where a webhook goes. */
export type WebhookTarget =
  | { readonly kind: "own"; readonly path: string }
  /** `hostname` is a name, or an address without brackets. */
  | { readonly kind: "remote"; readonly url: URL; readonly hostname: string };

/** Names under which clouds answer questions for credentials; never allowed. */
const METADATA_HOSTS: ReadonlySet<string> = new Set(["metadata", "metadata.google.internal", "metadata.goog"]);

/** Only to tell paths from what looks like one and leads elsewhere. */
const OWN_BASE = "http://own.invalid";

/** Throws `validation`, saying what is wrong with it. */
export function targetOf(webhook: string, policy: UrlPolicy): WebhookTarget {
  if (webhook.length > policy.maxUrlLength) {
    throw refused(`has more than ${policy.maxUrlLength} characters (webhooks.url.max_url_length)`);
  }
  if (webhook.startsWith("/")) return ownTarget(webhook, policy);
  if (!URL.canParse(webhook)) throw refused("is no URL");
  return remoteTarget(new URL(webhook), policy);
}

function ownTarget(webhook: string, { disableLoopback }: UrlPolicy): WebhookTarget {
  const url = URL.canParse(webhook, OWN_BASE) ? new URL(webhook, OWN_BASE) : undefined;
  if (url?.origin !== OWN_BASE) throw refused("is no path of this server");
  if (disableLoopback) throw refused("is a path of this server, which webhooks.url.disable_loopback forbids");
  return { kind: "own", path: url.pathname + url.search };
}

function remoteTarget(url: URL, policy: UrlPolicy): WebhookTarget {
  if (url.protocol !== "https:" && url.protocol !== "http:")
    throw refused(`has the scheme ${url.protocol}, not https:`);
  if (url.protocol === "http:" && policy.requireHttps) {
    throw refused("has the scheme http:, which webhooks.url.require_https forbids");
  }
  if (url.username !== "" || url.password !== "") {
    throw refused("has credentials before its host; webhooks.headers is the place for them");
  }
  const port = url.port === "" ? (url.protocol === "https:" ? 443 : 80) : Number(url.port);
  if (policy.allowedPorts.length > 0 && !policy.allowedPorts.includes(port)) {
    throw refused(`has the port ${port}, which webhooks.url.allowed_ports does not name`);
  }
  const hostname = url.hostname.replace(/^\[|\]$/g, "");
  const problem = hostProblem(hostname.replace(/\.$/, ""), policy);
  if (problem !== undefined) throw refused(problem);
  return { kind: "remote", url, hostname };
}

/** `hostname` as URLs spell it: lower case, an address in its canonical form. */
function hostProblem(hostname: string, policy: UrlPolicy): string | undefined {
  if (policy.allowedDomains.length > 0 && !policy.allowedDomains.some((domain) => isWithin(hostname, domain))) {
    return `has the host ${hostname}, which webhooks.url.allowed_domains does not name`;
  }
  if (METADATA_HOSTS.has(hostname)) return `has the host ${hostname}, a metadata service`;
  const isLoopbackName = hostname === "localhost" || hostname.endsWith(".localhost");
  const problem = isIP(hostname) === 0 ? undefined : addressProblem(hostname, policy);
  if (problem === undefined && (policy.allowPrivate || !isLoopbackName)) return undefined;
  return `has a host that may not be called: ${problem ?? `${hostname} is this machine`} (webhooks.url.allow_private)`;
}

/** `*.example.com` covers what is below it, not itself. */
function isWithin(hostname: string, domain: string): boolean {
  const name = domain.toLowerCase();
  return name.startsWith("*.") ? hostname.endsWith(name.slice(1)) : hostname === name;
}

function refused(why: string): GatewayError {
  return invalid(`webhook: the URL ${why}`);
}
