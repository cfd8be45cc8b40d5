import { ok } from "../../model/result.ts";
import type { ServiceResource } from "../../model/resource.ts";
import type { Service } from "../../model/service.ts";
import type { ServicesResponse } from "../../model/wire/api.ts";
import type { Planned } from "../change.ts";
import { compareText } from "../compile-snapshot.ts";
import { type FederationState, keyText, serviceId } from "../state.ts";
import { refuse } from "./refuse.ts";

/** Gateways of one cluster; every importer's snapshot carries them all. */
const MAX_GATEWAYS = 64;

/** The complete list: what is absent is gone. An unchanged list changes nothing, so gateways may repeat it at will. */
export function planServices(
  state: FederationState,
  command: { readonly cluster: string; readonly services: readonly Service[]; readonly time: string },
): Planned<ServicesResponse> {
  const cluster = state.clusters.get(command.cluster);
  if (cluster === undefined) return refuse("not_found", `there is no cluster ${command.cluster}`);
  const next = command.services
    .map((service) => serviceResource(state, command, cluster.services.get(serviceId(service)), service))
    .sort((a, b) => compareText(serviceId(a.metadata), serviceId(b.metadata)));
  const same =
    next.length === cluster.services.size &&
    next.every((service) => cluster.services.get(serviceId(service.metadata)) === service);
  if (same) return ok({ answer: ({ revision }) => ({ revision, changed: false }) });
  return ok({
    draft: {
      puts: [{ kind: "Services", cluster: command.cluster, value: next }],
      deletes: [],
      audit: { action: "services.report", targets: [`Services/${command.cluster}`] },
    },
    answer: ({ revision }) => ({ revision, changed: true }),
  });
}

/** The stored object itself where it says the same, so that "nothing changed" is a comparison of references. */
function serviceResource(
  state: FederationState,
  command: { readonly cluster: string; readonly time: string },
  existing: ServiceResource | undefined,
  service: Service,
): ServiceResource {
  const { namespace, name, versions } = service;
  const ports = [...service.ports].sort((a, b) => a.port - b.port);
  const spec = versions === undefined ? { ports } : { ports, versions: [...new Set(versions)].sort() };
  if (existing !== undefined && JSON.stringify(existing.spec) === JSON.stringify(spec)) return existing;
  return {
    apiVersion: "isthmus.dev/v1alpha1",
    kind: "Service",
    metadata: {
      cluster: command.cluster,
      namespace,
      name,
      resourceVersion: state.revision + 1,
      firstSeen: existing?.metadata.firstSeen ?? command.time,
    },
    spec,
  };
}

/** Where other clusters reach a gateway; `undefined` takes it back. */
export function planAdvertise(
  state: FederationState,
  command: { readonly cluster: string; readonly member: string; readonly address: string | undefined },
): Planned<void> {
  const record = state.clusters.get(command.cluster)?.record;
  if (record === undefined) return refuse("not_found", `there is no cluster ${command.cluster}`);
  const { member, address } = command;
  const known = record.gateways.find(({ id }) => id === member);
  if (known?.address === address) return ok({ answer: () => {} });
  const others = record.gateways.filter(({ id }) => id !== member);
  if (address !== undefined && others.length >= MAX_GATEWAYS)
    return refuse("limit_exceeded", `a cluster has at most ${MAX_GATEWAYS} gateways`);
  const gateways = address === undefined ? others : [...others, { id: member, address }];
  const sorted = gateways.sort((a, b) => compareText(a.id, b.id));
  return ok({
    draft: {
      puts: [
        { kind: "Cluster", value: { ...record, gateways: sorted, resourceVersion: state.revision + 1 } },
      ],
      deletes: [],
      audit: {
        action: address === undefined ? "gateway.withdraw" : "gateway.advertise",
        targets: [keyText({ kind: "Cluster", cluster: command.cluster, namespace: "", name: member })],
      },
    },
    answer: () => {},
  });
}
