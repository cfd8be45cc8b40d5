import { PROBLEMS } from "../../model/problem.ts";
import { renderDuration } from "../output/duration.ts";
import { type CheckResult, passed } from "./result.ts";

const CATEGORY = "registry";
// Beyond half a minute signed requests are refused; a sixth of it is worth a word before that happens.
const SKEW_WARNING_MS = 5000;
const SKEW_FAILURE_MS = 30_000;

export interface RegistryAnswer {
  readonly url: string;
  readonly federation: string;
  /** The registry's clock, when it answered. */
  readonly time: string;
  /** Ours, before and after. */
  readonly askedAt: number;
  readonly answeredAt: number;
}

export function checkRegistry(answer: RegistryAnswer): readonly CheckResult[] {
  const { url, federation, askedAt, answeredAt } = answer;
  const reachable = `${federation} at ${url}, in ${Math.max(0, answeredAt - askedAt)} ms`;
  return [passed(CATEGORY, "the registry answers", reachable), checkClock(answer)];
}

/** The answer's time lies somewhere between asking and hearing: only what is outside is skew. */
function checkClock({ time, askedAt, answeredAt }: RegistryAnswer): CheckResult {
  const name = "the clocks agree";
  const theirs = Date.parse(time);
  const skew = theirs < askedAt ? theirs - askedAt : Math.max(0, theirs - answeredAt);
  const size = Math.abs(skew);
  if (size < SKEW_WARNING_MS) return passed(CATEGORY, name, `within ${renderDuration(Math.max(1, size))}`);
  const { code, fix } = PROBLEMS.clock_skew;
  const detail = `this machine is ${renderDuration(size)} ${skew < 0 ? "ahead of" : "behind"} the registry`;
  return {
    category: CATEGORY,
    name,
    status: size < SKEW_FAILURE_MS ? "warning" : "failed",
    detail,
    code,
    fix,
  };
}
