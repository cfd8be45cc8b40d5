import net, { type Socket } from "node:net";
import tls, { type PeerCertificate, type TLSSocket } from "node:tls";
import type { EgressTls, SubjectAltName } from "../../../../federation/model/egress-policy.ts";
import { type ExternalHost, formatDestination } from "../../../../federation/model/external-host.ts";
import { formatIp, type IpAddress } from "../../../../federation/model/ip-address.ts";
import { type Problem, problem } from "../../../../federation/model/problem.ts";
import { err, ok, type Result } from "../../../../federation/model/result.ts";
import { liesWithin } from "../../policy/egress-table.ts";
import { type ExternalRule, DEFAULT_TIMEOUTS } from "../../policy/external-rule.ts";
import { type GuardedRange, guardOf } from "../../policy/guarded-ranges.ts";
import { ignore } from "../relay.ts";
import type { ClientContext } from "./client-contexts.ts";
import type { NameResolver } from "./name-resolver.ts";

export interface DialPlan {
  readonly host: ExternalHost;
  readonly port: number;
  readonly rule: ExternalRule | undefined;
  /** Present where we speak TLS ourselves. */
  readonly tls?: {
    readonly settings: EgressTls;
    readonly context: ClientContext;
    readonly alpn: readonly string[];
  };
}

export type Dialed = (result: Result<Socket, Problem>) => void;

export interface DialerOptions {
  readonly resolver: NameResolver;
  readonly guarded: () => readonly GuardedRange[];
}

// RFC 8305 §5: the next address is tried when the one before has not answered for so long.
const ATTEMPT_DELAY_MS = 250;

/** Opens connections to the outside. The addresses that were judged are the addresses that are dialled. */
export class ExternalDialer {
  readonly #options: DialerOptions;

  constructor(options: DialerOptions) {
    this.#options = options;
  }

  /** Calls `done` exactly once. The socket has no listeners of ours left, and its peer is verified. */
  dial(plan: DialPlan, done: Dialed): void {
    const attempt = new Attempt(plan, done);
    this.addresses(plan, (found) => {
      if (found.ok) attempt.connect(found.value);
      else attempt.fail(found.error);
    });
  }

  /** The addresses of a destination that may be dialled. */
  addresses(
    { host, rule }: Pick<DialPlan, "host" | "rule">,
    done: (found: Result<readonly IpAddress[], Problem>) => void,
  ): void {
    if (host.kind === "address") return done(this.#judge(host, rule, [host.address]));
    this.#options.resolver.resolve(host.name, (resolved) =>
      done(resolved.ok ? this.#judge(host, rule, resolved.value) : resolved),
    );
  }

  #judge(
    host: ExternalHost,
    rule: ExternalRule | undefined,
    addresses: readonly IpAddress[],
  ): Result<readonly IpAddress[], Problem> {
    const ranges = this.#options.guarded();
    const usable: IpAddress[] = [];
    let reason = "";
    for (const address of addresses) {
      const guard = guardOf(ranges, address, rule?.opened ?? []);
      if (guard !== undefined)
        reason = `${host.kind === "name" ? `${host.name} is ` : ""}${formatIp(address)}: ${guard.what}`;
      else if (rule !== undefined && !liesWithin(rule, address))
        reason = `${host.name} is ${formatIp(address)}, outside the range that EgressPolicy ${rule.policy} names`;
      else usable.push(address);
    }
    return usable.length > 0 ? ok(usable) : err(problem("egress_address_denied", reason));
  }
}

/** One dial: addresses in turn, then the handshake, all within one time. */
class Attempt {
  readonly #plan: DialPlan;
  readonly #done: Dialed;
  readonly #timer: NodeJS.Timeout;
  readonly #open = new Set<Socket>();
  #next: NodeJS.Timeout | undefined;
  #over = false;
  #untried: IpAddress[] = [];
  #lastError = "no address";

