import type { AppliedResource, MemberReport } from "../../federation/model/resource.ts";
import type { Snapshot } from "../../federation/model/snapshot.ts";
import type { Origin } from "../../federation/model/traffic-policy.ts";
import { type SystemRole, systemSpiffeId } from "../../federation/model/spiffe-id.ts";
import {
  federationInfo,
  type JoinResponse,
  joinResponse,
  registerResponse,
} from "../../federation/model/wire/api.ts";
import { decode } from "../../federation/model/wire/decode.ts";
import { decodeSnapshot } from "../../federation/model/wire/snapshot.ts";
import {
  type ClusterCa,
  type Credential,
  createClusterKey,
  createCsr,
  issueSvid,
  loadClusterCa,
  privateKeyToPem,
  signMemberRequest,
  verifySnapshot,
} from "../../federation/trust/index.ts";
import { IN_PROCESS } from "./scene-runtime.ts";
import {
  ADMIN_TOKEN,
  FEDERATION,
  type SceneOptions,
  type Served,
  serveElsewhere,
  serveHere,
} from "./serve-registry.ts";
import { createManualClock, type ManualClock } from "./manual-clock.ts";
import { unwrap } from "./pki.ts";

export { ADMIN_TOKEN, type SceneOptions } from "./serve-registry.ts";

export interface SceneReply {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  /** The body as JSON; `undefined` where it is none. */
  readonly json: unknown;
}

export interface SceneRequest {
  /** `null` sends none. */
  readonly token?: string | null;
  readonly as?: Credential;
  readonly body?: unknown;
  /** Sent as it is, instead of `body`. */
  readonly raw?: string | Uint8Array<ArrayBuffer>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
}

export interface JoinedCluster {
  readonly name: string;
  readonly ca: ClusterCa;
  readonly answer: JoinResponse;
  credential(role?: SystemRole): Credential;
  csr(): string;
}

/** A registry with its real store and real keys, asked without a socket; the hands of its clock are ours. */
export interface RegistryScene extends Served {
  readonly clock: ManualClock;
  send(method: string, path: string, request?: SceneRequest): Promise<SceneReply>;
  register(name: string): Promise<string>;
  join(name: string): Promise<JoinedCluster>;
  apply(...resources: readonly AppliedResource[]): Promise<SceneReply>;
  reportServices(cluster: JoinedCluster, ...names: readonly string[]): Promise<SceneReply>;
  /** One service, with endpoints of these versions. */
  reportVersions(cluster: JoinedCluster, name: string, ...versions: readonly string[]): Promise<SceneReply>;
  reportGateway(cluster: JoinedCluster, address: string): Promise<SceneReply>;
  snapshot(cluster: JoinedCluster): Promise<Snapshot>;
}

export async function openRegistryScene(options: SceneOptions): Promise<RegistryScene> {
  const clock = createManualClock();
  const served = IN_PROCESS
    ? await serveHere(options, clock)
    : await serveElsewhere(options.directory, clock);
  const send = createSend(served.fetch, clock);
  const register = async (name: string): Promise<string> =>
    unwrap(decode(registerResponse, (await send("POST", "/v1/clusters", { body: { name } })).json)).token ??
    "";
  return {
    ...served,
    clock,
    send,
    register,
    join: async (name) => joinCluster(send, clock, await register(name), name),
    apply: (...resources) => send("POST", "/v1/apply", { body: { resources } }),
    reportServices: (cluster, ...names) =>
      send("PUT", `/v1/clusters/${cluster.name}/services`, {
        as: cluster.credential(),
        body: { services: names.map(serviceNamed) },
      }),
    reportVersions: (cluster, name, ...versions) =>
      send("PUT", `/v1/clusters/${cluster.name}/services`, {
        as: cluster.credential(),
        body: { services: [{ ...serviceNamed(name), versions }] },
      }),
    reportGateway: (cluster, address) =>
      send("PUT", `/v1/clusters/${cluster.name}/members/gateway-1`, {
        as: cluster.credential(),
        body: memberReport({ advertise: address }),
      }),
    async snapshot(cluster) {
      const reply = await send("GET", `/v1/clusters/${cluster.name}/snapshot`, { as: cluster.credential() });
      const { keys } = unwrap(
        decode(federationInfo, (await send("GET", "/v1/federation")).json),
      ).snapshotKeys;
      const payload = unwrap(await verifySnapshot(reply.text, { keys: [...keys] }));
      return unwrap(decodeSnapshot(payload));
    },
  };
}

