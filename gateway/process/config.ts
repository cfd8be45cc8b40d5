import { type Address, parseAddress } from "../../federation/model/address.ts";
import { type Cidr, parseCidr, parseIp } from "../../federation/model/ip-address.ts";
import type { LogLevel } from "../../federation/model/log.ts";
import type { AccessLogPolicy } from "../dataplane/index.ts";
import type { Issue } from "../../federation/model/problem.ts";
import { err, ok, type Result } from "../../federation/model/result.ts";

/** Settings of a gateway or agent process, from its environment. */
export interface ProcessConfig {
  readonly stateDir: string;
  /** `gateway-1`: the name under which this process reports; unique in its cluster. */
  readonly member: string;
  /** Tunnel listener. */
  readonly listen: Address;
  /** Where other clusters dial this gateway, when that is not the listener's own address. */
  readonly advertise?: string;
  readonly servicesFile?: string;
  readonly adminListen: Address;
  /** `in-cluster`, or the path of a kubeconfig: services come from an API server. */
  readonly kubernetes?: string;
  /** The Kubernetes node that this process serves. */
  readonly node?: string;
  /** With which a gateway joins, where the cluster has not joined yet. */
  readonly joinTokenFile?: string;
  /** Gateways in Kubernetes: where agents and controllers ask for their identities. */
  readonly issuerListen?: Address;
  /** Agents and controllers in Kubernetes: the projected token that they show to the issuer. */
  readonly identityTokenFile?: string;
  /** Gateways in Kubernetes: who signs in place of a CA of their own. */
  readonly caIssuer?: CaIssuerRef;
  /** The request that the CA of that issuer is certified by. */
  readonly caCsrFile?: string;
  readonly logLevel: LogLevel;
  /** Absent: no access log. */
  readonly accessLog?: AccessLogPolicy;
  readonly registry?: string;
  readonly svidTtlMs: number;
  readonly drainMs: number;
  /** How many processes share its port. */
  readonly workers: number;
  /** Client certificates and CAs for the outside, one directory each; `secrets` in the state directory unless given. */
  readonly secretsDir?: string;
  /** Gateways: HTTPS for callers from outside, such as `0.0.0.0:443`. */
  readonly ingressListen?: Address;
  /** Gateways: the HTTP proxy for workloads that hold their own SVID. */
  readonly proxyListen?: Address;
  /** Gateways in Kubernetes: where names in `clusterset.local` are answered. */
  readonly dnsListen?: Address;
  /** Instead of those of the system. */
  readonly dnsServers: readonly string[];
  /** Ranges of this cluster (pods, services, nodes) that no external name may lead into. */
  readonly clusterCidrs: readonly Cidr[];
}

/** Who signs certificates, in cert-manager's words (`spec.issuerRef`). */
export interface CaIssuerRef {
  readonly kind: string;
  readonly group: string;
  readonly name: string;
}

export interface ParsedConfig {
  readonly config: ProcessConfig;
  /** Settings that are not known: not fatal, because a newer chart may set them for an older image. */
  readonly warnings: readonly Issue[];
}

// An hour: short enough to make revocation by expiry useful, long enough that minting costs nothing.
const DEFAULT_SVID_TTL_S = 3600;
// Two minutes: longer than the slowest request we promise, shorter than kubelet's patience.
const DEFAULT_DRAIN_S = 120;
// Loopback and any port: metrics and probes are for the machine's own agents unless someone decides otherwise.
const DEFAULT_ADMIN = "127.0.0.1:0";

const LOG_LEVELS: readonly LogLevel[] = ["debug", "info", "warn", "error"];
const PREFIX = "ISTHMUS_";
const KNOWN = [
  "ISTHMUS_STATE_DIR",
  "ISTHMUS_MEMBER",
  "ISTHMUS_LISTEN",
  "ISTHMUS_ADVERTISE",
  "ISTHMUS_SERVICES_FILE",
  "ISTHMUS_ADMIN_LISTEN",
  "ISTHMUS_KUBERNETES",
  "ISTHMUS_NODE",
  "ISTHMUS_JOIN_TOKEN_FILE",
  "ISTHMUS_ISSUER_LISTEN",
  "ISTHMUS_IDENTITY_TOKEN_FILE",
  "ISTHMUS_CA_ISSUER",
  "ISTHMUS_CA_CSR_FILE",
  "ISTHMUS_LOG_LEVEL",
  "ISTHMUS_ACCESS_LOG",
  "ISTHMUS_REGISTRY",
  "ISTHMUS_SVID_TTL_SECONDS",
  "ISTHMUS_DRAIN_SECONDS",
  "ISTHMUS_WORKERS",
  "ISTHMUS_SECRETS_DIR",
  "ISTHMUS_INGRESS_LISTEN",
  "ISTHMUS_PROXY_LISTEN",
  "ISTHMUS_DNS_LISTEN",
  "ISTHMUS_DNS_SERVERS",
  "ISTHMUS_CLUSTER_CIDRS",
] as const;
type Key = (typeof KNOWN)[number];

