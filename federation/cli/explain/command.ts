import { API_VERSION } from "../../model/resource.ts";
import { ok } from "../../model/result.ts";
import { askMember, judgeProbe } from "../check/probes.ts";
import { renderChecks } from "../check/render.ts";
import { type CheckResult, skipped, verdict } from "../check/result.ts";
import { readShared } from "../check/shared-resources.ts";
import { connect } from "../connection.ts";
import { EXIT } from "../exit.ts";
import { type Command, usage } from "../invocation.ts";
import { isData, renderData } from "../output/format.ts";
import { explainWay, type Question } from "./way.ts";

const PROBE_TIMEOUT_MS = 6_000;
const EXAMPLE = "isthmus explain --from west/ns/shop/sa/web --to cart.shop";

/** Why can A not reach B? Step by step along the way of a request, up to the first that fails. */
export const explainCall: Command = async (invocation) => {
  const { flags, terminal, format, paint } = invocation;
  const question = readQuestion(flags.text("from") ?? "", flags.text("to") ?? "");
  if (question === undefined) return usage("explain needs a workload and a service", EXAMPLE);
  const connected = await connect(invocation);
  if (!connected.ok) return connected;
  const { registry } = connected.value;
  const clusters = await registry.clusters();
  if (!clusters.ok) return clusters;
  const resources = await readShared(registry);
  if (!resources.ok) return resources;
  const known = { clusters: clusters.value.items, resources: resources.value, now: terminal.now() };
  const { steps, probe } = explainWay(question, known);
  const results: CheckResult[] = [...steps];
  if (probe !== undefined) results.push(judgeProbe(probe, await askMember(probe, PROBE_TIMEOUT_MS)));
  else if (verdict(steps) !== "failed")
    results.push(skipped("calls", "an end-to-end call", "no member that listens for it has reported lately"));
  const found = verdict(results);
  if (isData(format)) {
    const report = {
      apiVersion: API_VERSION,
      kind: "CallExplanation",
      ok: found !== "failed",
      steps: results,
    };
    terminal.out(renderData(format, report));
  } else terminal.out(renderChecks(results, paint));
  return ok(found === "failed" ? EXIT.no : EXIT.yes);
};

/** `west/ns/shop/sa/web`, or `west/shop/web`. */
export function readQuestion(from: string, to: string): Question | undefined {
  const caller = /^([a-z0-9-]+)\/(?:ns\/)?([a-z0-9-]+)\/(?:sa\/)?([a-z0-9.-]+)$/.exec(from);
  const service = /^([a-z0-9-]+)\.([a-z0-9-]+)$/.exec(to);
  if (caller === null || service === null) return undefined;
  const [, cluster = "", namespace = "", account = ""] = caller;
  const [, name = "", serviceNamespace = ""] = service;
  return { cluster, namespace, account, service: { namespace: serviceNamespace, name } };
}
