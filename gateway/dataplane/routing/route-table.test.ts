import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { RouteMatch } from "../../../federation/model/traffic-route.ts";
import { pathOf, queryParam, type RequestView } from "./request-view.ts";
import { type CompiledMatch, compileMatch, fits, regexPathFits } from "./route-match.ts";
import { type Ranked, RouteTable } from "./route-table.ts";

function request(
  target: string,
  change: { method?: string; headers?: { [name: string]: string } } = {},
): RequestView {
  const headers = new Map(Object.entries(change.headers ?? {}));
  return {
    method: change.method ?? "GET",
    authority: "cart.shop",
    target,
    header: (name) => headers.get(name),
  };
}

function ranked(
  rule: string,
  matches: readonly RouteMatch[],
  change: Partial<Ranked<string>> = {},
): Ranked<string> {
  return {
    rule,
    matches: matches.map(compileMatch),
    firstSeen: "2026-01-01T00:00:00Z",
    route: "shop/a",
    ...change,
  };
}

function winner(rows: readonly Ranked<string>[], asked: RequestView): string | undefined {
  return new RouteTable(rows).find(asked)?.rule;
}

const exact = (value: string): RouteMatch => ({ path: { type: "Exact", value } });
const prefix = (value: string): RouteMatch => ({ path: { type: "PathPrefix", value } });
const regex = (value: string): RouteMatch => ({ path: { type: "RegularExpression", value } });
const header = (name: string): RouteMatch => ({ headers: [{ name, value: "1" }] });

describe("a value beyond ASCII", () => {
  const fitsHeader = (type: "Exact" | "RegularExpression", value: string, sent: Buffer): boolean => {
    const asked = request("/", { headers: { "x-name": sent.toString("latin1") } });
    return fits(compileMatch({ headers: [{ type, name: "X-Name", value }] }), asked);
  };

  it("in a header is compared as UTF-8, character by character", () => {
    const sent = Buffer.from("Müller, 東京");
    expect(fitsHeader("Exact", "Müller, 東京", sent)).toBe(true);
    expect(fitsHeader("Exact", "Muller, 東京", sent)).toBe(false);
    expect(fitsHeader("RegularExpression", "M[üu]ller, ..", sent)).toBe(true);
    expect(fitsHeader("RegularExpression", "M.ller, ...", sent)).toBe(false);
  });

  it("in a header that is no UTF-8 is compared octet by octet", () => {
    const sent = Buffer.from("Müller", "latin1");
    expect(fitsHeader("Exact", "Müller", sent)).toBe(false);
    expect(fitsHeader("RegularExpression", "M.ller", sent)).toBe(true);
  });

  it("in a query parameter is what its percent-encoding says", () => {
    const match = compileMatch({ queryParams: [{ name: "größe", value: "groß" }] });
    expect(fits(match, request("/?gr%C3%B6%C3%9Fe=gro%C3%9F"))).toBe(true);
    expect(fits(match, request("/?gr%C3%B6%C3%9Fe=gross"))).toBe(false);
  });
});

