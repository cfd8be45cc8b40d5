import { networkInterfaces } from "node:os";
import { formatAddress } from "../../federation/model/address.ts";
import { createLogger, type Logger } from "../../federation/model/log.ts";
import { type Problem, PROBLEMS, problem } from "../../federation/model/problem.ts";
import type { MemberReport } from "../../federation/model/resource.ts";
import { ok, type Result } from "../../federation/model/result.ts";
import type { SystemRole } from "../../federation/model/spiffe-id.ts";
import {
  AccessLog,
  type MetricFamily,
  type PortClaims,
  type Tracing,
  turnClock,
} from "../dataplane/index.ts";
import {
  type Discovery,
  type IdentityIssuer,
  openDiscovery,
  type ServicesSource,
} from "../discovery/index.ts";
import { createFront } from "./admin-front.ts";
import { type AdminHandlers, type AdminServer, openAdminServer } from "./admin-server.ts";
import { monotonicMs, systemClock, systemRandom } from "./clock.ts";
import { parseProcessConfig, type ProcessConfig } from "./config.ts";
import { listenProblem } from "./fatal.ts";
import { type Ipc, openIpc } from "./ipc.ts";
import { fail } from "./last-words.ts";
import { openPortClaims } from "./port-claims.ts";
import { isProcessAlive } from "./process-alive.ts";
import { NOTHING_OUTSIDE, openOutside, type Outside, type StoppableSecrets } from "./outside.ts";
import type { Proxy } from "./proxy.ts";
import type { Telemetry } from "./telemetry/open-telemetry.ts";
import { startTelemetry } from "./telemetry/start-telemetry.ts";
import {
  createShutdown,
  LAME_DUCK_MS,
  onSignals,
  type Shutdown,
  SUPERVISED_LAME_DUCK_MS,
} from "./shutdown.ts";

export interface MemberContext {
  readonly config: ProcessConfig;
  readonly discovery: Discovery;
  readonly log: Logger;
  readonly now: () => number;
  readonly monotonicMs: () => number;
  readonly random: () => number;
  readonly claims: PortClaims;
  readonly tracing?: Tracing | undefined;
  readonly accessLog?: AccessLog | undefined;
  readonly outside: Outside;
  /** Something that `listeners()` or `tunnels()` answer has changed. */
  readonly onChange: () => void;
}

export type MemberRole = SystemRole;

/** What was made ready before the process opens what it shares with its cluster. */
export interface Prepared {
  /** Instead of a file. */
  readonly servicesSource?: ServicesSource;
  /** Beside those in files. */
  readonly secrets?: StoppableSecrets;
  /** Who gives this process its identities. */
  readonly issuer?: IdentityIssuer;
  /** The request by which the cluster's CA, whose key is with that issuer's CA, is certified. */
  readonly caRequest?: () => Result<string, Problem>;
  /** What it serves beside its proxy, once it has an identity. */
  readonly serve?: (discovery: Discovery) => Promise<Result<Closable, Problem>>;
}

export interface Closable {
  close(): void;
}

export type Prepare = (config: ProcessConfig, log: Logger) => Promise<Result<Prepared, Problem>>;

/** Where a kernel has it, the loopback interface has an address of it. */
function hasIpv6(): boolean {
  return Object.values(networkInterfaces()).some((infos) => infos?.some(({ family }) => family === "IPv6"));
}

/** The life of a gateway or agent process: settings, identity, proxy, reports, and an orderly end. */
export async function runMember(
  role: MemberRole,
  version: string,
  build: (context: MemberContext) => Proxy,
  prepare: Prepare = async () => ok({}),
): Promise<void> {
  const parsed = parseProcessConfig((key) => process.env[key], Object.keys(process.env), hasIpv6());
  if (!parsed.ok) return fail(problem("config_invalid", `${role} cannot start`), parsed.error);
  const { config, warnings } = parsed.value;
  const log = createLogger(
    (line) => void process.stderr.write(`${line}\n`),
    systemClock.now,
    config.logLevel,
    {
      role,
      member: config.member,
    },
  );
  for (const { path, message } of warnings) log.warn("setting_ignored", { setting: path, detail: message });
  // First: a probe is told what the process waits for, which may be an API server, a membership or an identity.
  const front = createFront();
  const admin = await openAdminServer(config.adminListen, front.handlers);
  if (!admin.ok) return fail(admin.error);
  front.waitFor("waiting for this cluster's membership");
  const prepared = await prepare(config, log);
  if (!prepared.ok) return fail(prepared.error);
  front.waitFor("waiting for a mutual TLS identity");
  const discovery = await openDiscovery({
    ...config,
    ...prepared.value,
    role,
    version,
    log,
    clock: systemClock,
    random: systemRandom,
    onWaiting: ({ name, detail }) =>
      front.waitFor(`waiting for a mutual TLS identity: ${PROBLEMS[name].code} ${detail}`),
  });
  if (!discovery.ok) return fail(discovery.error);
  const served = await prepared.value.serve?.(discovery.value);
  if (served?.ok === false) return fail(served.error);
  const outside =
    role === "gateway"
      ? await openOutside(config, systemClock, log, prepared.value.secrets)
      : NOTHING_OUTSIDE;
  let member: Member | undefined;
  const telemetry = await startTelemetry((key) => process.env[key], {
    role,
    member: config.member,
    cluster: discovery.value.state.current.cluster,
    version,
    families: () => member?.families() ?? [],
    log,
  });
  member = new Member(config, discovery.value, log, outside, telemetry, admin.value, build);
  front.serve(member.adminHandlers());
  await member.start();
}

