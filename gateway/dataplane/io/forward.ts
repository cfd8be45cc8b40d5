import { parseAddress } from "../../../federation/model/address.ts";
import { type Problem, problem } from "../../../federation/model/problem.ts";
import { problemNameOf } from "../policy/local-reply.ts";
import { letGo } from "./closed-socket.ts";
import { EndpointSocket } from "./endpoint-socket.ts";
import { abort, finishRelay, ignore, type RelayCounters, startRelay } from "./relay.ts";
import type { Join } from "./arrivals.ts";
import { isUnanswered, refuseTunnel } from "./tunnel-server.ts";
import { TUNNEL_HEADER } from "./tunnel-settings.ts";
import {
  ErrorCode,
  type OpenedStream,
  type ReceivedFields,
  type RequestFields,
  type ServedStream,
} from "./tunnel-stream.ts";
import type { Upstream } from "./upstream.ts";

// A workload on the same node or network answers a SYN in milliseconds, or is overloaded.
export const ENDPOINT_CONNECT_TIMEOUT_MS = 5_000;

/** What a hop adds to the answers of the next one. */
export interface ForwardOptions {
  /** Which of the upstream's addresses is wanted; another will do while there is no tunnel to it. */
  readonly address?: string | undefined;
  /** Name of the endpoint, where this hop picked it. */
  readonly endpoint?: string;
  readonly onRefused?: (reason: Problem) => void;
}

/** Passes a tunnel stream on to the next hop. Bytes flow before the far end has answered; a refusal travels back. */
export function forwardToUpstream(
  stream: ServedStream,
  upstream: Upstream,
  headers: RequestFields,
  counters: RelayCounters,
  options: ForwardOptions = {},
): void {
  const { address } = options;
  const onDrain = (): void => stream.hintDrain();
  const open = (): OpenedStream | undefined => {
    const wanted = address === undefined ? undefined : upstream.openTo(address, headers, onDrain);
    return wanted ?? upstream.open(headers, onDrain);
  };
  const next = open();
  if (next !== undefined) return join(stream, next, counters, options);
  upstream.whenReady((ready) => {
    if (stream.destroyed) return;
    const late = ready ? open() : undefined;
    if (late !== undefined) return join(stream, late, counters, options);
    const name = upstream.hasReadyTunnel ? "overloaded" : "gateway_unreachable";
    refuseTunnel(stream, problem(name, `no tunnel to ${upstream.cluster} takes another stream`));
  });
}

function join(
  stream: ServedStream,
  next: OpenedStream,
  counters: RelayCounters,
  { endpoint, onRefused }: ForwardOptions,
): void {
  next.once("response", (headers) => {
    if (!isUnanswered(stream)) return abort(next);
    const told = headers[TUNNEL_HEADER.endpoint];
    const name = endpoint ?? (typeof told === "string" ? told : undefined);
    if (headers[":status"] === 200) {
      stream.respond({ ":status": 200, ...endpointField(name) });
      // Not before: data may come ahead of this event, and a first write would answer 200 by itself.
      finishRelay(stream, next, counters);
    } else {
      const reason = refusalOf(headers);
      onRefused?.(reason);
      refuseTunnel(stream, reason, name);
      next.close(ErrorCode.cancel);
    }
  });
  next.once("close", () => {
    if (isUnanswered(stream)) refuseTunnel(stream, lossOf(next.rstCode));
  });
  startRelay(stream, next, counters);
}

/** What a hop further on said. */
export function refusalOf(headers: ReceivedFields): Problem {
  const code = headers[TUNNEL_HEADER.code];
  const detail = headers[TUNNEL_HEADER.detail];
  const status = String(headers[":status"]);
  return problem(
    problemNameOf(typeof code === "string" ? code : undefined),
    typeof detail === "string" ? detail : `the tunnel peer answered ${status}`,
  );
}

/** A stream that ended before it was answered: refused ones were certainly not processed (RFC 9113 §8.7). */
export function lossOf(rstCode: number | undefined): Problem {
  return rstCode === ErrorCode.refusedStream
    ? problem("draining", "the next hop takes no more streams on this session")
    : problem("upstream_reset", "the tunnel broke before the far end answered");
}

/** Where the last hop leads. */
export interface DialledEndpoint {
  readonly address: string;
  /** What the caller's side may call it. */
  readonly name?: string;
  /** Runs once, when the connection is over or never came about. */
  readonly release: () => void;
  /** It does not accept connections. Answers another one to try, since nothing was sent yet. */
  readonly failed?: () => DialledEndpoint | undefined;
}

/** How the last hop goes on. */
export interface LastHop {
  readonly counters: RelayCounters;
  /** How the endpoint is joined with the stream. */
  readonly join: Join;
  /** Milliseconds that pass evenly, with fractions. */
  readonly now: () => number;
}

/** The last hop: a TCP connection to the workload. */
export function forwardToEndpoint(stream: ServedStream, endpoint: DialledEndpoint, hop: LastHop): void {
  const address = parseAddress(endpoint.address);
  if (!address.ok) {
    endpoint.release();
    return refuseTunnel(stream, problem("no_endpoint", address.error));
  }
  const socket = new EndpointSocket(hop.now);
  const timer = setTimeout(
    () => socket.destroy(new Error("the connection took too long")),
    ENDPOINT_CONNECT_TIMEOUT_MS,
  );
  socket.once("connect", () => {
    clearTimeout(timer);
    if (!isUnanswered(stream)) return abort(socket);
    stream.respond({ ":status": 200, ...endpointField(endpoint.name) });
    hop.join(stream, socket, hop.counters);
  });
  socket.once("error", (error) => {
    if (!isUnanswered(stream)) return;
    const other = endpoint.failed?.();
    if (other !== undefined) return forwardToEndpoint(stream, other, hop);
    const reason = problem("endpoint_unreachable", `${endpoint.address}: ${error.message}`);
    refuseTunnel(stream, reason, endpoint.name);
  });
  socket.on("error", ignore);
  socket.once("close", () => {
    clearTimeout(timer);
    endpoint.release();
    letGo(socket);
  });
  socket.connect({ ...address.value });
}

function endpointField(name: string | undefined): { readonly [field: string]: string } | undefined {
  return name === undefined ? undefined : { [TUNNEL_HEADER.endpoint]: name };
}
