import { isIPv4, isIPv6 } from "node:net";
import type { Answer, Question } from "dns-packet";

/** A service of another cluster, or of several, as it can be reached in this one. */
export interface ImportedService {
  /** One address of each family at the most; empty while headless, or before the cluster gave it one. */
  readonly addresses: readonly string[];
  readonly headless: boolean;
  readonly ports: readonly ServicePort[];
  /** Asked for headless services only. */
  readonly endpoints: readonly ImportedEndpoint[];
}

export interface ServicePort {
  /** Without a name there is no SRV record. */
  readonly name?: string;
  readonly protocol: string;
  readonly port: number;
}

export interface ImportedEndpoint {
  readonly cluster: string;
  readonly address: string;
  readonly ports: readonly ServicePort[];
}

/** What the zone is made of, looked up for every question: nothing is copied. */
export interface ImportedServices {
  /** Whether everything was listed once: before that, absence means nothing. */
  readonly known: boolean;
  find(namespace: string, name: string): ImportedService | undefined;
  /** Whether anything is imported in a namespace. */
  has(namespace: string): boolean;
}

export type Rcode = "NOERROR" | "FORMERR" | "SERVFAIL" | "NXDOMAIN" | "NOTIMP" | "REFUSED" | "BADVERS";

export interface Reply {
  readonly rcode: Rcode;
  readonly authoritative: boolean;
  readonly answers: readonly Answer[];
  readonly authorities: readonly Answer[];
  readonly additionals: readonly Answer[];
}

export const ZONE = "clusterset.local";
const SERVICES_ZONE = `svc.${ZONE}`;
// Of the multi-cluster DNS specification, schema 1.0.0: a constant of the schema, so it may be kept for long.
const VERSION_NAME = `dns-version.${ZONE}`;
const SCHEMA_VERSION = "1.0.0";
const VERSION_TTL_S = 28_800;
/** As short as that of cluster DNS: what goes away is forgotten this soon. */
const TTL_S = 5;

const EMPTY = { answers: [], authorities: [], additionals: [] };

/** A refusal, or an answer that is not from this zone. */
export function bareReply(rcode: Rcode): Reply {
  return { rcode, authoritative: false, ...EMPTY };
}

/**
 * Answers a question about `clusterset.local`, and refuses all others: `cluster.local` has its own server.
 * Names and records: KEP-1645, "DNS", and the specification of multi-cluster DNS, schema 1.0.0.
 */
export function answerQuestion(question: Question, services: ImportedServices): Reply {
  const name = question.name.toLowerCase();
  if ((question.class ?? "IN") !== "IN" && question.class !== "ANY") return bareReply("REFUSED");
  if (name !== ZONE && !name.endsWith(`.${ZONE}`)) return bareReply("REFUSED");
  // Zone transfers are for secondaries, and there are none.
  if (question.type === "AXFR" || question.type === "IXFR") return bareReply("REFUSED");
  if (!services.known) return bareReply("SERVFAIL");
  const records = recordsAt(name, question.name, services);
  if (records === undefined) return negative("NXDOMAIN");
  const answers = records.found.filter(
    ({ type }) => type === question.type || (question.type as string) === "ANY",
  );
  if (answers.length === 0) return negative("NOERROR");
  const additionals = question.type === "SRV" ? records.additional : [];
  return { rcode: "NOERROR", authoritative: true, answers, authorities: [], additionals };
}

interface Records {
  /** Of every type. */
  readonly found: readonly Answer[];
  /** Addresses of the targets of SRV records. */
  readonly additional: readonly Answer[];
}

const NO_RECORDS: Records = { found: [], additional: [] };

/** What stands at a name; `undefined`: there is no such name, nor one below it. `asked` keeps the spelling of the question. */
function recordsAt(name: string, asked: string, services: ImportedServices): Records | undefined {
  if (name === ZONE) return { found: [soa()], additional: [] };
  if (name === VERSION_NAME)
    return {
      found: [{ type: "TXT", name: asked, ttl: VERSION_TTL_S, data: SCHEMA_VERSION }],
      additional: [],
    };
  if (name === SERVICES_ZONE) return NO_RECORDS;
  if (!name.endsWith(`.${SERVICES_ZONE}`)) return undefined;
  const labels = name.slice(0, -SERVICES_ZONE.length - 1).split(".");
  const namespace = labels.at(-1) ?? "";
  const service = labels.at(-2);
  if (service === undefined) return services.has(namespace) ? NO_RECORDS : undefined;
  const found = services.find(namespace, service);
  if (found === undefined) return undefined;
  const below = labels.slice(0, -2);
  if (below.length === 0) return { found: addressRecords(asked, addressesOf(found)), additional: [] };
  if (below.every((label) => label.startsWith("_")))
    return serviceRecords(below, asked, `${service}.${namespace}.${SERVICES_ZONE}`, found);
  return found.headless ? endpointRecords(below, asked, found) : undefined;
}

