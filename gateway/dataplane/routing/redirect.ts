import type { RequestRedirect } from "../../../federation/model/traffic-route.ts";
import { modifiedPath } from "./head-edits.ts";
import { pathOf, queryOf, type RequestView } from "./request-view.ts";

const WELL_KNOWN_PORT = { http: 80, https: 443 } as const;

/**
 * Value of `Location` (HTTPRequestRedirectFilter). What the filter does not name stays as the request has it; a new scheme
 * without a port means that scheme's own port, and a scheme's own port is not written.
 */
export function redirectLocation(redirect: RequestRedirect, request: RequestView, prefix: string): string {
  const scheme = redirect.scheme ?? "http";
  const asked = splitAuthority(request.authority);
  const port = redirect.port ?? (redirect.scheme === undefined ? asked.port : WELL_KNOWN_PORT[scheme]);
  const host = redirect.hostname ?? asked.host;
  const authority = port === undefined || port === WELL_KNOWN_PORT[scheme] ? host : `${host}:${port}`;
  const path = pathOf(request.target);
  const location = redirect.path === undefined ? path : modifiedPath(redirect.path, path, prefix);
  return `${scheme}://${authority}${location}${queryOf(request.target)}`;
}

function splitAuthority(authority: string): { readonly host: string; readonly port: number | undefined } {
  const colon = authority.lastIndexOf(":");
  // The colons of an IPv6 address stand within brackets.
  if (colon === -1 || authority.indexOf("]", colon) !== -1) return { host: authority, port: undefined };
  return { host: authority.slice(0, colon), port: Number(authority.slice(colon + 1)) };
}
