import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { HOP_NAME, type Certificates } from "../certificates.ts";
import type { Chain, Hop, Site } from "../chain.ts";
import { freePorts } from "../../fakes/free-ports.ts";
import { isInstalled, type Started, waitForPort } from "../children.ts";

/** Larger than any run needs, so that nginx never closes a connection it could reuse. */
const FOREVER = "keepalive_timeout 1h; keepalive_requests 1000000000;";

export const BULK_BYTES = 1024 * 1024;

interface HopPlan {
  readonly port: number;
  readonly nextPort: number;
  readonly tlsIn: boolean;
  readonly tlsOut: boolean;
}

function frame(directory: string, http: string): string {
  const user = process.getuid?.() === 0 ? "user root;" : "";
  return `${user} worker_processes 1; worker_rlimit_nofile 16384; daemon off; pid ${directory}/pid;
error_log stderr error;
events { worker_connections 8192; accept_mutex off; }
http {
  access_log off; server_tokens off; tcp_nodelay on; sendfile on; tcp_nopush on; ${FOREVER}
  client_body_temp_path ${directory}/body; proxy_temp_path ${directory}/proxy; fastcgi_temp_path ${directory}/fastcgi;
  uwsgi_temp_path ${directory}/uwsgi; scgi_temp_path ${directory}/scgi;
${http}
}
`;
}

function serverTls(certificates: Certificates): string {
  return `ssl_certificate ${certificates.certificate}; ssl_certificate_key ${certificates.key};
    ssl_client_certificate ${certificates.authority}; ssl_verify_client on; ssl_protocols TLSv1.3;
    ssl_session_cache shared:tls:1m;`;
}

function clientTls(certificates: Certificates): string {
  return `proxy_ssl_certificate ${certificates.certificate}; proxy_ssl_certificate_key ${certificates.key};
      proxy_ssl_trusted_certificate ${certificates.authority}; proxy_ssl_verify on; proxy_ssl_name ${HOP_NAME};
      proxy_ssl_server_name on; proxy_ssl_protocols TLSv1.3;`;
}

function proxyConfig(directory: string, certificates: Certificates, plan: HopPlan): string {
  // Buffers of a TLS record's size and nothing on disk: of six settings tried the cheapest for 1 MiB bodies.
  return frame(
    directory,
    `  upstream next { server 127.0.0.1:${plan.nextPort}; keepalive 512; ${FOREVER} }
  server {
    listen 127.0.0.1:${plan.port}${plan.tlsIn ? " ssl" : ""} backlog=4096;
    ${plan.tlsIn ? serverTls(certificates) : ""}
    location / {
      proxy_pass ${plan.tlsOut ? "https" : "http"}://next; proxy_http_version 1.1;
      proxy_set_header Connection ""; proxy_set_header Host $host;
      proxy_buffers 16 16k; proxy_buffer_size 16k; proxy_max_temp_file_size 0;
      ${plan.tlsOut ? clientTls(certificates) : ""}
    }
  }`,
  );
}

function startNginx(
  site: Site,
  name: string,
  cpu: number | undefined,
  config: (directory: string) => string,
): Started {
  const directory = join(site.children.directory, name);
  mkdirSync(directory, { recursive: true });
  const file = join(directory, "nginx.conf");
  writeFileSync(file, config(directory));
  return site.children.start(cpu, "nginx", ["-p", directory, "-c", file, "-e", "stderr"]);
}

/**
 * The service behind every chain: 100 bytes at `/`, 1 MiB at `/bulk`, its own count of requests at `/count`. Shares wrk's
 * core and is never counted.
 */
