import { type Problem, problem } from "../../../federation/model/problem.ts";
import { type Rate, TokenBucket } from "./token-bucket.ts";

// RFC 9110 §15.2 lets a server send any number. One that tells of hints or of its progress sends a few at once, or some a second for
// as long as it works; a flood costs this process and the client for nothing.
const INTERIM: Rate = { burst: 64, perMs: 10 / 1_000 };

/** Of the interim answers (1xx) to one request. Most have none: it is made with the first. */
export class InterimAllowance {
  readonly #bucket: TokenBucket;

  constructor(nowMs: number) {
    this.#bucket = new TokenBucket(INTERIM, nowMs);
  }

  /** Why the next one is one too many. */
  take(nowMs: number): Problem | undefined {
    return this.#bucket.take(nowMs) === 0
      ? undefined
      : problem("upstream_malformed", "a flood of interim answers (1xx)");
  }
}
