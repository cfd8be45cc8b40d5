/** Traffic that left a cluster, as its gateways saw it. */
export interface EgressFlow {
  /** `ns/shop/sa/web` */
  readonly workload: string;
  /** A host's canonical name or address; with port 0 an imported service, `cart.shop`. */
  readonly host: string;
  readonly port: number;
  readonly protocol: "http" | "tcp";
  /** The policy whose rule it went by. */
  readonly policy?: string;
  /** For HTTP. */
  readonly methods: readonly string[];
  readonly count: number;
  /** How many of them the policies that observe would have denied. */
  readonly wouldDeny: number;
  /** RFC 3339 */
  readonly lastSeen: string;
}
