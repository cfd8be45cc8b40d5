import type { SnapshotBackend } from "../../../federation/model/snapshot.ts";
import { hashText } from "../balance/rendezvous.ts";
import {
  cookieValue,
  decodeSession,
  encodeSession,
  isExpired,
  type SessionTarget,
} from "../balance/session-token.ts";
import { type BackendRule, type RequestFields, ruleFor } from "./rule-tables.ts";

export type Session = NonNullable<SnapshotBackend["session"]>;

/** What keeps a request where an earlier one went: a token of ours, or what the client's own value draws, in [0, 1). */
export type BroughtSession = SessionTarget | number;

/** The sessions of the rules that are in force for some destination: none that only observes, and none behind another. */
export function sessionsInForce(backends: readonly BackendRule[]): readonly Session[] {
  return backends.flatMap((backend) => {
    const { session } = backend.rule;
    const isFirst = ruleFor(backends, backend.destination ?? "") === backend;
    return session === undefined || backend.observe || !isFirst ? [] : [session];
  });
}

/** What the client sent for a session. */
export function sentSession({ type, name }: Session, request: RequestFields): string | undefined {
  if (type === "Header") return request.header(name.toLowerCase());
  const field = request.header("cookie");
  return field === undefined ? undefined : cookieValue(field, name);
}

/** The first session that the request brings. */
export function broughtSession(
  sessions: readonly Session[],
  request: RequestFields,
  wallMs: number,
): BroughtSession | undefined {
  for (const session of sessions) {
    const sent = sentSession(session, request);
    if (sent === undefined || sent === "") continue;
    const token = decodeSession(sent);
    if (token === undefined) {
      if (session.type === "Header") return drawOf(hashText(sent));
    } else if (!isExpired(token, wallMs, session.absoluteTimeoutMs)) return token;
  }
  return undefined;
}

/** Where a hash falls in [0, 1). */
export function drawOf(hash: number): number {
  return hash / 2 ** 32;
}

/** The field that begins a session at this place, or moves it there; empty where what was sent leads there already. */
export function sessionField(
  session: Session,
  place: Omit<SessionTarget, "sinceS">,
  sent: string | undefined,
  wallMs: number,
): string {
  const token = sent === undefined ? undefined : decodeSession(sent);
  if (
    token?.cluster === place.cluster &&
    token.endpoint === place.endpoint &&
    token.version === place.version &&
    !isExpired(token, wallMs, session.absoluteTimeoutMs)
  )
    return "";
  const value = encodeSession({ ...place, sinceS: Math.floor(wallMs / 1_000) });
  // A value of the client's own needs no other.
  if (session.type === "Header")
    return sent === undefined || token !== undefined ? `${session.name}: ${value}\r\n` : "";
  return sessionCookie(session, value);
}

/** The field that gives a client its cookie. */
function sessionCookie({ name, permanent, absoluteTimeoutMs = 0 }: Session, value: string): string {
  const maxAge = permanent ? `; Max-Age=${Math.floor(absoluteTimeoutMs / 1_000)}` : "";
  return `set-cookie: ${name}=${value}; Path=/; HttpOnly; SameSite=Lax${maxAge}\r\n`;
}
