import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Snapshot } from "../../federation/model/snapshot.ts";
import { emptySnapshot } from "../fakes/fake-registry.ts";
import { type MeshMember, startMember } from "../fakes/mesh-member.ts";
import { createTestFederation, type TestFederation } from "../fakes/pki.ts";
import { dialTls, openSession } from "../fakes/tunnel-client.ts";

const PATIENCE_MS = 8_000;

/** A peer that has its snapshot dials at once; whom it dials may still be waiting for its own. */
describe("a gateway that has no snapshot yet", () => {
  let federation: TestFederation;
  let gateway: MeshMember;
  let snapshot: Snapshot;

  beforeEach(async () => {
    // Of one root, as a federation's clusters are: only the bundle of its own domain was given to it when it joined.
    federation = createTestFederation("test.mesh", ["east", "west"]);
    snapshot = emptySnapshot(federation, "east", 1);
    const services = {
      apiVersion: "isthmus.dev/v1alpha1",
      kind: "StaticCluster",
      metadata: { name: "east" },
      spec: { gateways: [], agents: [], workloads: [] },
    } as const;
    gateway = await startMember(federation, "east", "gateway", services, snapshot, { hasNoSnapshot: true });
  });
  afterEach(() => gateway.proxy.close());

  const refused = () => gateway.log.filter(({ event }) => event === "peer_refused");
  const dial = () => ({ address: gateway.listen, credential: federation.system("west", "gateway") });

  it("lets a peer of another cluster wait until it can be judged, and says nothing", async () => {
    let greeted = false;
    const opening = openSession(dial()).then((session) => ((greeted = true), session));
    // Whoever is of its own cluster need not wait: when that session greets, the other one has been looked at.
    const own = await openSession({ ...dial(), credential: federation.system("east", "agent") });
    expect(own).toBeDefined();
    expect(greeted).toBe(false);
    gateway.snapshot.publish(snapshot);
    const session = await opening;
    expect(session).toBeDefined();
    expect(refused()).toEqual([]);
    session?.destroy();
    own?.destroy();
  });

  it("refuses it with the code when the snapshot does not know it either", async () => {
    const opening = openSession(dial());
    const own = await openSession({ ...dial(), credential: federation.system("east", "agent") });
    const { trustDomain } = federation.cluster("east");
    gateway.snapshot.publish({
      ...snapshot,
      bundles: federation.bundles.filter((bundle) => bundle.trustDomain === trustDomain),
    });
    expect(await opening).toBeUndefined();
    expect(refused()).toMatchObject([{ code: "ISTH-1007" }]);
    own?.destroy();
  });

  it("does not wait for ever", { timeout: PATIENCE_MS + 5_000 }, async () => {
    const socket = await dialTls(dial());
    const closed = new Promise<void>((resolve) =>
      socket
        .resume()
        .once("close", resolve)
        .on("error", () => {}),
    );
    await closed;
    expect(refused()).toMatchObject([{ code: "ISTH-1007" }]);
  });
});