function createSend(fetch: RegistryScene["fetch"], clock: ManualClock): RegistryScene["send"] {
  // The hands of the clock often stand still from one request to the next.
  let sequence = 0;
  return async (method, path, request = {}) => {
    const url = `http://registry.test${path}`;
    const body = request.raw ?? (request.body === undefined ? undefined : JSON.stringify(request.body));
    const headers = new Headers({ ...(body === undefined ? {} : { "content-type": "application/json" }) });
    const { token = ADMIN_TOKEN, as: credential } = request;
    if (credential !== undefined) {
      const now = clock.now();
      sequence = Math.max(sequence + 1, now);
      headers.set("authorization", signMemberRequest({ credential, method, url, body, now, sequence }));
    } else if (token !== null) headers.set("authorization", `Bearer ${token}`);
    for (const [name, value] of Object.entries(request.headers ?? {})) headers.set(name, value);
    const signal = request.signal === undefined ? {} : { signal: request.signal };
    const init = { method, headers, ...signal, ...(body === undefined ? {} : { body }) };
    const response = await fetch(new Request(url, init));
    const text = await response.text();
    return { status: response.status, headers: response.headers, text, json: parsed(text) };
  };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

async function joinCluster(
  send: RegistryScene["send"],
  clock: ManualClock,
  token: string,
  name: string,
): Promise<JoinedCluster> {
  const privateKey = createClusterKey();
  const trustDomain = systemSpiffeId(`${name}.${FEDERATION}` as never, "gateway").trustDomain;
  const csr = (): string => createCsr({ privateKey, trustDomain });
  const reply = await send("POST", "/v1/join", { token: null, body: { token, csr: csr() } });
  const answer: JoinResponse = unwrap(decode(joinResponse, reply.json));
  const ca = unwrap(
    loadClusterCa({ certificatePem: answer.caCertificate, privateKeyPem: privateKeyToPem(privateKey) }),
  );
  const credential = (role: SystemRole = "gateway"): Credential =>
    issueSvid({ ca, spiffeId: systemSpiffeId(trustDomain, role), now: clock.now() });
  return { name, ca, answer, credential, csr };
}

function serviceNamed(name: string) {
  return { namespace: "shop", name, ports: [{ port: 80, protocol: "http" }] };
}

export function memberReport(overrides: Partial<MemberReport> = {}): MemberReport {
  return {
    role: "gateway",
    version: "0.1.0",
    appliedRevision: 0,
    state: "applied",
    listeners: [],
    tunnels: [],
    ...overrides,
  };
}

export function exportOf(cluster: string, name: string, ...consumers: readonly string[]): AppliedResource {
  return {
    apiVersion: "isthmus.dev/v1alpha1",
    kind: "ServiceExport",
    metadata: { cluster, namespace: "shop", name },
    spec: { consumers: consumers.map((consumer) => ({ cluster: consumer })) },
  };
}

export function importOf(cluster: string, name: string, from: string): AppliedResource {
  return {
    apiVersion: "isthmus.dev/v1alpha1",
    kind: "ServiceImport",
    metadata: { cluster, namespace: "shop", name },
    spec: { from: { cluster: from } },
  };
}

/** A rate limit on what `cluster` imports (or owns) under that name. */
export function rateLimitOf(
  cluster: string,
  name: string,
  kind: "ServiceImport" | "Service",
  service: string,
  from: readonly Origin[] = [],
): AppliedResource {
  return {
    apiVersion: "isthmus.dev/v1alpha1",
    kind: "RateLimit",
    metadata: { cluster, namespace: "shop", name },
    spec: {
      targetRefs: [{ kind, name: service }],
      limit: { requests: 100, unit: "Second" },
      ...(from.length === 0 ? {} : { from }),
    },
  };
}

export function policyOf(cluster: string, name: string, ...services: readonly string[]): AppliedResource {
  return {
    apiVersion: "isthmus.dev/v1alpha1",
    kind: "EgressPolicy",
    metadata: { cluster, name },
    spec: {
      mode: "enforce",
      from: [{ workload: "*" }],
      to: services.map((service) => ({ service: { namespace: "shop", name: service } })),
    },
  };
}
