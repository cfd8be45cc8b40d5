import type { ImportedEndpoint, ImportedService, ImportedServices } from "../dns/zone.ts";
import type { Informer } from "./api/informer.ts";
import { endpointAddress, type KubeSlice } from "./digest/endpoint-slice.ts";
import type { KubeService } from "./digest/service.ts";
import { derivedName } from "./mcs/objects.ts";
import type { SliceIndex } from "./slice-index.ts";

/** What cluster DNS would read off the derived Services and their EndpointSlices. */
export function importedServices(
  services: Informer<KubeService>,
  slices: SliceIndex,
  isKnown: () => boolean,
): ImportedServices {
  return {
    get known() {
      return isKnown();
    },
    find(namespace, name) {
      const key = `${namespace}/${derivedName({ namespace, name })}`;
      const derived = services.items.get(key);
      if (derived?.derivedFor !== name) return undefined;
      return imported(derived, () => slices.of(key));
    },
    has(namespace) {
      for (const service of services.items.values())
        if (service.derivedFor !== undefined && service.namespace === namespace) return true;
      return false;
    },
  };
}

function imported(derived: KubeService, slices: () => readonly KubeSlice[]): ImportedService {
  const { headless, clusterIps, ports } = derived;
  return {
    headless,
    addresses: clusterIps,
    ports,
    endpoints: headless ? slices().flatMap(endpointsOf) : [],
  };
}

function endpointsOf({ sourceCluster, ports, endpoints }: KubeSlice): readonly ImportedEndpoint[] {
  if (sourceCluster === undefined) return [];
  return endpoints.map((endpoint) => ({ cluster: sourceCluster, address: endpointAddress(endpoint), ports }));
}
