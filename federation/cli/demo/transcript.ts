import { PROBLEMS } from "../../model/problem.ts";
import { API_VERSION, type ClusterStatus } from "../../model/resource.ts";
import type { ImportAddress } from "../up/readiness.ts";
import type { Witness } from "./far-side.ts";
import { type Answer, CART_ANSWER } from "./workloads.ts";

/** Everything that one run of the demo saw. Each figure was measured in that run. */
export interface Transcript {
  readonly federation: string;
  /** From the command's first line to everything in force. */
  readonly readyMs: number;
  readonly processes: readonly {
    readonly role: string;
    readonly cluster?: string;
    readonly pid: number | undefined;
  }[];
  readonly permitted: PermittedCall;
  readonly refused: RefusedCall;
  readonly clusters: readonly ClusterStatus[];
}

export interface PermittedCall {
  readonly from: ImportAddress;
  readonly answer: Answer;
  readonly repeated: { readonly calls: number; readonly medianMs: number; readonly p99Ms: number };
  /** What the far cluster's gateway and agent logged. */
  readonly witnesses: readonly Witness[];
  /** Who they should have logged. */
  readonly caller: string;
}

export interface RefusedCall {
  readonly from: ImportAddress;
  readonly answer: Answer;
}

/** One promise of the demo and whether it was kept. */
export interface Claim {
  readonly claim: string;
  readonly kept: boolean;
  readonly seen: string;
}

export function claimsOf({ permitted, refused }: Transcript): readonly Claim[] {
  const { answer, witnesses, caller } = permitted;
  const denied = PROBLEMS.export_denied.code;
  const seen = witnesses.map((witness) => `${witness.process}: ${witness.caller}`).join(", ");
  return [
    {
      claim: "the permitted workload gets 200 from the other cluster",
      kept: answer.status === 200 && answer.body === CART_ANSWER,
      seen: `${answer.status} ${answer.body}`,
    },
    {
      claim: "the far side logged the caller's own SPIFFE ID, not a gateway's",
      kept: witnesses.length > 0 && witnesses.every((witness) => witness.caller === caller),
      seen: seen === "" ? "nothing" : seen,
    },
    {
      claim: `the other workload gets 403 ${denied}`,
      kept: refused.answer.status === 403 && refused.answer.code === denied,
      seen: `${refused.answer.status} ${refused.answer.code ?? refused.answer.body}`,
    },
  ];
}

/** `-o json` */
export function transcriptDocument(transcript: Transcript, next: readonly string[]) {
  const claims = claimsOf(transcript);
  return {
    apiVersion: API_VERSION,
    kind: "DemoTranscript",
    ok: claims.every(({ kept }) => kept),
    workloads: "cart, web and batch are the demo's own process",
    ...transcript,
    claims,
    next,
  };
}
