import type { Problem } from "../../../../federation/model/problem.ts";
import type { RequestHead } from "../../http1/request-head.ts";
import type { Counter } from "../counters.ts";
import type { FlowCounter } from "../external/flows.ts";
import type { DownstreamHost } from "../http1-downstream.ts";
import type { RelayEnd } from "../relay.ts";
import type { ExchangePool } from "./upstream-exchange.ts";

/** Where one request goes. */
export interface RequestRoute {
  readonly pool: ExchangePool;
  /** The head to send, without its final empty line. */
  readonly head: string;
  readonly requestMs: number;
  /** What counts the request, once it is on its way. */
  readonly flow?: FlowCounter;
  readonly wouldDeny?: boolean;
}

/** Takes the connection over after a CONNECT: the route's decision is made, what follows are the tunnel's bytes. */
export interface Takeover {
  readonly takeOver: (end: RelayEnd, early: Buffer) => void;
}

/** Whether it is for the client to know what to do about `reason`: a service that answers what is no HTTP does so to every try. */
export function passesOn({ passesLoss }: JudgingHost, { name }: Problem): boolean {
  return passesLoss === true && name !== "upstream_malformed";
}

export interface JudgingHost extends DownstreamHost {
  readonly counters: { readonly up: Counter; readonly down: Counter };
  /** The client is a hop of ours that knows better what to do about a far connection that is lost: it is told as it is. */
  readonly passesLoss?: boolean;
  route(head: RequestHead): RequestRoute | Takeover | Problem;
  /** The request is on its way to the far server. */
  begun(route: RequestRoute, head: RequestHead): void;
  refused(reason: Problem, head: RequestHead | undefined): void;
  answered(status: number): void;
}
