import type { TunnelStatus } from "../../federation/model/resource.ts";
import type { Snapshot } from "../../federation/model/snapshot.ts";
import { type TunnelEnvironment, Upstream } from "../dataplane/index.ts";

/** One upstream for every other cluster we exchange traffic with, kept in step with the snapshot. */
export class PeerGateways {
  readonly #env: TunnelEnvironment;
  readonly #onStatus: () => void;
  readonly #onUpstream: (trustDomain: string, upstream: Upstream) => () => void;
  readonly #closers = new Map<string, () => void>();
  readonly #byTrustDomain = new Map<string, Upstream>();

  /** `onUpstream` hears of every new one, and answers what to do when it goes. */
  constructor(
    env: TunnelEnvironment,
    onStatus: () => void,
    onUpstream: (trustDomain: string, upstream: Upstream) => () => void,
  ) {
    this.#onUpstream = onUpstream;
    this.#env = env;
    this.#onStatus = onStatus;
  }

  /** Tunnels are dialled ahead of traffic, only towards clusters we import from: exporters are dialled, never dial. */
  follow(snapshot: Snapshot): void {
    const wanted = new Set(snapshot.imports.map((rule) => rule.from.trustDomain));
    for (const [trustDomain, upstream] of this.#byTrustDomain) {
      if (wanted.has(trustDomain as Snapshot["trustDomain"])) continue;
      this.#byTrustDomain.delete(trustDomain);
      this.#closers.get(trustDomain)?.();
      this.#closers.delete(trustDomain);
      upstream.close();
    }
    for (const { cluster, trustDomain, gateways } of snapshot.peers) {
      if (!wanted.has(trustDomain)) continue;
      const expected = { trustDomain, role: "gateway" } as const;
      const known = this.#byTrustDomain.get(trustDomain);
      const upstream = known ?? new Upstream(cluster, expected, this.#env, this.#onStatus);
      this.#byTrustDomain.set(trustDomain, upstream);
      if (known === undefined) this.#closers.set(trustDomain, this.#onUpstream(trustDomain, upstream));
      upstream.setAddresses(gateways.map((gateway) => gateway.address));
    }
  }

  get(trustDomain: string): Upstream | undefined {
    return this.#byTrustDomain.get(trustDomain);
  }

  status(): readonly TunnelStatus[] {
    return [...this.#byTrustDomain.values()].flatMap((upstream) => upstream.status());
  }

  close(): void {
    for (const close of this.#closers.values()) close();
    for (const upstream of this.#byTrustDomain.values()) upstream.close();
  }
}
