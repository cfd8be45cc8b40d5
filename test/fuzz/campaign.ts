import { compareChunkedBody, compareRequest, compareResponse, type Verdict } from "./compare.ts";
import { Random } from "./random.ts";
import { renderChunkedBody, renderRequest, renderResponse } from "./render.ts";

export interface Finding {
  readonly kind: "request" | "response" | "chunked";
  readonly text: string;
  readonly wrong: string;
}

export interface Campaign {
  readonly findings: readonly Finding[];
  readonly disagreements: number;
  readonly accepted: number;
  readonly refused: number;
  readonly waiting: number;
}

const KEPT_FINDINGS = 10;

/** Half requests, a quarter each responses and chunked bodies; the same seed gives the same messages. */
export function runCampaign(seed: number, messages: number): Campaign {
  const random = new Random(seed);
  const findings: Finding[] = [];
  const counts = { accepted: 0, refused: 0, waiting: 0, disagreements: 0 };
  for (let index = 0; index < messages; index++) {
    const { kind, text, verdict } = attempt(random, index % 4);
    if ("ok" in verdict) {
      counts[verdict.ok]++;
      continue;
    }
    counts.disagreements++;
    if (findings.length < KEPT_FINDINGS) findings.push({ kind, text, wrong: verdict.wrong });
  }
  return { ...counts, findings };
}

function attempt(random: Random, turn: number): { kind: Finding["kind"]; text: string; verdict: Verdict } {
  if (turn === 0) {
    const text = renderChunkedBody(random);
    return { kind: "chunked", text, verdict: compareChunkedBody(text) };
  }
  if (turn === 1) {
    const text = renderResponse(random);
    return { kind: "response", text, verdict: compareResponse(text, random.chance(4) ? "HEAD" : "GET") };
  }
  const text = renderRequest(random);
  return { kind: "request", text, verdict: compareRequest(text) };
}
