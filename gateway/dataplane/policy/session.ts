import type { SnapshotBackend } from "../../../federation/model/snapshot.ts";
import { hashText } from "../balance/rendezvous.ts";
import { cookieValue, decodeSession, isExpired, type SessionTarget } from "../balance/session-token.ts";
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

/** The field that gives a client its cookie. */
export function sessionCookie({ name, permanent, absoluteTimeoutMs = 0 }: Session, value: string): string {
  const maxAge = permanent ? `; Max-Age=${Math.floor(absoluteTimeoutMs / 1_000)}` : "";
  return `set-cookie: ${name}=${value}; Path=/; HttpOnly; SameSite=Lax${maxAge}\r\n`;
}
