import { editFields, withHost, withTarget } from "../http1/edit-head.ts";
import type { RequestHead } from "../http1/request-head.ts";
import type { CompiledRetry } from "../routing/compile-rule.ts";
import type { Routed } from "../routing/decide-request.ts";
import { modifiedPath } from "../routing/head-edits.ts";
import { retryPauseMs } from "../policy/retry.ts";
import { pathOf, queryOf } from "../routing/request-view.ts";
import { BodyCopy } from "./body-copy.ts";
import type { Entry } from "./entry.ts";
import type { Ticket } from "./exchange-ticket.ts";

/** Who is told that a time is over. */
export interface TimedExchange {
  onRequestTimeout(): void;
  onTryTimeout(): void;
}

/**
 * What the rule that a request fits adds to it while it is under way: its changed head (text of HTTP/1.1, fields of HTTP/2), a
 * copy of its body, its timers.
 */
export class RoutedRequest<H> {
  readonly routed: Routed;
  /** What to send. */
  readonly head: H;
  /** Present where the body may be needed once more. */
  readonly copy: BodyCopy | undefined;
  #retries = 0;
  #requestTimer: NodeJS.Timeout | undefined;
  #tryTimer: NodeJS.Timeout | undefined;

  constructor(routed: Routed, head: H, hasBody: boolean) {
    const { rule, mirrors } = routed;
    this.routed = routed;
    this.head = head;
    const isKept = rule.retry !== undefined || mirrors.length > 0;
    this.copy = isKept && hasBody ? new BodyCopy() : undefined;
  }

  /**
   * Ends a try that failed. Answers for how long the next one waits; `undefined`: none follows, for the rule's number of them, what
   * was not kept of the body, or a budget, and only the last two are counted.
   */
  retryMs(retry: CompiledRetry, entry: Entry, ticket: Ticket, hasSentBody: boolean): number | undefined {
    if (this.#retries >= retry.attempts) return undefined;
    const { counters, env } = entry;
    if (hasSentBody && this.copy?.overflowed !== false) {
      counters.retriesOverBody.value += 1;
      return undefined;
    }
    if (!env.budgets.of(this.routed.rule).retry(retry.budget, env.now()) || !ticket.mayRetry()) {
      counters.retriesOverBudget.value += 1;
      return undefined;
    }
    this.#retries += 1;
    this.#endTry();
    return retryPauseMs(retry, this.#retries, env.random());
  }

  /** The whole request, its tries and the pauses between them. */
  limitRequest(exchange: TimedExchange): void {
    const { requestTimeoutMs } = this.routed.rule;
    if (requestTimeoutMs > 0)
      this.#requestTimer = setTimeout(() => exchange.onRequestTimeout(), requestTimeoutMs);
  }

  limitTry(exchange: TimedExchange): void {
    this.#endTry();
    const { backendTimeoutMs } = this.routed.rule;
    if (backendTimeoutMs > 0) this.#tryTimer = setTimeout(() => exchange.onTryTimeout(), backendTimeoutMs);
  }

  #endTry(): void {
    clearTimeout(this.#tryTimer);
  }

  end(): void {
    clearTimeout(this.#requestTimer);
    this.#endTry();
  }
}

/** Without the final empty line. */
export function changedHead(request: RequestHead, { edits, prefix }: Routed): string {
  let head = request.forwardable;
  if (edits.path !== undefined) {
    const path = modifiedPath(edits.path, pathOf(request.target), prefix);
    head = withTarget(head, path + queryOf(request.target));
  }
  if (edits.hostname !== undefined) head = withHost(head, edits.hostname);
  return edits.request === undefined ? head : editFields(head, edits.request);
}
