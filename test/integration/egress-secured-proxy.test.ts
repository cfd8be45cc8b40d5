import { connect as tlsConnect, type TLSSocket } from "node:tls";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Credential } from "../../federation/trust/index.ts";
import { createTestFederation } from "../fakes/pki.ts";
import { type EgressScene, startEgress, WEB } from "../fakes/egress-scene.ts";
import { type OutsideServer, startOutsideServer } from "../fakes/outside-server.ts";

describe("the proxy that knows its callers by their certificates", () => {
  let scene: EgressScene;
  let plain: OutsideServer;
  let port: number;

  beforeAll(async () => {
    scene = await startEgress({ agents: false, policies: [], proxyListen: { host: "127.0.0.1", port: 0 } });
    plain = await startOutsideServer({});
    scene.dns.answer("plain.example.com", ["127.0.0.1"]);
    scene.apply({
      name: "p",
      mode: "enforce",
      from: [WEB],
      to: [],
      external: [
        { hostname: "plain.example.com", cidr: "127.0.0.1/32", ports: [plain.port], protocol: "http" },
      ],
    });
    port = Number(scene.mesh.member("west gateway").proxy.securedProxy?.()?.split(":").at(-1));
  });
  afterAll(async () => {
    await scene.stop();
    await plain.stop();
  });

  /** The status and code of the answer; `closed` without one. */
  const ask = (credential: Credential | undefined): Promise<string> =>
    new Promise((resolve) => {
      const pair =
        credential === undefined ? {} : { cert: credential.chainPem, key: credential.privateKeyPem };
      const socket: TLSSocket = tlsConnect(
        { host: "127.0.0.1", port, rejectUnauthorized: false, servername: "proxy.test", ...pair },
        () => {
          const host = `plain.example.com:${plain.port}`;
          socket.write(`GET http://${host}/ HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
        },
      );
      let text = "";
      socket.on("data", (chunk: Buffer) => (text += chunk.toString("latin1")));
      socket.on("error", () => {});
      socket.once("close", () =>
        resolve(text === "" ? "closed" : `${text.slice(9, 12)} ${/ISTH-\d+/.exec(text)?.[0] ?? ""}`.trim()),
      );
    });

  it("serves each by its own policies, whatever it says of itself", async () => {
    const { federation } = scene.mesh;
    expect(await ask(federation.credential("west", "shop", "web"))).toBe("200");
    expect(await ask(federation.credential("west", "shop", "batch"))).toBe("403 ISTH-2201");
  });

  it("serves nobody without a certificate, of another cluster, of another federation, or a gateway", async () => {
    const { federation } = scene.mesh;
    const before = plain.seen.length;
    expect(await ask(undefined)).toBe("closed");
    expect(await ask(federation.credential("east", "shop", "web"))).toMatch(/403|closed/);
    expect(await ask(federation.system("west", "gateway"))).toBe("closed");
    expect(await ask(createTestFederation("other.mesh", ["west"]).credential("west", "shop", "web"))).toBe(
      "closed",
    );
    expect(plain.seen).toHaveLength(before);
  });
});
