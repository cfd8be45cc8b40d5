// Longer than other files: a cluster with an external CA, from joining to the next key, is one story.
import { once } from "node:events";
import { X509Certificate } from "node:crypto";
import { copyFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { connect } from "node:tls";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parse } from "yaml";
import {
  CONFIG_MAPS,
  ENDPOINT_SLICES,
  NAMESPACES,
  PODS,
  SECRETS,
  SERVICE_EXPORTS,
  SERVICES,
} from "../../agents/kubernetes/api/resource-type.ts";
import { textMap } from "../../agents/kubernetes/digest/fields.ts";
import {
  type CaFiles,
  type CertificateIssuer,
  makeCaRequest,
  startCertificateIssuer,
} from "../fakes/certificate-issuer.ts";
import { peerChain } from "../../gateway/dataplane/index.ts";
import { type KubeFaults, startKubeFaults } from "../fakes/kube-api/fault-proxy.ts";
import {
  type MemberProcess,
  podToken,
  registerCluster,
  startMember,
  writeKubeconfig,
} from "../fakes/kube-members.ts";
import { wayTo, WEB } from "../fakes/kube-scene.ts";
import {
  accessAs,
  call,
  installExternalCa,
  type KubeApi,
  type KubeWorld,
  localAddress,
  startKubeApi,
  startKubeWorld,
  until,
} from "../fakes/kube-world.ts";
import { namespace, pod, service, serviceExport, slice } from "./objects.ts";

const [SLICES] = ENDPOINT_SLICES;
const [EXPORTS] = SERVICE_EXPORTS;
const GATEWAY = localAddress(41, 4);
const TUNNEL = 15_008;
const ISSUER = 15_012;
const TRUST_DOMAIN = "west.demo.mesh";
/** So that identities change while the test looks on. */
const SVID_SECONDS = 10;

let directory: string;
let world: KubeWorld;
let api: KubeApi;
let backend: Server;
let ca: CaFiles;
let issuer: CertificateIssuer;
let faults: KubeFaults;
let gateway: MemberProcess;
let controller: MemberProcess;
const west = {
  get api() {
    return api;
  },
};
const csrFile = () => join(directory, "mounted.csr");

/** East holds its own CA; west's is an issuer outside, and all of its processes are real ones. */
beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "isthmus-external-ca-"));
  [world, api] = await Promise.all([startKubeWorld(["east"]), startKubeApi()]);
  backend = createServer((_, response) => response.end("cart of east")).listen(0, localAddress(21, 2));
  await once(backend, "listening");
  const east = world.cluster("east");
  await east.api.put(NAMESPACES, namespace("shop"));
  await east.api.put(SERVICES, service("cart"));
  const { port } = backend.address() as AddressInfo;
  const ports = [{ name: "http", port }];
  await east.api.put(SLICES, slice("cart", { ports, addresses: [localAddress(21, 2)] }));
  await east.api.put(EXPORTS, serviceExport("cart"));

  await api.put(NAMESPACES, namespace("shop"));
  await api.put(PODS, pod("web-1", "web", WEB));
  for (const [name, number, portName] of [
    ["isthmus-gateway", TUNNEL, "tunnel"],
    ["isthmus-issuer", ISSUER, "issuer"],
  ] as const) {
    const at = { namespace: "isthmus-system", ports: [{ name: portName, port: number }] };
    await api.put(SERVICES, service(name, at));
    await api.put(SLICES, slice(name, { ...at, addresses: [GATEWAY] }));
  }
  const at = { node: "a", namespace: "isthmus-system" };
  await api.put(PODS, pod("isthmus-controller-1", "controller", localAddress(51), at));
  ca = makeCaRequest(directory, "first", TRUST_DOMAIN);
  copyFileSync(ca.csr, csrFile());
  installExternalCa(api);
  faults = await startKubeFaults(api.access);
  writeFileSync(join(directory, "join"), await registerCluster(world.registry, "west"));
  gateway = await startGateway(1, { ISTHMUS_JOIN_TOKEN_FILE: join(directory, "join") });
}, 60_000);

async function startGateway(turn: number, more: NodeJS.ProcessEnv = {}): Promise<MemberProcess> {
  const access = faults.through(await accessAs(api, "gateway"));
  return startMember("gateway", {
    ISTHMUS_KUBERNETES: writeKubeconfig(join(directory, "gateway"), access),
    ISTHMUS_STATE_DIR: join(directory, `gateway-state-${turn}`),
    ISTHMUS_MEMBER: `gateway-${turn}`,
    ISTHMUS_REGISTRY: world.registry.url,
    ISTHMUS_LISTEN: `${GATEWAY}:${TUNNEL}`,
    ISTHMUS_ISSUER_LISTEN: `${GATEWAY}:${ISSUER}`,
    ISTHMUS_ADMIN_LISTEN: `${GATEWAY}:9901`,
    ISTHMUS_CA_ISSUER: "Issuer/isthmus-ca",
    ISTHMUS_CA_CSR_FILE: csrFile(),
    ISTHMUS_SVID_TTL_SECONDS: String(SVID_SECONDS),
    ...more,
  });
}

