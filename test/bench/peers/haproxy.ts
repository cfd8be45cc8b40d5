import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Certificates, HOP_NAME } from "../certificates.ts";
import type { Chain, Hop, Site } from "../chain.ts";
import { freePorts } from "../../fakes/free-ports.ts";
import { isInstalled, waitForPort } from "../children.ts";

interface Shape {
  readonly id: string;
  readonly hops: 2 | 4;
  readonly mode: "http" | "tcp";
  readonly tls: boolean;
  /** What hops speak to each other in http mode: HTTP/1.1 as nginx does, or many requests on few HTTP/2 connections. */
  readonly between?: "h2";
  /** Whether the workload and the backend speak HTTP/2 as well. */
  readonly ends?: "h2";
}

interface HopPlan {
  readonly port: number;
  readonly nextPort: number;
  readonly tlsIn: boolean;
  readonly tlsOut: boolean;
  readonly shape: Shape;
}

function config(certificates: Certificates, plan: HopPlan): string {
  const { mode, between, ends } = plan.shape;
  const atTheEnds = ends === "h2" ? " proto h2" : "";
  const alpn = between === undefined ? "" : ` alpn ${between}`;
  const mutual = ` ssl crt ${certificates.bundle} ca-file ${certificates.authority} verify required${alpn}`;
  const demandName = ` sni str(${HOP_NAME}) verifyhost ${HOP_NAME}`;
  // The purge would close idle upstream connections between rounds; reuse is what a federation gateway lives on.
  return `global
  nbthread 1
  maxconn 8192
  ssl-default-bind-options ssl-min-ver TLSv1.3
  ssl-default-server-options ssl-min-ver TLSv1.3
defaults
  mode ${mode}
  timeout connect 5s
  timeout client 1h
  timeout server 1h
  timeout http-keep-alive 1h
${mode === "http" ? "  http-reuse always\n" : ""}frontend in
  bind 127.0.0.1:${plan.port} backlog 4096${plan.tlsIn ? mutual : atTheEnds}
  default_backend next
backend next
  server next 127.0.0.1:${plan.nextPort}${plan.tlsOut ? mutual + demandName : atTheEnds}${mode === "http" ? " pool-purge-delay 1h" : ""}
`;
}

async function startChain(site: Site, shape: Shape): Promise<{ port: number; hops: Hop[] }> {
  const ports = await freePorts(shape.hops);
  const running: Hop[] = [];
  for (const [index, port] of ports.entries()) {
    const last = index === shape.hops - 1;
    const file = join(site.children.directory, `${shape.id}-${index + 1}.cfg`);
    const backendPort = shape.ends === "h2" ? (site.backendHttp2Port ?? 0) : site.backendPort;
    const nextPort = ports[index + 1] ?? backendPort;
    const plan = { port, nextPort, tlsIn: shape.tls && index > 0, tlsOut: shape.tls && !last, shape };
    writeFileSync(file, config(site.certificates, plan));
    const started = site.children.start(site.cpu.proxies, "haproxy", ["-db", "-f", file]);
    await waitForPort(port, started);
    running.push({ name: `hop ${index + 1}`, pid: started.pid });
  }
  return { port: ports[0] ?? 0, hops: running };
}

function haproxyChain(label: string, shape: Shape): Chain {
  return {
    id: shape.id,
    label: `HAProxy, ${label}`,
    peer: shape.mode === "http" ? "haproxy" : "haproxy-tcp",
    hops: shape.hops,
    http: shape.mode === "http",
    missing: () => (isInstalled("haproxy") ? undefined : "HAProxy is not installed (Debian: haproxy)"),
    start: async (site) => {
      const { port, hops } = await startChain(site, shape);
      return shape.ends === "h2"
        ? { port: undefined, http2Port: port, hops, aside: [] }
        : { port, hops, aside: [] };
    },
  };
}

const HTTP = { mode: "http", tls: true } as const;
const HTTP2 = { ...HTTP, between: "h2" } as const;

export const HAPROXY_CHAINS: readonly Chain[] = [
  haproxyChain("2 HTTP hops, mutual TLS", { id: "haproxy-2", hops: 2, ...HTTP }),
  haproxyChain("4 HTTP hops, mutual TLS", { id: "haproxy-4", hops: 4, ...HTTP }),
  haproxyChain("2 HTTP hops, HTTP/2 and mutual TLS", { id: "haproxy-h2-2", hops: 2, ...HTTP2 }),
  haproxyChain("4 HTTP hops, HTTP/2 and mutual TLS", { id: "haproxy-h2-4", hops: 4, ...HTTP2 }),
  haproxyChain("2 hops, HTTP/2 from end to end", { id: "haproxy-grpc-2", hops: 2, ...HTTP2, ends: "h2" }),
  haproxyChain("4 hops, HTTP/2 from end to end", { id: "haproxy-grpc-4", hops: 4, ...HTTP2, ends: "h2" }),
  haproxyChain("2 TCP relays, no TLS (floor)", { id: "tcp-2", hops: 2, mode: "tcp", tls: false }),
  haproxyChain("2 TCP relays, mutual TLS", { id: "tcp-tls-2", hops: 2, mode: "tcp", tls: true }),
];
