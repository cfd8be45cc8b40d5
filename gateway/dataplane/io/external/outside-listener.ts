import { constants } from "node:crypto";
import tls, { type SecureContext, type TLSSocket } from "node:tls";
import type { Address } from "../../../../federation/model/address.ts";
import { parseExternalHost } from "../../../../federation/model/external-host.ts";
import type { Logger } from "../../../../federation/model/log.ts";
import { type Problem, PROBLEMS, problem } from "../../../../federation/model/problem.ts";
import { err, ok } from "../../../../federation/model/result.ts";
import { serviceKey } from "../../../../federation/model/service.ts";
import type { Watch } from "../../lifecycle/watch.ts";
import {
  type IngressRule,
  type IngressTable,
  offersHttp2,
  selectIngress,
} from "../../routing/ingress-table.ts";
import type { RequestHead } from "../../http1/request-head.ts";
import type { RouteTables } from "../../routing/tables.ts";
import { Bag } from "../bag.ts";
import { DRAIN_IDLE_MS, PATIENT_READER_MS } from "../client-patience.ts";
import type { Metrics } from "../counters.ts";
import type { EventLog } from "../event-log.ts";
import { refusalOf } from "../forward.ts";
import type { RelayCounters } from "../relay.ts";
import { ignore } from "../relay.ts";
import { listenShared, type PortClaims } from "../shared-port.ts";
import { expireDue, TICK_MS } from "../ticker.ts";
import type { OpenedStream } from "../tunnel-stream.ts";
import { CIPHERS } from "./client-contexts.ts";
import { JudgedHttp1, type JudgedHttp1Host } from "../judged/judged-http1.ts";
import type { RequestRoute } from "../judged/judging-host.ts";
import { JudgedHttp2 } from "../judged/judged-http2.ts";
import type { SecretSource } from "./secrets.ts";
import { UpstreamPools } from "./upstream-pool.ts";

export interface OutsideListenerOptions {
  readonly tables: Watch<RouteTables | undefined>;
  readonly secrets: SecretSource;
  /** A connection to an endpoint of a service of this cluster; `undefined`: there is none. */
  readonly open: (rule: IngressRule) => OpenedStream | undefined;
  readonly claims: PortClaims;
  readonly metrics: Metrics;
  readonly events: EventLog;
  readonly log: Logger;
  readonly now: () => number;
}

const HANDSHAKE_TIMEOUT_MS = 5_000;
const MAX_CONNECTIONS = 10_000;
const REQUEST_MS = 300_000;
const FORWARDED_PROTO = /^x[-_]forwarded[-_]proto:[^\r\n]*\r\n/gim;
const NOBODY: IngressTable = new Map();

/** HTTPS for callers who are not in the mesh: SNI chooses the certificate, Host and path the exported service. */
export class OutsideListener {
  readonly options: OutsideListenerOptions;
  readonly pools: UpstreamPools;
  readonly relays = new Bag<JudgedHttp1>();
  readonly connections = new Bag<JudgedHttp2>();
  readonly counters: RelayCounters;
  coarseNow: number;
  draining = false;
  readonly #server: tls.Server;
  readonly #contexts = new Map<string, SecureContext>();
  readonly #ticker: NodeJS.Timeout;
  readonly #subscriptions: readonly (() => void)[];
  #onDrained: (() => void) | undefined;

