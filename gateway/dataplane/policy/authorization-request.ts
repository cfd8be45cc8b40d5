import { RE2JS } from "re2js";
import type {
  AuthorizationPath,
  AuthorizationTarget,
} from "../../../federation/model/authorization-policy.ts";
import { hasTwoReadings } from "./path-readings.ts";

/** What of a request an AuthorizationPolicy may name. */
export interface JudgedRequest {
  readonly method: string;
  /** Without the query. */
  readonly path: string;
}

/** Longer paths are not compared with expressions: together with the limit on patterns this bounds what one comparison may cost. */
const MAX_REGEX_TEXT = 4_096;

/** `undefined`: that is not known. */
type PathTest = (path: string) => boolean | undefined;

interface CompiledTarget {
  readonly methods: readonly string[] | undefined;
  readonly paths: readonly PathTest[] | undefined;
}

/** Targets of one policy that are about one port. */
export class RequestMatcher {
  readonly #targets: readonly CompiledTarget[];

  constructor(targets: readonly CompiledTarget[]) {
    this.#targets = targets;
  }

  /** Whether it certainly fits. */
  fits(request: JudgedRequest): boolean {
    return this.#fits(request, false);
  }

  /** Whether it fits in one of the ways in which a server may read it. */
  mayFit(request: JudgedRequest): boolean {
    return this.#fits(request, true);
  }

  #fits({ method, path }: JudgedRequest, doubtful: boolean): boolean {
    for (const { methods, paths } of this.#targets) {
      if (methods?.includes(method) === false) continue;
      if (paths === undefined) return true;
      if (hasTwoReadings(path) ? doubtful : paths.some((fits) => fits(path) ?? doubtful)) return true;
    }
    return false;
  }
}

export function compileRequests(targets: readonly AuthorizationTarget[]): RequestMatcher {
  return new RequestMatcher(targets.map(({ methods, paths }) => ({ methods, paths: paths?.map(pathTest) })));
}

function pathTest({ type, value }: AuthorizationPath): PathTest {
  if (type === "Exact") return (path) => path === value;
  if (type === "RegularExpression") {
    const compiled = RE2JS.compile(value);
    return (path) => (path.length > MAX_REGEX_TEXT ? undefined : compiled.testExact(path));
  }
  const prefix = value.endsWith("/") ? value.slice(0, -1) : value;
  return (path) => path.startsWith(prefix) && (path.length === prefix.length || path[prefix.length] === "/");
}
