import { once } from "node:events";
import tls, { type TlsOptions } from "node:tls";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { systemSpiffeId } from "../../federation/model/spiffe-id.ts";
import { createRoot, type Credential, issueSvid, loadRoot } from "../../federation/trust/index.ts";
import { type EdgeScene, startEdge } from "../fakes/edge-scene.ts";
import { createTestCluster, type TestFederation, unwrap } from "../fakes/pki.ts";
import { until } from "../fakes/until.ts";

interface Rogue {
  readonly address: string;
  /** HTTP/2 bytes that the dialler sent after its handshake. */
  readonly heard: () => number;
  close(): void;
}

async function startRogue(credential: Credential, options: TlsOptions = {}): Promise<Rogue> {
  let heard = 0;
  const server = tls.createServer({
    key: credential.privateKeyPem,
    cert: credential.chainPem,
    requestCert: true,
    rejectUnauthorized: false,
    ALPNProtocols: ["h2"],
    ...options,
  });
  server.on("secureConnection", (socket) => {
    socket.on("data", (chunk: Buffer) => (heard += chunk.length));
    socket.on("error", () => {});
  });
  server.on("tlsClientError", () => {});
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const bound = server.address();
  const port = typeof bound === "object" && bound !== null ? bound.port : 0;
  return { address: `127.0.0.1:${port}`, heard: () => heard, close: () => void server.close() };
}

type Forge = (federation: TestFederation) => Credential;

const ROGUES: readonly [what: string, code: string, forge: Forge, options?: TlsOptions][] = [
  ["the gateway of another cluster", "ISTH-1011", (f) => f.system("west", "gateway")],
  ["an agent of the right cluster", "ISTH-1011", (f) => f.system("east", "agent")],
  ["a workload of the right cluster", "ISTH-1011", (f) => f.credential("east", "shop", "cart")],
  [
    "a gateway certified by another cluster's CA",
    "ISTH-1006",
    (f) => f.system("east", "gateway", { signedBy: f.cluster("west").ca }),
  ],
  ["a gateway of a foreign root", "ISTH-1002", foreignGateway],
  [
    "a gateway whose certificate has expired",
    "ISTH-1003",
    (f) => f.system("east", "gateway", { notBeforeMs: f.now - 7_200_000, notAfterMs: f.now - 1_000 }),
  ],
  [
    "a gateway with two SPIFFE IDs",
    "ISTH-1005",
    (f) =>
      f.system("east", "gateway", { uriSans: ["spiffe://east.test.mesh/a", "spiffe://east.test.mesh/b"] }),
  ],
  ["a gateway that speaks no h2", "ISTH-1009", (f) => f.system("east", "gateway"), { ALPNProtocols: [] }],
  [
    "a gateway that speaks TLS 1.2 only",
    "ISTH-1009",
    (f) => f.system("east", "gateway"),
    { maxVersion: "TLSv1.2" },
  ],
];

function foreignGateway({ now }: TestFederation): Credential {
  const root = unwrap(loadRoot(createRoot({ federation: "test.mesh", now })));
  const { ca, trustDomain } = createTestCluster("test.mesh", "east", root, now);
  return issueSvid({ ca, spiffeId: systemSpiffeId(trustDomain, "gateway"), now });
}

describe("a gateway that dials", () => {
  let scene: EdgeScene;
  let rogue: Rogue | undefined;
  beforeAll(async () => {
    scene = await startEdge();
  });
  afterAll(() => scene.stop());
  afterEach(() => rogue?.close());

  it.each(ROGUES)("does not speak to %s (%s)", async (_what, code, forge, options) => {
    rogue = await startRogue(forge(scene.mesh.federation), options);
    const { address } = rogue;
    const west = scene.mesh.member("west gateway");
    const before = west.log.length;
    scene.mesh.publish((snapshot) => ({
      ...snapshot,
      peers: snapshot.peers.map((peer) => ({ ...peer, gateways: [{ id: "gateway-1", address }] })),
    }));
    const down = () =>
      west.log.slice(before).filter((line) => line["event"] === "tunnel_down" && line["address"] === address);
    await until("both tunnels to it are given up", 5_000, () => (down().length >= 2 ? true : undefined));
    expect(new Set(down().map((line) => line["code"]))).toEqual(new Set([code]));
    expect(west.proxy.tunnels()).toMatchObject([
      { state: expect.stringMatching(/down|connecting/), code },
      { state: expect.stringMatching(/down|connecting/), code },
    ]);
    expect(rogue.heard()).toBe(0);
    // Further tries of the same tunnel fail the same way and are not logged again.
    expect(down()).toHaveLength(2);
  });
});
