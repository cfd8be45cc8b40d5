import {
  type Destination,
  formatDestination,
  parseDestination,
} from "../../../federation/model/external-host.ts";
import { type Problem, problem } from "../../../federation/model/problem.ts";

/** A request's head as far as it says where the request wants to go. */
export interface AddressedRequest {
  readonly method: string;
  readonly target: string;
  /** The Host value in lower case; empty for HTTP/1.0 without one. */
  readonly host: string;
}

/** Where a proxy request wants to go; `origin`: the target without scheme and authority. */
export interface ProxyTarget {
  readonly kind: "connect" | "absolute";
  readonly destination: Destination;
  readonly origin: string;
}

const HTTP = "http://";
const HTTP_PORT = 80;

/**
 * Reads CONNECT (RFC 9110 §9.3.6) and absolute-form (RFC 9112 §3.2.2). Host must say the same as the target: of two names
 * one would be judged and the other believed.
 */
export function readProxyTarget(request: AddressedRequest): ProxyTarget | Problem {
  const { method, target } = request;
  if (method === "CONNECT") {
    const parsed = parseDestination(target);
    if (!parsed.ok) return problem("egress_destination_invalid", parsed.error);
    return (
      disagreement(request.host, parsed.value, parsed.value.port) ?? {
        kind: "connect",
        destination: parsed.value,
        origin: "",
      }
    );
  }
  if (target.startsWith("/") || target === "*")
    return problem("egress_destination_invalid", "a proxy needs the whole URL, or CONNECT");
  if (target.slice(0, HTTP.length).toLowerCase() !== HTTP)
    return problem(
      "egress_destination_invalid",
      "only http:// URLs are sent as they are; use CONNECT for https",
    );
  const end = target.slice(HTTP.length).search(/[/?]/);
  const authority = end === -1 ? target.slice(HTTP.length) : target.slice(HTTP.length, HTTP.length + end);
  if (authority.includes("@"))
    return problem("egress_destination_invalid", "user information in a URL is not accepted");
  const parsed = parseDestination(authority, HTTP_PORT);
  if (!parsed.ok) return problem("egress_destination_invalid", parsed.error);
  const rest = end === -1 ? "" : target.slice(HTTP.length + end);
  const origin = rest.startsWith("/") ? rest : `/${rest}`;
  return (
    disagreement(request.host, parsed.value, HTTP_PORT) ?? {
      kind: "absolute",
      destination: parsed.value,
      origin: method === "OPTIONS" && rest === "" ? "*" : origin,
    }
  );
}

/** `defaultPort`: the one that a Host without a port means. An empty Host (HTTP/1.0) contradicts nobody. */
export function disagreement(
  host: string,
  destination: Destination,
  defaultPort: number,
): Problem | undefined {
  if (host === "") return undefined;
  const named = parseDestination(host, defaultPort);
  if (named.ok && named.value.host.name === destination.host.name && named.value.port === destination.port)
    return undefined;
  const wanted = formatDestination(destination.host, destination.port);
  return problem("egress_name_mismatch", `Host says ${host}, the request goes to ${wanted}`);
}

const LOCAL = /^(?:localhost|127\.[0-9.]+|\[::1\])(?::[0-9]+)?$/;

/**
 * Host at a local address that stands for one external host: that host, or the local address itself, which then becomes
 * the host's name. `undefined`: it agrees as it is.
 */
export function judgeLocalHost(
  host: string,
  destination: Destination,
  defaultPort: number,
): { readonly kind: "rewrite" } | Problem | undefined {
  if (host === "" || LOCAL.test(host)) return { kind: "rewrite" };
  return disagreement(host, destination, defaultPort);
}

const HOST_LINE = /^(host):[^\r\n]*\r\n/im;

/** The head with the destination's own name in Host (the scheme's usual port left out). */
export function withHost(head: string, destination: Destination, defaultPort: number): string {
  const { host, port } = destination;
  const name = host.name.includes(":") ? `[${host.name}]` : host.name;
  const line = `host: ${port === defaultPort ? name : `${name}:${port}`}\r\n`;
  return HOST_LINE.test(head) ? head.replace(HOST_LINE, line) : `${head}${line}`;
}

/** The head with another target in its request line. */
export function withTarget(head: string, target: string): string {
  const start = head.indexOf(" ") + 1;
  return head.slice(0, start) + target + head.slice(head.indexOf(" ", start));
}
