import { durationMs, timerMs } from "../../../federation/model/duration.ts";
import type { ServiceName } from "../../../federation/model/service.ts";
import {
  type FailureClass,
  GRPC_CODES,
  type HeaderModifier,
  type PathModifier,
  type RequestRedirect,
  type RouteFault,
  type RouteRetry,
  type Share,
  type SnapshotRoute,
  type SnapshotRouteBackend,
  type SnapshotRouteRule,
  type SnapshotRouteTarget,
  type UrlRewrite,
} from "../../../federation/model/traffic-route.ts";
import type { WorkloadPattern } from "../../../federation/model/workload-pattern.ts";
import { opaqueName } from "../balance/session-token.ts";
import type { BudgetLimits } from "../policy/retry-budget.ts";
import { compileEdits, type HeadEdits } from "./head-edits.ts";

/** A rule made ready, the same for every caller. */
export interface CompiledRule {
  /** `west/shop/canary`: the route, for counters and logs. */
  readonly route: string;
  /** The rule's name, or its place in the route. */
  readonly name: string;
  /** Both, for series that have one label. */
  readonly label: string;
  readonly redirect: RequestRedirect | undefined;
  /** Empty: the service itself. */
  readonly backends: readonly CompiledBackend[];
  readonly totalWeight: number;
  readonly mirrors: readonly CompiledMirror[];
  /** 0: none. */
  readonly requestTimeoutMs: number;
  readonly backendTimeoutMs: number;
  readonly retry: CompiledRetry | undefined;
  readonly fault: CompiledFault | undefined;
  /** Where no backend adds to them. */
  readonly edits: BackendEdits;
}

/** What is changed on the way to one backend and back. */
export interface BackendEdits {
  readonly request: HeadEdits | undefined;
  readonly response: HeadEdits | undefined;
  readonly hostname: string | undefined;
  readonly path: PathModifier | undefined;
}

/** A service by its local name, of one cluster or version where they are given. */
export type BackendSelector = SnapshotRouteTarget;

export interface CompiledBackend {
  readonly selector: BackendSelector;
  /** How sessions name the selector's version. */
  readonly versionName: string | undefined;
  readonly weight: number;
  /** The rule's and the backend's own. */
  readonly edits: BackendEdits;
}

export interface CompiledMirror {
  readonly selector: BackendSelector;
  /** 0 to 1. */
  readonly share: number;
}

export interface CompiledRetry {
  readonly attempts: number;
  readonly codes: ReadonlySet<number>;
  readonly grpcCodes: ReadonlySet<number>;
  readonly on: ReadonlySet<FailureClass>;
  /** Methods that may be repeated although they are not idempotent. */
  readonly methods: ReadonlySet<string>;
  readonly backoffMs: number;
  readonly budget: BudgetLimits;
}

export interface CompiledFault {
  /** Empty: every caller. */
  readonly from: readonly WorkloadPattern[];
  readonly delay: { readonly share: number; readonly delayMs: number } | undefined;
  readonly abort:
    | { readonly share: number; readonly status: number; readonly grpcCode: number | undefined }
    | undefined;
}

const DEFAULT_REDIRECT_STATUS = 302;
const DEFAULT_BACKOFF_MS = 25;
const DEFAULT_ON: readonly FailureClass[] = ["connect-failure", "refused-stream", "reset"];
const DEFAULT_ABORT_STATUS = 503;

export function compileRule(route: SnapshotRoute, rule: SnapshotRouteRule, index: number): CompiledRule {
  const { filters = [], backendRefs = [], timeouts = {}, retry, fault } = rule;
  const redirect = filters.find((filter) => filter.type === "RequestRedirect")?.requestRedirect;
  const backends = backendRefs.map((backend) => compileBackend(backend, rule));
  const routeName = `${route.cluster}/${route.namespace}/${route.name}`;
  const name = rule.name ?? String(index);
  return {
    route: routeName,
    name,
    label: `${routeName}/${name}`,
    redirect: redirect === undefined ? undefined : { statusCode: DEFAULT_REDIRECT_STATUS, ...redirect },
    backends,
    totalWeight: sumOfWeights(backends),
    mirrors: filters.flatMap((filter) =>
      filter.type === "RequestMirror"
        ? [{ selector: filter.requestMirror.backendRef, share: shareOf(filter.requestMirror) }]
        : [],
    ),
    requestTimeoutMs: timerMs(timeouts.request ?? "0s"),
    backendTimeoutMs: timerMs(timeouts.backendRequest ?? "0s"),
    retry: retry === undefined ? undefined : compileRetry(retry),
    fault: fault === undefined ? undefined : compileFault(fault),
    edits: compileBackendEdits(filters, []),
  };
}