function addressesOf({ headless, addresses, endpoints }: ImportedService): readonly string[] {
  return headless ? [...new Set(endpoints.map(({ address }) => address))] : addresses;
}

/** `_http._tcp` before a service: where that port is. Of a headless service one record for each endpoint. */
function serviceRecords(
  below: readonly string[],
  asked: string,
  service: string,
  imported: ImportedService,
): Records | undefined {
  // `_tcp` alone is a name above others.
  if (below.length === 1) {
    const [protocol] = below;
    return imported.ports.some((port) => `_${port.protocol.toLowerCase()}` === protocol)
      ? NO_RECORDS
      : undefined;
  }
  if (below.length !== 2) return undefined;
  const matches = (port: ServicePort): boolean =>
    port.name !== undefined &&
    port.name !== "" &&
    `_${port.name}` === below[0] &&
    `_${port.protocol.toLowerCase()}` === below[1];
  if (!imported.ports.some(matches)) return undefined;
  const targets = imported.headless
    ? imported.endpoints.flatMap(({ cluster, address, ports }) =>
        ports.filter(matches).map(({ port }) => ({
          port,
          target: `${hostnameOf(address)}.${cluster}.${service}`,
          addresses: [address],
        })),
      )
    : imported.ports
        .filter(matches)
        .map(({ port }) => ({ port, target: service, addresses: imported.addresses }));
  return {
    found: targets.map(({ port, target }) => ({
      type: "SRV",
      name: asked,
      ttl: TTL_S,
      data: { priority: 0, weight: 100, port, target },
    })),
    additional: targets.flatMap(({ target, addresses }) => addressRecords(target, addresses)),
  };
}

/** `10-0-0-1.east` before a headless service: one endpoint by name. `east` alone has no records, but names below it. */
function endpointRecords(
  below: readonly string[],
  asked: string,
  { endpoints }: ImportedService,
): Records | undefined {
  const [hostname, cluster] = below.length === 1 ? [undefined, below[0]] : below;
  if (below.length > 2) return undefined;
  const there = endpoints.filter((endpoint) => endpoint.cluster === cluster);
  if (there.length === 0) return undefined;
  if (hostname === undefined) return NO_RECORDS;
  const matching = there.filter(({ address }) => hostnameOf(address) === hostname);
  return matching.length === 0
    ? undefined
    : {
        found: addressRecords(
          asked,
          matching.map(({ address }) => address),
        ),
        additional: [],
      };
}

/** A DNS label that an address gives: `10-0-0-1`, `2001-db8--1`. */
export function hostnameOf(address: string): string {
  const dashed = address.toLowerCase().replace(/[.:]/g, "-");
  // A label neither begins nor ends with a dash, and `::1` would.
  return dashed.replace(/^-/, "0-").replace(/-$/, "-0");
}

function addressRecords(name: string, addresses: readonly string[]): Answer[] {
  return addresses.flatMap((data): Answer[] => {
    if (isIPv4(data)) return [{ type: "A", name, ttl: TTL_S, data }];
    return isIPv6(data) ? [{ type: "AAAA", name, ttl: TTL_S, data }] : [];
  });
}

/** With the SOA record, whose minimum says how long the absence may be remembered (RFC 2308 §3). */
function negative(rcode: "NOERROR" | "NXDOMAIN"): Reply {
  return { rcode, authoritative: true, answers: [], authorities: [soa()], additionals: [] };
}

function soa(): Answer {
  return {
    type: "SOA",
    name: ZONE,
    ttl: TTL_S,
    data: {
      mname: `ns.dns.${ZONE}`,
      rname: `hostmaster.${ZONE}`,
      serial: 1,
      refresh: 7_200,
      retry: 1_800,
      expire: 86_400,
      minimum: TTL_S,
    },
  };
}
