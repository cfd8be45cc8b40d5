import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ENDPOINT_SLICES, SERVICE_EXPORTS, SERVICE_IMPORTS, SERVICES } from "../api/resource-type.ts";
import type { KubeObject } from "../api/object.ts";
import { digestExport, digestImport, type KubeImport } from "../digest/mcs.ts";
import { digestService } from "../digest/service.ts";
import type { ServiceSource } from "./merge.ts";
import type { Change } from "./plan.ts";
import { planService } from "./service-plan.ts";
import type { AliasFacts, ServiceView } from "./service-view.ts";

const [IMPORTS] = SERVICE_IMPORTS;
const [EXPORTS] = SERVICE_EXPORTS;
const [SLICES] = ENDPOINT_SLICES;
const NOW = "2026-11-30T00:00:00Z";

function made(from?: string, rest: Partial<KubeObject> = {}): KubeImport {
  const annotations = from === undefined ? {} : { "isthmus.dev/from": from };
  const metadata = { namespace: "shop", name: "payments-eu", uid: "u1", annotations, ...rest.metadata };
  const found = digestImport({ ...rest, metadata });
  if (found === undefined) throw new Error("no import");
  return found;
}

const PAYMENTS: ServiceSource = {
  cluster: "east",
  ports: [{ port: 80, protocol: "http" }],
  properties: { labels: { team: "billing" }, annotations: { "example.com/a": "b" } },
  firstSeen: NOW,
};
const NOTHING = {
  offers: [],
  routed: new Set<string>(),
  export: undefined,
  service: undefined,
  localSlices: [],
  firstSeen: undefined,
};

function viewOf(alias: Partial<AliasFacts>, rest: Partial<ServiceView> = {}): ServiceView {
  return {
    ...NOTHING,
    namespace: "shop",
    name: "payments-eu",
    cluster: "west",
    types: { imports: IMPORTS, exports: EXPORTS, slices: SLICES },
    open: true,
    refused: undefined,
    import: made("east/billing/payments"),
    alias: { ...NOTHING, unaccepted: [], told: undefined, ...alias },
    derived: undefined,
    derivedSlices: [],
    gateways: ["10.0.0.1"],
    listenOf: () => 20_000,
    installation: undefined,
    complete: true,
    revision: 7,
    now: NOW,
    ...rest,
  };
}

const OFFERED = { offers: [PAYMENTS], routed: new Set(["east"]) };

const ownService = (labels: Record<string, string> = {}) =>
  digestService({
    metadata: { namespace: "shop", name: "payments-eu", labels },
    spec: { ports: [{ port: 80 }] },
  });
const ownExport = digestExport({ metadata: { namespace: "shop", name: "payments-eu" } });

/** The derived Service as an earlier plan made it. */
const derivedAt = (revision: number) =>
  digestService({
    metadata: {
      namespace: "shop",
      name: "imported-payments-eu-1",
      uid: "d1",
      labels: {
        "isthmus.dev/managed-by": "isthmus",
        "multicluster.kubernetes.io/service-name": "payments-eu",
      },
      annotations: { "isthmus.dev/revision": String(revision) },
    },
    spec: { clusterIP: "10.96.0.9", ports: [{ port: 80, targetPort: 20_000 }] },
  });

function accepted(changes: readonly Change[]): string | undefined {
  const status = changes.find(({ kind, type }) => kind === "status" && type === IMPORTS);
  const { conditions = [] } = ((status?.kind === "status" && status.object.status) || {}) as {
    conditions?: { type: string; reason: string }[];
  };
  return conditions.find(({ type }) => type === "Accepted")?.reason;
}

const deleted = (changes: readonly Change[]) =>
  changes.flatMap((change) => (change.kind === "delete" ? [`${change.type.plural}/${change.name}`] : []));

