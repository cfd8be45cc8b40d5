import { afterEach, describe, expect, test } from "vitest";
import type { Change } from "../../federation/registry/change.ts";
import type { ClusterRecord, Item } from "../../federation/registry/state.ts";
import type { RegistryStore } from "../../federation/registry/store.ts";
import { exportOf, memberReport } from "../fakes/registry-scene.ts";
import { unwrap } from "../fakes/pki.ts";

/** A place that one adapter keeps its facts in; `open` may be called again after `close`, as after a restart. */
export interface StorePlace {
  open(): RegistryStore;
}

const TIME = "2026-11-01T00:00:00.000Z";
const FOUNDATION = { federation: "demo.mesh", adminTokenSha256: "ab".repeat(32) };

/** What every store must hold to, whatever it is made of. `make` answers a fresh place for each test. */
export function runStoreConformance(name: string, make: () => StorePlace): void {
  describe(`${name} as a registry store`, () => {
    const opened: RegistryStore[] = [];
    afterEach(() => {
      for (const store of opened.splice(0)) store.close();
    });
    const openAt = async (place: StorePlace): Promise<RegistryStore> => {
      const store = place.open();
      opened.push(store);
      unwrap(await store.found(FOUNDATION));
      return store;
    };
    const reopen = async (place: StorePlace, store: RegistryStore): Promise<RegistryStore> => {
      opened.splice(opened.indexOf(store), 1);
      store.close();
      return openAt(place);
    };

    test("is founded once: the first name stays", async () => {
      const place = make();
      const store = await openAt(place);
      const later = { federation: "other.mesh", adminTokenSha256: "cd".repeat(32) };
      expect(unwrap(await store.found(later))).toEqual(FOUNDATION);
      const again = await reopen(place, store);
      expect(unwrap(await again.foundation())).toEqual(FOUNDATION);
    });

    test("begins at revision 0 with nothing in it", async () => {
      const store = await openAt(make());
      expect(unwrap(await store.load())).toMatchObject({ federation: "demo.mesh", revision: 0 });
      expect(unwrap(await store.load()).clusters.size).toBe(0);
    });

    test("gives back after a restart exactly what was committed", async () => {
      const place = make();
      const store = await openAt(place);
      unwrap(await store.commit(change(0, { puts: [cluster("east", 1)], snapshots: ["east"] })));
      const applied = exportAt("east", "cart", 2);
      const puts = [applied, services("east", 2)];
      const firstSeen = [{ key: "ServiceExport/east/shop/cart", time: TIME }];
      unwrap(await store.commit(change(1, { puts, snapshots: ["east"], firstSeen })));
      const state = unwrap(await (await reopen(place, store)).load());
      expect(state.revision).toBe(2);
      expect(state.firstSeen.get("ServiceExport/east/shop/cart")).toBe(TIME);
      const east = state.clusters.get("east");
      expect(east?.record).toEqual(cluster("east", 1).value);
      expect(east?.snapshotRevision).toBe(2);
      expect(east?.exports.get("shop/cart")).toEqual(applied.value);
      expect([...(east?.services.keys() ?? [])]).toEqual(["shop/cart"]);
    });

    test("refuses a change that was planned at another revision, and writes none of it", async () => {
      const store = await openAt(make());
      unwrap(await store.commit(change(0, { puts: [cluster("east", 1)] })));
      for (const base of [0, 2]) {
        const stale = change(base, { puts: [cluster("west", base + 1)], request: REQUEST });
        expect(await store.commit(stale)).toEqual({ ok: false, error: { kind: "conflict" } });
      }
      const state = unwrap(await store.load());
      expect(state.revision).toBe(1);
      expect([...state.clusters.keys()]).toEqual(["east"]);
      expect(unwrap(await store.findRequest(REQUEST.token))).toBeUndefined();
      expect(unwrap(await store.audit({ after: 0, limit: 10 }))).toHaveLength(1);
    });

    test("lets exactly one of many concurrent changes of one revision win", async () => {
      const store = await openAt(make());
      const results = await Promise.all(
        Array.from({ length: 50 }, (_, index) =>
          store.commit(change(0, { puts: [cluster(`c${index}`, 1)] })),
        ),
      );
      expect(results.filter(({ ok }) => ok)).toEqual([{ ok: true, value: { revision: 1 } }]);
      const state = unwrap(await store.load());
      expect(state.clusters.size).toBe(1);
      expect(state.clusters.has(`c${results.findIndex(({ ok }) => ok)}`)).toBe(true);
    });

    test("deletes what a change deletes, and remembers when it was first seen", async () => {
      const store = await openAt(make());
      const firstSeen = [{ key: "ServiceExport/east/shop/cart", time: TIME }];
      unwrap(
        await store.commit(change(0, { puts: [cluster("east", 1), exportAt("east", "cart", 1)], firstSeen })),
      );
      const key = { kind: "ServiceExport", cluster: "east", namespace: "shop", name: "cart" } as const;
      unwrap(await store.commit(change(1, { deletes: [key] })));
      const state = unwrap(await store.load());
      expect(state.clusters.get("east")?.exports.size).toBe(0);
      expect(state.firstSeen.get("ServiceExport/east/shop/cart")).toBe(TIME);
      const gone = { kind: "Cluster", cluster: "east", namespace: "", name: "" } as const;
      unwrap(await store.commit(change(2, { deletes: [gone] })));
      expect(unwrap(await store.load()).clusters.size).toBe(0);
    });

    test("keeps the answer of a request token together with its change", async () => {
      const place = make();
      const store = await openAt(place);
      unwrap(await store.commit(change(0, { puts: [cluster("east", 1)], request: REQUEST })));
      const again = await reopen(place, store);
      expect(unwrap(await again.findRequest(REQUEST.token))).toEqual(REQUEST);
      expect(unwrap(await again.findRequest("another-token"))).toBeUndefined();
    });

    test("lists audit records in the order of their revisions, page by page", async () => {
      const store = await openAt(make());
      for (let base = 0; base < 5; base++)
        unwrap(await store.commit(change(base, { puts: [cluster("east", base + 1)] })));
      const page = unwrap(await store.audit({ after: 1, limit: 2 }));
      expect(page).toEqual([
        { revision: 2, time: TIME, actor: "tester", action: "test", targets: [] },
        { revision: 3, time: TIME, actor: "tester", action: "test", targets: [] },
      ]);
      expect(unwrap(await store.audit({ after: 5, limit: 2 }))).toEqual([]);
    });

    test("keeps the last heartbeat of each member until it is forgotten", async () => {
      const place = make();
      const store = await openAt(place);
      const heartbeat = (member: string, appliedRevision: number) => ({
        cluster: "east",
        status: { ...memberReport({ appliedRevision }), member, lastSeen: TIME },
      });
      unwrap(await store.saveMembers([heartbeat("gateway-1", 1), heartbeat("agent-1", 1)]));
      unwrap(await store.saveMembers([heartbeat("gateway-1", 2)]));
      const again = await reopen(place, store);
      const members = unwrap(await again.members());
      expect([...members].sort((a, b) => (a.status.member < b.status.member ? -1 : 1))).toEqual([
        heartbeat("agent-1", 1),
        heartbeat("gateway-1", 2),
      ]);
      unwrap(await again.forgetMembers("east", "agent-1"));
      expect(unwrap(await again.members())).toHaveLength(1);
      unwrap(await again.forgetMembers("east"));
      expect(unwrap(await again.members())).toEqual([]);
    });
  });
}

