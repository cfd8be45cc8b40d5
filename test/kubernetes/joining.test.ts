import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { KubeClient } from "../../agents/kubernetes/api/client.ts";
import { SECRETS } from "../../agents/kubernetes/api/resource-type.ts";
import { CLUSTER_SECRET } from "../../agents/kubernetes/cluster-secret.ts";
import { textMap } from "../../agents/kubernetes/digest/fields.ts";
import { obtainMembership } from "../../agents/kubernetes/obtain-membership.ts";
import type { Problem } from "../../federation/model/problem.ts";
import type { Result } from "../../federation/model/result.ts";
import { joinCluster, type Membership } from "../../gateway/discovery/index.ts";
import { createHttpFetch, type Fetch } from "../../gateway/discovery/http-fetch.ts";
import { systemClock } from "../../gateway/process/clock.ts";
import type { ProcessConfig } from "../../gateway/process/config.ts";
import { registerCluster } from "../fakes/kube-members.ts";
import { clientAs, type KubeApi, startKubeApi, until } from "../fakes/kube-world.ts";
import { createMemoryLog } from "../fakes/memory-log.ts";
import { unwrap } from "../fakes/pki.ts";
import { type RegistryProcess, startRegistryProcess } from "../fakes/registry-process.ts";

const SPACE = "isthmus-system";
let directory: string;
let api: KubeApi;
let registry: RegistryProcess;
let client: KubeClient;
let pods = 0;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "isthmus-joining-"));
  [registry, api] = await Promise.all([startRegistryProcess(join(directory, "registry")), startKubeApi()]);
  client = await clientAs(api, "gateway");
}, 120_000);
afterEach(() => api.remove(SECRETS, SPACE, CLUSTER_SECRET));
afterAll(async () => {
  await api?.close();
  await registry?.end("SIGKILL");
  rmSync(directory, { recursive: true, force: true });
});

/** A gateway in a new pod, with nothing on its disk but the token. */
function startGateway(token: string, through = client): Promise<Result<Membership, Problem>> {
  const stateDir = join(directory, `pod-${++pods}`);
  const joinTokenFile = join(directory, `token-${pods}`);
  writeFileSync(joinTokenFile, token);
  const config = { stateDir, joinTokenFile, registry: registry.url } as unknown as ProcessConfig;
  return obtainMembership("gateway", config, through, createMemoryLog());
}

/** The process is gone when it would do that: the request is never made, and nothing comes after it. */
function killedAt(method: string): { readonly client: KubeClient; readonly reached: () => true | undefined } {
  let reached: true | undefined;
  const request: KubeClient["request"] = (asked) => {
    if (asked.method !== method) return client.request(asked);
    reached = true;
    return new Promise(() => {});
  };
  return { client: { ...client, request }, reached: () => reached };
}

const certificateOf = (joined: Result<Membership, Problem>): string => unwrap(joined).ca.certificatePem;
const kept = async () => textMap((await api.get(SECRETS, SPACE, CLUSTER_SECRET))?.["data"]);

describe("a gateway that joins its cluster", () => {
  it("is taken in by its next pod when it is killed between spending its token and keeping what that gave", async () => {
    const token = await registerCluster(registry, "east");
    const killed = killedAt("PATCH");
    void startGateway(token, killed.client);
    await until("the token is spent", 20_000, killed.reached);
    const certificate = certificateOf(await startGateway(token));
    expect(Buffer.from((await kept())["ca.crt"] ?? "", "base64").toString()).toBe(certificate);
    expect(certificateOf(await startGateway(token))).toBe(certificate);
  });

  it("spends nothing before the key is kept", async () => {
    const token = await registerCluster(registry, "north");
    const killed = killedAt("POST");
    void startGateway(token, killed.client);
    await until("it would keep its key", 20_000, killed.reached);
    expect(certificateOf(await startGateway(token))).toContain("BEGIN CERTIFICATE");
  });

  it("has one key with all that start beside it", async () => {
    const token = await registerCluster(registry, "south");
    const joined = await Promise.all(Array.from({ length: 5 }, () => startGateway(token)));
    expect(new Set(joined.map(certificateOf)).size).toBe(1);
  });

  it("goes on where it stopped outside Kubernetes too, with the key on its disk", async () => {
    const token = await registerCluster(registry, "files");
    const common = {
      registryUrl: registry.url,
      token,
      stateDir: join(directory, "files"),
      clock: systemClock,
    };
    const real = createHttpFetch();
    const losing: Fetch = async (url, init) => {
      const answer = await real(url, init);
      if (init.method === "POST") throw new TypeError("killed before it was read");
      return answer;
    };
    expect(await joinCluster({ ...common, fetch: losing })).toMatchObject({ ok: false });
    expect(unwrap(await joinCluster(common)).cluster).toBe("files");
  });

  it("does not open the door to anybody else who has the token", async () => {
    const token = await registerCluster(registry, "west");
    unwrap(await startGateway(token));
    const stateDir = join(directory, "thief");
    const stolen = await joinCluster({ registryUrl: registry.url, token, stateDir, clock: systemClock });
    expect(stolen).toMatchObject({ error: { name: "join_token_spent" } });
  });
});
