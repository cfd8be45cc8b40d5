import fc from "fast-check";
import { expect, test } from "vitest";
import type { ServiceExportResource } from "../model/resource.ts";
import { exportsNaming } from "./links.ts";
import { OfferIndex } from "./offer-index.ts";
import { SeenNames } from "./seen-names.ts";
import type { ClusterState, FederationState } from "./state.ts";

const NAMES = ["a", "b", "c", "d"] as const;

function exported(cluster: string, consumers: readonly string[]): ServiceExportResource {
  return {
    apiVersion: "isthmus.dev/v1alpha1",
    kind: "ServiceExport",
    metadata: { cluster, namespace: "shop", name: "s" },
    spec: { consumers: consumers.map((consumer) => ({ cluster: consumer })) },
  } as unknown as ServiceExportResource;
}

function stateOf(clusters: ReadonlyMap<string, ClusterState>): FederationState {
  return { federation: "demo.mesh", revision: 1, clusters, firstSeen: SeenNames.none };
}

const clusterWith = (exports: ClusterState["exports"]) => ({ exports }) as ClusterState;

test("answers as if every cluster were asked, whichever states it is asked about, and in whatever order", () => {
  const change = fc.record({
    cluster: fc.constantFrom(...NAMES),
    consumers: fc.option(fc.subarray([...NAMES, "*"])),
    // Asked about an earlier state in between.
    back: fc.nat(3),
  });
  fc.assert(
    fc.property(fc.array(change, { maxLength: 12 }), (changes) => {
      const index = new OfferIndex();
      const states = [stateOf(new Map())];
      for (const { cluster, consumers, back } of changes) {
        const clusters = new Map(states.at(-1)?.clusters);
        if (consumers === null) clusters.delete(cluster);
        else clusters.set(cluster, clusterWith(new Map([["shop/s", exported(cluster, consumers)]])));
        states.push(stateOf(clusters));
        for (const state of [states.at(-1 - back), states.at(-1)]) {
          if (state === undefined) continue;
          for (const consumer of NAMES) {
            const asked = [...state.clusters]
              .filter(([, { exports }]) => exportsNaming(exports, consumer).length > 0)
              .map(([name]) => name);
            const found = [...index.exportersNaming(state, consumer), ...index.exportersNaming(state, "*")];
            expect([...new Set(found)].sort()).toEqual(asked.sort());
          }
        }
      }
    }),
  );
});
