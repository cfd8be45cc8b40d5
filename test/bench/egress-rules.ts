/**
 * Nanoseconds of CPU time per egress decision with 1 and with 5,000 rules in force: `node test/bench/egress-rules.ts`. A connection
 * is decided once (`decideExternal`), each of its requests by method and path (`selectRule`). Rounds are interleaved; the best of
 * each counts, since other work on the machine only ever adds. `--assert` fails above the bar.
 */
import type { ExternalTarget } from "../../federation/model/egress-policy.ts";
import { parseDestination } from "../../federation/model/external-host.ts";
import type { SnapshotEgressPolicy } from "../../federation/model/snapshot.ts";
import { type TrustDomain, workloadSpiffeId } from "../../federation/model/spiffe-id.ts";
import type { WorkloadPattern } from "../../federation/model/workload-pattern.ts";
import { compileEgress } from "../../gateway/dataplane/policy/egress-table.ts";
import { decideExternal, selectRule } from "../../gateway/dataplane/policy/external.ts";
import { cpuNs } from "./cpu-time.ts";

const ROUNDS = 5;
// The thread's clock moves in steps of some milliseconds.
const CALLS = { connection: 200_000, request: 1_000_000 };
const MANY = 5_000;
const BAR = 1.1;
const WEB = workloadSpiffeId("west.acme.mesh" as TrustDomain, "shop", "web");
const OWN: WorkloadPattern = "ns/shop/sa/web";

type Others = (index: number) => { readonly from: WorkloadPattern; readonly target: ExternalTarget };

/** What the other rules speak of; the rule that is used is the same in all of them. */
const SHAPES: Readonly<Record<string, Others>> = {
  "other hosts": (index) => ({ from: OWN, target: { hostname: `h${index}.bench.test` } }),
  wildcards: (index) => ({ from: OWN, target: { hostname: `*.h${index}.example.com` } }),
  ranges: (index) => ({ from: OWN, target: { cidr: `198.51.${index >> 8}.${index & 255}/32` } }),
  "other callers": (index) => ({ from: `ns/shop/sa/w${index}`, target: { hostname: "api.example.com" } }),
  "other ports": (index) => ({ from: OWN, target: { hostname: "api.example.com", ports: [1_000 + index] } }),
  "other paths of the host": (index) => ({
    from: OWN,
    target: {
      hostname: "api.example.com",
      http: { paths: [{ type: "PathPrefix", value: `/v2/t${index}` }] },
    },
  }),
};

function table(others: Others, rules: number) {
  const own: SnapshotEgressPolicy = {
    // The last of equals: whoever tries one by one tries all.
    name: "zz",
    mode: "enforce",
    from: [OWN],
    to: [],
    external: [
      {
        hostname: "api.example.com",
        http: { methods: ["GET", "POST"], paths: [{ type: "PathPrefix", value: "/v1" }] },
      },
    ],
    tls: { mode: "originate" },
  };
  const rest = Array.from({ length: rules - 1 }, (_, index): SnapshotEgressPolicy => {
    const { from, target } = others(index);
    return { ...own, name: `p${index}`, from: [from], external: [target] };
  });
  // In the midst of the others: its place in the list must not matter.
  rest.splice(rest.length >> 1, 0, own);
  return compileEgress({ policies: rest });
}

type Decide = (round: number) => boolean;

/** A new connection and its first request; a further request of a connection that is decided. */
function decisions(others: Others, rules: number): { readonly connection: Decide; readonly request: Decide } {
  const compiled = table(others, rules);
  const parsed = parseDestination("api.example.com:443");
  if (!parsed.ok) throw new Error(parsed.error);
  const destination = parsed.value;
  const decided = decideExternal(compiled, WEB, destination);
  if (decided.kind === "denied") throw new Error(decided.problem.detail);
  const targets = ["/v1/charges", "/v1/refunds?page=2", "/v1", "/v1/customers/42/cards"];
  const request: Decide = (call) => selectRule(decided, "POST", targets[call & 3] ?? "/").kind === "rule";
  const connection: Decide = (call) => {
    const reach = decideExternal(compiled, WEB, destination);
    return reach.kind === "reach" && selectRule(reach, "GET", targets[call & 3] ?? "/").kind === "rule";
  };
  return { connection, request };
}

const allowed =
  (decide: Decide) =>
  (calls: number): number => {
    let count = 0;
    for (let call = 0; call < calls; call++) if (decide(call)) count++;
    return count;
  };

function compare(one: Decide, many: Decide, calls: number): readonly [number, number] {
  let [least, most] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
  for (let round = 0; round < ROUNDS; round++) {
    least = Math.min(least, cpuNs(calls, allowed(one)));
    most = Math.min(most, cpuNs(calls, allowed(many)));
  }
  return [least, most];
}

let holds = true;
for (const [shape, others] of Object.entries(SHAPES)) {
  const one = decisions(others, 1);
  const many = decisions(others, MANY);
  for (const what of ["connection", "request"] as const) {
    const [least, most] = compare(one[what], many[what], CALLS[what]);
    holds &&= most / least <= BAR;
    process.stdout.write(
      `${shape.padEnd(24)} per ${what.padEnd(10)} 1 rule ${least.toFixed(0).padStart(5)} ns   ${MANY} rules ${most.toFixed(0).padStart(8)} ns   ratio ${(most / least).toFixed(2)}\n`,
    );
  }
}
process.stdout.write(`at most ${BAR}: ${holds ? "holds" : "falls short"}\n`);
if (process.argv.includes("--assert") && !holds) process.exitCode = 1;
