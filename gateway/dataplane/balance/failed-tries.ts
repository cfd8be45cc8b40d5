import type { FailureClass } from "../../../federation/model/traffic-route.ts";

/** What is known of a service's endpoints at one cluster. */
export interface KnownEndpoints {
  readonly ready: number;
  readonly total: number;
}

interface FailedPlace {
  readonly endpoints: Set<string>;
  /** Tries that an endpoint answered badly or broke off: it still counts as ready. */
  byReady: number;
  tries: number;
  /** The way there failed, not an endpoint. */
  isCutOff: boolean;
}

/** Where tries of one request have failed, so that the next one goes somewhere else. */
export class FailedTries {
  readonly #places = new Map<string, FailedPlace>();

  /** `failure` is `undefined` for an answer that the rule takes for a failure. */
  add(destination: string, endpoint: string | undefined, failure: FailureClass | undefined): void {
    let place = this.#places.get(destination);
    if (place === undefined) {
      place = { endpoints: new Set(), byReady: 0, tries: 0, isCutOff: false };
      this.#places.set(destination, place);
    }
    place.tries += 1;
    if (endpoint !== undefined) place.endpoints.add(endpoint);
    if (failure === "connect-failure") place.isCutOff ||= endpoint === undefined;
    else if (failure !== "refused-stream") place.byReady += 1;
  }

  has(destination: string): boolean {
    return this.#places.has(destination);
  }

  /** Names of the endpoints that failed there, comma-separated. */
  avoid(destination: string): string | undefined {
    const endpoints = this.#places.get(destination)?.endpoints;
    return endpoints === undefined || endpoints.size === 0 ? undefined : [...endpoints].join(",");
  }

  /** `endpoint` is `undefined` where nobody knows yet which one it is. */
  mayHaveFailedAt(destination: string, endpoint: string | undefined): boolean {
    const endpoints = this.#places.get(destination)?.endpoints;
    if (endpoints === undefined || endpoints.size === 0) return false;
    return endpoint === undefined || endpoints.has(endpoint);
  }

  /** Whether an endpoint is left there that no try has met; where nothing is known, one is assumed. */
  leaves(destination: string, known: KnownEndpoints | undefined): boolean {
    const place = this.#places.get(destination);
    if (place === undefined) return true;
    if (place.isCutOff) return false;
    return known === undefined || (known.ready > place.byReady && known.total > place.endpoints.size);
  }
}

/**
 * Where the next try goes, by index into the shares of the traffic that each destination gets: another one of those in use, else
 * `"same"`, where that has an endpoint left, else `"others"`: whatever is not in use but could be.
 */
export function nextTry(
  shares: readonly number[],
  hasFailed: readonly boolean[],
  leavesEndpoint: boolean,
): readonly number[] | "same" | "others" {
  const open = shares.map((share, index) => (hasFailed[index] === true ? 0 : share));
  const sum = open.reduce((total, share) => total + share, 0);
  if (sum > 0) return open.map((share) => share / sum);
  return leavesEndpoint || hasFailed.every(Boolean) ? "same" : "others";
}
