import { API_VERSION, type MemberReport } from "../../federation/model/resource.ts";
import type { Service } from "../../federation/model/service.ts";
import type { Snapshot } from "../../federation/model/snapshot.ts";
import {
  bundlesToMap,
  createJoinToken,
  createSigningKey,
  issueClusterCa,
  joinJws,
  loadSigningKey,
  signingKeySet,
  signSnapshot,
  type SnapshotForm,
  verifyMemberRequest,
} from "../../federation/trust/index.ts";
import type { Clock } from "../../gateway/process/clock.ts";
import { type TestFederation, unwrap } from "./pki.ts";

/** How the registry (mis)behaves; `up` unless said otherwise. */
export type RegistryMood =
  | "up"
  /** Refuses connections. */
  | "down"
  /** Accepts and never answers. */
  | "mute"
  /** Answers 200 with an HTML page. */
  | "garbage"
  /** Answers every request with 503 and no problem document. */
  | "unavailable";

export interface FakeRegistry {
  readonly url: string;
  readonly fetch: typeof fetch;
  mood: RegistryMood;
  /** Added to the clock of everything the registry says about time. */
  skewMs: number;
  /** Requests so far, `GET /v1/…`, in order. */
  readonly requests: readonly string[];
  /** Headers of the last request. */
  readonly lastHeaders: Headers;
  readonly reports: readonly MemberReport[];
  readonly services: readonly (readonly Service[])[];
  /** Lifetime of the CAs it issues from now on. */
  caLifetimeMs: number;
  /** Answers instead of the real one to the next snapshot question. */
  nextSnapshot: string | { readonly status: number; readonly text: string } | undefined;
  publish(change?: Partial<Snapshot>): Snapshot;
  /** By its digest unless said otherwise. */
  sign(snapshot: unknown, form?: SnapshotForm): Promise<string>;
  joinToken(cluster: string): Promise<string>;
  readonly snapshotKeys: ReturnType<typeof signingKeySet>;
}

const PROBLEM = { "content-type": "application/problem+json" };

