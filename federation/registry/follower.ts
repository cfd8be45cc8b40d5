import type { Clock } from "./clock.ts";

/** How soon a waiting member hears of what another instance wrote. */
const FOLLOW_MS = 500;

/**
 * Reads what others wrote while anybody here waits for it: a shared store calls nobody. Answers what to call when
 * somebody begins to wait.
 */
export function createFollower(deps: {
  readonly clock: Clock;
  readonly random: () => number;
  readonly waiting: () => number;
  readonly refresh: () => Promise<unknown>;
}): () => void {
  let following = false;
  const follow = (): void => {
    following = deps.waiting() > 0;
    if (!following) return;
    deps.clock.after(FOLLOW_MS * (0.75 + deps.random() / 2), () => void deps.refresh().then(follow));
  };
  return () => {
    if (!following) follow();
  };
}
