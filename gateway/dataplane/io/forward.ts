import {
  type ClientHttp2Stream,
  constants,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from "node:http2";
import net from "node:net";
import { parseAddress } from "../../../federation/model/address.ts";
import { type Problem, problem } from "../../../federation/model/problem.ts";
import { problemNameOf } from "../policy/local-reply.ts";
import { abort, finishRelay, ignore, relay, type RelayCounters, startRelay } from "./relay.ts";
import { isUnanswered, refuseTunnel } from "./tunnel-server.ts";
import { DRAIN_HINT, TUNNEL_HEADER } from "./tunnel-settings.ts";
import type { Upstream } from "./upstream.ts";

// A workload on the same node or network answers a SYN in milliseconds, or is overloaded.
const ENDPOINT_CONNECT_TIMEOUT_MS = 5_000;

/** Passes a tunnel stream on to the next hop. Bytes flow before the far end has answered; a refusal travels back. */
export function forwardToUpstream(
  stream: ServerHttp2Stream,
  upstream: Upstream,
  headers: OutgoingHttpHeaders,
  counters: RelayCounters,
): void {
  const next = upstream.open(headers, () => hintDrain(stream));
  if (next !== undefined) return join(stream, next, counters);
  upstream.whenReady((ready) => {
    if (stream.destroyed) return;
    const late = ready ? upstream.open(headers, () => hintDrain(stream)) : undefined;
    if (late !== undefined) return join(stream, late, counters);
    const name = upstream.hasReadyTunnel ? "overloaded" : "gateway_unreachable";
    refuseTunnel(stream, problem(name, `no tunnel to ${upstream.cluster} takes another stream`));
  });
}

function join(stream: ServerHttp2Stream, next: ClientHttp2Stream, counters: RelayCounters): void {
  next.once("response", (headers) => {
    if (!isUnanswered(stream)) return abort(next);
    if (headers[":status"] === 200) {
      stream.respond({ ":status": 200 });
      // Not before: node:http2 may deliver data ahead of this event, and a first write would answer 200 by itself.
      finishRelay(stream, next, counters);
    } else {
      refuseTunnel(stream, refusalOf(headers));
      next.close(constants.NGHTTP2_CANCEL);
    }
  });
  next.once("close", () => {
    if (isUnanswered(stream)) refuseTunnel(stream, lossOf(next.rstCode));
  });
  startRelay(stream, next, counters);
}

/** What a hop further on said. */
export function refusalOf(headers: IncomingHttpHeaders): Problem {
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
  return rstCode === constants.NGHTTP2_REFUSED_STREAM
    ? problem("draining", "the next hop takes no more streams on this session")
    : problem("upstream_reset", "the tunnel broke before the far end answered");
}

/** Tells the hop before that this stream's way is draining: it must not be used for another request. */
function hintDrain(stream: ServerHttp2Stream): void {
  // A server stream's session is a server session; the type says only that it is one of the two.
  const session = stream.session as ServerHttp2Session | undefined;
  const { id } = stream;
  if (stream.destroyed || session === undefined || session.destroyed || id === undefined) return;
  session.altsvc(DRAIN_HINT, id);
}

/** The last hop: a TCP connection to the workload. `onDone` runs once, when the connection is over or never came about. */
export function forwardToEndpoint(
  stream: ServerHttp2Stream,
  endpoint: string,
  counters: RelayCounters,
  onDone: () => void,
): void {
  const address = parseAddress(endpoint);
  if (!address.ok) {
    onDone();
    return refuseTunnel(stream, problem("no_endpoint", address.error));
  }
  const socket = net.connect({ ...address.value, allowHalfOpen: true, noDelay: true });
  const timer = setTimeout(
    () => socket.destroy(new Error("the connection took too long")),
    ENDPOINT_CONNECT_TIMEOUT_MS,
  );
  socket.once("connect", () => {
    clearTimeout(timer);
    if (!isUnanswered(stream)) return abort(socket);
    stream.respond({ ":status": 200 });
    relay(stream, socket, counters);
  });
  socket.once("error", (error) => {
    if (isUnanswered(stream))
      refuseTunnel(stream, problem("endpoint_unreachable", `${endpoint}: ${error.message}`));
  });
  socket.on("error", ignore);
  socket.once("close", () => {
    clearTimeout(timer);
    onDone();
  });
}
