import { type CompiledMatch, EVERYTHING, fits, regexPathFits } from "./route-match.ts";
import { pathOf, type RequestView } from "./request-view.ts";

/** A rule and its place among the others of one service. */
export interface Ranked<R> {
  readonly rule: R;
  readonly matches: readonly CompiledMatch[];
  /** RFC 3339: the older route's rule wins where two fit equally well. */
  readonly firstSeen: string;
  /** `<namespace>/<name>` of the route; decides between routes of one age. */
  readonly route: string;
}

interface Row<R> {
  readonly match: CompiledMatch;
  readonly rule: R;
}

/** The rule that a request fits best, and the part of its path that a prefix match took. */
export interface Found<R> {
  readonly rule: R;
  readonly prefix: string;
}

const NO_ROWS: readonly never[] = [];

/**
 * The rules of one service by the Gateway API's precedence (HTTPRouteRule): exact path, then the longest prefix, then method,
 * number of headers, number of query parameters, age and name of the route, and place in it. A regular expression comes after
 * every prefix but the bare `/`, which all paths have: a rule for everything else must not hide it.
 *
 * Exact paths and prefixes are looked up by what the request has, so that a table of a thousand rules costs what one of ten
 * does; only rules for the same path, and regular expressions, are tried one after the other.
 */
export class RouteTable<R> {
  readonly #exact = new Map<string, Row<R>[]>();
  readonly #prefixes = new Map<string, Row<R>[]>();
  readonly #regexes: readonly Row<R>[];
  readonly #longestPrefix: number;

  constructor(ranked: readonly Ranked<R>[]) {
    const regexes: Row<R>[] = [];
    let longest = 0;
    for (const row of inOrder(ranked)) {
      const { path } = row.match;
      if (path.kind === "exact") append(this.#exact, path.path, row);
      else if (path.kind === "regex") regexes.push(row);
      else {
        append(this.#prefixes, path.prefix, row);
        longest = Math.max(longest, path.prefix.length);
      }
    }
    // Longer patterns first: stable, so that equally long ones keep their order.
    this.#regexes = regexes.sort((a, b) => regexLength(b) - regexLength(a));
    this.#longestPrefix = longest;
  }

  find(request: RequestView): Found<R> | undefined {
    const path = pathOf(request.target);
    if (this.#exact.size > 0) {
      const rule = firstThatFits(this.#exact.get(path) ?? NO_ROWS, request);
      if (rule !== undefined) return { rule, prefix: path };
    }
    return this.#findPrefix(path, request) ?? this.#findRegex(request) ?? this.#findIn("", request);
  }

  #findPrefix(path: string, request: RequestView): Found<R> | undefined {
    if (this.#longestPrefix === 0) return undefined;
    // No prefix is longer than the longest: the rest of a long path is not looked at.
    let end = path.length > this.#longestPrefix ? path.lastIndexOf("/", this.#longestPrefix) : path.length;
    while (end > 0) {
      const found = this.#findIn(path.slice(0, end), request);
      if (found !== undefined) return found;
      end = path.lastIndexOf("/", end - 1);
    }
    return undefined;
  }

  #findIn(prefix: string, request: RequestView): Found<R> | undefined {
    const rule = firstThatFits(this.#prefixes.get(prefix) ?? NO_ROWS, request);
    return rule === undefined ? undefined : { rule, prefix };
  }

  #findRegex(request: RequestView): Found<R> | undefined {
    for (const { match, rule } of this.#regexes) {
      if (regexPathFits(match.path, request.target) && fits(match, request)) return { rule, prefix: "" };
    }
    return undefined;
  }
}

function firstThatFits<R>(rows: readonly Row<R>[], request: RequestView): R | undefined {
  for (const { match, rule } of rows) if (fits(match, request)) return rule;
  return undefined;
}

/** Rows of equal paths in order of precedence; a sort is stable, so the order within a route is kept. */
function inOrder<R>(ranked: readonly Ranked<R>[]): readonly Row<R>[] {
  const rows = ranked.flatMap(({ rule, matches, firstSeen, route }) =>
    (matches.length === 0 ? [EVERYTHING] : matches).map((match) => ({ match, rule, firstSeen, route })),
  );
  return rows.sort(
    (a, b) =>
      specificity(b.match) - specificity(a.match) ||
      compareText(a.firstSeen, b.firstSeen) ||
      compareText(a.route, b.route),
  );
}

/** Method before headers before query parameters; of the latter two there are at most 16. */
function specificity({ method, isGrpc, headers, query }: CompiledMatch): number {
  return (method !== undefined || isGrpc ? 10_000 : 0) + headers.length * 100 + query.length;
}

function regexLength({ match: { path } }: Row<unknown>): number {
  return path.kind === "regex" ? path.length : 0;
}

function append<R>(map: Map<string, Row<R>[]>, key: string, row: Row<R>): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [row]);
  else list.push(row);
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
