import type { Children } from "./children.ts";
import type { Certificates } from "./certificates.ts";

/** Where a chain is built: its cores, its backend and who ends its processes. */
export interface Site {
  readonly children: Children;
  readonly certificates: Certificates;
  /** wrk and the backend run on `load`, every process of a chain on `proxies`; undefined leaves it to the kernel. */
  readonly cpu: { readonly load: number | undefined; readonly proxies: number | undefined };
  readonly backendPort: number;
  /** The same backend, spoken to in HTTP/2; for the chains that take part in those sections. */
  readonly backendHttp2Port?: number;
}

/** One process of a chain, together with its own workers. */
export interface Hop {
  readonly name: string;
  readonly pid: number;
}

export interface RunningChain {
  /** Where a workload connects; `undefined` for a chain that speaks HTTP/2 only. */
  readonly port: number | undefined;
  /** Where one connects that speaks HTTP/2. */
  readonly http2Port?: number;
  /** In the order a request meets them. */
  readonly hops: readonly Hop[];
  /** Processes that carry no request; reported, not counted. */
  readonly aside: readonly Hop[];
}

export interface Chain {
  readonly id: string;
  readonly label: string;
  /** Chains of one peer share a figure to be compared with: ratios are taken against nginx with as many hops. */
  readonly peer: "isthmus" | "nginx" | "haproxy" | "haproxy-tcp";
  readonly hops: 2 | 4;
  /** Relays open an upstream connection for every client connection; the sections on HTTP leave them out. */
  readonly http: boolean;
  /** Why it cannot run on this machine, or undefined. */
  readonly missing: () => string | undefined;
  readonly start: (site: Site) => Promise<RunningChain>;
}
