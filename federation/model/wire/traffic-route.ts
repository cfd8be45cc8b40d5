// Longer than other files: one document's schema is read in one place.
import * as z from "zod";
import { durationMs } from "../duration.ts";
import {
  type BackendFilter,
  GRPC_CODES,
  isProtectedField,
  type RouteMatch,
  type SnapshotRoute,
  type TrafficRouteSpec,
} from "../traffic-route.ts";
import { alsoCheck, shown, textField, uniqueBy } from "./decode.ts";
import {
  budgetInterval,
  duration,
  label,
  port,
  rateInterval,
  timestamp,
  version,
  workloadPattern,
} from "./fields.ts";
import { method } from "./egress-policy.ts";
import { regexProblem } from "./linear-regex.ts";

// The Gateway API's own limits (HTTPRoute v1), where it has them.
const MAX_PARENTS = 32;
const MAX_RULES = 16;
const MAX_MATCHES = 64;
const MAX_PARTS = 16;
const MAX_HEADER_VALUE = 4_096;
const MAX_RETRIES = 10;
const MAX_DELAY_MS = 60_000;

const group = z.string().max(253);
const backendKind = z.enum(["Service", "ServiceImport"]);
/** RFC 9110 §5.6.2. */
const token = z
  .string()
  .max(256)
  .regex(/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/, "must be a header name");
const headerValue = z
  .string()
  .max(MAX_HEADER_VALUE)
  .regex(
    /^([\x21-\x7e]([\t\x20-\x7e]*[\x21-\x7e])?)?$/,
    "must be printable ASCII without spaces at its ends",
  );
const hostname = z
  .string()
  .max(253)
  .regex(/^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/, "must be a host name in lower case");
