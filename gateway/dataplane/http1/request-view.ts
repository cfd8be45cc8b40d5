import { fieldValue } from "./head-fields.ts";
import type { RequestHead } from "./request-head.ts";

/**
 * A request head as the rules look at it (`RequestView` of routing). One object serves all requests, since a decision is made
 * in one synchronous stretch and keeps nothing of it.
 */
export class Http1RequestView {
  #head: RequestHead | undefined;

  of(head: RequestHead): this {
    this.#head = head;
    return this;
  }

  get method(): string {
    return this.#head?.method ?? "";
  }

  get authority(): string {
    return this.#head?.host ?? "";
  }

  get target(): string {
    return this.#head?.target ?? "";
  }

  header(name: string): string | undefined {
    return this.#head === undefined ? undefined : fieldValue(this.#head, name);
  }
}
