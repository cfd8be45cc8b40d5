import { serviceKey } from "../../../federation/model/service.ts";
import type { Snapshot } from "../../../federation/model/snapshot.ts";
import type { RouteMode, SnapshotParent, SnapshotRoute } from "../../../federation/model/traffic-route.ts";
import { type CompiledRule, compileRule } from "./compile-rule.ts";
import { compileMatch } from "./route-match.ts";
import { type Ranked, RouteTable } from "./route-table.ts";

/** A route and one service that it is about. */
interface Attached {
  readonly route: SnapshotRoute;
  readonly parent: SnapshotParent;
  /** Written by the service's owner, in another cluster. */
  readonly foreign: boolean;
  readonly ranked: readonly Ranked<CompiledRule>[];
}

/**
 * All routes of one service. Which of them are in force depends on the caller's namespace and the port: the caller's own
 * consumer routes, else this cluster's producer routes, else the owner's. Sets are never merged (GEP-1294); tables are made
 * when first asked for and shared by all callers of one set.
 */
export class ServiceRoutes {
  readonly #attached: readonly Attached[];
  readonly #tables = new Map<string, RouteTable<CompiledRule> | undefined>();

  constructor(attached: readonly Attached[]) {
    this.#attached = attached;
  }

  /** `undefined` where no route says anything: requests go the implicit way. */
  table(mode: RouteMode, port: number, callerNamespace: string): RouteTable<CompiledRule> | undefined {
    const applicable = this.#attached.filter(
      ({ route, parent }) => route.mode === mode && (parent.port === undefined || parent.port === port),
    );
    const sets: readonly [string, readonly Attached[]][] = [
      [`consumer ${callerNamespace}`, applicable.filter(({ parent }) => parent.consumer === callerNamespace)],
      ["own", applicable.filter(({ parent, foreign }) => parent.consumer === undefined && !foreign)],
      ["owner", applicable.filter(({ parent, foreign }) => parent.consumer === undefined && foreign)],
    ];
    const [name, inForce] = sets.find(([, set]) => set.length > 0) ?? ["none", []];
    const key = `${mode} ${port} ${name}`;
    if (!this.#tables.has(key)) this.#tables.set(key, tableOf(inForce));
    return this.#tables.get(key);
  }
}

function tableOf(attached: readonly Attached[]): RouteTable<CompiledRule> | undefined {
  return attached.length === 0 ? undefined : new RouteTable(attached.flatMap(({ ranked }) => ranked));
}

/** By `cart.shop`. */
export function compileServiceRoutes(snapshot: Snapshot): ReadonlyMap<string, ServiceRoutes> {
  const attached = new Map<string, Attached[]>();
  for (const route of snapshot.routes ?? []) {
    const ranked = route.rules.map((rule, index) => ({
      rule: compileRule(route, rule, index),
      matches: (rule.matches ?? []).map(compileMatch),
      firstSeen: route.firstSeen,
      route: `${route.namespace}/${route.name}`,
    }));
    for (const parent of route.parents) {
      const key = serviceKey(parent);
      const list = attached.get(key) ?? [];
      attached.set(key, list);
      list.push({ route, parent, foreign: route.cluster !== snapshot.cluster, ranked });
    }
  }
  return new Map([...attached].map(([key, list]) => [key, new ServiceRoutes(list)]));
}