describe("the precedence of rules", () => {
  const asked = request("/a/b/c?x=1&y=1", { headers: { h: "1", i: "1" } });

  it.each([
    ["an exact path before a prefix", exact("/a/b/c"), prefix("/a/b/c")],
    [
      "an exact path before a prefix with a method and headers",
      exact("/a/b/c"),
      { ...prefix("/a/b/c"), method: "GET", ...header("h") },
    ],
    ["a longer prefix before a shorter one", prefix("/a/b"), prefix("/a")],
    [
      "a longer prefix before a shorter one with a method",
      prefix("/a/b"),
      { ...prefix("/a"), method: "GET" },
    ],
    ["a prefix before a regular expression", prefix("/a"), regex("/a/b/c")],
    ["a regular expression before the prefix of everything", regex("/.*"), prefix("/")],
    ["a longer regular expression before a shorter one", regex("/a/[a-z]/c"), regex("/.*")],
    [
      "a method before headers",
      { ...prefix("/a"), method: "GET" },
      { ...prefix("/a"), headers: [...(header("h").headers ?? []), ...(header("i").headers ?? [])] },
    ],
    [
      "more headers before fewer",
      { headers: [...(header("h").headers ?? []), ...(header("i").headers ?? [])] },
      header("h"),
    ],
    [
      "headers before query parameters",
      header("h"),
      {
        queryParams: [
          { name: "x", value: "1" },
          { name: "y", value: "1" },
        ],
      },
    ],
    [
      "more query parameters before fewer",
      {
        queryParams: [
          { name: "x", value: "1" },
          { name: "y", value: "1" },
        ],
      },
      { queryParams: [{ name: "x", value: "1" }] },
    ],
  ] as const)("%s", (_what, better, worse) => {
    const rows = [ranked("better", [better]), ranked("worse", [worse])];
    expect(winner(rows, asked)).toBe("better");
    expect(winner([...rows].reverse(), asked)).toBe("better");
  });

  it("the older route before the younger, then by name, then by place", () => {
    const old = ranked("old", [], { firstSeen: "2025-01-01T00:00:00Z", route: "shop/z" });
    const young = ranked("young", [], { route: "shop/a" });
    expect(winner([young, old], asked)).toBe("old");
    expect(winner([ranked("z", [], { route: "shop/z" }), ranked("b", [], { route: "shop/b" })], asked)).toBe(
      "b",
    );
    expect(winner([ranked("first", []), ranked("second", [])], asked)).toBe("first");
  });

  it("falls through to a less specific path where method or headers do not fit", () => {
    const rows = [
      ranked("exact", [{ ...exact("/a/b/c"), method: "POST" }]),
      ranked("prefix", [prefix("/a")]),
    ];
    expect(winner(rows, asked)).toBe("prefix");
  });

  it("none where nothing fits", () => {
    expect(winner([ranked("other", [exact("/other")])], asked)).toBeUndefined();
    expect(winner([], asked)).toBeUndefined();
  });

  it("gives the part of the path that a prefix took, without its final slash", () => {
    expect(new RouteTable([ranked("r", [prefix("/a/b/")])]).find(asked)).toEqual({
      rule: "r",
      prefix: "/a/b",
    });
  });

  it("finds no inherited property of any object by a path from the wire", () => {
    const table = new RouteTable([ranked("r", [exact("/a")])]);
    for (const path of ["__proto__", "/constructor", "constructor"])
      expect(table.find(request(path))).toBeUndefined();
  });
});

