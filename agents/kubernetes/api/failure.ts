import { type Problem, problem } from "../../../federation/model/problem.ts";

/** Why the API server did not do what it was asked. */
export interface ApiFailure {
  readonly kind:
    | "unreachable"
    | "unauthorized"
    | "forbidden"
    | "not_found"
    | "conflict"
    | "gone"
    | "invalid"
    | "throttled"
    | "server";
  /** HTTP status; 0: no answer. */
  readonly status: number;
  /** The API server's own words, shortened: they name the verb and the resource. */
  readonly message: string;
  readonly retryAfterMs?: number;
}

const MAX_MESSAGE = 600;

export function unreachable(message: string): ApiFailure {
  return { kind: "unreachable", status: 0, message: message.slice(0, MAX_MESSAGE) };
}

/** From an answer's status, or from the `Status` object that a watch sends as its last event. */
export function failureOf(status: number, message: string, retryAfter?: string): ApiFailure {
  const seconds = Number(retryAfter);
  const kind = kindOf(status);
  return {
    kind,
    status,
    message: message.slice(0, MAX_MESSAGE) || `HTTP ${status}`,
    ...(seconds > 0 && seconds < 3600 ? { retryAfterMs: seconds * 1000 } : {}),
  };
}

function kindOf(status: number): ApiFailure["kind"] {
  switch (status) {
    case 401:
      return "unauthorized";
    case 403:
      return "forbidden";
    case 404:
      return "not_found";
    case 409:
      return "conflict";
    case 410:
      return "gone";
    case 429:
      return "throttled";
    default:
      return status >= 400 && status < 500 ? "invalid" : "server";
  }
}

/** As people see it: with a stable code and a fix. `what` names the attempt: `list services`. */
export function problemOf(what: string, { kind, message }: ApiFailure): Problem {
  const detail = `${what}: ${message}`;
  switch (kind) {
    case "unauthorized":
      return problem("kube_unauthorized", detail);
    case "forbidden":
      return problem("kube_forbidden", detail);
    case "not_found":
      return problem("kube_resource_missing", detail);
    case "invalid":
      return problem("kube_object_refused", detail);
    case "conflict":
    case "gone":
      return problem("kube_conflict", detail);
    case "unreachable":
    case "throttled":
    case "server":
      return problem("kube_unreachable", detail);
  }
}
