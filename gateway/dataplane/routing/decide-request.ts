import { pickSource } from "../balance/pick-source.ts";
import type { SpiffeId } from "../../../federation/model/spiffe-id.ts";
import type { ServiceName } from "../../../federation/model/service.ts";
import { decideSources, type EntryForward, refuse, type Refuse } from "./decide.ts";
import type { RouteTables } from "./tables.ts";

/** What a decision may ask of a request, whatever protocol it came by. Valid only while the decision is made. */
export interface RequestView {
  readonly method: string;
  /** Host or `:authority`, lower case. */
  readonly authority: string;
  /** Path and query, as sent. */
  readonly target: string;
  /** A field's value, several joined by a comma; the name in lower case. */
  header(name: string): string | undefined;
}

/** Where chance decides; each draw is in [0, 1). */
export interface Dice {
  random(): number;
}

/** Go on to `target`. */
export interface ForwardRequest {
  readonly kind: "forward";
  readonly target: EntryForward;
}

export type RequestDecision = ForwardRequest | Refuse;

/** What one caller may do with one port of one imported service: made when the rules change, read by every request. */
export interface EntryRules {
  readonly sources: readonly EntryForward[];
  /** The answer to every request, where none has to be looked at. */
  readonly always: RequestDecision | undefined;
}

export function compileEntry(
  tables: RouteTables | undefined,
  caller: SpiffeId,
  service: ServiceName,
  port: number,
): EntryRules {
  const sources = decideSources(tables, caller, service, port);
  if ("kind" in sources) return { sources: [], always: sources };
  const [only] = sources;
  const isPlain = only !== undefined && (sources.length === 1 || only.local);
  return { sources, always: isPlain ? { kind: "forward", target: only } : undefined };
}

/** Decides one request: pure, synchronous, the same for HTTP/1.1, HTTP/2 and gRPC. */
export function decideRequest(rules: EntryRules, _request: RequestView, dice: Dice): RequestDecision {
  if (rules.always !== undefined) return rules.always;
  const target = pickSource(rules.sources, dice.random());
  return target === undefined ? refuse("no_route", "no source") : { kind: "forward", target };
}