describe("a table of rules", () => {
  const part = fc.constantFrom("a", "b", "ab");
  const path = fc.array(part, { minLength: 0, maxLength: 4 }).map((parts) => `/${parts.join("/")}`);
  const match: fc.Arbitrary<RouteMatch> = fc.record(
    {
      path: fc.oneof(
        path.map((value) => ({ type: "Exact" as const, value })),
        path.map((value) => ({ type: "PathPrefix" as const, value })),
        fc
          .constantFrom("/a.*", "/.*b", "/(a|b)/.*")
          .map((value) => ({ type: "RegularExpression" as const, value })),
      ),
      method: fc.constantFrom("GET", "POST"),
      headers: fc.constantFrom(
        [{ name: "h", value: "1" }],
        [
          { name: "h", value: "2" },
          { name: "i", value: "1" },
        ],
      ),
      queryParams: fc.constantFrom([{ name: "x", value: "1" }]),
    },
    { requiredKeys: [] },
  );
  const rule = fc.record({
    matches: fc.array(match, { maxLength: 3 }),
    firstSeen: fc.constantFrom("2025-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
    route: fc.constantFrom("shop/a", "shop/b"),
  });
  const asked = fc.record({
    target: fc.tuple(path, fc.constantFrom("", "/", "?x=1", "?x=2")).map(([head, tail]) => head + tail),
    method: fc.constantFrom("GET", "POST"),
    h: fc.constantFrom("1", "2"),
  });

  it("finds what trying every rule finds", () => {
    fc.assert(
      fc.property(fc.array(rule, { maxLength: 8 }), asked, (rules, { target, method, h }) => {
        const rows = rules.map(({ matches, ...rest }, index) => ranked(String(index), matches, rest));
        const view = request(target, { method, headers: { h, i: "1" } });
        expect(winner(rows, view)).toBe(slowWinner(rows, view));
      }),
      { numRuns: 3_000 },
    );
  });
});

/** The Gateway API's rules as one comparison over everything that fits. */
function slowWinner(rows: readonly Ranked<string>[], asked: RequestView): string | undefined {
  const found = rows.flatMap((row, index) =>
    (row.matches.length === 0 ? [compileMatch({})] : row.matches)
      .filter((match) => pathFits(match, asked) && fits(match, asked))
      .map((match) => ({ row, index, match })),
  );
  const key = ({ row, index, match }: (typeof found)[number]): readonly (number | string)[] => [
    -pathRank(match),
    -pathLength(match),
    match.method === undefined ? 1 : 0,
    -match.headers.length,
    -match.query.length,
    row.firstSeen,
    row.route,
    index,
  ];
  return found.sort((a, b) => compareKeys(key(a), key(b)))[0]?.row.rule;
}

function pathFits({ path }: CompiledMatch, { target }: RequestView): boolean {
  const asked = pathOf(target);
  if (path.kind === "exact") return asked === path.path;
  if (path.kind === "regex") return regexPathFits(path, target);
  return asked === path.prefix || asked.startsWith(`${path.prefix}/`);
}

function pathRank({ path }: CompiledMatch): number {
  if (path.kind === "exact") return 3;
  if (path.kind === "regex") return 1;
  return path.prefix === "" ? 0 : 2;
}

function pathLength({ path }: CompiledMatch): number {
  return path.kind === "exact" ? 0 : path.kind === "regex" ? path.length : path.prefix.length;
}

function compareKeys(a: readonly (number | string)[], b: readonly (number | string)[]): number {
  for (const [index, one] of a.entries()) {
    const other = b[index] ?? 0;
    if (one !== other) return one < other ? -1 : 1;
  }
  return 0;
}

describe("a query parameter", () => {
  it.each([
    ["/?a=1&a=2", "a", "1"],
    ["/?a", "a", ""],
    ["/?a=", "a", ""],
    ["/?b=1&a=%20x+y", "a", " x y"],
    ["/?a=%zz", "a", "%zz"],
    ["/?%61=1", "a", "1"],
    ["/?b=1", "a", undefined],
    ["/", "a", undefined],
    ["/?", "a", undefined],
    ["/?x=a=1", "a", undefined],
    ["/?a=b=c", "a", "b=c"],
    ["/?&&a=1", "a", "1"],
  ])("of %s: %s is %s", (target, name, value) => {
    expect(queryParam(target, name)).toBe(value);
  });
});

describe("a regular expression", () => {
  it.each(["(a+)+", "(a|a)*", "(.*)*x", "([a-z]+)*!"])(
    "%s runs in linear time on what would make others run away",
    (pattern) => {
      const match = compileMatch(regex(`/${pattern}b`));
      const began = performance.now();
      for (let turn = 0; turn < 20; turn++) regexPathFits(match.path, `/${"a".repeat(4_000)}c`);
      expect(performance.now() - began).toBeLessThan(2_000);
    },
  );

  it("does not look at texts beyond its limit", () => {
    const match = compileMatch(regex("/.*"));
    expect(regexPathFits(match.path, `/${"a".repeat(4_000)}`)).toBe(true);
    expect(regexPathFits(match.path, `/${"a".repeat(5_000)}`)).toBe(false);
  });
});
