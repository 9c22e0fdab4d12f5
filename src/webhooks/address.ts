/**
 * Which addresses a webhook may be sent to: those that anybody on the internet could reach by themselves. What stands
 * inside of another address (IPv4 in IPv6, 6to4, NAT64) is judged by what is inside, because that is where it leads.
 */
import ipaddr from "ipaddr.js";

type Address = ipaddr.IPv4 | ipaddr.IPv6;

/** What `webhooks.url.allow_private` adds. */
const PRIVATE_RANGES: ReadonlySet<string> = new Set(["loopback", "private", "uniqueLocal", "carrierGradeNat"]);

/** Where clouds answer questions for credentials; never allowed. 169.254.169.254 is link-local, which never is either. */
const METADATA_ADDRESSES: ReadonlySet<string> = new Set(["fd00:ec2::254", "100.100.100.200"]);

/** Of IPv6 only this part is given to hosts; what libraries call unicast is more. */
const GLOBAL_UNICAST = ipaddr.IPv6.parseCIDR("2000::/3");

/** Why nothing may be sent to `address`, an IP address in any spelling; undefined when it may. */
export function addressProblem(
  address: string,
  { allowPrivate }: { readonly allowPrivate: boolean },
): string | undefined {
  if (!ipaddr.isValid(address)) return `${address} is no address`;
  const parsed = innermost(ipaddr.parse(address));
  if (METADATA_ADDRESSES.has(parsed.toString())) return `${address} is a metadata service`;
  const range = rangeOf(parsed);
  if (range === "unicast" || (allowPrivate && PRIVATE_RANGES.has(range))) return undefined;
  return `${address} is not a public address (${range})`;
}

function rangeOf(address: Address): string {
  const range = address.range();
  const isOutside = address instanceof ipaddr.IPv6 && range === "unicast" && !address.match(GLOBAL_UNICAST);
  return isOutside ? "reserved" : range;
}

/** The address that traffic to `address` ends at. */
function innermost(address: Address): Address {
  if (address instanceof ipaddr.IPv4) return address;
  const { parts } = address;
  switch (address.range()) {
    case "ipv4Mapped":
      return address.toIPv4Address();
    case "6to4":
      return ipv4Of(parts[1], parts[2]);
    case "rfc6052": // NAT64
      return ipv4Of(parts[6], parts[7]);
    default:
      return address;
  }
}

function ipv4Of(high = 0, low = 0): ipaddr.IPv4 {
  return new ipaddr.IPv4([high >> 8, high & 0xff, low >> 8, low & 0xff]);
}
