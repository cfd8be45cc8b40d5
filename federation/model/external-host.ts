import { type IpAddress, formatIp, parseIp, parseLooseIpv4 } from "./ip-address.ts";
import { err, ok, type Result } from "./result.ts";

/** Where outside the federation something wants to go: a DNS name in its one spelling, or an address in its one form. */
export type ExternalHost =
  | { readonly kind: "name"; readonly name: string }
  | { readonly kind: "address"; readonly address: IpAddress; readonly name: string };

const MAX_NAME = 253;
// Underscores occur in names of real services; they are no letters of a host name but harmless.
const LABEL = /^[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$/;
const NUMERIC_END = /^(?:[0-9]+|0x[0-9a-f]*)$/;

/**
 * Reads the host of a CONNECT target, of a URL, of a Host field or of SNI. Every spelling of one host gives the same value:
 * letters in lower case, numbers in any notation that some resolver takes for an address as that address. What has two
 * readings is refused: a trailing dot, a zone, a percent sign, white space, user information, letters outside ASCII (they
 * must come as punycode).
 */
export function parseExternalHost(text: string): Result<ExternalHost> {
  if (text.startsWith("[") && text.endsWith("]")) return bracketed(text.slice(1, -1));
  const name = text.toLowerCase();
  if (name.length === 0 || name.length > MAX_NAME) return err("a host name has 1 to 253 characters");
  if (name.includes(":")) return bracketed(name);
  if (name.endsWith(".")) return err("a host name is written without the dot at its end");
  const labels = name.split(".");
  const last = labels.at(-1) ?? "";
  if (NUMERIC_END.test(last)) {
    const address = parseIp(name) ?? parseLooseIpv4(name);
    return address === undefined ? err("this is neither an address nor a name") : ok(addressHost(address));
  }
  const bad = labels.find((label) => !LABEL.test(label));
  return bad === undefined
    ? ok({ kind: "name", name })
    : err("a host name consists of labels of a-z, 0-9 and -, others as punycode (xn--…)");
}

function bracketed(text: string): Result<ExternalHost> {
  const address = parseIp(text);
  return address === undefined || !text.includes(":")
    ? err("this is not an IPv6 address (zones such as %eth0 are not accepted)")
    : ok(addressHost(address));
}

export function addressHost(address: IpAddress): ExternalHost {
  return { kind: "address", address, name: formatIp(address) };
}

export function externalHostKey(host: ExternalHost): string {
  return host.name;
}

/** `api.example.com:443`, `[2001:db8::1]:443`. */
export function formatDestination(host: ExternalHost, port: number): string {
  return host.name.includes(":") ? `[${host.name}]:${port}` : `${host.name}:${port}`;
}

export interface Destination {
  readonly host: ExternalHost;
  readonly port: number;
}

/** `host:port`; `defaultPort` where the port may be left out. Port 0 and ports above 65535 are refused. */
export function parseDestination(text: string, defaultPort?: number): Result<Destination> {
  const match = /^(\[[^\]]*\]|[^:]*)(?::([0-9]{1,5}))?$/.exec(text);
  if (match === null) return err("write host:port, an IPv6 address in brackets");
  const host = parseExternalHost(match[1] ?? "");
  if (!host.ok) return host;
  const port = match[2] === undefined ? defaultPort : Number(match[2]);
  if (port === undefined) return err("the port is missing");
  if (port < 1 || port > 65_535) return err("a port is 1 to 65535");
  return ok({ host: host.value, port });
}

/**
 * Second levels under which registries sell names, below a country's two letters: a wildcard over one of them covers as
 * many owners as one over a top-level domain.
 */
const REGISTRY_LABELS = new Set(
  "ac asn co com edu fed firm gen go gob gouv gov gub gv id ind inf info ltd mil ne net nic nom or org plc pro sch".split(
    " ",
  ),
);

/** Whether `suffix` (of `*.suffix`) is a top-level domain, or a country's equivalent of one such as `co.uk`. */
export function isPublicSuffix(suffix: string): boolean {
  const labels = suffix.split(".");
  if (labels.length === 1) return true;
  return labels.length === 2 && (labels[1] ?? "").length === 2 && REGISTRY_LABELS.has(labels[0] ?? "");
}

/** `api.example.com` or `*.example.com` (which does not match `example.com` itself). */
export function parseHostnamePattern(text: string): Result<string> {
  const wildcard = text.startsWith("*.");
  const bare = wildcard ? text.slice(2) : text;
  if (text !== text.toLowerCase())
    return err(`"${text}" has upper-case letters: write ${text.toLowerCase()}`);
  const host = parseExternalHost(bare);
  if (!host.ok) return err(`"${text.slice(0, 80)}": ${host.error}`);
  if (host.value.kind === "address") return err(`"${text.slice(0, 80)}" is an address: name it as cidr`);
  if (bare === "cluster.local" || bare.endsWith(".cluster.local") || /(^|\.)clusterset\.local$/.test(bare))
    return err(`"${text.slice(0, 80)}" is a cluster's own name: name it as service`);
  if (wildcard && isPublicSuffix(bare))
    return err(
      `"${text.slice(0, 80)}" covers a whole top-level domain: name the owner's domain, *.example.com`,
    );
  if (!wildcard && !bare.includes("."))
    return err(`"${text.slice(0, 80)}" has one label only: write the full name, as in api.example.com`);
  return ok(text);
}

export function matchHostname(pattern: string, name: string): boolean {
  return pattern.startsWith("*.")
    ? name.length > pattern.length - 1 && name.endsWith(pattern.slice(1))
    : pattern === name;
}