  constructor(plan: DialPlan, done: Dialed) {
    this.#plan = plan;
    this.#done = done;
    const { connectMs } = plan.rule?.timeouts ?? DEFAULT_TIMEOUTS;
    this.#timer = setTimeout(
      () => this.fail(problem("external_timeout", `${this.#name()} within ${connectMs} ms`)),
      connectMs,
    );
  }

  connect(addresses: readonly IpAddress[]): void {
    this.#untried = [...addresses];
    this.#tryNext();
  }

  #tryNext(): void {
    clearTimeout(this.#next);
    if (this.#over) return;
    const address = this.#untried.shift();
    if (address === undefined) {
      if (this.#open.size === 0)
        this.fail(problem("external_unreachable", `${this.#name()}: ${this.#lastError}`));
      return;
    }
    const socket = net.connect({
      host: formatIp(address),
      port: this.#plan.port,
      allowHalfOpen: true,
      noDelay: true,
    });
    this.#open.add(socket);
    this.#next = setTimeout(() => this.#tryNext(), ATTEMPT_DELAY_MS);
    socket.once("connect", () => this.#connected(socket));
    socket.once("error", (error) => {
      this.#open.delete(socket);
      this.#lastError = error.message;
      this.#tryNext();
    });
  }

  fail(reason: Problem): void {
    this.#finish(err(reason));
  }

  #connected(socket: Socket): void {
    if (this.#over) return void socket.destroy();
    clearTimeout(this.#next);
    for (const other of this.#open) if (other !== socket) other.destroy();
    this.#untried = [];
    this.#open.clear();
    this.#open.add(socket);
    socket.removeAllListeners("error");
    socket.on("error", ignore);
    const { tls: secure } = this.#plan;
    if (secure === undefined) this.#finish(ok(socket));
    else this.#handshake(socket, secure);
  }

  #handshake(socket: Socket, { settings, context, alpn }: NonNullable<DialPlan["tls"]>): void {
    const { host } = this.#plan;
    const name = settings.sni ?? host.name;
    const secured = tls.connect({
      socket,
      secureContext: context.context,
      // No SNI for an address (RFC 6066 §3).
      ...(settings.sni === undefined && host.kind === "address" ? {} : { servername: name }),
      ...(alpn.length === 0 ? {} : { ALPNProtocols: [...alpn] }),
      rejectUnauthorized: true,
      checkServerIdentity: (_asked, certificate) =>
        checkIdentity(name, settings.validation?.subjectAltNames, certificate),
    });
    this.#open.add(secured);
    secured.once("secureConnect", () => this.#secured(secured));
    secured.once("error", (error: NodeJS.ErrnoException) => this.fail(handshakeProblem(this.#name(), error)));
    secured.once("close", () =>
      this.fail(problem("external_handshake", `${this.#name()} closed during the handshake`)),
    );
  }

  #secured(socket: TLSSocket): void {
    if (!socket.authorized || socket.isSessionReused())
      return this.fail(
        problem("external_untrusted", `${this.#name()}: ${String(socket.authorizationError)}`),
      );
    this.#finish(ok(socket));
  }

  #finish(result: Result<Socket, Problem>): void {
    if (this.#over) return;
    this.#over = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#next);
    if (!result.ok) {
      for (const socket of this.#open) {
        socket.on("error", ignore);
        socket.destroy();
      }
    } else {
      result.value.removeAllListeners("error");
      result.value.removeAllListeners("close");
      result.value.on("error", ignore);
    }
    this.#done(result);
  }

  #name(): string {
    return formatDestination(this.#plan.host, this.#plan.port);
  }
}

/** Pinned names stand instead of the host's own (Gateway API BackendTLSPolicy): one of them must be in the certificate. */
function checkIdentity(
  name: string,
  pinned: readonly SubjectAltName[] | undefined,
  certificate: PeerCertificate,
): Error | undefined {
  if (pinned === undefined) return tls.checkServerIdentity(name, certificate);
  // Node quotes a name that has a comma in it, so that splitting cannot make two names of one.
  const sans = (certificate.subjectaltname ?? "").split(", ");
  const fits = pinned.some((san) =>
    san.type === "URI"
      ? sans.includes(`URI:${san.uri}`)
      : tls.checkServerIdentity(san.hostname, certificate) === undefined,
  );
  if (fits) return undefined;
  const error: NodeJS.ErrnoException = new Error(
    "the certificate has none of the names that the policy pins",
  );
  error.code = "ERR_TLS_CERT_ALTNAME_INVALID";
  return error;
}

/** OpenSSL's verdicts (X509_V_ERR_…) as ours. */
export function handshakeProblem(destination: string, error: NodeJS.ErrnoException): Problem {
  const code = error.code ?? "";
  const detail = `${destination}: ${error.message}`.slice(0, 400);
  if (code === "ERR_TLS_CERT_ALTNAME_INVALID") return problem("external_wrong_name", detail);
  if (/^CERT_(HAS_EXPIRED|NOT_YET_VALID)$/.test(code)) return problem("external_expired", detail);
  if (/SELF_SIGNED|UNABLE_TO|^CERT_|INVALID_(CA|PURPOSE)|PATH_LENGTH|^CRL_/.test(code))
    return problem("external_untrusted", detail);
  return problem("external_handshake", detail);
}
