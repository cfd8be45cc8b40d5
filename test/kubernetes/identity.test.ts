import { createPublicKey } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createIssuer } from "../../agents/identity/issuer.ts";
import { createIssuerClient } from "../../agents/identity/issuer-client.ts";
import { type IssuerServer, openIssuerServer } from "../../agents/identity/issuer-server.ts";
import { createLocalSigner } from "../../agents/identity/svid-signer.ts";
import { createTokenReviewer } from "../../agents/identity/token-review.ts";
import type { KubeClient } from "../../agents/kubernetes/api/client.ts";
import { NAMESPACES, PODS, pathOf, SECRETS } from "../../agents/kubernetes/api/resource-type.ts";
import { KubernetesSource } from "../../agents/kubernetes/source.ts";
import { ok } from "../../federation/model/result.ts";
import { type SpiffeId, systemSpiffeId, workloadSpiffeId } from "../../federation/model/spiffe-id.ts";
import { createClusterKey, createSvidCsr, decodePem, verifyChain } from "../../federation/trust/index.ts";
import { compilePeerTrust } from "../../gateway/dataplane/identity/peer-trust.ts";
import { createWatch } from "../../gateway/dataplane/lifecycle/watch.ts";
import { systemClock } from "../../gateway/process/clock.ts";
import { clientAs, installAgents, type KubeApi, startKubeApi, until } from "../fakes/kube-world.ts";
import { podToken, type TokenWish } from "../fakes/kube-members.ts";
import { createMemoryLog } from "../fakes/memory-log.ts";
import { createTestFederation, type TestFederation, unwrap } from "../fakes/pki.ts";
import { namespace } from "./objects.ts";

let api: KubeApi;
let federation: TestFederation;
let source: KubernetesSource;
let server: IssuerServer;
let asGateway: KubeClient;
const log = createMemoryLog();

const podOn = (node: string, space: string, name: string, account: string) => ({
  metadata: { namespace: space, name },
  spec: { nodeName: node, serviceAccountName: account, containers: [{ name: "main", image: "app" }] },
});

beforeAll(async () => {
  api = await startKubeApi();
  installAgents(api);
  federation = createTestFederation("demo.mesh", ["east", "west"], Date.now());
  await api.put(NAMESPACES, namespace("shop"));
  if (api.real !== undefined) await serviceAccount("shop", "web");
  await api.put(PODS, podOn("node-a", "isthmus-system", "agent-a", "agent"));
  await api.put(PODS, podOn("node-b", "isthmus-system", "agent-b", "agent"));
  await api.put(PODS, podOn("node-a", "isthmus-system", "controller-1", "controller"));
  await api.put(PODS, podOn("node-a", "shop", "web-1", "web"));
  await api.put(PODS, podOn("node-b", "shop", "cart-1", "cart"));
  asGateway = await clientAs(api, "gateway");
  const { ca, trustDomain } = federation.cluster("east");
  source = new KubernetesSource({
    client: asGateway,
    trustDomain,
    role: "gateway",
    clock: systemClock,
    random: Math.random,
    log,
  });
  source.start();
  await until("the pods are known", 20_000, () => (source.knowsPods ? true : undefined));
  server = await serve("east", ca);
}, 180_000);

afterAll(async () => {
  server?.close();
  source?.stop();
  asGateway?.close();
  await api?.close();
});

async function serve(
  presenting: string,
  ca: ReturnType<TestFederation["cluster"]>["ca"],
): Promise<IssuerServer> {
  const issuer = createIssuer({
    trustDomain: federation.cluster("east").trustDomain,
    reviewer: createTokenReviewer(asGateway, systemClock),
    signer: createLocalSigner(createWatch({ ca }), systemClock),
    lifetimeMs: 3_600_000,
    runsOn: () => (account, node) => source.runsOn(account.namespace, account.account, node),
    log,
  });
  const credential = createWatch(federation.system(presenting, "gateway"));
  return unwrap(await openIssuerServer({ host: "127.0.0.1", port: 0 }, issuer, credential));
}

async function serviceAccount(space: string, name: string): Promise<void> {
  await api.put(
    { group: "", version: "v1", plural: "serviceaccounts", kind: "ServiceAccount", namespaced: true },
    { metadata: { namespace: space, name } },
  );
}

const tokenFor = (wish: TokenWish): Promise<string> => podToken(api, wish);

const agentOf = (node: "a" | "b") => tokenFor({ account: "agent", pod: `agent-${node}` });

async function ask(token: string, spiffeId: SpiffeId, addresses = [server.address]) {
  const privateKey = createClusterKey();
  const trust = compilePeerTrust(federation.bundles, []);
  const client = createIssuerClient({
    trustDomain: federation.cluster("east").trustDomain,
    trust: () => trust,
    addresses: async () => ok(addresses),
    token: () => ok(token),
    now: Date.now,
    random: Math.random,
  });
  const answer = await client.issue({ csrPem: createSvidCsr({ privateKey, spiffeId }), spiffeId });
  return { answer, privateKey };
}

const workload = (name: string, cluster = "east"): SpiffeId =>
  workloadSpiffeId(federation.cluster(cluster).trustDomain, "shop", name);
const system = (role: "agent" | "controller" | "gateway"): SpiffeId =>
  systemSpiffeId(federation.cluster("east").trustDomain, role);

