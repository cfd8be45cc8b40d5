import * as z from "zod";
import { PROBLEMS, type Problem, type ProblemName, problem } from "../../federation/model/problem.ts";

/** Between agents and the issuer: one request, one answer, over TLS. */
export const ISSUE_PATH = "/v1/svid";

/** A CSR of ours has 600 characters. */
export const issueRequest = z.object({ csr: z.string().min(1).max(8192) });
export const issueResponse = z.object({ chain: z.string().min(1).max(65_536) });
const refusal = z.object({ code: z.string(), detail: z.string() });

export function encodeRefusal({ name, detail }: Problem): object {
  const { code, title, fix } = PROBLEMS[name];
  return { code, title, detail, fix };
}

const BY_CODE = new Map<string, ProblemName>(
  Object.entries(PROBLEMS).map(([name, { code }]) => [code, name as ProblemName]),
);

/** What the issuer refused, in its own words; an answer that is none is a failure of the issuer. */
export function decodeRefusal(status: number, body: unknown): Problem {
  const decoded = refusal.safeParse(body);
  const name = decoded.success ? BY_CODE.get(decoded.data.code) : undefined;
  return name === undefined || !decoded.success
    ? problem("issuer_unreachable", `the issuer answered ${status}`)
    : problem(name, decoded.data.detail.slice(0, 600));
}

/** The HTTP status of a refusal. */
export function statusOf({ name }: Problem): number {
  if (name === "identity_denied") return 403;
  if (name === "csr_invalid") return 400;
  return name === "overloaded" ? 429 : 503;
}
