import { PROBLEMS } from "../../model/problem.ts";
import type { Paint } from "../output/paint.ts";
import { claimsOf, type PermittedCall, type RefusedCall, type Transcript } from "./transcript.ts";

export function renderPermitted({ from, answer, repeated, witnesses }: PermittedCall, paint: Paint): string {
  const good = answer.status === 200;
  const seen = witnesses.map(
    ({ process, caller, peer }) =>
      `  ${process} logged the caller ${paint("bold", caller)} (its TLS peer: ${peer})`,
  );
  return [
    paint("bold", "A call that the owner permits: web in west calls cart in east"),
    `  curl http://${from.address}/`,
    `  ${paint(good ? "green" : "red", `${good ? "✓" : "×"} ${answer.status}`)} ${answer.body}`,
    `  ${ms(answer.latencyMs)} for the first call; then ${repeated.calls} calls: median ${ms(repeated.medianMs)}, p99 ${ms(repeated.p99Ms)}`,
    ...seen,
  ].join("\n");
}

export function renderRefused({ from, answer }: RefusedCall, paint: Paint): string {
  const row = Object.values(PROBLEMS).find(({ code }) => code === answer.code);
  return [
    paint("bold", "A call that the owner did not permit: batch in west calls cart in east"),
    `  curl http://${from.address}/`,
    `  ${paint("yellow", `× ${answer.status} ${answer.code ?? ""}`.trim())} ${answer.detail ?? answer.body}`,
    ...(row === undefined ? [] : [`  why: ${row.title}`, `  fix: ${row.fix}`]),
  ].join("\n");
}

export function renderClaims(transcript: Transcript, paint: Paint): string {
  return claimsOf(transcript)
    .map(({ claim, kept, seen }) =>
      kept ? `${paint("green", "✓")} ${claim}` : `${paint("red", "×")} ${claim}: ${seen}`,
    )
    .join("\n");
}

function ms(value: number): string {
  return `${value.toFixed(value < 10 ? 1 : 0)} ms`;
}
