/** Bounds of one service at one cluster, per proxy process; what is beyond them is refused at once. */
export interface CircuitLimits {
  /** Connections to the service: tunnel streams, idle ones included. */
  readonly maxConnections: number;
  /** Requests under way. */
  readonly maxParallelRequests: number;
  /** Requests that wait for a connection. */
  readonly maxPendingRequests: number;
}

export interface CircuitLoad {
  connections: number;
  requests: number;
  pending: number;
}

export type CircuitBound = keyof CircuitLimits;

export const UNLIMITED: CircuitLimits = {
  maxConnections: Number.POSITIVE_INFINITY,
  maxParallelRequests: Number.POSITIVE_INFINITY,
  maxPendingRequests: Number.POSITIVE_INFINITY,
};

/** What one more request may do: go on with a connection, wait for one, or hear which bound it breaks. */
export type CircuitVerdict = "admit" | "wait" | CircuitBound;

/** `hasIdle`: an idle connection is at hand. */
export function judgeCircuit(
  load: Readonly<CircuitLoad>,
  limits: CircuitLimits,
  hasIdle: boolean,
): CircuitVerdict {
  if (load.requests >= limits.maxParallelRequests) return "maxParallelRequests";
  if (hasIdle || load.connections < limits.maxConnections) return "admit";
  if (limits.maxPendingRequests === 0) return "maxConnections";
  return load.pending < limits.maxPendingRequests ? "wait" : "maxPendingRequests";
}