function compileBackend(backend: SnapshotRouteBackend, { filters = [] }: SnapshotRouteRule): CompiledBackend {
  const { weight = 1, filters: own = [], ...selector } = backend;
  const versionName = selector.version === undefined ? undefined : opaqueName(selector.version);
  return { selector, versionName, weight, edits: compileBackendEdits(filters, own) };
}

type Editing =
  | { readonly type: "RequestHeaderModifier"; readonly requestHeaderModifier: HeaderModifier }
  | { readonly type: "ResponseHeaderModifier"; readonly responseHeaderModifier: HeaderModifier }
  | { readonly type: "URLRewrite"; readonly urlRewrite: UrlRewrite }
  | { readonly type: "RequestRedirect" | "RequestMirror" };

/** A backend's own filters come after the rule's. */
function compileBackendEdits(rule: readonly Editing[], own: readonly Editing[]): BackendEdits {
  const all = [...rule, ...own];
  // The last one to name a part decides.
  const rewrites = all
    .flatMap((filter) => (filter.type === "URLRewrite" ? [filter.urlRewrite] : []))
    .reverse();
  return {
    request: compileEdits(
      all.flatMap((filter) =>
        filter.type === "RequestHeaderModifier" ? [filter.requestHeaderModifier] : [],
      ),
    ),
    response: compileEdits(
      all.flatMap((filter) =>
        filter.type === "ResponseHeaderModifier" ? [filter.responseHeaderModifier] : [],
      ),
    ),
    hostname: rewrites.find((rewrite) => rewrite.hostname !== undefined)?.hostname,
    path: rewrites.find((rewrite) => rewrite.path !== undefined)?.path,
  };
}

function compileRetry(retry: RouteRetry): CompiledRetry {
  const { percent = 20, interval = "10s", minRetryRate = {} } = retry.budget ?? {};
  const { count = 10, interval: minInterval = "1s" } = minRetryRate;
  return {
    attempts: retry.attempts ?? 1,
    codes: new Set(retry.codes),
    grpcCodes: new Set(retry.grpcCodes?.map((code) => GRPC_CODES.indexOf(code))),
    on: new Set(retry.on ?? DEFAULT_ON),
    methods: new Set(retry.methods),
    backoffMs: retry.backoff === undefined ? DEFAULT_BACKOFF_MS : durationMs(retry.backoff),
    budget: {
      percent,
      intervalMs: durationMs(interval),
      minPerInterval: (count * durationMs(interval)) / durationMs(minInterval),
    },
  };
}

function compileFault({ from = [], delay, abort }: RouteFault): CompiledFault {
  return {
    from: from.map(({ workload }) => workload),
    delay: delay === undefined ? undefined : { share: shareOf(delay), delayMs: durationMs(delay.fixedDelay) },
    abort:
      abort === undefined
        ? undefined
        : {
            share: shareOf(abort),
            status: abort.statusCode ?? DEFAULT_ABORT_STATUS,
            grpcCode: abort.grpcCode === undefined ? undefined : GRPC_CODES.indexOf(abort.grpcCode),
          },
  };
}

/** As a part of one. */
function shareOf({ percent, fraction }: Share): number {
  if (percent !== undefined) return percent / 100;
  return fraction === undefined ? 1 : fraction.numerator / (fraction.denominator ?? 100);
}

export function sumOfWeights(backends: readonly CompiledBackend[]): number {
  return backends.reduce((sum, { weight }) => sum + weight, 0);
}

/** Among what a draw decides. */
export type WeightedBackends = Pick<CompiledRule, "backends" | "totalWeight">;

/** The backend of a draw in [0, 1); the caller makes sure that some weight is not zero. */
export function backendAt(
  { backends, totalWeight }: WeightedBackends,
  draw: number,
): CompiledBackend | undefined {
  let rest = draw * totalWeight;
  for (const backend of backends) {
    if (rest < backend.weight) return backend;
    rest -= backend.weight;
  }
  return undefined;
}

/** Rules without backends send requests to the service that they are about. */
export function ownSelector(service: ServiceName): BackendSelector {
  return { namespace: service.namespace, name: service.name };
}
