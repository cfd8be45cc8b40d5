import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { systemSpiffeId } from "../../federation/model/spiffe-id.ts";
import { createRoot, type Credential, issueSvid, loadRoot } from "../../federation/trust/index.ts";
import { type EdgeScene, startEdge } from "../fakes/edge-scene.ts";
import { createTestCluster, type TestFederation, unwrap } from "../fakes/pki.ts";
import { dialTls, openSession } from "../fakes/tunnel-client.ts";
import { until } from "../fakes/until.ts";

const HOUR_MS = 3_600_000;
const LISTENERS = ["east gateway", "east agent", "west gateway", "west agent"];

/** A gateway of west, but for what is wrong with it. */
type Forge = (federation: TestFederation) => Credential;

const FORGERIES: readonly (readonly [what: string, code: string, forge: Forge])[] = [
  [
    "signed by the CA of another cluster",
    "ISTH-1006",
    (f) => f.system("west", "gateway", { signedBy: f.cluster("east").ca }),
  ],
  [
    "with two SPIFFE IDs",
    "ISTH-1005",
    (f) =>
      f.system("west", "gateway", {
        uriSans: [
          "spiffe://west.test.mesh/ns/isthmus-system/sa/gateway",
          "spiffe://west.test.mesh/ns/a/sa/b",
        ],
      }),
  ],
  [
    "without a SPIFFE ID",
    "ISTH-1005",
    (f) => f.system("west", "gateway", { uriSans: [], dnsSans: ["west"] }),
  ],
  [
    "with the ID of a trust domain",
    "ISTH-1005",
    (f) => f.system("west", "gateway", { uriSans: ["spiffe://west.test.mesh"] }),
  ],
  [
    "that has expired",
    "ISTH-1003",
    (f) => f.system("west", "gateway", { notBeforeMs: f.now - 2 * HOUR_MS, notAfterMs: f.now - 1_000 }),
  ],
  [
    "that is not valid yet",
    "ISTH-1004",
    (f) => f.system("west", "gateway", { notBeforeMs: f.now + HOUR_MS, notAfterMs: f.now + 2 * HOUR_MS }),
  ],
  ["that is a CA", "ISTH-1008", (f) => f.system("west", "gateway", { ca: true })],
  [
    "that may sign certificates",
    "ISTH-1008",
    (f) => f.system("west", "gateway", { keyUsage: ["digitalSignature", "keyCertSign"] }),
  ],
  ["of a foreign root", "ISTH-1002", foreignGateway],
  ["of a cluster that is not in the snapshot", "ISTH-1007", thirdClusterGateway],
];

function foreignGateway({ now }: TestFederation): Credential {
  const root = unwrap(loadRoot(createRoot({ federation: "test.mesh", now })));
  const { ca, trustDomain } = createTestCluster("test.mesh", "west", root, now);
  return issueSvid({ ca, spiffeId: systemSpiffeId(trustDomain, "gateway"), now });
}

function thirdClusterGateway({ root, now }: TestFederation): Credential {
  const { ca, trustDomain } = createTestCluster("test.mesh", "north", root, now);
  return issueSvid({ ca, spiffeId: systemSpiffeId(trustDomain, "gateway"), now });
}

describe.each(LISTENERS)("the tunnel listener of the %s", (name) => {
  let scene: EdgeScene;
  let address: string;
  let read = 0;
  beforeAll(async () => {
    scene = await startEdge({ agents: true });
    address = scene.mesh.member(name).listen;
  });
  afterAll(() => scene.stop());
  beforeEach(() => {
    scene.skip(1_000); // of the log's lines per second, every case gets its own
    read = scene.mesh.member(name).log.length;
  });

  /** Exactly one line about a peer, with this code; and the workload was left alone. */
  const expectRefused = async (code: string) => {
    const lines = () =>
      scene.mesh
        .member(name)
        .log.slice(read)
        .filter((line) => line["event"] === "peer_refused");
    await until("the refusal is logged", 2_000, () => (lines().length > 0 ? true : undefined));
    expect(lines().map((line) => line["code"])).toEqual([code]);
    expect(scene.workload.connections).toEqual([]);
  };

  it.each(FORGERIES)("refuses a certificate %s with %s", async (_what, code, forge) => {
    expect(await openSession({ address, credential: forge(scene.mesh.federation) })).toBeUndefined();
    await expectRefused(code);
  });

  it("refuses a peer without a certificate", async () => {
    expect(await openSession({ address })).toBeUndefined();
    await expectRefused("ISTH-1001");
  });

  it.each([
    ["TLS 1.2", { maxVersion: "TLSv1.2" }],
    ["another ALPN protocol", { ALPNProtocols: ["http/1.1"] }],
    ["no ALPN", { ALPNProtocols: [] }],
  ] as const)("refuses %s", async (_what, tls) => {
    const credential = scene.mesh.federation.system("west", "gateway");
    expect(await openSession({ address, credential, tls: { ...tls } })).toBeUndefined();
    await expectRefused("ISTH-1009");
  });

  // With tickets off OpenSSL still sends NewSessionTicket in TLS 1.3, naming a session that the server does not keep.
  it("does not resume a session, so that the identity is checked every time", async () => {
    const credential = scene.mesh.federation.system("west", "gateway");
    const offered: Buffer[] = [];
    const first = await dialTls({ address, credential });
    first.on("session", (session) => offered.push(session));
    const [session] = await until("a session", 2_000, () => (offered.length > 0 ? offered : undefined));
    const second = await dialTls({ address, credential, tls: session === undefined ? {} : { session } });
    expect(second.isSessionReused()).toBe(false);
    const bad = scene.mesh.federation.system("west", "gateway", { uriSans: [] });
    expect(
      await openSession({ address, credential: bad, tls: session === undefined ? {} : { session } }),
    ).toBeUndefined();
    await expectRefused("ISTH-1005");
    first.destroy();
    second.destroy();
  });

  it("greets a gateway with a good certificate", async () => {
    const session = await openSession({
      address,
      credential: scene.mesh.federation.system("west", "gateway"),
    });
    expect(session).toBeDefined();
    session?.destroy();
  });
});
