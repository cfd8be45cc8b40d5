import type { Socket } from "node:net";
import { formatDestination, parseDestination } from "../../../../federation/model/external-host.ts";
import type { Logger } from "../../../../federation/model/log.ts";
import { PROBLEMS, type Problem, problem } from "../../../../federation/model/problem.ts";
import type { SpiffeId, TrustDomain } from "../../../../federation/model/spiffe-id.ts";
import { SYSTEM_NAMESPACE } from "../../../../federation/model/spiffe-id.ts";
import type { Metrics } from "../counters.ts";
import { lossOf, refusalOf } from "../forward.ts";
import { ignore, relay, type RelayCounters } from "../relay.ts";
import { TUNNEL_HEADER } from "../tunnel-settings.ts";
import { ErrorCode, type OpenedStream, type ReceivedFields } from "../tunnel-stream.ts";
import type { Upstream } from "../upstream.ts";
import type { Way } from "./gate.ts";

/** `isthmus-destination` of a tunnel stream that leaves the federation at the gateway. */
export const EXTERNAL = "external";

/** `aud` of the token with which a workload leaves its cluster: what it may reach is decided at the gateway alone. */
export function externalAudience(trustDomain: TrustDomain): string {
  return `${trustDomain}/${SYSTEM_NAMESPACE}/egress`;
}

// The authority of the ways that name no host: the bytes do.
const PROXY_AUTHORITY = "proxy.external:80";
const SNI_AUTHORITY = "sni.external:443";

export function wayFields(way: Way): { readonly ":authority": string; readonly "isthmus-way": string } {
  if (way.kind === "proxy") return { ":authority": PROXY_AUTHORITY, "isthmus-way": "proxy" };
  if (way.kind === "sni") return { ":authority": SNI_AUTHORITY, "isthmus-way": "sni" };
  const { host, port } = way.destination;
  return { ":authority": formatDestination(host, port), "isthmus-way": "address" };
}

/** Inverse of `wayFields`. */
export function readWay(headers: ReceivedFields): Way | Problem {
  const kind = headers[TUNNEL_HEADER.way];
  if (kind === "proxy" || kind === "sni") return { kind };
  const destination = parseDestination(headers[":authority"] ?? "");
  if (kind !== "address") return problem("no_route", "isthmus-way is missing");
  return destination.ok
    ? { kind, destination: destination.value }
    : problem("egress_destination_invalid", destination.error);
}

export interface ExternalTunnelOptions {
  readonly gateways: Upstream;
  readonly trustDomain: TrustDomain;
  readonly callerToken: (caller: SpiffeId, audience: string) => string | undefined;
  readonly counters: RelayCounters;
  readonly log: Logger;
}

/** The agent's part of a way out: who calls is known here, everything else is decided at the gateway. */
export function createExternalTunnel(options: ExternalTunnelOptions) {
  const { gateways, trustDomain, callerToken, counters, log } = options;
  const audience = externalAudience(trustDomain);
  const cut = (socket: Socket, caller: SpiffeId, reason: Problem): void => {
    const { code } = PROBLEMS[reason.name];
    log.warn("refused", { code, problem: reason.name, detail: reason.detail, caller: caller.uri });
    socket.resetAndDestroy();
  };
  return (socket: Socket, caller: SpiffeId, way: Way): void => {
    socket.on("error", ignore);
    const token = callerToken(caller, audience);
    if (token === undefined)
      return cut(socket, caller, problem("identity_pending", `${caller.uri} has no valid SVID here`));
    const open = (): OpenedStream | undefined =>
      gateways.open(
        {
          ":method": "CONNECT",
          ...wayFields(way),
          [TUNNEL_HEADER.destination]: EXTERNAL,
          [TUNNEL_HEADER.caller]: token,
        },
        ignore,
      );
    const join = (stream: OpenedStream): void => {
      let answered = false;
      stream.once("response", (headers) => {
        answered = true;
        if (headers[":status"] === 200) return;
        cut(socket, caller, refusalOf(headers));
        stream.close(ErrorCode.cancel);
      });
      stream.once("close", () => {
        if (!answered && !socket.destroyed) cut(socket, caller, lossOf(stream.rstCode));
      });
      relay(socket, stream, counters);
      socket.resume();
    };
    const stream = open();
    if (stream !== undefined) return join(stream);
    gateways.whenReady((ready) => {
      if (socket.destroyed) return;
      const late = ready ? open() : undefined;
      if (late !== undefined) join(late);
      else
        cut(socket, caller, problem("gateway_unreachable", "no tunnel to a gateway of this cluster is up"));
    });
  };
}

export function externalCounters(metrics: Metrics): RelayCounters {
  const way = (name: string) =>
    metrics.bytes.series({ direction: "external", service: "external", way: name });
  return { up: way("up"), down: way("down") };
}
