import { buildAgent } from "../../agents/proxy/stack.ts";
import { createLogger, type LogFields } from "../../federation/model/log.ts";
import { ok } from "../../federation/model/result.ts";
import type { Snapshot } from "../../federation/model/snapshot.ts";
import type { SpiffeId } from "../../federation/model/spiffe-id.ts";
import type { StaticCluster } from "../../federation/model/static-cluster.ts";
import { type Credential, issueSvid, mintCallerToken } from "../../federation/trust/index.ts";
import { createWatch, type PublishableWatch, type Watch } from "../../gateway/dataplane/lifecycle/watch.ts";
import type { ClusterState, Discovery } from "../../gateway/discovery/index.ts";
import { createStaticSource } from "../../gateway/discovery/static-source.ts";
import { buildGateway } from "../../gateway/edge/stack.ts";
import type { MemberContext } from "../../gateway/process/member.ts";
import { NOTHING_OUTSIDE, type Outside } from "../../gateway/process/outside.ts";
import type { Proxy } from "../../gateway/process/proxy.ts";
import type { TestFederation } from "./pki.ts";

export interface MeshMember {
  readonly proxy: Proxy;
  readonly listen: string;
  readonly snapshot: PublishableWatch<Snapshot | undefined>;
  readonly credential: PublishableWatch<Credential>;
  /** What its cluster consists of. */
  readonly services: PublishableWatch<StaticCluster>;
  readonly log: readonly LogFields[];
}

export interface MemberSurroundings {
  readonly now?: (() => number) | undefined;
  /** The same as `now` where that is given. */
  readonly monotonicMs?: (() => number) | undefined;
  /** Secrets, names and guarded ranges of the gateways. */
  readonly outside?: Outside | undefined;
  /** Any free one unless given. */
  readonly port?: number | undefined;
  /** It has joined, and knows its own cluster only: the snapshot is the test's to publish. */
  readonly hasNoSnapshot?: boolean | undefined;
}

/** Starts one gateway or agent of a cluster in this process, on a free port. */
export async function startMember(
  federation: TestFederation,
  cluster: string,
  role: "gateway" | "agent",
  services: StaticCluster,
  first: Snapshot,
  {
    now = Date.now,
    monotonicMs = now === Date.now ? () => performance.now() : now,
    outside = NOTHING_OUTSIDE,
    port = 0,
    hasNoSnapshot = false,
  }: MemberSurroundings = {},
): Promise<MeshMember> {
  const watched = createWatch(services);
  const snapshot = createWatch<Snapshot | undefined>(hasNoSnapshot ? undefined : first);
  const credential = createWatch(federation.system(cluster, role));
  const log: LogFields[] = [];
  const discovery = fakeDiscovery(federation, first, snapshot, credential, watched, now);
  const context: MemberContext = {
    config: {} as MemberContext["config"],
    discovery,
    log: createLogger((line) => log.push(JSON.parse(line) as LogFields), now),
    now,
    monotonicMs,
    random: Math.random,
    outside,
    claims: { isShared: () => false, claim: () => {} },
    onChange: () => {},
  };
  const proxy = role === "gateway" ? buildGateway(context) : buildAgent(context);
  const bound = await proxy.start({ host: "127.0.0.1", port });
  return { proxy, listen: `127.0.0.1:${bound.port}`, snapshot, credential, services: watched, log };
}

function fakeDiscovery(
  federation: TestFederation,
  first: Snapshot,
  snapshot: PublishableWatch<Snapshot | undefined>,
  credential: PublishableWatch<Credential>,
  services: Watch<StaticCluster>,
  now: () => number,
): Discovery {
  const { cluster } = first;
  const { ca, trustDomain } = federation.cluster(cluster);
  const credentials = new Map<string, Credential>();
  const credentialFor = (spiffeId: SpiffeId): Credential => {
    const known = credentials.get(spiffeId.uri) ?? issueSvid({ ca, spiffeId, now: now() });
    credentials.set(spiffeId.uri, known);
    return known;
  };
  return {
    state: createWatch({
      federation: first.federation,
      cluster,
      trustDomain,
      bundles:
        snapshot.current === undefined
          ? federation.bundles.filter((bundle) => bundle.trustDomain === trustDomain)
          : federation.bundles,
      ca,
    } as ClusterState),
    credentials: {
      credential,
      has: () => true,
      want: () => {},
      callerToken: (id, audience) => mintCallerToken({ credential: credentialFor(id), audience, now: now() }),
      stop: () => {},
    },
    snapshot,
    status: createWatch({ connected: false }),
    services: createStaticSource(services, trustDomain),
    registry: { request: async () => ok({ status: 200, text: "", headers: new Headers() } as never) },
    addresses: { allocate: async (keys) => ok(keys.map(() => "127.0.0.1:0")) },
    startReporting: () => ({ changed: () => {} }),
    stop: () => {},
  };
}