export async function startBackend(
  site: Omit<Site, "backendPort">,
): Promise<{ readonly port: number; readonly http2Port: number }> {
  const [port, http2Port] = await freePorts(2);
  if (port === undefined || http2Port === undefined) throw new Error("no free port");
  const files = join(site.children.directory, "files");
  mkdirSync(files);
  writeFileSync(join(files, "bulk"), Buffer.alloc(BULK_BYTES, "b"));
  const server = `  open_file_cache max=8; default_type text/plain;
  server { listen 127.0.0.1:${port} backlog=4096;
    location = / { return 200 "${"a".repeat(100)}"; } location /bulk { root ${files}; }
    location = /count { stub_status; } }
  server { listen 127.0.0.1:${http2Port} http2 backlog=4096; http2_max_requests 1000000000;
    location = / { return 200 "${"a".repeat(100)}"; }
    location = /bench.Echo/Unary { default_type application/grpc; add_trailer grpc-status 0; return 200 "${"a".repeat(100)}"; } }`;
  const whole = { ...site, backendPort: port, backendHttp2Port: http2Port };
  const started = startNginx(whole, "backend", site.cpu.load, (directory) => frame(directory, server));
  await waitForPort(port, started);
  return { port, http2Port };
}

async function startChain(
  site: Site,
  id: string,
  hops: number,
  config: typeof proxyConfig,
  backendPort: number,
): Promise<{ port: number; hops: Hop[] }> {
  const ports = await freePorts(hops);
  const running: Hop[] = [];
  for (const [index, port] of ports.entries()) {
    const last = index === hops - 1;
    const plan = { port, nextPort: ports[index + 1] ?? backendPort, tlsIn: index > 0, tlsOut: !last };
    const name = `${id}-${index + 1}`;
    const started = startNginx(site, name, site.cpu.proxies, (directory) =>
      config(directory, site.certificates, plan),
    );
    await waitForPort(port, started);
    running.push({ name: `hop ${index + 1}`, pid: started.pid });
  }
  return { port: ports[0] ?? 0, hops: running };
}

function nginxChain(hops: 2 | 4): Chain {
  const id = `nginx-${hops}`;
  return {
    id,
    label: `nginx, ${hops} HTTP hops, mutual TLS`,
    peer: "nginx",
    hops,
    http: true,
    missing: () => (isInstalled("nginx") ? undefined : "nginx is not installed (Debian: nginx-light)"),
    start: async (site) => ({
      ...(await startChain(site, id, hops, proxyConfig, site.backendPort)),
      aside: [],
    }),
  };
}

/** nginx speaks HTTP/2 to the next hop only as `grpc_pass`, which takes any HTTP/2 request. */
function grpcConfig(directory: string, certificates: Certificates, plan: HopPlan): string {
  return frame(
    directory,
    `  upstream next { server 127.0.0.1:${plan.nextPort}; keepalive 512; ${FOREVER} }
  server {
    listen 127.0.0.1:${plan.port} ${plan.tlsIn ? "ssl " : ""}http2 backlog=4096; http2_max_requests 1000000000;
    ${plan.tlsIn ? serverTls(certificates) : ""}
    location / {
      grpc_pass ${plan.tlsOut ? "grpcs" : "grpc"}://next; grpc_set_header Host $host;
      ${plan.tlsOut ? clientTls(certificates).replaceAll("proxy_ssl", "grpc_ssl") : ""}
    }
  }`,
  );
}

function nginxGrpcChain(hops: 2 | 4): Chain {
  const id = `nginx-grpc-${hops}`;
  return {
    ...nginxChain(hops),
    id,
    label: `nginx, ${hops} grpc_pass hops, mutual TLS`,
    start: async (site) => {
      const { port, hops: running } = await startChain(
        site,
        id,
        hops,
        grpcConfig,
        site.backendHttp2Port ?? 0,
      );
      return { port: undefined, http2Port: port, hops: running, aside: [] };
    },
  };
}

export const NGINX_CHAINS: readonly Chain[] = [
  nginxChain(2),
  nginxChain(4),
  nginxGrpcChain(2),
  nginxGrpcChain(4),
];

/** How many requests the backend has had, this one included. */
export async function countRequests(backendPort: number): Promise<number> {
  const response = await fetch(`http://127.0.0.1:${backendPort}/count`);
  // " accepts handled requests\n 12 12 345 \n": the third figure.
  const counts = /^\s*\d+ \d+ (\d+)\s*$/m.exec(await response.text());
  if (counts === null) throw new Error("the backend gave no count of its requests");
  return Number(counts[1]);
}