/** What a path may be replaced by: what a request line can carry, without query and fragment. */
const pathText = z
  .string()
  .max(1_024)
  .regex(/^\/[!"$->@-~]*$/, `must begin with "/" and have no spaces, "?" or "#"`);
/** HTTPRoute's rule for Exact and PathPrefix: only paths that a request can have and that have one spelling. */
const PATH_VALUE = /^\/(?!.*\/\/)(?!.*\/\.\.?(?:\/|$))(?!.*%2[fF])[!"$->@-~]*$/;

const PATH_TYPES = z.enum(["Exact", "PathPrefix", "RegularExpression"]);
const pathValue = z.string().min(1).max(1_024);

function checkedPath<P extends z.ZodType>(schema: P, regexFault: typeof regexProblem): P {
  return alsoCheck(schema, (given, report) => {
    if (typeof given !== "object" || given === null) return;
    const value = textField(given, "value");
    if (value === undefined) return;
    const found = textField(given, "type") === "RegularExpression" ? regexFault(value) : pathFault(value);
    if (found !== undefined) report(["value"], found);
  });
}

function pathFault(value: string): string | undefined {
  if (PATH_VALUE.test(value)) return undefined;
  return (
    encodingFault(value) ??
    `must begin with "/" and be in its simplest form, without "//", "/./", "/../", "%2F", "?" and "#"`
  );
}

/** Requests have nothing else in their paths (RFC 3986 §2.1): what would have it fits none. */
function encodingFault(value: string): string | undefined {
  if (/^[\0-\x7f]*$/.test(value)) return undefined;
  // Halves of characters have no encoding.
  const encoded = value.replace(/[^\0-\x7f\ud800-\udfff]/gu, encodeURIComponent);
  return `paths are percent-encoded in requests: write ${shown(encoded)}`;
}

const pathRegexFault = (pattern: string): string | undefined =>
  regexProblem(pattern) ?? encodingFault(pattern);

const pathFields = { type: PATH_TYPES.exactOptional(), value: pathValue.exactOptional() };
const path = checkedPath(z.strictObject(pathFields), pathRegexFault);
/** Snapshots have what older registries took. */
const snapshotPath = checkedPath(z.strictObject(pathFields), regexProblem);

const requestPathFields = { type: PATH_TYPES, value: pathValue };
/** The same, all said. */
export const requestPath = checkedPath(z.strictObject(requestPathFields), pathRegexFault);
export const snapshotRequestPath = checkedPath(z.strictObject(requestPathFields), regexProblem);

function namedMatch<N extends z.ZodType<string>>(name: N) {
  return alsoCheck(
    z.strictObject({
      type: z.enum(["Exact", "RegularExpression"]).exactOptional(),
      name,
      value: z.string().min(1).max(MAX_HEADER_VALUE),
    }),
    (given, report) => {
      if (typeof given !== "object" || given === null || textField(given, "type") !== "RegularExpression")
        return;
      const found = regexProblem(textField(given, "value") ?? "");
      if (found !== undefined) report(["value"], found);
    },
  );
}

const nameOf = (item: object): string | undefined => textField(item, "name")?.toLowerCase();

const GRPC_NAME = 'must be a gRPC name: letters, digits, "_" and "."';
const grpcMethod = alsoCheck(
  z.strictObject({
    type: z.enum(["Exact", "RegularExpression"]).exactOptional(),
    service: z.string().min(1).max(1_024).exactOptional(),
    method: z.string().min(1).max(1_024).exactOptional(),
  }),
  (given, report) => {
    if (typeof given !== "object" || given === null) return;
    if (!("service" in given) && !("method" in given)) report([], "must name a service, a method or both");
    for (const field of ["service", "method"]) {
      const value = textField(given, field);
      if (value === undefined) continue;
      const isRegex = textField(given, "type") === "RegularExpression";
      const found = isRegex
        ? regexProblem(value)
        : /^[A-Za-z_][A-Za-z0-9_.]*$/.test(value)
          ? undefined
          : GRPC_NAME;
      if (found !== undefined) report([field], found);
    }
  },
);

const matchFields = {
  headers: alsoCheck(z.array(namedMatch(token)).max(MAX_PARTS), uniqueBy("header", nameOf)).exactOptional(),
  queryParams: alsoCheck(
    z.array(namedMatch(z.string().min(1).max(256))).max(MAX_PARTS),
    uniqueBy("query parameter", (item) => textField(item, "name")),
  ).exactOptional(),
  method: z.union([method, grpcMethod]).exactOptional(),
};
const match = z.strictObject({ path: path.exactOptional(), ...matchFields }) satisfies z.ZodType<RouteMatch>;
const snapshotMatch = z.strictObject({
  path: snapshotPath.exactOptional(),
  ...matchFields,
}) satisfies z.ZodType<RouteMatch>;

export const PROTECTED = "belongs to one hop, frames the message or tells who calls: no rule may touch it";
const ownField = token.refine((name) => !isProtectedField(name), PROTECTED);
const headerValues = alsoCheck(
  z.array(z.strictObject({ name: ownField, value: headerValue })).max(MAX_PARTS),
  uniqueBy("header", nameOf),
);
const headerModifier = z.strictObject({
  set: headerValues.exactOptional(),
  add: headerValues.exactOptional(),
  remove: z.array(ownField).max(MAX_PARTS).exactOptional(),
});
const pathModifier = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("ReplaceFullPath"), replaceFullPath: pathText }),
  // An empty prefix takes the matched one away.
  z.strictObject({
    type: z.literal("ReplacePrefixMatch"),
    replacePrefixMatch: z.union([pathText, z.literal("")]),
  }),
]);

const percent = z.number().min(0).max(100);
const shareFields = {
  percent: percent.exactOptional(),
  fraction: z
    .strictObject({ numerator: z.int().min(0), denominator: z.int().min(1).exactOptional() })
    .refine(({ numerator, denominator = 100 }) => numerator <= denominator, "must not be more than one")
    .exactOptional(),
};
function onlyOneShare(given: unknown, report: (path: readonly PropertyKey[], text: string) => void): void {
  if (typeof given === "object" && given !== null && "percent" in given && "fraction" in given)
    report(["fraction"], "percent is given already");
}

const requestHeaders = z.strictObject({
  type: z.literal("RequestHeaderModifier"),
  requestHeaderModifier: headerModifier,
});
const responseHeaders = z.strictObject({
  type: z.literal("ResponseHeaderModifier"),
  responseHeaderModifier: headerModifier,
});
const urlRewrite = z.strictObject({
  type: z.literal("URLRewrite"),
  urlRewrite: z.strictObject({
    hostname: hostname.exactOptional(),
    path: pathModifier.exactOptional(),
  }),
});
const requestRedirect = z.strictObject({
  type: z.literal("RequestRedirect"),
  requestRedirect: z.strictObject({
    scheme: z.enum(["http", "https"]).exactOptional(),
    hostname: hostname.exactOptional(),
    path: pathModifier.exactOptional(),
    port: port.exactOptional(),
    statusCode: z
      .union([z.literal(301), z.literal(302), z.literal(303), z.literal(307), z.literal(308)])
      .exactOptional(),
  }),
});
function requestMirror<B extends z.ZodType>(backendRef: B) {
  return z.strictObject({
    type: z.literal("RequestMirror"),
    requestMirror: alsoCheck(z.strictObject({ backendRef, ...shareFields }), onlyOneShare),
  });
}