  constructor(options: OutsideListenerOptions) {
    this.options = options;
    const { now, metrics, tables, secrets } = options;
    this.coarseNow = now();
    this.pools = new UpstreamPools(now);
    const way = (name: string) =>
      metrics.bytes.series({ direction: "outside", service: "outside", way: name });
    this.counters = { up: way("up"), down: way("down") };
    this.#server = tls.createServer({
      ALPNCallback: ({ servername, protocols }) => this.#protocolOf(servername, protocols),
      minVersion: "TLSv1.2",
      ciphers: CIPHERS,
      secureOptions: constants.SSL_OP_NO_TICKET | constants.SSL_OP_NO_RENEGOTIATION,
      requestCert: true,
      // Whether a certificate is needed depends on the host, and its absence has a code of its own.
      rejectUnauthorized: false,
      handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
      SNICallback: (name, done) => this.#choose(name, done),
    });
    this.#server.maxConnections = MAX_CONNECTIONS;
    this.#server.on("secureConnection", (socket) => this.#accept(socket));
    this.#server.on("tlsClientError", (_error, socket) => socket.destroy());
    this.#subscriptions = [
      tables.subscribe(() => this.#changed()),
      secrets.subscribe(() => this.#contexts.clear()),
    ];
    this.#ticker = setInterval(() => this.#tick(now()), TICK_MS).unref();
  }

  get table(): IngressTable {
    return this.options.tables.current?.ingress ?? NOBODY;
  }

  listen(address: Address): Promise<Address> {
    return listenShared(this.#server, address, this.options.claims);
  }

  left(relay: JudgedHttp1): void {
    this.relays.delete(relay);
    this.#hasLeft();
  }

  #hasLeft(): void {
    if (this.draining && this.#isEmpty) this.#onDrained?.();
  }

  get #isEmpty(): boolean {
    return this.relays.size === 0 && this.connections.size === 0;
  }

  drain(): Promise<void> {
    this.draining = true;
    this.#server.close();
    return new Promise((resolve) => {
      this.#onDrained = resolve;
      for (const connection of this.connections.all()) connection.drain();
      if (this.#isEmpty) resolve();
    });
  }

  close(): void {
    clearInterval(this.#ticker);
    for (const unsubscribe of this.#subscriptions) unsubscribe();
    this.#server.close();
    for (const { socket } of this.relays.all()) if ("destroy" in socket) socket.destroy();
    for (const connection of this.connections.all()) connection.destroy();
    this.pools.retireAll();
  }

  #protocolOf(servername: string, offered: readonly string[]): string | undefined {
    const wanted = offersHttp2(this.table, servername.toLowerCase()) ? ["h2", "http/1.1"] : ["http/1.1"];
    return wanted.find((name) => offered.includes(name));
  }

  /** Never somebody else's certificate: a name that is not ours ends the handshake. */
  #choose(name: string, done: (error: Error | null, context?: SecureContext) => void): void {
    const host = parseExternalHost(name);
    const rule = host.ok ? this.table.get(host.value.name)?.[0] : undefined;
    if (rule === undefined) return done(new Error("no such host here"));
    const made = this.#context(rule);
    if (made === undefined) return done(new Error("the certificate of this host is not usable"));
    done(null, made);
  }

  #context({ tls: settings }: IngressRule): SecureContext | undefined {
    const { secrets, log } = this.options;
    const { certificateRef, clientValidation } = settings;
    const refs = clientValidation?.caCertificateRefs ?? [];
    const key = JSON.stringify([certificateRef.name, refs]);
    const known = this.#contexts.get(key);
    if (known !== undefined) return known;
    const pair = secrets.get(certificateRef.name);
    const authorities = refs.map(({ name }) => secrets.get(name)?.authoritiesPem);
    if (pair?.certificatePem === undefined || authorities.includes(undefined)) {
      const { code } = PROBLEMS.external_credential;
      log.error("ingress_certificate_unusable", { code, secret: certificateRef.name });
      return undefined;
    }
    const context = tls.createSecureContext({
      cert: pair.certificatePem,
      key: pair.privateKeyPem,
      ca: authorities.filter((pem) => pem !== undefined),
      minVersion: "TLSv1.2",
      ciphers: CIPHERS,
      secureOptions: constants.SSL_OP_NO_TICKET | constants.SSL_OP_NO_RENEGOTIATION,
    });
    this.#contexts.set(key, context);
    return context;
  }

  #accept(socket: TLSSocket): void {
    socket.on("error", ignore);
    const sni = (socket as TLSSocket & { readonly servername?: string | false }).servername;
    if (socket.isSessionReused() || typeof sni !== "string") return void socket.destroy();
    const caller = new OutsideCaller(this, socket, sni.toLowerCase());
    if (socket.alpnProtocol === "h2") {
      const connection = new JudgedHttp2(socket, caller, () => {
        this.connections.delete(connection);
        this.#hasLeft();
      });
      this.connections.add(connection);
      return;
    }
    const relay = new JudgedHttp1(socket, caller);
    this.relays.add(relay);
  }

  /** Connections of hosts that are gone are judged at their next request; pools to services that are gone end now. */
  #changed(): void {
    this.pools.retireAll();
    this.#contexts.clear();
  }

  #tick(now: number): void {
    this.coarseNow = now;
    expireDue(this.relays.all(), now);
    for (const connection of this.connections.all()) connection.tick(now);
    this.pools.sweep(now);
    if (!this.draining) return;
    for (const relay of this.relays.all()) relay.endIfIdle(DRAIN_IDLE_MS);
  }
}

