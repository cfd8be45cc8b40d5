import type * as z from "zod";
import { createHttpFetch, type Fetch, type FetchAnswer } from "../../gateway/discovery/http-fetch.ts";
import { type Issue, PROBLEMS, type ProblemName } from "../model/problem.ts";
import { err, ok, type Result } from "../model/result.ts";
import type { AppliedKind, AppliedResource, ClusterStatus, Resource } from "../model/resource.ts";
import {
  type ApplyResponse,
  applyResponse,
  type AuditList,
  auditList,
  type BundleMap,
  bundleMap,
  type ClusterDeleteResponse,
  clusterDeleteResponse,
  type ClusterList,
  clusterList,
  clusterStatus,
  type DeleteResponse,
  deleteResponse,
  type FederationInfo,
  federationInfo,
  type OperatorTokenRequest,
  type OperatorTokenResponse,
  type KeyRotation,
  keyRotation,
  operatorTokenResponse,
  problemDocument,
  type RegisterResponse,
  registerResponse,
  type ResourceList,
  type RolloutAnswer,
  rolloutAnswer,
  resourceList,
} from "../model/wire/api.ts";
import { decode } from "../model/wire/decode.ts";

/** What the registry refused, or why it could not be asked; enough to print without knowing HTTP. */
export interface RegistryFailure {
  readonly name: ProblemName;
  readonly detail: string;
  readonly issues?: readonly Issue[];
  /** In a version conflict: the current one. */
  readonly resourceVersion?: number;
  /** Absent where nothing came back. */
  readonly status?: number;
}

type Answer<T> = Promise<Result<T, RegistryFailure>>;

export interface ResourceQuery {
  readonly kind?: Resource["kind"];
  readonly cluster?: string;
  readonly namespace?: string;
  readonly name?: string;
}

export interface ResourceReference {
  readonly kind: AppliedKind;
  readonly cluster: string;
  readonly namespace?: string;
  readonly name: string;
}

/** The registry as operators use it. Nothing throws. */
export interface RegistryClient {
  readonly url: string;
  federation(): Answer<FederationInfo>;
  bundles(): Answer<BundleMap>;
  register(cluster: string, options?: { readonly dryRun?: boolean }): Answer<RegisterResponse>;
  clusters(): Answer<ClusterList>;
  cluster(name: string): Answer<ClusterStatus>;
  deleteCluster(name: string, options?: { readonly dryRun?: boolean }): Answer<ClusterDeleteResponse>;
  forgetMember(cluster: string, member: string): Answer<undefined>;
  apply(
    resources: readonly AppliedResource[],
    options?: { readonly dryRun?: boolean; readonly requestToken?: string },
  ): Answer<ApplyResponse>;
  list(query?: ResourceQuery): Answer<ResourceList>;
  delete(
    reference: ResourceReference,
    options?: { readonly dryRun?: boolean; readonly resourceVersion?: number },
  ): Answer<DeleteResponse>;
  rollout(
    place: { readonly cluster: string; readonly namespace: string; readonly name: string },
    action: "pause" | "promote" | "abort",
    options?: { readonly dryRun?: boolean },
  ): Answer<RolloutAnswer>;
  audit(page?: { readonly after?: number; readonly limit?: number }): Answer<AuditList>;
  rotateSigningKey(given?: {
    readonly compromised?: boolean;
    readonly dryRun?: boolean;
  }): Answer<KeyRotation>;
  issueOperatorToken(request: OperatorTokenRequest): Answer<OperatorTokenResponse>;
}

export interface RegistryClientOptions {
  readonly url: string;
  /** An operator token; without one only the open parts answer. */
  readonly token?: string | undefined;
  readonly timeoutMs?: number;
  readonly fetch?: Fetch;
}

// A registry that is well answers in milliseconds; a person at a terminal does not want to wait longer to hear that it is not.
const TIMEOUT_MS = 10_000;
/** Ten thousand resources with their conditions are a few MiB. */
const MAX_ANSWER_BYTES = 64 * 1024 * 1024;