const selected = {
  port: port.exactOptional(),
  cluster: label.exactOptional(),
  version: version.exactOptional(),
};
const target = {
  group: group.exactOptional(),
  kind: backendKind.exactOptional(),
  namespace: label.exactOptional(),
  name: label,
  ...selected,
};
const resolvedTarget = { namespace: label, name: label, ...selected };

/** Several of one type would have to be applied in an order that the Gateway API does not define; mirrors have none. */
function filterList<F extends z.ZodType>(filter: F) {
  return alsoCheck(
    z.array(filter).max(MAX_PARTS),
    uniqueBy("filter", (item) => {
      const type = textField(item, "type");
      return type === "RequestMirror" ? undefined : type;
    }),
  );
}
const backendFilters = filterList(
  z.discriminatedUnion("type", [
    requestHeaders,
    responseHeaders,
    urlRewrite,
  ]) satisfies z.ZodType<BackendFilter>,
);
const weighted = {
  weight: z.int().min(0).max(1_000_000).exactOptional(),
  filters: backendFilters.exactOptional(),
};

const timeouts = alsoCheck(
  z.strictObject({ request: duration.exactOptional(), backendRequest: duration.exactOptional() }),
  (given, report) => {
    if (typeof given !== "object" || given === null) return;
    const [request, backend] = [textField(given, "request"), textField(given, "backendRequest")];
    if (request === undefined || backend === undefined || durationMs(request) === 0) return;
    if (durationMs(backend) > durationMs(request))
      report(["backendRequest"], `must not be longer than request (${request})`);
  },
);

const grpcCode = z.enum(GRPC_CODES);
const retry = z.strictObject({
  attempts: z.int().min(1).max(MAX_RETRIES).exactOptional(),
  codes: z.array(z.int().min(400).max(599)).min(1).max(64).exactOptional(),
  grpcCodes: z.array(grpcCode).min(1).max(GRPC_CODES.length).exactOptional(),
  on: z
    .array(z.enum(["connect-failure", "refused-stream", "reset", "timeout"]))
    .max(8)
    .exactOptional(),
  methods: z.array(method).min(1).max(MAX_PARTS).exactOptional(),
  backoff: duration.exactOptional(),
  budget: z
    .strictObject({
      percent: percent.exactOptional(),
      interval: budgetInterval.exactOptional(),
      minRetryRate: z
        .strictObject({
          count: z.int().min(0).max(1_000_000).exactOptional(),
          interval: rateInterval.exactOptional(),
        })
        .exactOptional(),
    })
    .exactOptional(),
});

const fault = z.strictObject({
  from: z
    .array(z.strictObject({ workload: workloadPattern }))
    .min(1)
    .max(256)
    .exactOptional(),
  delay: alsoCheck(
    z.strictObject({
      ...shareFields,
      fixedDelay: duration.refine((text) => durationMs(text) <= MAX_DELAY_MS, "must be at most 60s"),
    }),
    onlyOneShare,
  ).exactOptional(),
  abort: alsoCheck(
    z.strictObject({
      ...shareFields,
      statusCode: z.int().min(400).max(599).exactOptional(),
      grpcCode: grpcCode.exactOptional(),
    }),
    onlyOneShare,
  ).exactOptional(),
});

function rule<F extends z.ZodType, B extends z.ZodType>(fitting: typeof match, filter: F, backend: B) {
  return alsoCheck(
    z.strictObject({
      name: label.exactOptional(),
      matches: z.array(fitting).min(1).max(MAX_MATCHES).exactOptional(),
      filters: filterList(filter).exactOptional(),
      backendRefs: z.array(backend).max(MAX_PARTS).exactOptional(),
      timeouts: timeouts.exactOptional(),
      retry: retry.exactOptional(),
      fault: fault.exactOptional(),
    }),
    checkRule,
  );
}