afterAll(async () => {
  for (const process of [gateway, controller]) process?.child.kill("SIGKILL");
  issuer?.stop();
  backend?.close();
  await faults?.close();
  await world?.close();
  await api?.close();
  rmSync(directory, { recursive: true, force: true });
});

/** What an operator takes to the issuer: the certificate of its CA, as the federation's root has made it. */
const caCertificate = async (): Promise<string | undefined> =>
  textMap((await api.get(CONFIG_MAPS, "isthmus-system", "isthmus-cluster"))?.["data"])["ca.crt"];

async function install(files: CaFiles): Promise<void> {
  writeFileSync(files.certificate, (await caCertificate()) ?? "");
}

async function admin(path: string): Promise<{ readonly status: number; readonly text: string }> {
  const response = await fetch(`http://${GATEWAY}:9901${path}`);
  return { status: response.status, text: await response.text() };
}

/** Calls without a pause, and what became of them. */
function callAllTheTime(): { readonly answers: string[]; stop(): Promise<void> } {
  const answers: string[] = [];
  let over = false;
  const running = (async () => {
    while (!over) {
      const to = await wayTo(west, "cart");
      const got = to === undefined ? undefined : await call(WEB, to).catch(String);
      answers.push(typeof got === "object" ? `${got.status} ${got.body}` : String(got));
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  })();
  return {
    answers,
    async stop() {
      over = true;
      await running;
    },
  };
}

const has = (event: string): true | undefined =>
  gateway.log.some((line) => line["event"] === event) ? true : undefined;
const asked = (path: string): number =>
  issuer.asked.filter((uri) => uri === `spiffe://${TRUST_DOMAIN}/ns/${path}`).length;

/** The certificates that the gateway presents where it issues identities: leaf, and CA. */
function presented(): Promise<readonly [leaf: X509Certificate, ca: X509Certificate]> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: GATEWAY, port: ISSUER, rejectUnauthorized: false }, () => {
      const [leaf, above] = peerChain(socket).map((der) => new X509Certificate(der));
      if (leaf === undefined || above === undefined) reject(new Error("no chain of two"));
      else resolve([leaf, above]);
      socket.destroy();
    });
    socket.once("error", reject);
  });
}

const keyOf = (certificate: X509Certificate): string =>
  certificate.publicKey.export({ type: "spki", format: "pem" }) as string;

