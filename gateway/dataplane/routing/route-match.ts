import { RE2JS } from "re2js";
import type { GrpcMethodMatch, NamedMatch, RouteMatch } from "../../../federation/model/traffic-route.ts";
import { octetsOf, textOf } from "../policy/field-text.ts";
import { pathOf, queryParam, type RequestView } from "./request-view.ts";

/** Longer texts do not match: together with the limit on patterns this bounds what one comparison may cost. */
const MAX_REGEX_TEXT = 4_096;

/** Whether a text fits. */
type TextTest = (text: string) => boolean;

/** How a match looks at the path: it decides where in the table the match stands. */
export type PathTest =
  | { readonly kind: "exact"; readonly path: string }
  /** Element by element; without its final slash, so that the root is empty. */
  | { readonly kind: "prefix"; readonly prefix: string }
  | { readonly kind: "regex"; readonly length: number; readonly test: TextTest };

interface FieldTest {
  readonly name: string;
  readonly test: TextTest;
}

/** One match of a rule, made ready. */
export interface CompiledMatch {
  readonly path: PathTest;
  readonly method: string | undefined;
  readonly isGrpc: boolean;
  readonly headers: readonly FieldTest[];
  readonly query: readonly FieldTest[];
}

export const EVERYTHING: CompiledMatch = compileMatch({});

export function compileMatch(match: RouteMatch): CompiledMatch {
  const { path, method, headers = [], queryParams = [] } = match;
  const grpc = typeof method === "object" ? method : undefined;
  return {
    path: grpc === undefined ? pathTest(path?.type, path?.value) : grpcPath(grpc),
    method: typeof method === "string" ? method : undefined,
    isGrpc: grpc !== undefined,
    headers: headers.map(headerTest),
    query: queryParams.map(queryTest),
  };
}

/** Whether everything but the path fits. */
export function fits(match: CompiledMatch, request: RequestView): boolean {
  if (match.method !== undefined && match.method !== request.method) return false;
  if (match.isGrpc && request.header("content-type")?.startsWith("application/grpc") !== true) return false;
  for (const { name, test } of match.headers) {
    const value = request.header(name);
    if (value === undefined || !test(value)) return false;
  }
  for (const { name, test } of match.query) {
    const value = queryParam(request.target, name);
    if (value === undefined || !test(value)) return false;
  }
  return true;
}

function pathTest(type: string | undefined, value = "/"): PathTest {
  if (type === "Exact") return { kind: "exact", path: value };
  if (type === "RegularExpression") return { kind: "regex", length: value.length, test: regexTest(value) };
  return { kind: "prefix", prefix: value.endsWith("/") ? value.slice(0, -1) : value };
}

/** A gRPC request's path is `/<service>/<method>`. */
function grpcPath({ type, service, method }: GrpcMethodMatch): PathTest {
  if (type !== "RegularExpression" && service !== undefined)
    return method === undefined
      ? { kind: "prefix", prefix: `/${service}` }
      : { kind: "exact", path: `/${service}/${method}` };
  const ofService = partTest(type, service);
  const ofMethod = partTest(type, method);
  const length = (service?.length ?? 0) + (method?.length ?? 0);
  const test: TextTest = (path) => {
    const slash = path.indexOf("/", 1);
    return slash > 0 && ofService(path.slice(1, slash)) && ofMethod(path.slice(slash + 1));
  };
  return { kind: "regex", length, test };
}

function partTest(type: string | undefined, value: string | undefined): TextTest {
  if (value === undefined) return () => true;
  return type === "RegularExpression" ? regexTest(value) : equals(value);
}

function headerTest({ type, name, value }: NamedMatch): FieldTest {
  const field = name.toLowerCase();
  if (type !== "RegularExpression") return { name: field, test: equals(octetsOf(value)) };
  const fitsText = regexTest(value);
  // By its characters, so that `.` is one.
  return { name: field, test: (octets) => fitsText(textOf(octets)) };
}

/** Parameters are decoded when they are read. */
function queryTest({ type, name, value }: NamedMatch): FieldTest {
  return { name, test: type === "RegularExpression" ? regexTest(value) : equals(value) };
}

function equals(value: string): TextTest {
  return (text) => text === value;
}

/** The whole text must fit, in time that grows with its length and no faster. */
function regexTest(pattern: string): TextTest {
  const compiled = RE2JS.compile(pattern);
  return (text) => text.length <= MAX_REGEX_TEXT && compiled.testExact(text);
}

export function regexPathFits(path: PathTest, target: string): boolean {
  return path.kind === "regex" && path.test(pathOf(target));
}
