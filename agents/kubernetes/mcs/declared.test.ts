import { describe, expect, it } from "vitest";
import type { SnapshotOffer } from "../../../federation/model/snapshot.ts";
import { service } from "../../../test/kubernetes/objects.ts";
import { digestService } from "../digest/service.ts";
import { declaredResources } from "./declared.ts";
import { importedOf, takesPart } from "./service-view.ts";

const cart = digestService(service("cart"));
const exported = cart && { ...cart, exportLabel: true };

const offer = (cluster: string): SnapshotOffer => ({
  namespace: "shop",
  name: "cart",
  cluster,
  ports: [{ port: 80, protocol: "http" }],
  firstSeen: "2026-01-01T00:00:00Z",
});

/** Of west, which exports `cart` since then, with this port, beside east. */
function seen(firstSeen: string | undefined, port: number) {
  const { ports, firstSeen: since } = offer("east");
  const own = exported && { ...exported, ports: exported.ports.map((each) => ({ ...each, port })) };
  return importedOf(
    {
      offers: [
        { cluster: "east", ports, firstSeen: since, properties: { ports: [{ port: 80, name: "http" }] } },
      ],
      routed: new Set(),
      export: undefined,
      service: own,
      localSlices: [],
      firstSeen,
    },
    "west",
  );
}

/** The sources of what west imports as `cart`. */
function sources(
  offers: readonly SnapshotOffer[],
  { own = exported, settings = {}, deleting = false, takes = true } = {},
) {
  const resources = declaredResources({
    cluster: "west",
    services: new Map(own === undefined ? [] : [["shop/cart", own]]),
    exports: new Map(),
    imports: new Map(),
    namespaces: new Map([["shop", { name: "shop", deleting, settings }]]),
    ownTakesPart: () => takes,
    offers,
  });
  return resources.flatMap(({ kind, spec }) => (kind === "ServiceImport" ? [spec.from] : []));
}

describe("a name that this cluster exports too", () => {
  it("is this cluster's endpoints as well as the others'", () => {
    expect(sources([offer("east"), offer("north")])).toEqual([{ cluster: "east", also: ["north", "west"] }]);
  });

  it("can be called in the cluster that alone exports it", () => {
    expect(sources([])).toEqual([{ cluster: "west" }]);
  });

  it("is the others' where a port of its own lost to an older export: it would be called for what it is not", () => {
    expect(sources([offer("east")], { takes: false })).toEqual([{ cluster: "east" }]);
    expect(takesPart(seen("2026-01-02T00:00:00Z", 80))).toBe(true);
    expect(takesPart(seen("2026-01-02T00:00:00Z", 8080))).toBe(false);
    expect(takesPart(seen("2025-12-31T00:00:00Z", 8080))).toBe(true);
    expect(takesPart(seen(undefined, 8080))).toBe(true);
  });

  it("is its own whatever its namespace accepts from others", () => {
    expect(sources([offer("east")], { settings: { "isthmus.dev/import-from": "north" } })).toEqual([
      { cluster: "west" },
    ]);
  });

  it("is the others' alone where the Service is not exported, and nobody's in a namespace that ends", () => {
    const own = cart;
    expect(sources([offer("east")], own === undefined ? {} : { own })).toEqual([{ cluster: "east" }]);
    expect(sources([offer("east")], { deleting: true })).toEqual([]);
  });
});
