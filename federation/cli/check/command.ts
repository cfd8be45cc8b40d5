import { API_VERSION } from "../../model/resource.ts";
import { ok } from "../../model/result.ts";
import { PROBLEMS } from "../../model/problem.ts";
import { connect } from "../connection.ts";
import { EXIT } from "../exit.ts";
import type { Failure } from "../failure.ts";
import type { Command, Flags, Invocation, Outcome } from "../invocation.ts";
import { renderData } from "../output/format.ts";
import type { RegistryClient } from "../registry-client.ts";
import { readTimeout } from "../timeout.ts";
import { checkCluster } from "./cluster-checks.ts";
import { askMember, planProbes, runProbes } from "./probes.ts";
import { checkRegistry } from "./registry-checks.ts";
import { renderChecks, renderShort } from "./render.ts";
import { type CheckResult, passed, skipped, verdict } from "./result.ts";
import { readShared } from "./shared-resources.ts";
import { checkServices } from "./service-checks.ts";

// A probe that takes longer than this is a failure that its caller would notice.
const PROBE_TIMEOUT_MS = 6000;

/** Looks at everything that has to be right for a call to work; what cannot be asked is left out visibly. */
export const check: Command = async (invocation) => {
  const timeoutMs = readTimeout(invocation, PROBE_TIMEOUT_MS);
  if (!timeoutMs.ok) return timeoutMs;
  const connected = await connect(invocation);
  if (!connected.ok) return connected;
  return show(invocation, await runChecks(invocation, connected.value.registry, timeoutMs.value));
};

async function runChecks(
  { terminal, flags }: Invocation,
  registry: RegistryClient,
  probeTimeoutMs: number,
): Promise<readonly CheckResult[]> {
  const askedAt = terminal.now();
  const greeting = await registry.federation();
  if (!greeting.ok) return [failed("registry", "the registry answers", greeting.error)];
  const { name: federation, time } = greeting.value;
  const results = [
    ...checkRegistry({ url: registry.url, federation, time, askedAt, answeredAt: terminal.now() }),
  ];
  const clusters = await registry.clusters();
  if (!clusters.ok)
    return [...results, failed("registry", "the operator's token is accepted", clusters.error)];
  results.push(passed("registry", "the operator's token is accepted"));
  if (clusters.value.items.length === 0) results.push(noClusters());
  results.push(...clusters.value.items.flatMap((cluster) => checkCluster(cluster, terminal.now())));
  const resources = await readShared(registry);
  if (!resources.ok)
    return [...results, failed("services", "exports and imports can be read", resources.error)];
  results.push(...checkServices(resources.value));
  if (wantsProbes(flags)) {
    const probes = planProbes(clusters.value.items, terminal.now());
    results.push(...(await runProbes(probes, (probe) => askMember(probe, probeTimeoutMs))));
  } else results.push(skipped("calls", "end-to-end calls", "left out by --no-probe"));
  return results;
}

function show({ terminal, flags, paint }: Invocation, results: readonly CheckResult[]): Outcome {
  const format = flags.text("output") ?? "table";
  const found = verdict(results);
  if (format === "json" || format === "yaml") {
    terminal.out(
      renderData(format, {
        apiVersion: API_VERSION,
        kind: "CheckReport",
        ok: found !== "failed",
        verdict: found,
        results,
      }),
    );
  } else terminal.out(format === "short" ? renderShort(results, paint) : renderChecks(results, paint));
  return ok(found === "failed" ? EXIT.no : EXIT.yes);
}

function failed(category: string, name: string, failure: Failure): CheckResult {
  const { code, fix } = PROBLEMS[failure.name];
  return { category, name, status: "failed", detail: failure.detail, code, fix: failure.fix ?? fix };
}

function noClusters(): CheckResult {
  return {
    category: "clusters",
    name: "there are clusters",
    status: "warning",
    detail: "none is registered",
    fix: "isthmus cluster register <name>",
  };
}

/** commander keeps `--no-probe` as the flag `probe`, which is true without it. */
function wantsProbes(flags: Flags): boolean {
  return flags.has("probe");
}
