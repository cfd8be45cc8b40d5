import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { mergeFlows, writePolicies } from "../../federation/cli/commands/egress-flows.ts";
import { snapshotPolicy } from "../../federation/model/egress-policy.ts";
import type { EgressPolicyResource } from "../../federation/model/resource.ts";
import { decodeAppliedResource } from "../../federation/model/wire/resource.ts";
import { BATCH, type EgressScene, startEgress, WEB } from "../fakes/egress-scene.ts";
import { type OutsideServer, startOutsideServer } from "../fakes/outside-server.ts";

const LOOPBACK = "127.0.0.1/32";

describe.each([
  ["without agents", false],
  ["through agents", true],
])("observe, report, apply, enforce: %s", (_what, agents) => {
  let scene: EgressScene;
  let plain: OutsideServer;
  let secure: OutsideServer;
  let observing: EgressPolicyResource;

  beforeAll(async () => {
    scene = await startEgress({ agents, policies: [] });
    plain = await startOutsideServer({});
    secure = await startOutsideServer({
      tls: scene.ca.issue({ dns: ["secure.example.com", "other.example.com"] }),
    });
    observing = {
      apiVersion: "isthmus.dev/v1alpha1",
      kind: "EgressPolicy",
      metadata: { cluster: "west", name: "look" },
      spec: {
        mode: "observe",
        from: [{ cluster: "west" }],
        to: [
          { hostname: "*.example.com", cidr: LOOPBACK, ports: [secure.port], protocol: "http" },
          { cidr: LOOPBACK, ports: [plain.port], protocol: "http" },
        ],
        tls: { mode: "originate", validation: { caCertificateRefs: [{ name: "outside-ca" }] } },
      },
    };
    for (const name of ["secure", "other"]) scene.dns.answer(`${name}.example.com`, ["127.0.0.1"]);
    scene.apply(snapshotPolicy(observing));
  });
  afterAll(async () => {
    await scene.stop();
    await Promise.all([plain.stop(), secure.stop()]);
  });

  const call = async (workload: string, method: string, host: string): Promise<string> => {
    const client = await scene.dial(workload, "proxy");
    const authority = `${host}:${secure.port}`;
    client.send(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n\r\n`);
    const connected = await client.receives(/200 Connection established|ISTH-/);
    if (connected.includes("ISTH-")) return /ISTH-\d+/.exec(connected)?.[0] ?? "";
    client.forget();
    client.send(`${method} / HTTP/1.1\r\nHost: ${authority}\r\nConnection: close\r\n\r\n`);
    const text = await client.receives(/hello|ISTH-\d+/);
    return /ISTH-\d+/.exec(text)?.[0] ?? "200";
  };

  it("the traffic that was seen passes unchanged, and nothing else does", async () => {
    const seen = [
      [WEB, "GET", "secure.example.com"],
      [WEB, "POST", "secure.example.com"],
      [BATCH, "GET", "secure.example.com"],
      [BATCH, "POST", "secure.example.com"],
      [BATCH, "GET", "other.example.com"],
    ] as const;
    for (const [workload, method, host] of seen) expect(await call(workload, method, host)).toBe("200");

    // What a guard refused did not leave: the policy must not open it.
    const inwards = await scene.dial(WEB, "proxy");
    inwards.send("GET http://10.0.0.1/ HTTP/1.1\r\nHost: 10.0.0.1\r\nConnection: close\r\n\r\n");
    await inwards.receives("ISTH-2203");

    const reported = scene.mesh.member("west gateway").proxy.egress?.flows();
    expect(reported?.lost).toBe(0);
    const written = writePolicies("west", mergeFlows([reported?.flows ?? []]), [observing]);
    expect(written.map(({ spec }) => spec)).toEqual([
      {
        mode: "enforce",
        from: [{ workload: BATCH }],
        to: [
          {
            hostname: "other.example.com",
            cidr: LOOPBACK,
            ports: [secure.port],
            protocol: "http",
            http: { methods: ["GET"] },
          },
          {
            hostname: "secure.example.com",
            cidr: LOOPBACK,
            ports: [secure.port],
            protocol: "http",
            http: { methods: ["GET", "POST"] },
          },
        ],
        tls: observing.spec.tls,
      },
      {
        mode: "enforce",
        from: [{ workload: WEB }],
        to: [
          {
            hostname: "secure.example.com",
            cidr: LOOPBACK,
            ports: [secure.port],
            protocol: "http",
            http: { methods: ["GET", "POST"] },
          },
        ],
        tls: observing.spec.tls,
      },
    ]);
    for (const policy of written) expect(decodeAppliedResource(policy).ok).toBe(true);

    scene.apply(...written.map(snapshotPolicy));
    for (const [workload, method, host] of seen) expect(await call(workload, method, host)).toBe("200");
    expect(await call(WEB, "GET", "other.example.com")).toBe("ISTH-2201");
    expect(await call(WEB, "DELETE", "secure.example.com")).toBe("ISTH-2202");
    expect(await call(BATCH, "GET", "new.example.com")).toBe("ISTH-2201");
  });
});
