import type { EgressAnswer } from "../../model/egress-answer.ts";
import { isEgressAnswer } from "../../model/egress-answer.ts";
import { snapshotPolicy } from "../../model/egress-policy.ts";
import { PROBLEMS } from "../../model/problem.ts";
import { err, ok, type Result } from "../../model/result.ts";
import type { EgressPolicyResource, MemberStatus } from "../../model/resource.ts";
import { parseSpiffeId } from "../../model/spiffe-id.ts";
import { WORKLOAD_PATTERN } from "../../model/workload-pattern.ts";
import { connect } from "../connection.ts";
import { EXIT, type ExitCode } from "../exit.ts";
import { type Failure, fail, failureExit } from "../failure.ts";
import { type Command, type Invocation, usage } from "../invocation.ts";
import { isData, renderData } from "../output/format.ts";
import { readResourceFiles } from "./apply.ts";

const EXIT_OF: { readonly [V in EgressAnswer["verdict"]]: ExitCode } = {
  allowed: EXIT.yes,
  observed: EXIT.yes,
  denied: EXIT.no,
  unknown: EXIT.unanswered,
};
const ASK_TIMEOUT_MS = 10_000;

/** Would this workload reach that host? From a file, or by the snapshot in force at a gateway of its cluster. */
export const test: Command = async (invocation) => {
  const [workload, destination] = invocation.args;
  if (workload === undefined || destination === undefined)
    return usage("whether who reaches what?", "isthmus egress test ns/shop/sa/web api.example.com:443");
  if (!WORKLOAD_PATTERN.test(workload) || workload.includes("*"))
    return usage(`"${workload}" is no workload: write ns/<namespace>/sa/<service account>`);
  const offline = invocation.flags.list("file").length > 0;
  const answer = offline
    ? await fromFiles(invocation, workload, destination)
    : await fromGateway(invocation, workload, destination);
  if (!answer.ok) return err(unanswered(answer.error));
  tell(invocation, answer.value);
  return ok(EXIT_OF[answer.value.verdict]);
};

/** A cluster that is not there, or a token that may not ask: no answer, which a script must not take for a no. */
function unanswered(failure: Failure): Failure {
  return failureExit(failure) === EXIT.no ? { ...failure, exit: EXIT.unanswered } : failure;
}

function tell({ terminal, format, paint }: Invocation, answer: EgressAnswer): void {
  if (isData(format)) {
    const { verdict, ...rest } = answer;
    terminal.out(
      renderData(format, { apiVersion: "isthmus.dev/v1alpha1", kind: "EgressAnswer", verdict, ...rest }),
    );
    return;
  }
  const { verdict, workload, destination, code, detail, tls, policy, addresses } = answer;
  const word = { allowed: "yes", observed: "yes, observed", denied: "no", unknown: "cannot tell" }[verdict];
  const colour = { allowed: "green", observed: "yellow", denied: "red", unknown: "yellow" } as const;
  terminal.out(`${paint(colour[verdict], word)}: ${workload} → ${destination}`);
  terminal.out(`  why:    ${code === undefined ? "" : `${code} `}${detail}`);
  if (policy !== undefined) terminal.out(`  policy: ${policy}, tls ${tls ?? "none"}`);
  if (addresses !== undefined) terminal.out(`  dials:  ${addresses.join(" ")}`);
  const fix = Object.values(PROBLEMS).find((known) => known.code === code)?.fix;
  if (fix !== undefined) terminal.out(`  fix:    ${fix}`);
}

async function fromFiles(
  invocation: Invocation,
  workload: string,
  destination: string,
): Promise<Result<EgressAnswer, Failure>> {
  // The file of `isthmus up` holds policies as well.
  const read = await readResourceFiles(invocation, ["LocalFederation"]);
  if (!read.ok) return read;
  const policies = read.value
    .map(({ resource }) => resource)
    .filter((resource): resource is EgressPolicyResource => resource.kind === "EgressPolicy");
  const clusters = [...new Set(policies.map(({ metadata }) => metadata.cluster))];
  const cluster = invocation.flags.text("cluster") ?? (clusters.length === 1 ? clusters[0] : undefined);
  if (cluster === undefined && clusters.length > 1)
    return usage(`the files hold policies of ${clusters.join(", ")}`, "choose one with --cluster");
  const own = policies.filter(({ metadata }) => metadata.cluster === cluster);
  if (own.length === 0) {
    const detail = `the files hold no EgressPolicy${cluster === undefined ? "" : ` of cluster ${cluster}`}`;
    return ok({ verdict: "unknown", workload, destination, detail });
  }
  // The decision is the gateway's own; it is loaded only here.
  const [{ compileEgress }, { answerEgress }] = await Promise.all([
    import("../../../gateway/dataplane/policy/egress-table.ts"),
    import("../../../gateway/dataplane/policy/egress-answer.ts"),
  ]);
  const caller = parseSpiffeId(`spiffe://${cluster}/${workload}`);
  if (!caller.ok) return usage(caller.error);
  const table = compileEgress({ policies: own.map(snapshotPolicy) });
  return ok(answerEgress(table, { caller: caller.value, destination, ...request(invocation) }));
}

function request({ flags }: Invocation): { readonly method?: string; readonly path?: string } {
  const [method, path] = [flags.text("method"), flags.text("path")];
  return { ...(method === undefined ? {} : { method }), ...(path === undefined ? {} : { path }) };
}

async function fromGateway(
  invocation: Invocation,
  workload: string,
  destination: string,
): Promise<Result<EgressAnswer, Failure>> {
  const found = await gatewaysOf(invocation);
  if (!found.ok) return found;
  const query = new URLSearchParams({ workload, destination, ...request(invocation) });
  let reason = "it has no gateway that reports an admin address";
  for (const { admin, member } of found.value) {
    const asked = await askGateway(`http://${admin}/egress/test?${query.toString()}`, isEgressAnswer);
    if (asked.ok) return asked;
    reason = `${member} at ${admin}: ${asked.error}`;
  }
  return ok({ verdict: "unknown", workload, destination, detail: reason });
}

/** The cluster's gateways that can be asked, as the registry heard of them. */
export async function gatewaysOf(
  invocation: Invocation,
): Promise<Result<readonly (MemberStatus & { readonly admin: string })[], Failure>> {
  const cluster = invocation.flags.text("cluster") ?? invocation.terminal.env("ISTHMUS_CLUSTER");
  if (cluster === undefined) return usage("which cluster?", "name it with --cluster, or policies with -f");
  const connected = await connect(invocation);
  if (!connected.ok) return connected;
  const status = await connected.value.registry.cluster(cluster);
  if (!status.ok) return status;
  const members = status.value.members.flatMap((member) =>
    member.role === "gateway" && member.admin !== undefined ? [{ ...member, admin: member.admin }] : [],
  );
  return members.length > 0
    ? ok(members)
    : fail("gateway_unreachable", `cluster ${cluster} has no gateway that reports an admin address`, {
        exit: EXIT.unanswered,
      });
}

/** GET of a gateway's admin listener. */
export async function askGateway<T>(
  url: string,
  isAnswer: (value: unknown) => value is T,
): Promise<Result<T, string>> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(ASK_TIMEOUT_MS) });
    const body: unknown = await response.json();
    return isAnswer(body) ? ok(body) : err("something else answers there");
  } catch (error) {
    return err(error instanceof Error ? error.message : String(error));
  }
}