const ruleSchema = rule(
  match,
  z.discriminatedUnion("type", [
    requestHeaders,
    responseHeaders,
    urlRewrite,
    requestRedirect,
    requestMirror(z.strictObject(target)),
  ]),
  z.strictObject({ ...target, ...weighted }),
);

/** The Gateway API's rules about a rule as a whole. */
function checkRule(given: unknown, report: (path: readonly PropertyKey[], text: string) => void): void {
  if (typeof given !== "object" || given === null) return;
  const lists = given as {
    readonly filters?: unknown;
    readonly backendRefs?: unknown;
    readonly matches?: unknown;
  };
  const filters = objectsOf(lists.filters);
  const types = filters.map((filter) => textField(filter, "type"));
  const redirect = types.indexOf("RequestRedirect");
  if (redirect !== -1) {
    if (objectsOf(lists.backendRefs).length > 0)
      report(["backendRefs"], "a rule that redirects has no backends");
    if (types.includes("URLRewrite"))
      report(["filters", redirect], "a rule does not both rewrite and redirect");
  }
  const prefixOnly = objectsOf(lists.matches).every(isPrefixMatch);
  const backendFilterLists = objectsOf(lists.backendRefs).map((backend) =>
    objectsOf((backend as { readonly filters?: unknown }).filters),
  );
  filters.forEach((filter, index) => {
    if (replacesPrefix(filter) && !prefixOnly) report(["filters", index], NEEDS_PREFIX);
  });
  backendFilterLists.forEach((list, backend) => {
    list.forEach((filter, index) => {
      if (replacesPrefix(filter) && !prefixOnly)
        report(["backendRefs", backend, "filters", index], NEEDS_PREFIX);
    });
  });
}

const NEEDS_PREFIX = "ReplacePrefixMatch needs every match of the rule to be of type PathPrefix";

function objectsOf(list: unknown): readonly object[] {
  return Array.isArray(list)
    ? list.filter((item): item is object => typeof item === "object" && item !== null)
    : [];
}

function isPrefixMatch(item: object): boolean {
  const { path: given, method: grpc } = item as { readonly path?: unknown; readonly method?: unknown };
  if (typeof grpc === "object" && grpc !== null) return false;
  if (typeof given !== "object" || given === null) return true;
  return (textField(given, "type") ?? "PathPrefix") === "PathPrefix";
}

function replacesPrefix(filter: object): boolean {
  const { urlRewrite: rewrite, requestRedirect: redirect } = filter as {
    readonly urlRewrite?: { readonly path?: unknown };
    readonly requestRedirect?: { readonly path?: unknown };
  };
  const modifier: unknown = rewrite?.path ?? redirect?.path;
  return (
    typeof modifier === "object" && modifier !== null && textField(modifier, "type") === "ReplacePrefixMatch"
  );
}

const parentRef = z.strictObject({
  group: group.exactOptional(),
  kind: backendKind.exactOptional(),
  namespace: label.exactOptional(),
  name: label,
  sectionName: z.string().max(253).exactOptional(),
  port: port.exactOptional(),
});

const namedRules = uniqueBy("rule", (item) => textField(item, "name"));

export const trafficRouteSpec = z.strictObject({
  mode: z.enum(["observe", "enforce"]).exactOptional(),
  parentRefs: z.array(parentRef).min(1).max(MAX_PARENTS),
  hostnames: z.array(z.string().min(1).max(253)).max(MAX_PARTS).exactOptional(),
  rules: alsoCheck(z.array(ruleSchema).min(1).max(MAX_RULES), namedRules),
}) satisfies z.ZodType<TrafficRouteSpec>;

export const snapshotRoute = z.strictObject({
  cluster: label,
  namespace: label,
  name: label,
  firstSeen: timestamp,
  mode: z.enum(["observe", "enforce"]),
  parents: z.array(
    z.strictObject({
      namespace: label,
      name: label,
      port: port.exactOptional(),
      consumer: label.exactOptional(),
    }),
  ),
  rules: z.array(
    rule(
      snapshotMatch,
      z.discriminatedUnion("type", [
        requestHeaders,
        responseHeaders,
        urlRewrite,
        requestRedirect,
        requestMirror(z.strictObject(resolvedTarget)),
      ]),
      z.strictObject({ ...resolvedTarget, ...weighted }),
    ),
  ),
}) satisfies z.ZodType<SnapshotRoute>;