// A file name and a URL segment are made of it.
const MEMBER = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;

// Kind, group unless it is cert-manager's own, name.
const CA_ISSUER =
  /^([A-Z][A-Za-z0-9]{0,62})(?:\.([a-z0-9](?:[a-z0-9.-]{0,250}[a-z0-9])?))?\/([a-z0-9](?:[a-z0-9.-]{0,250}[a-z0-9])?)$/;

/** All mistakes at once. `keys` are the names that are set, so that unknown ones can be pointed out. */
export function parseProcessConfig(
  get: (key: string) => string | undefined,
  keys: readonly string[] = [],
  hasIpv6 = true,
): Result<ParsedConfig, readonly Issue[]> {
  const read = createReader(get, hasIpv6);
  const config = {
    stateDir: read.required(
      "ISTHMUS_STATE_DIR",
      "the cluster's state directory, as made by isthmus cluster join",
    ),
    member: read.member("ISTHMUS_MEMBER"),
    listen: read.address("ISTHMUS_LISTEN", undefined),
    advertise: read.advertise("ISTHMUS_ADVERTISE"),
    servicesFile: read.optional("ISTHMUS_SERVICES_FILE"),
    adminListen: read.address("ISTHMUS_ADMIN_LISTEN", DEFAULT_ADMIN),
    kubernetes: read.optional("ISTHMUS_KUBERNETES"),
    node: read.optional("ISTHMUS_NODE"),
    joinTokenFile: read.optional("ISTHMUS_JOIN_TOKEN_FILE"),
    issuerListen: read.optionalAddress("ISTHMUS_ISSUER_LISTEN"),
    identityTokenFile: read.optional("ISTHMUS_IDENTITY_TOKEN_FILE"),
    caIssuer: read.caIssuer("ISTHMUS_CA_ISSUER"),
    caCsrFile: read.optional("ISTHMUS_CA_CSR_FILE"),
    logLevel: read.logLevel("ISTHMUS_LOG_LEVEL"),
    accessLog: read.accessLog("ISTHMUS_ACCESS_LOG"),
    registry: read.url("ISTHMUS_REGISTRY"),
    svidTtlMs: read.seconds("ISTHMUS_SVID_TTL_SECONDS", DEFAULT_SVID_TTL_S, 1, 86_400) * 1000,
    drainMs: read.seconds("ISTHMUS_DRAIN_SECONDS", DEFAULT_DRAIN_S, 0, 3600) * 1000,
    workers: read.workers("ISTHMUS_WORKERS"),
    secretsDir: read.optional("ISTHMUS_SECRETS_DIR"),
    ingressListen: read.optionalAddress("ISTHMUS_INGRESS_LISTEN"),
    proxyListen: read.optionalAddress("ISTHMUS_PROXY_LISTEN"),
    dnsListen: read.optionalAddress("ISTHMUS_DNS_LISTEN"),
    dnsServers: read.list("ISTHMUS_DNS_SERVERS", parseDnsServer),
    clusterCidrs: read.list("ISTHMUS_CLUSTER_CIDRS", parseCidr),
  };
  if (read.issues.length > 0) return err(read.issues);
  return ok({ config: withoutUndefined(config), warnings: unknownSettings(keys) });
}

