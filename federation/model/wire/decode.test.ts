import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Issue } from "../problem.ts";
import type { Result } from "../result.ts";
import { applyRequest, resourceList } from "./api.ts";
import { decode, fieldPath, shown } from "./decode.ts";
import {
  decodeAppliedResource,
  decodeLocalFederation,
  decodeMemberReport,
  decodeSnapshot,
  decodeStaticCluster,
} from "./index.ts";

function issuesOf(result: Result<unknown, readonly Issue[]>): readonly Issue[] {
  if (result.ok) throw new Error("it was accepted");
  return result.error;
}

function pathsOf(result: Result<unknown, readonly Issue[]>): readonly string[] {
  return issuesOf(result).map(({ path }) => path);
}

const EXPORT = {
  apiVersion: "isthmus.dev/v1alpha1",
  kind: "ServiceExport",
  metadata: { cluster: "east", namespace: "shop", name: "cart" },
  spec: { consumers: [{ cluster: "west", workloads: ["ns/shop/sa/web"] }] },
};

describe("an applied resource", () => {
  test("is what was written, without the status that a listing adds", () => {
    expect(decodeAppliedResource({ ...EXPORT, status: { conditions: [] } })).toEqual({
      ok: true,
      value: EXPORT,
    });
  });

  test("of a misspelt kind gets the kind that was meant", () => {
    expect(issuesOf(decodeAppliedResource({ ...EXPORT, kind: "ServiceExprt" }))).toEqual([
      {
        path: "kind",
        message: expect.stringMatching(/^expected ServiceExport or .*, got "ServiceExprt"$/),
        suggestion: "ServiceExport",
      },
    ]);
  });

  test("with several mistakes gets all of them, each with its path", () => {
    const broken = {
      ...EXPORT,
      apiVersion: "isthmus.dev/v1",
      metadata: { cluster: "East", namspace: "shop", name: 5 },
      spec: { consumers: [{ cluster: "west", workloads: ["web"] }, { cluster: "west" }] },
    };
    expect(issuesOf(decodeAppliedResource(broken))).toEqual([
      { path: "apiVersion", message: expect.any(String), suggestion: "isthmus.dev/v1alpha1" },
      { path: "metadata.cluster", message: expect.stringContaining("DNS label") },
      { path: "metadata.namespace", message: "is required" },
      { path: "metadata.name", message: "expected a string, got 5" },
      { path: "metadata.namspace", message: 'unknown field "namspace"', suggestion: "namespace" },
      { path: "spec.consumers[0].workloads[0]", message: expect.stringContaining("ns/<namespace>/sa/") },
      { path: "spec.consumers[1]", message: 'duplicate consumer "west": item 0 has it already' },
    ]);
  });

  test.each([null, undefined, 1, "text", [], [EXPORT]])("is not %j", (value) => {
    expect(decodeAppliedResource(value).ok).toBe(false);
  });

  test("cannot reach into prototypes", () => {
    const value: unknown = JSON.parse(
      '{"kind":"ServiceExport","__proto__":{"apiVersion":"isthmus.dev/v1alpha1"},"constructor":1}',
    );
    expect(pathsOf(decodeAppliedResource(value))).toEqual(
      expect.arrayContaining(["apiVersion", "metadata", "spec", "constructor"]),
    );
  });
});

describe("a local federation", () => {
  const federation = (cluster: object, ...others: object[]) => ({
    apiVersion: "isthmus.dev/v1alpha1",
    kind: "LocalFederation",
    metadata: { name: "demo.mesh" },
    spec: { clusters: [cluster, ...others] },
  });

  test("gets its defaults", () => {
    const given = federation({ name: "east", workloads: [{ namespace: "shop", name: "web" }] });
    expect(decodeLocalFederation(given)).toMatchObject({
      ok: true,
      value: {
        spec: {
          registry: { listen: "127.0.0.1:0" },
          clusters: [
            {
              agents: true,
              gateways: 1,
              agentReplicas: 1,
              workloads: [{ namespace: "shop", name: "web", serviceAccount: "web", services: [] }],
            },
          ],
        },
      },
    });
  });

  test("names duplicate clusters even beside other mistakes", () => {
    const given = federation({ name: "east", agent: true }, { name: "east" });
    expect(issuesOf(decodeLocalFederation(given))).toEqual([
      { path: "spec.clusters[0].agent", message: 'unknown field "agent"', suggestion: "agents" },
      { path: "spec.clusters[1]", message: 'duplicate cluster "east": item 0 has it already' },
    ]);
  });

  test("gives no workload the identity of our own gateways and agents", () => {
    const given = federation({ name: "east", workloads: [{ namespace: "isthmus-system", name: "gateway" }] });
    expect(issuesOf(decodeLocalFederation(given))).toEqual([
      { path: "spec.clusters[0].workloads[0].namespace", message: expect.stringContaining("reserved") },
    ]);
  });
});

