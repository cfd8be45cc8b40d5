import type { Problem } from "../../federation/model/problem.ts";
import { PROBLEMS } from "../../federation/model/problem.ts";
import { systemSpiffeId } from "../../federation/model/spiffe-id.ts";
import { systemClock, systemRandom } from "../../gateway/process/clock.ts";
import type { MemberContext } from "../../gateway/process/member.ts";
import type { Proxy } from "../../gateway/process/proxy.ts";
import { Controller } from "./controller.ts";
import { SYSTEM_NAMESPACE } from "./labels.ts";
import { createLeader } from "./leader.ts";
import type { KubernetesMember } from "./member.ts";

const LEASE = "isthmus-controller";

/** Assembles a controller; it carries no traffic, but its process lives like a gateway's. */
export function buildController(context: MemberContext, { client, installation }: KubernetesMember): Proxy {
  const { discovery, config, log } = context;
  const { cluster, trustDomain, ca } = discovery.state.current;
  const common = { client, clock: systemClock, random: systemRandom, log };
  const leader = createLeader({
    ...common,
    namespace: SYSTEM_NAMESPACE,
    name: LEASE,
    // A restarted container has the same name, but has forgotten what the one before it was doing.
    identity: `${config.member}-${ca.notBeforeMs}-${process.pid}`,
  });
  const controller = new Controller({
    ...common,
    cluster,
    snapshot: discovery.snapshot,
    registry: discovery.registry,
    leading: leader.leading,
    ...(installation === undefined ? {} : { installation }),
  });
  const problems = (): readonly Problem[] => [
    ...(leader.problem === undefined ? [] : [leader.problem]),
    ...controller.problems(),
  ];
  return {
    // Nobody connects to a controller: the address is only handed back.
    async start(listen) {
      leader.start();
      controller.start();
      return listen;
    },
    unready: () => {
      if (discovery.snapshot.current === undefined) return "waiting for the first snapshot";
      return controller.known ? undefined : "waiting for the first complete lists of the API server";
    },
    metrics: () =>
      [
        "# TYPE isthmus_controller_leading gauge",
        `isthmus_controller_leading ${leader.leading.current ? 1 : 0}`,
        "# TYPE isthmus_controller_problems gauge",
        `isthmus_controller_problems ${problems().length}`,
        "",
      ].join("\n"),
    // Two gauges are not worth a family each: they are only scraped.
    families: () => [],
    status: () => ({
      identity: systemSpiffeId(trustDomain, "controller").uri,
      revision: discovery.snapshot.current?.revision ?? null,
      leading: leader.leading.current,
      issued: discovery.credentials.identity?.(),
      problems: problems().map(({ name, detail }) => ({ code: PROBLEMS[name].code, detail })),
    }),
    listeners: () => [],
    listenerFailures: () => [],
    tunnels: () => [],
    probe: async () => ({
      ok: false,
      code: PROBLEMS.no_route.code,
      detail: "a controller carries no traffic",
    }),
    async drain() {
      controller.stop();
      await leader.stop();
    },
    close() {
      controller.stop();
    },
  };
}
