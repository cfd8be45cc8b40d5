import { readdirSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { TrustDomain } from "../../federation/model/spiffe-id.ts";
import { createClusterKey, createCsr, issueClusterCa } from "../../federation/trust/index.ts";
import { createFakeRegistry } from "../../test/fakes/fake-registry.ts";
import { createManualClock } from "../../test/fakes/manual-clock.ts";
import { createTestFederation, unwrap } from "../../test/fakes/pki.ts";
import { useTempDirs } from "../../test/fakes/temp-dir.ts";
import { hasJoined, readMembership } from "./cluster-state.ts";
import { joinWithCsr } from "./membership.ts";

const tempDir = useTempDirs();
const requestOf = (trustDomain: TrustDomain): string =>
  createCsr({ privateKey: createClusterKey(), trustDomain });

/** The key is with somebody else: nothing of it comes here. */
function scene() {
  const clock = createManualClock();
  const federation = createTestFederation("demo.mesh", ["east"], clock.now());
  const { trustDomain } = federation.cluster("east");
  const registry = createFakeRegistry(federation, "east", clock);
  const stateDir = join(tempDir(), "east");
  const joinCertified = async (csrPem: string, change: { readonly fetch?: typeof fetch } = {}) => {
    const token = await registry.joinToken("east");
    const { url: registryUrl, fetch: real } = registry;
    return joinWithCsr({ registryUrl, token, stateDir, clock, fetch: real, csrPem, ...change });
  };
  return { federation, trustDomain, registry, stateDir, joinCertified };
}

describe("joinWithCsr", () => {
  it("has the request of whoever holds the key certified, and keeps everything but a key", async () => {
    const { joinCertified, trustDomain, stateDir } = scene();
    const joined = unwrap(await joinCertified(requestOf(trustDomain)));
    expect(readdirSync(stateDir).sort()).toEqual(["bundles.json", "ca.crt", "cluster.json"]);
    expect(unwrap(readMembership(stateDir))).toEqual(joined);
  });

  it("refuses a certificate for another key than the request's", async () => {
    const { joinCertified, trustDomain, registry, stateDir } = scene();
    const other = requestOf(trustDomain);
    const swapping: typeof fetch = (input, init) => {
      if (typeof init?.body !== "string") return registry.fetch(input, init);
      return registry.fetch(input, {
        ...init,
        body: JSON.stringify({ ...JSON.parse(init.body), csr: other }),
      });
    };
    const joined = await joinCertified(requestOf(trustDomain), { fetch: swapping });
    expect(joined).toMatchObject({ error: { name: "registry_unreachable" } });
    expect(joined.ok ? "" : joined.error.detail).toContain("for another key");
    expect(hasJoined(stateDir)).toBe(false);
  });

  it("refuses a certificate that no authority of the bundle has signed", async () => {
    const { joinCertified, federation, trustDomain, registry } = scene();
    const csrPem = requestOf(trustDomain);
    const { root } = createTestFederation("demo.mesh", [], federation.now);
    const caCertificate = unwrap(issueClusterCa({ root, csrPem, trustDomain, now: federation.now }));
    const forging: typeof fetch = async (input, init) => {
      const answer = await registry.fetch(input, init);
      if (typeof init?.body !== "string") return answer;
      return new Response(JSON.stringify({ ...((await answer.json()) as object), caCertificate }));
    };
    const joined = await joinCertified(csrPem, { fetch: forging });
    expect(joined.ok ? "" : joined.error.detail).toContain("no authority of east.demo.mesh signed");
  });
});
