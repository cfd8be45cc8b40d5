import { request as httpsRequest } from "node:https";
import { connect as tlsConnect } from "node:tls";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { SYSTEM_NAMESPACE } from "../../federation/model/spiffe-id.ts";
import { CachingResolver, guardedRanges, systemLookups } from "../../gateway/dataplane/index.ts";
import { negotiate } from "../fakes/alpn-client.ts";
import { TestSecrets } from "../fakes/egress-scene.ts";
import { type Mesh, startMesh } from "../fakes/mesh.ts";
import { createOutsideCa, type Pair } from "../fakes/outside-pki.ts";
import { type OutsideServer, startOutsideServer } from "../fakes/outside-server.ts";

const OPEN = "shop.example.com";
const STRICT = "partner.example.com";

describe("callers from outside the mesh", () => {
  const sites = createOutsideCa("sites");
  const partners = createOutsideCa("partners");
  const secrets = new TestSecrets();
  let cart: OutsideServer;
  let mesh: Mesh;
  let port: number;

  beforeAll(async () => {
    cart = await startOutsideServer({});
    secrets.set("open", sites.issue({ dns: [OPEN] }));
    secrets.set("strict", sites.issue({ dns: [STRICT] }));
    secrets.setCa("partners", partners.certificatePem);
    const resolver = new CachingResolver({ ...systemLookups([]), now: Date.now });
    const clientValidation = { caCertificateRefs: [{ name: "partners" }], mode: "Required" as const };
    const cartService = { namespace: "shop", name: "cart", port: 80 };
    mesh = await startMesh({
      agents: false,
      endpoint: `127.0.0.1:${cart.port}`,
      outside: {
        secrets,
        resolver,
        guarded: guardedRanges(),
        listen: { host: "127.0.0.1", port: 0 },
        stop: () => {},
      },
      change: (snapshot) =>
        snapshot.cluster === "west"
          ? snapshot
          : {
              ...snapshot,
              ingress: [
                {
                  ...cartService,
                  hostnames: [OPEN],
                  paths: [
                    { type: "PathPrefix", value: "/cart" },
                    { type: "Exact", value: "/health" },
                  ],
                  tls: { certificateRef: { name: "open" } },
                },
                {
                  ...cartService,
                  hostnames: [STRICT],
                  tls: { certificateRef: { name: "strict" }, clientValidation },
                },
              ],
            },
    });
    port = Number(mesh.member("east gateway").proxy.outside?.()?.split(":").at(-1));
  });
  afterAll(async () => {
    mesh.close();
    await cart.stop();
  });

  interface Call {
    readonly sni?: string;
    readonly host?: string;
    readonly path?: string;
    readonly client?: Pair;
    readonly headers?: Record<string, string>;
  }
  /** `200`, `403 ISTH-2211`, or the error of the handshake. */
  const call = ({ sni = OPEN, host = sni, path = "/cart", client, headers = {} }: Call): Promise<string> =>
    new Promise((resolve) => {
      const asked = httpsRequest(
        {
          host: "127.0.0.1",
          port,
          servername: sni,
          path,
          headers: { host, ...headers },
          ca: sites.certificatePem,
          agent: false,
          ...(client === undefined ? {} : { cert: client.certificatePem, key: client.privateKeyPem }),
        },
        (response) => {
          response.resume();
          const code = response.headers["isthmus-code"];
          resolve([response.statusCode, code].filter((part) => part !== undefined).join(" "));
        },
      );
      asked.on("error", (error) => resolve(error.message.slice(0, 60)));
      asked.end();
    });

  it("reach an exported service by host and path, by a certificate that they can verify", async () => {
    expect(await call({})).toBe("200");
    expect(cart.seen.at(-1)).toMatchObject({ url: "/cart", host: OPEN });
    expect(cart.seen.at(-1)?.headers["x-forwarded-proto"]).toBe("https");
    expect(await call({ path: "/health" })).toBe("200");
  });

  it.each([
    ["another path", { path: "/admin" }, "404 ISTH-3001"],
    ["a path that only begins alike", { path: "/cartoon" }, "404 ISTH-3001"],
    ["a path that leads out of the one that is open", { path: "/cart/../admin" }, "404 ISTH-3001"],
    ["the same in other spellings", { path: "/cart/%2e%2e/admin" }, "404 ISTH-3001"],
    ["an encoded slash", { path: "/cart%2f..%2fadmin" }, "404 ISTH-3001"],
    ["a path parameter beside dots", { path: "/cart/..;/admin" }, "404 ISTH-3001"],
    ["below an exact path", { path: "/health/x" }, "404 ISTH-3001"],
    ["a Host of another site", { host: STRICT }, "421 ISTH-2204"],
    ["a host that needs a certificate, without one", { sni: STRICT, path: "/" }, "403 ISTH-2211"],
  ])("%s is refused", async (_what, asked, expected) => {
    const before = cart.seen.length;
    expect(await call(asked)).toMatch(new RegExp(`^${expected.slice(0, 3)} ISTH-`));
    if (!expected.startsWith("404")) expect(await call(asked)).toBe(expected);
    expect(cart.seen).toHaveLength(before);
  });

  it("never get another site's certificate: an unknown name ends the handshake", async () => {
    expect(await call({ sni: "unknown.example.com" })).not.toMatch(/^\d/);
    const nameless = tlsConnect({ host: "127.0.0.1", port, rejectUnauthorized: false });
    const heard = await new Promise((resolve) =>
      nameless
        .once("error", () => resolve("refused"))
        .once("close", () => resolve("refused"))
        .once("data", () => resolve("answered")),
    );
    expect(heard).toBe("refused");
  });

  it("are known by their certificate where it is of the host's CA, and by no other", async () => {
    const partner = partners.issue({ commonName: "buyer", uris: ["https://buyer.example/agent"] });
    expect(await call({ sni: STRICT, path: "/", client: partner })).toBe("200");
    expect(cart.seen.at(-1)?.headers).toMatchObject({
      "isthmus-client": "https://buyer.example/agent",
      "client-cert": expect.stringMatching(/^:[A-Za-z0-9+/=]+:$/) as string,
    });
    const stranger = createOutsideCa("partners").issue({ commonName: "buyer" });
    expect(await call({ sni: STRICT, path: "/", client: stranger })).toBe("403 ISTH-2211");
  });

  it("are served by another endpoint where one is gone, from the first request on", async () => {
    const { port: gone } = await startOutsideServer({}).then(async (server) => (await server.stop(), server));
    const { services } = mesh.member("east gateway");
    const before = services.current;
    const withEndpoints = (endpoints: readonly string[]) =>
      services.publish({
        ...before,
        spec: {
          ...before.spec,
          workloads: before.spec.workloads.map((workload) => ({
            ...workload,
            services: workload.services?.map((service) => ({ ...service, endpoints })) ?? [],
          })),
        },
      });
    withEndpoints([`127.0.0.1:${gone}`, `127.0.0.1:${cart.port}`]);
    for (let round = 0; round < 8; round++) {
      // Known as well again: each round may pick it first.
      withEndpoints([`127.0.0.1:${cart.port}`]);
      withEndpoints([`127.0.0.1:${gone}`, `127.0.0.1:${cart.port}`]);
      // Another snapshot: connections that stand are not used any more.
      mesh.publish((snapshot) => snapshot);
      expect(await call({})).toBe("200");
    }
    withEndpoints([`127.0.0.1:${gone}`]);
    mesh.publish((snapshot) => snapshot);
    expect(await call({})).toBe("503 ISTH-3004");
    services.publish(before);
  });

  it.each([
    [["h2", "http/1.1"], "http/1.1: HTTP/1.1 404"],
    [["h2"], "ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL"],
  ])("are not offered HTTP/2 by a host whose service speaks HTTP/1.1: %j, %s", async (offered, expected) => {
    const site = { port, servername: OPEN, ca: sites.certificatePem };
    expect(await negotiate({ ...site, offered, says: "request" })).toBe(expected);
  });

  it("cannot claim an identity by a header", async () => {
    const claims = {
      "isthmus-client": "admin",
      "client-cert": ":AAAA:",
      "x-forwarded-client-cert": "By=x",
      "x-forwarded-proto": "gopher",
    };
    expect(await call({ headers: claims })).toBe("200");
    const seen = cart.seen.at(-1)?.headers ?? {};
    expect(seen).not.toHaveProperty("isthmus-client");
    expect(seen).not.toHaveProperty("client-cert");
    expect(seen).not.toHaveProperty("x-forwarded-client-cert");
    expect(seen["x-forwarded-proto"]).toBe("https");
  });

  it("see a new certificate of the site without a restart", async () => {
    const peerName = (): Promise<string> =>
      new Promise((resolve, reject) => {
        const socket = tlsConnect(
          { host: "127.0.0.1", port, servername: OPEN, ca: sites.certificatePem },
          () => {
            resolve(String(socket.getPeerCertificate().subject.CN));
            socket.destroy();
          },
        );
        socket.once("error", reject);
      });
    expect(await peerName()).toBe(OPEN);
    secrets.set("open", sites.issue({ dns: [OPEN], commonName: "the new one" }));
    expect(await peerName()).toBe("the new one");
    expect(SYSTEM_NAMESPACE).toBe("isthmus-system");
  });
});