function createReader(get: (key: string) => string | undefined, hasIpv6: boolean) {
  // One manifest for all clusters says `[::]`, which takes both families; a kernel without IPv6 makes no such socket.
  const heard = (address: Address): Address =>
    address.host === "::" && !hasIpv6 ? { ...address, host: "0.0.0.0" } : address;
  const issues: Issue[] = [];
  const complain = (path: Key, message: string): void => void issues.push({ path, message });
  // An empty value is how shells and charts spell "not set".
  const optional = (key: Key): string | undefined => get(key) || undefined;
  const required = (key: Key, what: string): string => {
    const value = optional(key);
    if (value === undefined) complain(key, `is required: ${what}`);
    return value ?? "";
  };
  return {
    issues,
    optional,
    required,
    member(key: Key): string {
      const value = required(key, "this process's name in its cluster, such as gateway-1");
      if (value !== "" && !MEMBER.test(value))
        complain(key, `"${value}" is not a name: use a-z, 0-9 and "-"`);
      return value;
    },
    address(key: Key, fallback: string | undefined): Address {
      const value = optional(key) ?? fallback ?? required(key, "the tunnel listener, host:port");
      const parsed = parseAddress(value);
      if (parsed.ok) return heard(parsed.value);
      if (value !== "") complain(key, parsed.error);
      return { host: "", port: 0 };
    },
    optionalAddress(key: Key): Address | undefined {
      const value = optional(key);
      const parsed = value === undefined ? undefined : parseAddress(value);
      if (parsed?.ok === false) complain(key, parsed.error);
      return parsed?.ok === true ? heard(parsed.value) : undefined;
    },
    advertise(key: Key): string | undefined {
      const value = optional(key);
      if (value === undefined) return undefined;
      const parsed = parseAddress(value);
      if (!parsed.ok) complain(key, parsed.error);
      else if (parsed.value.port === 0) complain(key, `"${value}" names no port that others could dial`);
      return value;
    },
    logLevel(key: Key): LogLevel {
      const value = optional(key) ?? "info";
      const level = LOG_LEVELS.find((known) => known === value);
      if (level === undefined) complain(key, `"${value}" is not one of ${LOG_LEVELS.join(", ")}`);
      return level ?? "info";
    },
    accessLog(key: Key): AccessLogPolicy | undefined {
      const value = optional(key) ?? "off";
      if (value === "off") return undefined;
      if (value === "all") return { share: 1 };
      if (value === "errors") return { share: 0 };
      const percent = /^(\d{1,3}(?:\.\d{1,4})?)%$/.exec(value)?.[1];
      if (percent !== undefined && Number(percent) <= 100) return { share: Number(percent) / 100 };
      complain(key, `"${value}" is not off, errors, all, or a share such as 1% (errors always get a line)`);
      return undefined;
    },
    caIssuer(key: Key): CaIssuerRef | undefined {
      const value = optional(key);
      const [, kind, group = "cert-manager.io", name] = CA_ISSUER.exec(value ?? "") ?? [];
      if (kind !== undefined && name !== undefined) return { kind, group, name };
      if (value !== undefined)
        complain(
          key,
          `"${value}" is no issuer: Issuer/isthmus-ca, or StepIssuer.certmanager.step.sm/isthmus-ca`,
        );
      return undefined;
    },
    url(key: Key): string | undefined {
      const value = optional(key);
      if (value === undefined) return undefined;
      const url = URL.parse(value);
      if (url === null || !/^https?:$/.test(url.protocol)) complain(key, `"${value}" is not an http(s) URL`);
      return value.replace(/\/+$/, "");
    },
    list<T>(key: Key, parse: (text: string) => Result<T>): readonly T[] {
      const parts = (optional(key) ?? "").split(",").map((part) => part.trim());
      return parts.flatMap((part) => {
        if (part === "") return [];
        const parsed = parse(part);
        if (!parsed.ok) complain(key, parsed.error);
        return parsed.ok ? [parsed.value] : [];
      });
    },
    /** `auto` is for the command that starts them: it tells each how many there are. */
    workers(key: Key): number {
      const number = Number(optional(key) ?? "1");
      return Number.isInteger(number) && number >= 1 ? number : 1;
    },
    seconds(key: Key, fallback: number, min: number, max: number): number {
      const value = optional(key);
      if (value === undefined) return fallback;
      const number = /^\d{1,9}(\.\d{1,3})?$/.test(value) ? Number(value) : Number.NaN;
      if (!(number >= min && number <= max))
        complain(key, `"${value}" is not a number of seconds from ${min} to ${max}`);
      return number;
    },
  };
}

/** `192.0.2.53`, `192.0.2.53:5353` or `[2001:db8::53]:5353`, as `dns.setServers` takes them. */
function parseDnsServer(text: string): Result<string> {
  const address = parseAddress(text);
  const host = address.ok ? address.value.host : text;
  return parseIp(host) === undefined ? err(`"${text}" is not the address of a DNS server`) : ok(text);
}

/** Under `exactOptionalPropertyTypes` an absent setting is absent, not `undefined`. */
function withoutUndefined<T extends object>(values: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]: Exclude<T[K], undefined>;
  };
}

function unknownSettings(keys: readonly string[]): Issue[] {
  const known: readonly string[] = KNOWN;
  return keys
    .filter((key) => key.startsWith(PREFIX) && !known.includes(key))
    .map((path) => ({ path, message: "is not a setting of this process" }));
}
