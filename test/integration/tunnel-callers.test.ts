import type { ClientHttp2Session, OutgoingHttpHeaders } from "node:http2";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type Credential, mintCallerToken } from "../../federation/trust/index.ts";
import { type EdgeScene, startEdge } from "../fakes/edge-scene.ts";
import type { TestFederation } from "../fakes/pki.ts";
import { askTunnel, openSession } from "../fakes/tunnel-client.ts";
import { until } from "../fakes/until.ts";

const AUTHORITY = "cart.shop.svc.clusterset.local:80";
const AUDIENCE = "east.test.mesh/shop/cart";

interface Ask {
  readonly member: string;
  readonly peer: (federation: TestFederation) => Credential;
  readonly headers: OutgoingHttpHeaders;
  readonly token: string | undefined;
}

describe("the caller of a tunnel", () => {
  let scene: EdgeScene;
  let sessions: ClientHttp2Session[] = [];
  beforeAll(async () => {
    scene = await startEdge({ agents: true });
  });
  afterAll(() => scene.stop());
  beforeEach(() => {
    scene.workload.clear();
    scene.skip(1_000);
  });
  afterEach(() => {
    for (const session of sessions) session.destroy();
    sessions = [];
  });

  const token = (cluster: string, account: string, change: { audience?: string; now?: number } = {}) =>
    mintCallerToken({
      credential: scene.mesh.federation.credential(cluster, "shop", account),
      audience: AUDIENCE,
      now: Date.now(),
      ...change,
    });

  /** A good ask of west's gateway at east's; each case changes one thing. */
  const good = (): Ask => ({
    member: "east gateway",
    peer: (federation) => federation.system("west", "gateway"),
    headers: { ":authority": AUTHORITY },
    token: token("west", "web"),
  });

  const toAgent = () => ({ ":authority": scene.workload.address, "isthmus-service": AUTHORITY });

  const ask = async (change: Partial<Ask>) => {
    const { member, peer, headers, token: caller } = { ...good(), ...change };
    const { listen, log } = scene.mesh.member(member);
    const before = log.length;
    const session = await openSession({ address: listen, credential: peer(scene.mesh.federation) });
    if (session === undefined) throw new Error("the peer was refused already");
    sessions.push(session);
    const answer = await askTunnel(session, {
      ...headers,
      ...(caller === undefined ? {} : { "isthmus-caller": caller }),
    });
    return { ...answer, lines: () => log.slice(before).filter((line) => line["event"] === "tunnel_refused") };
  };

  const expectRefused = async (change: Partial<Ask>, status: number, code: string) => {
    const { lines, ...answer } = await ask(change);
    expect(answer).toEqual({ status, code });
    await until("the refusal is logged", 2_000, () => (lines().length > 0 ? true : undefined));
    expect(lines().map((line) => line["code"])).toEqual([code]);
    expect(scene.workload.connections).toEqual([]);
  };

  it("is let through with a good token, at the gateway and at the agent", async () => {
    expect((await ask({})).status).toBe(200);
    const own = {
      member: "east agent",
      peer: (f: TestFederation) => f.system("east", "gateway"),
      headers: toAgent(),
    };
    expect((await ask(own)).status).toBe(200);
    await until("both reached the workload", 2_000, () =>
      scene.workload.connections.length === 2 ? true : undefined,
    );
    for (const connection of scene.workload.connections) connection.destroy();
    await until("both are gone", 2_000, () =>
      scene.workload.connections.every(({ closed }) => closed) ? true : undefined,
    );
  });

  it("is refused without a token", () => expectRefused({ token: undefined }, 403, "ISTH-1021"));

  it("is refused with a token that somebody changed", async () => {
    const [head, claims, signature] = token("west", "web").split(".");
    const other = token("west", "batch").split(".")[1];
    await expectRefused({ token: `${head}.${other}.${signature}` }, 403, "ISTH-1022");
    await expectRefused({ token: `${head}.${claims}.` }, 403, "ISTH-1022");
    await expectRefused({ token: "not a token" }, 403, "ISTH-1022");
  });

  it("is refused with a token that has expired or lies in the future", async () => {
    await expectRefused({ token: token("west", "web", { now: Date.now() - 600_000 }) }, 403, "ISTH-1023");
    await expectRefused({ token: token("west", "web", { now: Date.now() + 1_200_000 }) }, 403, "ISTH-1023");
  });

  it("is refused with a token for another service", () =>
    expectRefused(
      { token: token("west", "web", { audience: "east.test.mesh/shop/other" }) },
      403,
      "ISTH-1024",
    ));

  it("is refused when another cluster's gateway speaks for it", () =>
    expectRefused({ token: token("east", "web") }, 403, "ISTH-1022"));

  it("is refused when the export does not name it", () =>
    expectRefused({ token: token("west", "batch") }, 403, "ISTH-2001"));

  it("is refused for a service that is not exported, and for a name that is none", async () => {
    const other = token("west", "web", { audience: "east.test.mesh/shop/other" });
    await expectRefused(
      { headers: { ":authority": "other.shop.svc.clusterset.local:80" }, token: other },
      403,
      "ISTH-2003",
    );
    await expectRefused({ headers: { ":authority": "169.254.169.254:80" } }, 404, "ISTH-3001");
    await expectRefused({ headers: { ":authority": "cart.shop.svc.clusterset.local:81" } }, 404, "ISTH-3001");
  });

  it.each([
    ["an agent of another cluster at a gateway", "east gateway", ["west", "agent"]],
    ["a gateway of the same cluster at a gateway", "east gateway", ["east", "gateway"]],
  ] as const)("is refused behind %s", (_what, member, [cluster, role]) =>
    expectRefused({ member, peer: (f) => f.system(cluster, role) }, 403, "ISTH-2005"),
  );

  it("is refused behind a workload that plays the gateway", async () => {
    const workload = (f: TestFederation) => f.credential("west", "shop", "web");
    await expectRefused({ peer: workload }, 403, "ISTH-2005");
    await expectRefused({ member: "east agent", peer: workload, headers: toAgent() }, 403, "ISTH-2005");
  });

  it("is refused at an agent behind any gateway but its own cluster's", async () => {
    const headers = toAgent();
    await expectRefused({ member: "east agent", headers }, 403, "ISTH-2005");
    await expectRefused(
      { member: "east agent", headers, peer: (f) => f.system("east", "agent") },
      403,
      "ISTH-2005",
    );
  });

  it("is judged again at the agent, so that a gateway that was taken over cannot invent it", async () => {
    const own = {
      member: "east agent",
      peer: (f: TestFederation) => f.system("east", "gateway"),
      headers: toAgent(),
    };
    await expectRefused({ ...own, token: undefined }, 403, "ISTH-1021");
    await expectRefused({ ...own, token: token("west", "batch") }, 403, "ISTH-2001");
    await expectRefused({ ...own, headers: { ":authority": scene.workload.address } }, 404, "ISTH-3001");
  });

  it("cannot make an agent dial what is no endpoint of the service", async () => {
    const headers = { ":authority": "127.0.0.1:22", "isthmus-service": AUTHORITY };
    const { status, code } = await ask({
      member: "east agent",
      peer: (f) => f.system("east", "gateway"),
      headers,
    });
    expect({ status, code }).toEqual({ status: 503, code: "ISTH-3002" });
  });

  it("cannot use a gateway to reach a third cluster: outside peers only come in", async () => {
    const headers = { ":authority": AUTHORITY, "isthmus-destination": "east.test.mesh" };
    const { status, code } = await ask({
      member: "west gateway",
      peer: (f) => f.system("east", "gateway"),
      headers,
    });
    expect({ status, code }).toEqual({ status: 403, code: "ISTH-1024" });
  });

  it("of another cluster cannot go out through this cluster's gateway", () =>
    expectRefused(
      {
        member: "west gateway",
        peer: (f) => f.system("west", "agent"),
        headers: { ":authority": AUTHORITY, "isthmus-destination": "east.test.mesh" },
        token: token("east", "web"),
      },
      403,
      "ISTH-1022",
    ));

  it("must say where it goes when it goes out", () =>
    expectRefused({ member: "west gateway", peer: (f) => f.system("west", "agent") }, 404, "ISTH-3001"));
});