const REQUEST = { token: "request-1", fingerprint: "f1", response: '{"revision":1}' };

function change(baseRevision: number, parts: Partial<Change>): Change {
  return {
    baseRevision,
    revision: baseRevision + 1,
    puts: [],
    deletes: [],
    snapshots: [],
    firstSeen: [],
    audit: { time: TIME, actor: "tester", action: "test", targets: [] },
    ...parts,
  };
}

function cluster(name: string, resourceVersion: number): { kind: "Cluster"; value: ClusterRecord } {
  return {
    kind: "Cluster",
    value: { name, state: "pending", registeredAt: TIME, authorities: [], gateways: [], resourceVersion },
  };
}

function exportAt(cluster_: string, name: string, resourceVersion: number): Item & { kind: "Applied" } {
  const value = exportOf(cluster_, name, "west");
  if (value.kind !== "ServiceExport") throw new TypeError("not an export");
  return {
    kind: "Applied",
    value: { ...value, metadata: { ...value.metadata, resourceVersion, firstSeen: TIME } },
  };
}

function services(name: string, resourceVersion: number): Item {
  const metadata = { cluster: name, namespace: "shop", name: "cart", resourceVersion, firstSeen: TIME };
  const spec = { ports: [{ port: 80, protocol: "http" as const }] };
  return {
    kind: "Services",
    cluster: name,
    value: [{ apiVersion: "isthmus.dev/v1alpha1", kind: "Service", metadata, spec }],
  };
}