describe("a cluster whose CA is an issuer outside", () => {
  it("joins with the issuer's request, and waits for the issuer, saying so", {
    timeout: 30_000,
  }, async () => {
    await until("the cluster has joined", 20_000, async () =>
      (await caCertificate()) === undefined ? undefined : true,
    );
    await install(ca);
    issuer = await startCertificateIssuer(api, "isthmus-ca", ca);
    issuer.mood = "denies";
    const waiting = await until("the gateway says what it waits for", 20_000, async () => {
      const { status, text } = await admin("/readyz");
      return status === 503 && text.includes("ISTH-1074") ? text : undefined;
    });
    expect(waiting).toContain("no policy allows it");
    issuer.mood = "well";
    await until("the gateway serves", 20_000, () => has("serving"));
  });

  it("serves a call to another cluster under the pod's own identity, with nobody's CA key but the issuer's", {
    timeout: 40_000,
  }, async () => {
    writeFileSync(
      join(directory, "controller.identity"),
      await podToken(api, { account: "controller", pod: "isthmus-controller-1" }),
    );
    controller = startMember("controller", {
      ISTHMUS_KUBERNETES: writeKubeconfig(join(directory, "controller"), await accessAs(api, "controller")),
      ISTHMUS_STATE_DIR: join(directory, "controller-state"),
      ISTHMUS_MEMBER: "controller-1",
      ISTHMUS_IDENTITY_TOKEN_FILE: join(directory, "controller.identity"),
      ISTHMUS_REGISTRY: world.registry.url,
    });
    const answer = await until("web reaches cart", 30_000, async () => {
      const to = await wayTo(west, "cart");
      const got = to === undefined ? undefined : await call(WEB, to).catch(() => undefined);
      return got?.status === 200 ? got.body : undefined;
    });
    expect(answer).toBe("cart of east");
    const opened = world.cluster("east").log.find((line) => line["event"] === "tunnel_opened");
    expect(opened).toMatchObject({ caller: `spiffe://${TRUST_DOMAIN}/ns/shop/sa/web` });
    expect(new Set(issuer.asked)).toEqual(
      new Set(
        ["isthmus-system/sa/gateway", "isthmus-system/sa/controller", "shop/sa/web"].map(
          (path) => `spiffe://${TRUST_DOMAIN}/ns/${path}`,
        ),
      ),
    );
    expect(readdirSync(join(directory, "gateway-state-1"))).not.toContain("ca.key");
    expect(await api.list(SECRETS, "isthmus-system")).toEqual([]);
  });

  it("changes leaves, the issuer's CA and its key while calls go on, and none of them fails", {
    timeout: 60_000,
  }, async () => {
    const calls = callAllTheTime();
    const [leafBefore, caBefore] = await presented();
    const next = makeCaRequest(directory, "next", TRUST_DOMAIN);
    const certified = await caCertificate();
    copyFileSync(next.csr, csrFile());
    await until("the root has certified the new key", 15_000, async () =>
      (await caCertificate()) === certified ? undefined : true,
    );
    await until("gateways say that the issuer still has the old one", 15_000, () =>
      has("ca_issuer_outdated"),
    );
    expect(keyOf((await presented())[1])).toBe(keyOf(caBefore));
    await install(next);
    await issuer.use(next);
    const turns = { gateway: asked("isthmus-system/sa/gateway"), web: asked("shop/sa/web") };
    const leafAfter = await until("the gateway presents the new CA", 15_000, async () => {
      const [leaf, above] = await presented();
      return keyOf(above) === keyOf(caBefore) ? undefined : leaf;
    });
    await until("everybody was given another identity since", 15_000, () =>
      asked("isthmus-system/sa/gateway") > turns.gateway && asked("shop/sa/web") > turns.web
        ? true
        : undefined,
    );
    await calls.stop();
    expect(keyOf(leafAfter)).not.toBe(keyOf(leafBefore));
    expect(calls.answers.length).toBeGreaterThan(50);
    expect(new Set(calls.answers)).toEqual(new Set(["200 cart of east"]));
  });

  it("keeps what is in use while the issuer names others, says so, and goes on when it is well", {
    timeout: 40_000,
  }, async () => {
    const calls = callAllTheTime();
    issuer.mood = "other name";
    const line = await until("the gateway says so", 15_000, () =>
      gateway.log.find(({ event, code }) => event === "identity_not_issued" && code === "ISTH-1076"),
    );
    expect(line["detail"]).toContain("somebody-else");
    issuer.mood = "well";
    await until("it has one again", 15_000, () =>
      gateway.log.find(({ event, spiffeId }) => event === "identity_issued" && spiffeId === line["spiffeId"]),
    );
    await calls.stop();
    expect(new Set(calls.answers)).toEqual(new Set(["200 cart of east"]));
  });

  it("needs no join token when its gateway starts anew: the membership is in the ConfigMap", {
    timeout: 40_000,
  }, async () => {
    gateway.child.kill("SIGKILL");
    gateway = await startGateway(2);
    await until("the gateway serves again", 20_000, () => has("serving"));
    const answer = await until("web reaches cart again", 20_000, async () => {
      const to = await wayTo(west, "cart");
      const got = to === undefined ? undefined : await call(WEB, to).catch(() => undefined);
      return got?.status === 200 ? got.body : undefined;
    });
    expect(answer).toBe("cart of east");
  });

  it("did all this with exactly the rights in isthmus-system that its overlay gives, and read no Secret there", () => {
    const used = new Set(
      faults.asked
        .filter(({ name }) => name.startsWith("isthmus-system"))
        .map(({ verb, group, resource }) => `${verb} ${group}/${resource}`),
    );
    const given = overlayRules().flatMap(({ apiGroups, resources, verbs }) =>
      verbs.flatMap((verb) => apiGroups.flatMap((group) => resources.map((of) => `${verb} ${group}/${of}`))),
    );
    // To apply what is not there takes `create` as well, which shows on a real API server only; API servers since 1.30
    // name the node of a token.
    const unseen = ["create /configmaps", "get /pods"];
    expect([...used].sort()).toEqual(given.filter((right) => !unseen.includes(right)).sort());
  });
});

interface Rule {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly verbs: readonly string[];
}

function overlayRules(): readonly Rule[] {
  const file = new URL("../../infra/kubernetes/components/external-ca/kustomization.yaml", import.meta.url);
  const { patches } = parse(readFileSync(file, "utf8")) as {
    readonly patches: readonly { readonly target: { readonly kind: string }; readonly patch: string }[];
  };
  const role = patches.find(({ target }) => target.kind === "Role");
  return (parse(role?.patch ?? "") as { readonly value: readonly Rule[] }[])[0]?.value ?? [];
}
