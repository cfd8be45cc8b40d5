import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type ExternalTarget, portsOf } from "../../../federation/model/egress-policy.ts";
import { callerRank, compareRanks, placeRank } from "../../../federation/model/egress-precedence.ts";
import { matchHostname, parseDestination } from "../../../federation/model/external-host.ts";
import type { SnapshotEgressPolicy } from "../../../federation/model/snapshot.ts";
import { matchWorkload } from "../../../federation/model/workload-pattern.ts";
import { unwrap } from "../../../test/fakes/pki.ts";
import { id } from "../../../test/fakes/rules.ts";
import { compileEgress } from "./egress-table.ts";
import { decideExternal, selectRule } from "./external.ts";

const WEB = id("west/shop/web");
const HOST = "api.example.com";
const HERE = unwrap(parseDestination(`${HOST}:443`));

const segment = fc.constantFrom("a", "b", "v1", "");
const path = fc.array(segment, { minLength: 1, maxLength: 4 }).map((parts) => `/${parts.join("/")}`);
/** As the schema admits them: no doubled slashes. */
const plainPath = path.map((text) => text.replaceAll(/\/{2,}/g, "/"));
const method = fc.constantFrom("GET", "POST", "PUT");
const http = fc.record(
  {
    methods: fc.uniqueArray(method, { minLength: 1, maxLength: 2 }),
    paths: fc.array(
      fc.record({ type: fc.constantFrom("Exact" as const, "PathPrefix" as const), value: plainPath }),
      { minLength: 1, maxLength: 3 },
    ),
  },
  { requiredKeys: [] },
);
const target = fc
  .record({
    hostname: fc.constantFrom(HOST, "*.example.com", "*.com.test", "other.example.com"),
    ports: fc.constantFrom([443], [80], [80, 443]),
    http: fc.option(http, { nil: undefined }),
  })
  .map(
    ({ http: rules, ...rest }): ExternalTarget => ({
      ...rest,
      ...(rules === undefined ? {} : { http: rules }),
    }),
  );
const policies = fc.array(
  fc.record({
    external: fc.array(target, { minLength: 1, maxLength: 4 }),
    from: fc.constantFrom("ns/shop/sa/web", "ns/shop/sa/*", "ns/*/sa/web", "*", "ns/shop/sa/batch"),
    priority: fc.constantFrom(undefined, 0, 1),
  }),
  { minLength: 1, maxLength: 6 },
);

/** The sentence of the README, word by word: the first rule in order of rank that fits the request. */
function fits(rules: ExternalTarget["http"], verb: string, at: string): boolean {
  if (rules?.methods?.includes(verb) === false) return false;
  if (rules?.paths === undefined) return true;
  if (/\/\//.test(at)) return false;
  return rules.paths.some(({ type, value }) => {
    if (at === value) return true;
    return type === "PathPrefix" && at.startsWith(value.endsWith("/") ? value : `${value}/`);
  });
}

describe("the rules of one destination", () => {
  it("gives a request the rule that a plain search in order of rank finds", () => {
    let chosen = 0;
    fc.assert(
      fc.property(policies, method, path, (drafts, verb, at) => {
        const made = drafts.map(
          ({ external, from, priority }, index): SnapshotEgressPolicy => ({
            name: `p${index}`,
            mode: "enforce",
            from: [from],
            to: [],
            external,
            ...(priority === undefined ? {} : { priority }),
            tls: { mode: "originate" },
          }),
        );
        const decided = decideExternal(compileEgress({ policies: made }), WEB, HERE);
        if (decided.kind === "denied") return;
        const inOrder = made
          .flatMap(({ name, from: [pattern = "*"], priority = 0, external = [] }) =>
            external.map((place, position) => ({ place, pattern, rank: { name, position, priority } })),
          )
          .filter(
            ({ place, pattern }) =>
              matchWorkload(pattern, WEB) &&
              matchHostname(place.hostname ?? "", HOST) &&
              portsOf(place).includes(443),
          )
          .map(({ place, pattern, rank: { name: policy, position, priority } }) => ({
            http: place.http,
            rank: { priority, place: placeRank(place), caller: callerRank(pattern), policy, position },
          }))
          .sort((a, b) => compareRanks(a.rank, b.rank));
        expect(decided.rule?.rank).toEqual(inOrder[0]?.rank);
        const expected = inOrder.find((rule) => fits(rule.http, verb, at));
        const verdict = selectRule(decided, verb, `${at}?q=1`);
        expect(verdict.kind === "rule" ? verdict.rule?.rank : undefined).toEqual(expected?.rank);
        if (expected !== undefined && expected !== inOrder[0]) chosen += 1;
      }),
      { numRuns: 1_000, seed: 4 },
    );
    expect(chosen).toBeGreaterThan(20);
  });

  it("looks no deeper into a path than its longest prefix reaches", () => {
    const policy: SnapshotEgressPolicy = {
      name: "p",
      mode: "enforce",
      from: ["*"],
      to: [],
      external: [{ hostname: HOST, http: { paths: [{ type: "PathPrefix", value: "/v1/x" }] } }],
    };
    const reach = decideExternal(compileEgress({ policies: [policy] }), WEB, HERE);
    if (reach.kind === "denied") throw new Error(reach.problem.detail);
    expect(selectRule(reach, "GET", `/v1/x${"/a".repeat(30_000)}`)).toMatchObject({ kind: "rule" });
    expect(selectRule(reach, "GET", `/v1${"/a".repeat(30_000)}`)).toMatchObject({ kind: "denied" });
  });
});
