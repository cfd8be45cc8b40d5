// Longer than most: one list of promises, meant to be read from top to bottom.
import { randomBytes } from "node:crypto";
import { afterEach, describe, expect, test } from "vitest";
import { applyLogged, type Change } from "../../federation/registry/change.ts";
import type { ClusterRecord, FederationState, Item } from "../../federation/registry/state.ts";
import type { RegistryStore, StoredMember } from "../../federation/registry/store.ts";
import { exportOf, memberReport } from "../fakes/registry-scene.ts";
import { unwrap } from "../fakes/pki.ts";

/** A place that one adapter keeps its facts in; `open` may be called again after `close`, as after a restart. */
export interface StorePlace {
  open(): RegistryStore;
  /** Where several instances may use it at once: another one, beside those that are open. */
  openSecond?(): RegistryStore;
}

/** Far ahead, so that a store which removes what has expired finds nothing to remove. */
const TIME = "2046-11-01T00:00:00.000Z";
const FOUNDATION = { federation: "demo.mesh", adminTokenSha256: "ab".repeat(32) };

/** What every store must hold to, whatever it is made of. `make` answers a fresh place for each test. */
export function runStoreConformance(name: string, make: () => StorePlace | Promise<StorePlace>): void {
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
      const place = await make();
      const store = await openAt(place);
      const later = { federation: "other.mesh", adminTokenSha256: "cd".repeat(32) };
      expect(unwrap(await store.found(later))).toEqual(FOUNDATION);
      const again = await reopen(place, store);
      expect(unwrap(await again.foundation())).toEqual(FOUNDATION);
    });

    test("begins at revision 0 with nothing in it", async () => {
      const store = await openAt(await make());
      expect(unwrap(await store.load())).toMatchObject({ federation: "demo.mesh", revision: 0 });
      expect(unwrap(await store.load()).clusters.size).toBe(0);
    });

    test("gives back after a restart exactly what was committed", async () => {
      const place = await make();
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
      const store = await openAt(await make());
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
      const store = await openAt(await make());
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
      const store = await openAt(await make());
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
      const place = await make();
      const store = await openAt(place);
      unwrap(await store.commit(change(0, { puts: [cluster("east", 1)], request: REQUEST })));
      const again = await reopen(place, store);
      expect(unwrap(await again.findRequest(REQUEST.token))).toEqual(REQUEST);
      expect(unwrap(await again.findRequest("another-token"))).toBeUndefined();
    });

    test("lists audit records in the order of their revisions, page by page", async () => {
      const store = await openAt(await make());
      for (let base = 0; base < 5; base++)
        unwrap(await store.commit(change(base, { puts: [cluster("east", base + 1)] })));
      const page = unwrap(await store.audit({ after: 1, limit: 2 }));
      expect(page).toEqual([
        { revision: 2, time: TIME, actor: "tester", action: "test", targets: [] },
        { revision: 3, time: TIME, actor: "tester", action: "test", targets: [] },
      ]);
      expect(unwrap(await store.audit({ after: 5, limit: 2 }))).toEqual([]);
    });

    test("keeps the heartbeat of a member with ten thousand listeners", async () => {
      const place = await make();
      const store = await openAt(place);
      const plain = heartbeat("gateway-1", 1);
      const listeners = Array.from({ length: 10_000 }, (_, at) => ({
        workload: "ns/shop/sa/web",
        service: `service-${at}.shop`,
        port: 80,
        address: `127.0.${at >> 8}.${at & 255}:18080`,
        protocol: { name: "http", why: "declared as http" } as const,
      }));
      const large = { ...plain, status: { ...plain.status, listeners } } as StoredMember;
      expect(unwrap(await store.saveMembers([large]))).toBe(true);
      const again = await reopen(place, store);
      expect(unwrap(await again.members())).toEqual([large]);
    });

    test("keeps the last heartbeat of each member until it is forgotten", async () => {
      const place = await make();
      const store = await openAt(place);
      unwrap(await store.saveMembers([heartbeat("gateway-1", 1), heartbeat("agent-1", 1)]));
      expect(unwrap(await store.saveMembers([heartbeat("gateway-1", 2)]))).toBe(true);
      const again = await reopen(place, store);
      const members = unwrap(await again.members());
      expect([...members].sort((a, b) => (a.member < b.member ? -1 : 1))).toEqual([
        heartbeat("agent-1", 1),
        heartbeat("gateway-1", 2),
      ]);
      // What is forgotten is remembered as such, and keeps what it signed before from coming back.
      const { status: _, ...forgotten } = heartbeat("agent-1", 3);
      expect(unwrap(await again.saveMembers([forgotten]))).toBe(true);
      expect(unwrap(await again.saveMembers([heartbeat("agent-1", 2)]))).toBe(false);
      expect(unwrap(await again.members("east"))).toContainEqual(forgotten);
      unwrap(await again.forgetMembers("east"));
      expect(unwrap(await again.members())).toEqual([]);
    });

    test("never turns a heartbeat back to one that was signed before it", async () => {
      const place = await make();
      const store = await openAt(place);
      const second = place.openSecond?.() ?? store;
      unwrap(await store.saveMembers([heartbeat("gateway-1", 5)]));
      for (const sequence of [4, 5])
        expect(unwrap(await second.saveMembers([heartbeat("gateway-1", sequence)]))).toBe(false);
      await Promise.all(
        Array.from({ length: 20 }, (_, index) =>
          (index % 2 === 0 ? store : second).saveMembers([heartbeat("gateway-1", 25 - index)]),
        ),
      );
      expect(unwrap(await store.members("east"))).toEqual([heartbeat("gateway-1", 25)]);
    });

    test("keeps documents of any size whole, and lists pages of them", async () => {
      const place = await make();
      const store = await openAt(place);
      unwrap(await store.commit(change(0, { puts: [cluster("east", 1)] })));
      // Random names, since nothing else keeps its size when it is compressed.
      const names = Array.from({ length: 12_000 }, () => randomBytes(36).toString("hex"));
      const big = services("east", 2, names);
      const audit = { time: TIME, actor: "tester", action: "test", targets: names };
      unwrap(
        await store.commit(
          change(1, { puts: [big], audit, request: { ...REQUEST, response: "x".repeat(900_000) } }),
        ),
      );
      unwrap(await store.commit(change(2, { puts: [cluster("west", 3)] })));
      const again = await reopen(place, store);
      expect(unwrap(await again.load()).clusters.get("east")?.services.size).toBe(names.length);
      const page = unwrap(await again.audit({ after: 0, limit: 2 }));
      expect(page.map(({ targets }) => targets.length)).toEqual([0, names.length]);
      expect(unwrap(await again.audit({ after: 1, limit: 5 })).map(({ revision }) => revision)).toEqual([
        2, 3,
      ]);
      expect(unwrap(await again.findRequest(REQUEST.token))?.response).toHaveLength(900_000);
    });

    test("writes a change of any size, or says that it never can, and writes nothing of it", async () => {
      const store = await openAt(await make());
      unwrap(await store.commit(change(0, { puts: [cluster("east", 1)] })));
      const names = Array.from({ length: 70_000 }, () => randomBytes(32).toString("hex"));
      const written = await store.commit(change(1, { puts: [services("east", 2, names)] }));
      const size = unwrap(await store.load()).clusters.get("east")?.services.size;
      if (written.ok) return expect(size).toBe(names.length);
      expect(written.error).toMatchObject({ kind: "too_large", detail: expect.stringContaining("in parts") });
      expect([size, unwrap(await store.revision())]).toEqual([0, 1]);
      unwrap(await store.commit(change(1, { puts: [cluster("west", 2)] })));
    });

    test("goes on at the revision that a change names, so that numbers can be left out on purpose", async () => {
      const place = await make();
      const store = await openAt(place);
      unwrap(await store.commit(change(0, { puts: [cluster("east", 1)] })));
      unwrap(await store.commit(change(1, { revision: 50, snapshots: ["east"] })));
      expect(await store.commit(change(1, {}))).toEqual({ ok: false, error: { kind: "conflict" } });
      unwrap(await store.commit(change(50, { puts: [cluster("west", 51)] })));
      const state = unwrap(await (await reopen(place, store)).load());
      expect([state.revision, state.clusters.get("east")?.snapshotRevision, state.clusters.size]).toEqual([
        51, 50, 2,
      ]);
    });

    test("tells the revision, and what changed after one, or that it has to be loaded", async () => {
      const store = await openAt(await make());
      for (let base = 0; base < 4; base++)
        unwrap(
          await store.commit(
            change(base, { puts: [cluster(`c${base}`, base + 1)], snapshots: [`c${base}`] }),
          ),
        );
      expect(unwrap(await store.revision())).toBe(4);
      const changes = unwrap(await store.changesAfter(2));
      if (changes === undefined) return;
      expect(
        changes.map(({ baseRevision, revision, snapshots }) => [baseRevision, revision, snapshots]),
      ).toEqual([
        [2, 3, ["c2"]],
        [3, 4, ["c3"]],
      ]);
      expect(unwrap(await store.changesAfter(4))).toEqual([]);
      expect(changes.reduce(applyLogged, stateOf(unwrap(await store.load()), 2))).toEqual(
        unwrap(await store.load()),
      );
    });

    test("loads the same state with a checkpoint as without, and after a clean-up", async () => {
      const place = await make();
      const store = await openAt(place);
      const seen = [{ key: "ServiceExport/east/shop/cart", time: TIME }];
      unwrap(await store.commit(change(0, { puts: [cluster("east", 1)], snapshots: ["east"] })));
      unwrap(
        await store.commit(
          change(1, { puts: [exportAt("east", "cart", 2), services("east", 2)], firstSeen: seen }),
        ),
      );
      unwrap(await store.saveCheckpoint(unwrap(await store.load())));
      unwrap(await store.commit(change(2, { puts: [cluster("west", 3)], snapshots: ["east", "west"] })));
      const before = unwrap(await store.load());
      expect(before.clusters.get("east")?.snapshotRevision).toBe(3);
      unwrap(await store.cleanUp(0));
      const again = await reopen(place, store);
      expect(unwrap(await again.load())).toEqual(before);
      unwrap(await again.saveCheckpoint(before));
      unwrap(await again.cleanUp(0));
      expect(unwrap(await again.load())).toEqual(before);
    });

    test("spends a name once, however many try at the same time", async () => {
      const place = await make();
      const store = await openAt(place);
      const second = place.openSecond?.() ?? store;
      const now = Date.parse(TIME);
      const results = await Promise.all(
        Array.from({ length: 20 }, (_, index) =>
          (index % 2 === 0 ? store : second).spend("jti-1", now + 60_000, now),
        ),
      );
      expect(results.filter((result) => unwrap(result))).toHaveLength(1);
      expect(unwrap(await store.spend("jti-2", now + 60_000, now))).toBe(true);
    });

    test("remembers over a restart what was spent, and not for longer than it says", async () => {
      const place = await make();
      const store = await openAt(place);
      const now = Date.parse(TIME);
      expect(unwrap(await store.spend("jti-1", now + 60_000, now))).toBe(true);
      const again = await reopen(place, store);
      expect(unwrap(await again.spend("jti-1", now + 60_000, now + 30_000))).toBe(false);
      unwrap(await again.cleanUp(now + 30_000));
      expect(unwrap(await again.spend("jti-1", now + 60_000, now + 30_000))).toBe(false);
      expect(unwrap(await again.spend("jti-1", now + 200_000, now + 62_000))).toBe(true);
    });

    test("keeps several instances from overwriting each other", async () => {
      const place = await make();
      const store = await openAt(place);
      const second = place.openSecond?.();
      if (second === undefined) return expect(store.shared).toBe(false);
      expect(store.shared).toBe(true);
      const results = await Promise.all(
        Array.from({ length: 20 }, (_, index) =>
          (index % 2 === 0 ? store : second).commit(change(0, { puts: [cluster(`c${index}`, 1)] })),
        ),
      );
      expect(results.filter((result) => result.ok)).toHaveLength(1);
      expect(results.filter((result) => !result.ok && result.error.kind === "conflict")).toHaveLength(19);
      expect(unwrap(await second.load()).clusters.size).toBe(1);
      expect(unwrap(await store.audit({ after: 0, limit: 100 }))).toHaveLength(1);
    });
  });
}

const REQUEST = { token: "request-1", fingerprint: "f1", response: '{"revision":1}' };

function heartbeat(member: string, order: number): StoredMember {
  const status = { ...memberReport({ appliedRevision: order }), member, lastSeen: TIME };
  return { cluster: "east", member, sequence: Date.parse(TIME) + order, status };
}

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

function services(cluster_: string, resourceVersion: number, names: readonly string[] = ["cart"]): Item {
  const spec = { ports: [{ port: 80, protocol: "http" as const }] };
  const value = names.map((name) => {
    const metadata = { cluster: cluster_, namespace: "shop", name, resourceVersion, firstSeen: TIME };
    return { apiVersion: "isthmus.dev/v1alpha1", kind: "Service", metadata, spec } as const;
  });
  return { kind: "Services", cluster: cluster_, value };
}

/** A state of a few clusters as it was: those that came later are left out. */
function stateOf(state: FederationState, revision: number): FederationState {
  const clusters = [...state.clusters].filter(([, { record }]) => record.resourceVersion <= revision);
  return { ...state, revision, clusters: new Map(clusters) };
}