/** The registry's side of the wire with real signatures, in this process, behind a `fetch`. */
export function createFakeRegistry(federation: TestFederation, cluster: string, clock: Clock): FakeRegistry {
  const key = unwrap(loadSigningKey(createSigningKey().privateKeyPem));
  const snapshotKeys = signingKeySet([key]);
  const requests: string[] = [];
  const reports: MemberReport[] = [];
  const services: (readonly Service[])[] = [];
  const waiting = new Set<() => void>();
  let snapshot: Snapshot | undefined;

  const registry: FakeRegistry = {
    url: "http://registry.test",
    mood: "up",
    skewMs: 0,
    requests,
    lastHeaders: new Headers(),
    reports,
    services,
    caLifetimeMs: 24 * 3_600_000,
    nextSnapshot: undefined,
    snapshotKeys,
    sign: async (payload, form = "digest") =>
      joinJws(await signSnapshot(Buffer.from(JSON.stringify(payload)), key, form)),
    joinToken: async (name) =>
      (await createJoinToken({ key, federation: federation.name, cluster: name, now: clock.now() })).token,
    publish(change = {}) {
      const revision = (snapshot?.revision ?? 0) + 1;
      snapshot = { ...emptySnapshot(federation, cluster, 0), ...snapshot, revision, ...change };
      for (const wake of waiting) wake();
      return snapshot;
    },
    fetch: async (input, init = {}) => {
      const url = new URL(input instanceof Request ? input.url : input);
      const request = { url, method: init.method ?? "GET", headers: new Headers(init.headers), init };
      requests.push(`${request.method} ${url.pathname}`);
      Object.assign(registry, { lastHeaders: request.headers });
      return misbehave(registry.mood, init.signal) ?? (await answer(request));
    },
  };

  const answer = async (request: FakeRequest): Promise<Response> => {
    const { url, method, headers, init } = request;
    const body = typeof init.body === "string" ? init.body : "";
    const now = clock.now() + registry.skewMs;
    if (url.pathname === "/v1/federation") {
      return json({ name: federation.name, snapshotKeys, time: new Date(now).toISOString() });
    }
    if (url.pathname === "/v1/join") return json(membership(JSON.parse(body), now), 200);
    const member = verifyMemberRequest(headers.get("authorization") ?? "", {
      method,
      url: url.href,
      body,
      bundles: federation.index,
      now,
    });
    if (!member.ok) return problemResponse(401, "ISTH-1042", member.error.detail, now);
    if (url.pathname.endsWith("/renew")) return json(membership(JSON.parse(body), now));
    if (url.pathname.endsWith("/services")) services.push(JSON.parse(body).services);
    else if (url.pathname.includes("/members/")) reports.push(JSON.parse(body));
    else if (url.pathname.endsWith("/snapshot")) return snapshotResponse(headers, init.signal);
    return new Response(null, { status: 204 });
  };

  const membership = ({ csr }: { readonly csr: string }, now: number) => {
    const { trustDomain } = federation.cluster(cluster);
    const options = {
      root: federation.root,
      csrPem: csr,
      trustDomain,
      now,
      lifetimeMs: registry.caLifetimeMs,
    };
    return {
      federation: federation.name,
      cluster,
      trustDomain,
      caCertificate: unwrap(issueClusterCa(options)),
      bundles: bundlesToMap(federation.bundles),
      snapshotKeys,
    };
  };

  const snapshotResponse = async (headers: Headers, signal?: AbortSignal | null): Promise<Response> => {
    const scripted = registry.nextSnapshot;
    registry.nextSnapshot = undefined;
    if (typeof scripted === "object") return new Response(scripted.text, { status: scripted.status });
    if (scripted !== undefined) return new Response(scripted);
    const etag = () => `"${snapshot?.revision ?? 0}"`;
    const waitS = Number(/wait=(\d+)/.exec(headers.get("prefer") ?? "")?.[1] ?? 0);
    if (headers.get("if-none-match") === etag() && waitS > 0) await wait(waitS * 1000, signal);
    if (registry.nextSnapshot !== undefined) return snapshotResponse(headers, signal);
    if (headers.get("if-none-match") === etag())
      return new Response(null, { status: 304, headers: { etag: etag() } });
    if (snapshot === undefined) return problemResponse(503, "ISTH-5008", "not compiled yet", clock.now());
    return new Response(await registry.sign(snapshot), { headers: { etag: etag() } });
  };

  const wait = (ms: number, signal?: AbortSignal | null): Promise<void> =>
    new Promise((resolve, reject) => {
      const timer = clock.after(ms, () => wake());
      const wake = (): void => {
        waiting.delete(wake);
        timer.cancel();
        resolve();
      };
      waiting.add(wake);
      signal?.addEventListener("abort", () => {
        waiting.delete(wake);
        timer.cancel();
        reject(signal.reason);
      });
    });
  return registry;
}

interface FakeRequest {
  readonly url: URL;
  readonly method: string;
  readonly headers: Headers;
  readonly init: RequestInit;
}

function misbehave(mood: RegistryMood, signal?: AbortSignal | null): Promise<Response> | undefined {
  switch (mood) {
    case "up":
      return undefined;
    case "down":
      return Promise.reject(new TypeError("fetch failed", { cause: new Error("connect ECONNREFUSED") }));
    case "mute":
      return new Promise((_, reject) => signal?.addEventListener("abort", () => reject(signal.reason)));
    case "garbage":
      return Promise.resolve(new Response("<html>Welcome</html>"));
    case "unavailable":
      return Promise.resolve(new Response("try later", { status: 503 }));
  }
}

function json(value: unknown, status = 200): Response {
  return new Response(JSON.stringify(value), { status, headers: { "content-type": "application/json" } });
}

function problemResponse(status: number, code: string, detail: string, now: number): Response {
  const headers = { ...PROBLEM, date: new Date(now).toUTCString() };
  return new Response(JSON.stringify({ type: "about:blank", title: "", status, code, detail, fix: "" }), {
    status,
    headers,
  });
}

/** A snapshot that permits nothing and is right in every respect. */
export function emptySnapshot(federation: TestFederation, cluster: string, revision: number): Snapshot {
  return {
    apiVersion: API_VERSION,
    kind: "Snapshot",
    federation: federation.name,
    cluster,
    trustDomain: federation.cluster(cluster).trustDomain,
    revision,
    issuedAt: new Date(federation.now).toISOString(),
    bundles: federation.bundles,
    denied: [],
    peers: [],
    imports: [],
    exports: [],
    egress: { policies: [] },
  };
}