describe("the cluster's issuer", () => {
  it("gives an agent its own identity and that of an account on its node, for the agent's own key", async () => {
    const token = await agentOf("a");
    for (const id of [system("agent"), workload("web")]) {
      const { answer, privateKey } = await ask(token, id);
      const chain = decodePem("CERTIFICATE", unwrap(answer)) ?? [];
      const verified = unwrap(verifyChain(chain, federation.index, Date.now()));
      expect(verified.spiffeId.uri).toBe(id.uri);
      expect(verified.publicKeyInfo).toEqual(
        createPublicKey(privateKey).export({ type: "spki", format: "der" }),
      );
    }
  });

  it("gives a controller its own identity and nothing else", async () => {
    const token = await tokenFor({ account: "controller", pod: "controller-1" });
    expect((await ask(token, system("controller"))).answer.ok).toBe(true);
    expect((await ask(token, workload("web"))).answer).toMatchObject({ error: { name: "identity_denied" } });
  });

  const refused: readonly (readonly [string, () => Promise<string>, () => SpiffeId])[] = [
    ["an account whose pods run on another node", () => agentOf("a"), () => workload("cart")],
    ["an account without a pod", () => agentOf("a"), () => workload("nobody")],
    ["the agent of another node", () => agentOf("b"), () => workload("web")],
    ["the identity of a gateway", () => agentOf("a"), () => system("gateway")],
    ["another cluster's identity", () => agentOf("a"), () => workload("web", "west")],
    ["a token that is bound to no pod", () => tokenFor({ account: "agent" }), () => workload("web")],
    [
      "a token for the API server itself",
      () => tokenFor({ account: "agent", pod: "agent-a", audience: "https://kubernetes.default.svc" }),
      () => workload("web"),
    ],
    [
      "a workload that asks for itself",
      () => tokenFor({ space: "shop", account: "web", pod: "web-1" }),
      () => workload("web"),
    ],
    ["a token that nobody made", async () => "eyJhbGciOiJub25lIn0.e30.", () => system("agent")],
  ];
  it.each(refused)("refuses %s", async (_what, token, id) => {
    const { answer } = await ask(await token(), id());
    expect(answer).toMatchObject({ ok: false, error: { name: "identity_denied" } });
  });

  it("follows pods as they come and go", async () => {
    const token = await agentOf("a");
    await api.put(PODS, podOn("node-a", "shop", "batch-1", "batch"));
    await until("the new pod's account is given", 10_000, async () =>
      (await ask(token, workload("batch"))).answer.ok ? true : undefined,
    );
    await removeNow("shop", "batch-1");
    await until("the gone pod's account is refused", 10_000, async () =>
      (await ask(token, workload("batch"))).answer.ok ? undefined : true,
    );
  });

  it("is not shown a token when it is no gateway of this cluster, and the next one is asked", async () => {
    const rogue = await serve("west", federation.cluster("west").ca);
    const token = await agentOf("a");
    const before = log.lines.length;
    const alone = await ask(token, system("agent"), [rogue.address]);
    expect(alone.answer).toMatchObject({ ok: false, error: { name: "peer_unexpected" } });
    expect(log.lines).toHaveLength(before);
    rogue.close();
    const both = await ask(token, system("agent"), ["127.0.0.1:1", server.address]);
    expect(both.answer.ok).toBe(true);
  });

  it("refuses what is no request, each with its status", async () => {
    const { request } = await import("node:https");
    const post = (path: string, body: string, authorization?: string) =>
      new Promise<number>((resolve, reject) => {
        const [host = "", port = ""] = server.address.split(":");
        const headers = authorization === undefined ? {} : { authorization };
        const asked = request(
          { host, port, path, method: "POST", headers, rejectUnauthorized: false },
          (answer) => {
            answer.resume();
            resolve(answer.statusCode ?? 0);
          },
        );
        asked.on("error", reject);
        asked.end(body);
      });
    expect(await post("/v1/svid", "{}")).toBe(403);
    expect(await post("/v1/svid", "not json", "Bearer abc")).toBe(400);
    expect(await post("/v1/svid", JSON.stringify({ csr: "x" }), "Bearer abc")).toBe(400);
    expect(await post("/v1/svid", JSON.stringify({ csr: "x".repeat(20_000) }), "Bearer abc")).toBe(400);
    expect(await post("/other", "{}", "Bearer abc")).toBe(404);
  });

  it("lets only gateways read the Secret with the CA's key, by the manifest's roles", async ({ skip }) => {
    if (api.real === undefined) return skip("the double knows no roles");
    const path = pathOf(SECRETS, { namespace: "isthmus-system", name: "isthmus-cluster" });
    for (const account of ["agent", "controller"]) {
      const client = await clientAs(api, account);
      expect(await client.request({ method: "GET", path })).toMatchObject({ error: { kind: "forbidden" } });
      client.close();
    }
    expect(await asGateway.request({ method: "GET", path })).toMatchObject({ error: { kind: "not_found" } });
  });
});

/** Without a kubelet nobody ends a pod that is being deleted. */
async function removeNow(space: string, name: string): Promise<void> {
  const path = pathOf(PODS, { namespace: space, name });
  unwrap(await api.client.request({ method: "DELETE", path, body: { gracePeriodSeconds: 0 } }));
}