describe("a static cluster", () => {
  const withService = (service: object) => ({
    apiVersion: "isthmus.dev/v1alpha1",
    kind: "StaticCluster",
    metadata: { name: "east" },
    spec: { workloads: [{ namespace: "shop", name: "cart", services: [service] }] },
  });
  const service = { name: "cart", port: 80, protocol: "http", endpoints: ["127.0.0.1:9003"] };

  test.each(["127.0.0.1:9003", "cart.internal:1", "[::1]:65535", "[fe80::1]:80"])(
    "takes the endpoint %s",
    (endpoint) => {
      expect(decodeStaticCluster(withService({ ...service, endpoints: [endpoint] })).ok).toBe(true);
    },
  );

  test.each([
    "127.0.0.1",
    "::1:80",
    "[::1]",
    "host:0",
    "host:65536",
    "host:8o",
    "ho st:80",
    ":80",
    "",
    "a".repeat(5_000),
  ])("refuses the endpoint %j", (endpoint) => {
    expect(pathsOf(decodeStaticCluster(withService({ ...service, endpoints: [endpoint] })))).toEqual([
      "spec.workloads[0].services[0].endpoints[0]",
    ]);
  });

  test.each([0, 65_536, 1.5, "80", null])("refuses the port %j", (port) => {
    expect(pathsOf(decodeStaticCluster(withService({ ...service, port })))).toEqual([
      "spec.workloads[0].services[0].port",
    ]);
  });
});

test("a member's report is refused with a role, a state and a code that are none", () => {
  const report = {
    role: "gatewy",
    version: "1",
    appliedRevision: -1,
    state: "applid",
    code: "E1",
    listeners: [],
    tunnels: [],
  };
  expect(issuesOf(decodeMemberReport(report))).toMatchObject([
    { path: "role", suggestion: "gateway" },
    { path: "appliedRevision" },
    { path: "state", suggestion: "applied" },
    { path: "code" },
  ]);
});

describe("whatever comes", () => {
  const decoders = [
    decodeAppliedResource,
    decodeLocalFederation,
    decodeStaticCluster,
    decodeSnapshot,
    decodeMemberReport,
    (value: unknown) => decode(applyRequest, value),
    (value: unknown) => decode(resourceList, value),
  ];

  test("is answered with a value or with complaints, never with an exception", () => {
    fc.assert(
      fc.property(fc.anything(), fc.constantFrom(...decoders), (value, decoder) => {
        const result = decoder(value);
        expect(result.ok || result.error.length > 0).toBe(true);
      }),
    );
  });

  test("damaged at one place is complained about in plain printable lines", () => {
    const places = ["kind", "apiVersion", "metadata", "spec"] as const;
    fc.assert(
      fc.property(fc.constantFrom(...places), fc.anything(), (place, value) => {
        const result = decodeAppliedResource({ ...EXPORT, [place]: value });
        if (result.ok) return;
        for (const { path, message } of result.error) {
          expect(path).toMatch(/^[\x20-\x7e]*$/);
          expect(message).toMatch(/^[\x20-\x7e…]*$/);
        }
      }),
    );
  });

  test("is complained about a hundred times at most", () => {
    const consumers = Array.from({ length: 1_999 }, () => ({ x: 1 }));
    const issues = issuesOf(decodeAppliedResource({ ...EXPORT, spec: { consumers } }));
    expect(issues).toHaveLength(101);
    expect(issues.at(-1)?.message).toMatch(/more mistakes are not listed/);
  });
});

test("paths and values are shown as one plain short line", () => {
  expect(fieldPath(["spec", "ports", 2, "port"])).toBe("spec.ports[2].port");
  expect(fieldPath(["a\nb", "c d"])).toBe('["a\\nb"]["c d"]');
  expect(shown("\u001b[31mred")).toBe('"\\u001b[31mred"');
  expect(shown("x".repeat(500)).length).toBeLessThan(70);
  expect(shown({ secret: 1 })).toBe("an object");
});
