/** Whether a workload would reach a destination, and by whose rule: what `isthmus egress test` prints and a gateway answers. */
export interface EgressAnswer {
  /** `observed`: it passes, because no policy enforces yet; enforced, the present policies would deny it. */
  readonly verdict: "allowed" | "observed" | "denied" | "unknown";
  readonly workload: string;
  /** In its canonical spelling. */
  readonly destination: string;
  readonly policy?: string;
  /** How the gateway speaks to it. */
  readonly tls?: "passthrough" | "originate" | "mutual" | "none";
  readonly code?: string;
  readonly detail: string;
  /** Addresses that the gateway would dial; only a gateway knows them. */
  readonly addresses?: readonly string[];
}

const VERDICTS: readonly string[] = [
  "allowed",
  "observed",
  "denied",
  "unknown",
] satisfies EgressAnswer["verdict"][];

export function isEgressAnswer(value: unknown): value is EgressAnswer {
  return (
    typeof value === "object" &&
    value !== null &&
    "verdict" in value &&
    "detail" in value &&
    typeof value.verdict === "string" &&
    VERDICTS.includes(value.verdict)
  );
}