/** One caller from outside; its requests are judged one by one. */
class OutsideCaller implements JudgedHttp1Host {
  readonly forms = "origin";
  readonly stalledReaderMs = PATIENT_READER_MS;
  readonly #listener: OutsideListener;
  readonly #host: string;
  /** Fields that say who called, or nothing. */
  readonly #identity: string;
  readonly #isValid: boolean;
  readonly #remote: string;

  constructor(listener: OutsideListener, socket: TLSSocket, host: string) {
    this.#listener = listener;
    this.#host = host;
    this.#isValid = socket.authorized;
    this.#identity = socket.authorized ? identityFields(socket) : "";
    this.#remote = socket.remoteAddress ?? "unknown";
  }

  get coarseNow(): number {
    return this.#listener.coarseNow;
  }

  get draining(): boolean {
    return this.#listener.draining;
  }

  get counters(): RelayCounters {
    return this.#listener.counters;
  }

  route(head: RequestHead): RequestRoute | Problem {
    if (head.host.replace(/:[0-9]+$/, "") !== this.#host)
      return problem("egress_name_mismatch", `Host says ${head.host}, SNI ${this.#host}`);
    const rule = selectIngress(this.#listener.table, this.#host, head.target);
    if (rule === undefined) return problem("no_route", `${this.#host} leads nowhere by this path`);
    const validation = rule.tls.clientValidation;
    if (validation?.mode === "Required" && !this.#isValid)
      return problem("ingress_certificate_required", `${this.#host} wants a client certificate of its CA`);
    const { options, pools } = this.#listener;
    const pool = pools.get(`${serviceKey(rule.service)}:${rule.port}`, (_http1, done) => {
      const stream = options.open(rule);
      if (stream === undefined)
        return done(err(problem("no_endpoint", `${serviceKey(rule.service)} has no endpoint`)));
      if (!rule.http2) return done(ok(stream));
      stream.once("response", (headers) =>
        done(
          headers[":status"] === 200
            ? ok(Object.assign(stream, { alpnProtocol: "h2" }))
            : err(refusalOf(headers)),
        ),
      );
    });
    const identity = validation === undefined ? "" : this.#identity;
    const text = head.forwardable.replace(FORWARDED_PROTO, "");
    return { pool, head: `${text}x-forwarded-proto: https\r\n${identity}`, requestMs: REQUEST_MS };
  }

  refused(reason: Problem): void {
    const { metrics, events } = this.#listener.options;
    metrics.refusals.series({ code: PROBLEMS[reason.name].code }).value += 1;
    events.refusal("outside_refused", reason, { host: this.#host, remote: this.#remote });
  }

  answered(): void {}

  begun(): void {}

  closed(relay: JudgedHttp1): void {
    this.#listener.left(relay);
  }
}

/**
 * RFC 9440, and the names in the certificate in plain. Both fields are dropped from every request that enters here, as all
 * fields that claim an identity are, so that only this place can say them.
 */
function identityFields(socket: TLSSocket): string {
  const certificate = socket.getPeerX509Certificate();
  if (certificate === undefined) return "";
  const uri = /(?:^|, )URI:([!-~]+?)(?:,|$)/.exec(certificate.subjectAltName ?? "")?.[1];
  const subject = (uri ?? certificate.subject.replaceAll("\n", ", ")).replace(/[^\x20-\x7e]/g, "?");
  return `client-cert: :${certificate.raw.toString("base64")}:\r\nisthmus-client: ${subject.slice(0, 1_024)}\r\n`;
}