describe("planning an alias", () => {
  it("fills it and makes what the name needs, which goes with the installation", () => {
    const installation = {
      apiVersion: "rbac.authorization.k8s.io/v1",
      kind: "ClusterRole",
      name: "i",
      uid: "c1",
    };
    const changes = planService(viewOf(OFFERED, { installation, derived: derivedAt(7) }));
    expect(changes.map(({ kind, type }) => `${kind} ${type.plural}`)).toEqual([
      "apply serviceimports",
      "apply services",
      "apply endpointslices",
      "delete services",
      "status serviceimports",
    ]);
    const objects = changes.flatMap((change) => (change.kind === "delete" ? [] : [change.object]));
    const owners = objects.map(({ metadata }) => metadata.ownerReferences?.map(({ uid }) => uid));
    expect(owners).toEqual([undefined, ["c1"], ["c1"], undefined]);
    expect(objects[0]?.spec).toMatchObject({ type: "ClusterSetIP", ips: ["10.96.0.9"] });
    expect(accepted(changes)).toBe("Accepted");
  });

  it("owns what it needs where nothing was installed by a manifest", () => {
    const [, service] = planService(viewOf(OFFERED));
    expect(service?.kind === "apply" && service.object.metadata.ownerReferences).toMatchObject([
      { uid: "u1" },
    ]);
  });

  it.each<readonly [string, string, Partial<AliasFacts>, Partial<ServiceView>]>([
    ["offered", "Accepted", OFFERED, {}],
    ["offered, but not to be reached yet", "Accepted", { offers: [PAYMENTS] }, {}],
    ["offered by nobody", "NotFound", {}, {}],
    [
      "not exported, as the registry says",
      "NotFound",
      { told: { reason: "NotExported", message: "no" } },
      {},
    ],
    ["without a port", "NotFound", { offers: [{ ...PAYMENTS, ports: [] }] }, {}],
    ["not accepted by the namespace", "Denied", { unaccepted: ["east"] }, {}],
    [
      "not permitted, as the registry says",
      "Denied",
      { told: { reason: "NotPermitted", message: "no" } },
      {},
    ],
    ["offered, where the name is exported here", "Conflict", OFFERED, { export: ownExport }],
    [
      "offered, where a label exports the name",
      "Conflict",
      OFFERED,
      { service: ownService({ "isthmus.dev/export": "true" }) },
    ],
    ["offered, where a Service has the name", "Accepted", OFFERED, { service: ownService() }],
    ["no name", "Invalid", OFFERED, { import: made("payments.billing") }],
  ])("tells of what is %s: %s", (_, reason, alias, rest) => {
    expect(accepted(planService(viewOf(alias, rest)))).toBe(reason);
  });

  it("takes nothing away that a leader with a newer snapshot made, and nothing on half of the knowledge", () => {
    const gone = (rest: Partial<ServiceView>) => planService(viewOf({}, rest));
    expect(gone({ derived: derivedAt(8) })).toEqual([]);
    expect(gone({ derived: derivedAt(7), complete: false })).toEqual([]);
    expect(deleted(gone({ derived: derivedAt(7) }))).toEqual(["services/imported-payments-eu-1"]);
  });

  it("makes nothing for one that is being deleted, or whose namespace is", () => {
    const going = made("east/billing/payments", {
      metadata: { name: "payments-eu", deletionTimestamp: NOW },
    });
    for (const rest of [{ import: going }, { open: false }]) {
      const changes = planService(viewOf(OFFERED, { ...rest, derived: derivedAt(7) }));
      expect(changes.map(({ kind }) => kind)).toEqual(["delete"]);
    }
  });

  it("gives back what it filled once nobody says what it stands for", () => {
    const metadata = { name: "payments-eu", annotations: { "isthmus.dev/applied": "x" } };
    const filled = made(undefined, { metadata, status: { conditions: [{ type: "Accepted" }] } });
    const { alias: _, ...view } = viewOf({}, { import: filled, derived: derivedAt(7) });
    const changes = planService(view);
    expect(deleted(changes)).toEqual(["services/imported-payments-eu-1"]);
    const [, emptied, status, last] = changes;
    for (const change of [emptied, last])
      expect(change).toMatchObject({
        object: { metadata: { uid: "u1" }, spec: { type: "ClusterSetIP", ports: [] } },
      });
    expect(status).toMatchObject({ kind: "status", object: { status: { conditions: [] } } });
    // Whoever is killed before that one leaves what says that there is more to do.
    expect(last?.kind === "apply" && last.object.metadata.annotations).toBeUndefined();
  });

  it("leaves alone what is somebody else's, also a copy of what it filled", () => {
    const copy = made(undefined, {
      metadata: { name: "payments-eu", annotations: { "isthmus.dev/applied": "x" } },
    });
    const { alias: _, ...view } = viewOf({}, { import: copy });
    expect(planService(view)).toEqual([]);
    expect(planService({ ...view, import: made() })).toEqual([]);
  });

  it("never makes, deletes or claims the ServiceImport itself, whatever is known", () => {
    const facts = fc.record({
      offers: fc.constantFrom([], [PAYMENTS], [PAYMENTS, { ...PAYMENTS, cluster: "north" }]),
      routed: fc.constantFrom(new Set<string>(), new Set(["east"])),
      unaccepted: fc.constantFrom([], ["east"]),
    });
    const rest = fc.record({
      open: fc.boolean(),
      complete: fc.boolean(),
      export: fc.constantFrom(undefined, ownExport),
      derived: fc.constantFrom(undefined, derivedAt(6), derivedAt(8)),
      import: fc.constantFrom(
        made("east/billing/payments"),
        made("nonsense"),
        made("shop/cart", {
          metadata: { name: "payments-eu", labels: { "isthmus.dev/managed-by": "isthmus" } },
        }),
        made("shop/cart", { metadata: { name: "payments-eu", deletionTimestamp: NOW } }),
      ),
    });
    fc.assert(
      fc.property(facts, rest, (alias, known) => {
        for (const change of planService(viewOf(alias, known))) {
          if (change.kind === "delete") {
            expect([change.type, known.complete]).toEqual([SERVICES, true]);
            continue;
          }
          if (change.type !== IMPORTS || change.kind !== "apply") continue;
          const { uid, labels, ownerReferences, annotations = {} } = change.object.metadata;
          expect({ uid, labels, ownerReferences }).toEqual({ uid: "u1" });
          expect(Object.keys(annotations).filter((key) => !key.startsWith("isthmus.dev/"))).toEqual([]);
        }
      }),
    );
  });
});