const CANARY_REPORT_MS = 1_000;

function canariesOf(proxy: Proxy): Pick<MemberReport, "canaries"> {
  const canaries = proxy.canaries?.() ?? [];
  return canaries.length === 0 ? {} : { canaries };
}

class Member {
  readonly #config: ProcessConfig;
  readonly #discovery: Discovery;
  readonly #log: Logger;
  readonly #proxy: Proxy;
  readonly #outside: Outside;
  readonly #ipc: Ipc;
  readonly #telemetry: Telemetry | undefined;
  readonly #admin: AdminServer;
  #serving = false;
  #changed: () => void = () => {};
  #draining = false;
  #shutdown: Shutdown | undefined;

  constructor(
    config: ProcessConfig,
    discovery: Discovery,
    log: Logger,
    outside: Outside,
    telemetry: Telemetry | undefined,
    admin: AdminServer,
    build: (context: MemberContext) => Proxy,
  ) {
    this.#admin = admin;
    this.#outside = outside;
    this.#config = config;
    this.#discovery = discovery;
    this.#log = log;
    this.#telemetry = telemetry;
    this.#ipc = openIpc(process, {
      onOrphaned: () => process.exit(0),
      onRelieved: () => this.#shutdown?.handle("relieved"),
    });
    this.#proxy = build({
      config,
      outside,
      discovery,
      log,
      now: systemClock.now,
      monotonicMs: turnClock(monotonicMs),
      random: systemRandom,
      claims: openPortClaims(config.stateDir, process.pid, isProcessAlive),
      tracing: telemetry?.tracing,
      accessLog: config.accessLog && new AccessLog(config.accessLog, log, systemRandom),
      onChange: () => this.#onChange(),
    });
  }

  families(): readonly MetricFamily[] {
    return this.#proxy.families();
  }

  async start(): Promise<void> {
    const asked = this.#config.listen;
    // First: what starting puts in place (capture) has to be taken back even if the end comes before it is ready.
    this.#installShutdown();
    try {
      const bound = formatAddress(await this.#proxy.start(asked));
      this.#serving = true;
      const admin = this.#admin.address;
      const advertise = this.#config.advertise ?? bound;
      const reporter = this.#discovery.startReporting(() => ({
        listeners: this.#proxy.listeners(),
        tunnels: this.#proxy.tunnels(),
        admin,
        advertise,
        ...canariesOf(this.#proxy),
      }));
      this.#changed = () => reporter.changed();
      // A rollout is judged by what its proxies measured: while there is one, they say so more often than a heartbeat comes.
      const tell = () => canariesOf(this.#proxy).canaries !== undefined && reporter.changed();
      setInterval(tell, CANARY_REPORT_MS).unref();
      this.#log.info("serving", { listen: bound, admin });
      this.#ipc.send({ type: "ready", listen: bound, admin });
      this.#onChange();
    } catch (error) {
      fail(listenProblem(formatAddress(asked), error as NodeJS.ErrnoException));
    }
  }

  adminHandlers(): AdminHandlers {
    const { egress } = this.#proxy;
    return {
      ready: () => {
        const waiting = this.#serving
          ? (this.#proxy.unready() ?? this.#discovery.services.unready?.())
          : "opening its listeners";
        const reason = this.#draining ? "draining" : waiting;
        return { ready: reason === undefined, reason: reason ?? "serving" };
      },
      metrics: () => this.#proxy.metrics(),
      status: () => ({ ...this.#proxy.status(), discovery: this.#discovery.status.current }),
      probe: (request) => this.#proxy.probe(request),
      egress,
    };
  }

  #onChange(): void {
    this.#changed();
    this.#ipc.send({
      type: "listeners",
      listeners: this.#proxy.listeners(),
      failures: this.#proxy.listenerFailures(),
    });
  }

  #installShutdown(): void {
    const lameDuckMs = process.send === undefined ? LAME_DUCK_MS : SUPERVISED_LAME_DUCK_MS;
    const times = { lameDuckMs, drainMs: this.#config.drainMs };
    this.#shutdown = createShutdown(systemClock, times, {
      lameDuck: () => {
        this.#draining = true;
        this.#log.info("lame_duck");
        this.#ipc.send({ type: "draining" });
      },
      drain: () => this.#proxy.drain(),
      stop: ({ drained }) => {
        this.#log.info("stopped", { drained });
        this.#discovery.stop();
        this.#outside.stop();
        this.#admin.close();
        void this.#end();
      },
    });
    onSignals(process, this.#shutdown);
  }

  async #end(): Promise<void> {
    try {
      this.#proxy.close();
      await this.#proxy.withdraw?.();
      await this.#telemetry?.close();
    } finally {
      process.exit(0);
    }
  }
}
