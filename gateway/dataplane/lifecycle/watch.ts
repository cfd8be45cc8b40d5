/** A live value: readers take `current` once per request and use it throughout; writers replace it whole. */
export interface Watch<T> {
  readonly current: T;
  /** Calls `listener` on every later publish (not at once); returns the way to stop. */
  subscribe(listener: (next: T, previous: T) => void): () => void;
}

export interface PublishableWatch<T> extends Watch<T> {
  publish(next: T): void;
}

/** Publishing the same object again is no change and wakes nobody. */
export function createWatch<T>(initial: T): PublishableWatch<T> {
  const listeners = new Set<(next: T, previous: T) => void>();
  let current = initial;
  return {
    get current() {
      return current;
    },
    publish(next) {
      if (next === current) return;
      const previous = current;
      current = next;
      for (const listener of [...listeners]) listener(next, previous);
    },
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}
