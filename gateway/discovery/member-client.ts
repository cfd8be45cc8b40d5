import type { Logger } from "../../federation/model/log.ts";
import { type Problem, PROBLEMS, type ProblemName, problem } from "../../federation/model/problem.ts";
import { err, ok, type Result } from "../../federation/model/result.ts";
import { type Credential, signMemberRequest } from "../../federation/trust/index.ts";
import type { Clock } from "../process/clock.ts";
import { type BoundedResponse, fetchBounded } from "./bounded-fetch.ts";
import { createHttpFetch, type Fetch } from "./http-fetch.ts";

export interface MemberRequest {
  readonly method: "GET" | "PUT" | "POST";
  /** With its query, from the registry's root: `/v1/clusters/east/snapshot`. */
  readonly path: string;
  readonly body?: unknown;
  readonly headers?: { readonly [name: string]: string };
  readonly timeoutMs?: number;
  readonly maxBytes?: number;
  readonly signal?: AbortSignal;
}

export type MemberResponse = BoundedResponse;

/** `status` is absent where nothing usable came back. */
export interface RequestFailure extends Problem {
  readonly status?: number;
  /** How long the registry, or what stands before it, wants to be left alone. */
  readonly retryAfterMs?: number;
}

export interface MemberClient {
  /** Any 2xx or 304; everything else is a failure, and nothing is thrown. */
  request(request: MemberRequest): Promise<Result<MemberResponse, RequestFailure>>;
}

export interface MemberClientOptions {
  readonly registry: string;
  /** Signs the requests; taken anew for each, so that rotation needs no word here. Absent for `POST /v1/join`. */
  readonly credential?: () => Credential;
  readonly clock: Clock;
  readonly fetch?: Fetch;
  readonly log?: Logger;
}

// A registry that is well answers in milliseconds; one that takes longer is as good as gone for this attempt.
const TIMEOUT_MS = 5000;
// Everything but a snapshot is small.
const MAX_BYTES = 256 * 1024;

/** As far as the registry lets clocks differ. */
const MAX_AHEAD_MS = 30_000;

export function createMemberClient(options: MemberClientOptions): MemberClient {
  const base = options.registry.replace(/\/+$/, "");
  const fetcher = options.fetch ?? createHttpFetch();
  let sequence = 0;
  return {
    async request(request) {
      const url = `${base}${request.path}`;
      const body = request.body === undefined ? undefined : JSON.stringify(request.body);
      const headers: Record<string, string> = { accept: "application/json", ...request.headers };
      if (body !== undefined) headers["content-type"] = "application/json";
      const { credential, clock } = options;
      if (credential !== undefined) {
        const now = clock.now();
        // The registry takes no report that was signed before the last one. A clock that ran far ahead and was set right
        // begins anew: whatever it signed then was refused.
        sequence = sequence > now + MAX_AHEAD_MS ? now : Math.max(sequence + 1, now);
        headers["authorization"] = signMemberRequest({
          credential: credential(),
          method: request.method,
          url,
          body,
          now,
          sequence,
        });
      }
      const response = await fetchBounded(fetcher, clock, {
        url,
        method: request.method,
        headers,
        ...(body === undefined ? {} : { body }),
        ...(request.signal === undefined ? {} : { signal: request.signal }),
        timeoutMs: request.timeoutMs ?? TIMEOUT_MS,
        maxBytes: request.maxBytes ?? MAX_BYTES,
      });
      if (!response.ok) return err(problem("registry_unreachable", `${base}: ${response.error}`));
      const { status } = response.value;
      if ((status >= 200 && status < 300) || status === 304) return ok(response.value);
      return err(failureOf(base, response.value, clock.now()));
    },
  };
}

// Whoever asks for more is not believed: a member that asks once a minute burdens nobody, and hears of news at last.
const MAX_RETRY_AFTER_MS = 60_000;

/** RFC 9110 §10.2.3: seconds, or a date, which is compared with the answer's own where it has one. */
export function retryAfterMs(value: string | undefined, date: string | undefined, now: number): number {
  if (value === undefined) return 0;
  const theirs = Date.parse(date ?? "");
  const ms = /^[0-9]{1,9}$/.test(value.trim())
    ? Number(value) * 1_000
    : Date.parse(value) - (Number.isNaN(theirs) ? now : theirs);
  return Number.isNaN(ms) ? 0 : Math.min(Math.max(0, ms), MAX_RETRY_AFTER_MS);
}

const NAME_BY_CODE: ReadonlyMap<string, ProblemName> = new Map(
  Object.entries(PROBLEMS).map(([name, { code }]) => [code, name as ProblemName]),
);

function failureOf(registry: string, response: MemberResponse, now: number): RequestFailure {
  const { status } = response;
  const document = problemDocument(response.text);
  const name = NAME_BY_CODE.get(document.code);
  const waitMs = retryAfterMs(response.retryAfter, response.date, now);
  const told = waitMs === 0 ? { status } : { status, retryAfterMs: waitMs };
  if (name === undefined) {
    // Not one of our answers: a proxy on the way, or something else on that port.
    return {
      ...problem(
        "registry_unreachable",
        `${registry} answered HTTP ${status}, which is not the registry's own`,
      ),
      ...told,
    };
  }
  const skew = name === "member_request_expired" ? skewHint(response.date, now) : "";
  return { ...problem(name, `${document.detail}${skew}`), ...told };
}

function problemDocument(text: string): { readonly code: string; readonly detail: string } {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value !== "object" || value === null) return { code: "", detail: "" };
    const code = "code" in value && typeof value.code === "string" ? value.code : "";
    const detail = "detail" in value && typeof value.detail === "string" ? value.detail.slice(0, 500) : "";
    return { code, detail };
  } catch {
    return { code: "", detail: "" };
  }
}

function skewHint(date: string | undefined, now: number): string {
  const theirs = Date.parse(date ?? "");
  if (Number.isNaN(theirs)) return "";
  const seconds = Math.round((now - theirs) / 1000);
  if (seconds === 0) return "";
  return `; this clock is ${Math.abs(seconds)} s ${seconds > 0 ? "ahead of" : "behind"} the registry's`;
}