export function createRegistryClient(options: RegistryClientOptions): RegistryClient {
  const url = options.url.replace(/\/+$/, "");
  const call = createCall({ ...options, url });
  return {
    url,
    federation: () => call("GET", "/v1/federation", federationInfo),
    bundles: () => call("GET", "/v1/bundles", bundleMap),
    register: (name, given = {}) => call("POST", "/v1/clusters", registerResponse, { name, ...given }),
    clusters: () => call("GET", "/v1/clusters", clusterList),
    cluster: (name) => call("GET", `/v1/clusters/${segment(name)}`, clusterStatus),
    deleteCluster: (name, given = {}) =>
      call("DELETE", `/v1/clusters/${segment(name)}${queryOf(given)}`, clusterDeleteResponse),
    forgetMember: (cluster, member) =>
      call("DELETE", `/v1/clusters/${segment(cluster)}/members/${segment(member)}`, undefined),
    apply: (resources, given = {}) => call("POST", "/v1/apply", applyResponse, { resources, ...given }),
    list: (query = {}) => call("GET", `/v1/resources${queryOf(query)}`, resourceList),
    delete(reference, given = {}) {
      const { kind, cluster, namespace = "-", name } = reference;
      const path = [kind, cluster, namespace, name].map(segment).join("/");
      return call("DELETE", `/v1/resources/${path}${queryOf(given)}`, deleteResponse);
    },
    rollout({ cluster, namespace, name }, action, given = {}) {
      const path = [cluster, namespace, name, action].map(segment).join("/");
      return call("POST", `/v1/rollouts/${path}${queryOf(given)}`, rolloutAnswer);
    },
    rotateSigningKey: (given = {}) => call("POST", "/v1/snapshot-keys/rotate", keyRotation, given),
    audit: (page = {}) => call("GET", `/v1/audit${queryOf(page)}`, auditList),
    issueOperatorToken: (request) => call("POST", "/v1/operator-tokens", operatorTokenResponse, request),
  };
}

function segment(text: string): string {
  return encodeURIComponent(text);
}

function queryOf(values: object): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) if (value !== undefined) query.set(name, String(value));
  return query.size === 0 ? "" : `?${query.toString()}`;
}

interface Call {
  <T>(method: string, path: string, schema: z.ZodType<T>, body?: unknown): Answer<T>;
  (method: string, path: string, schema: undefined): Answer<undefined>;
}

function createCall(options: RegistryClientOptions): Call {
  const send = options.fetch ?? createHttpFetch();
  const base: Record<string, string> = { accept: "application/json" };
  if (options.token !== undefined) base["authorization"] = `Bearer ${options.token}`;
  return async <T>(method: string, path: string, schema: z.ZodType<T> | undefined, body?: unknown) => {
    const signal = AbortSignal.timeout(options.timeoutMs ?? TIMEOUT_MS);
    try {
      const response = await send(`${options.url}${path}`, {
        method,
        headers: body === undefined ? base : { ...base, "content-type": "application/json" },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        // A redirect would carry the token to wherever it points: it is not followed, and is not an answer.
        redirect: "manual",
        signal,
      });
      const text = await boundedText(response);
      const isOk = response.status >= 200 && response.status < 300;
      return isOk
        ? readAnswer(`${options.url}${path}`, response.status, text, schema)
        : err(readProblem(options.url, response.status, text));
    } catch (cause) {
      const detail = unreachable(options.url, signal.aborted, cause);
      return err<RegistryFailure>({ name: "registry_unreachable", detail });
    }
  };
}

async function boundedText(response: FetchAnswer): Promise<string> {
  const parts: string[] = [];
  let bytes = 0;
  const decoder = new TextDecoder();
  const body: AsyncIterable<Uint8Array> | readonly Uint8Array[] = response.body ?? [];
  for await (const chunk of body) {
    bytes += chunk.length;
    if (bytes > MAX_ANSWER_BYTES) throw new TypeError(`the answer is longer than ${MAX_ANSWER_BYTES} bytes`);
    parts.push(decoder.decode(chunk, { stream: true }));
  }
  parts.push(decoder.decode());
  return parts.join("");
}

function readAnswer<T>(
  url: string,
  status: number,
  text: string,
  schema: z.ZodType<T> | undefined,
): Result<T | undefined, RegistryFailure> {
  if (schema === undefined) return ok(undefined);
  const decoded = decode(schema, parseJson(text));
  if (decoded.ok) return decoded;
  const [first] = decoded.error;
  const where = first === undefined || first.path === "" ? "its body" : `${first.path} ${first.message}`;
  const detail = `${url} answered what this version does not understand: ${where}`;
  return err({ name: "registry_unreachable", detail, status });
}

const NAME_BY_CODE: ReadonlyMap<string, ProblemName> = new Map(
  (Object.keys(PROBLEMS) as ProblemName[]).map((name) => [PROBLEMS[name].code, name]),
);

/** An error that is not one of the registry's documents comes from something else on that port, or on the way. */
function readProblem(url: string, status: number, text: string): RegistryFailure {
  const decoded = decode(problemDocument, parseJson(text));
  const name = decoded.ok ? NAME_BY_CODE.get(decoded.value.code) : undefined;
  if (!decoded.ok || name === undefined)
    return {
      name: "registry_unreachable",
      detail: `${url} answered HTTP ${status}, which is not a registry's answer`,
      status,
    };
  const { detail, issues, resourceVersion } = decoded.value;
  return {
    name,
    detail,
    status,
    ...(issues === undefined ? {} : { issues }),
    ...(resourceVersion === undefined ? {} : { resourceVersion }),
  };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function unreachable(url: string, isLate: boolean, cause: unknown): string {
  if (isLate) return `${url} did not answer in time`;
  if (!(cause instanceof Error)) return `${url}: ${String(cause)}`;
  // Where every address of a name failed, the message is empty.
  return `${url}: ${cause.message || String(Reflect.get(cause, "code"))}`;
}
