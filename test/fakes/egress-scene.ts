import type { Address } from "../../federation/model/address.ts";
import type { SnapshotEgressPolicy } from "../../federation/model/snapshot.ts";
import {
  CachingResolver,
  guardedRanges,
  type SecretSource,
  systemLookups,
} from "../../gateway/dataplane/index.ts";
import type { LogFields } from "../../federation/model/log.ts";
import { type DnsServer, startDnsServer } from "./dns-server.ts";
import { type Mesh, type MeshOptions, startMesh } from "./mesh.ts";
import { createOutsideCa, type OutsideCa, type Pair } from "./outside-pki.ts";
import { dialRaw, type RawSocket } from "./raw-socket.ts";
import { until } from "./until.ts";

/** Secrets of a gateway that a test sets. */
export class TestSecrets implements SecretSource {
  readonly #secrets = new Map<string, ReturnType<SecretSource["get"]>>();
  readonly #listeners = new Set<(name: string) => void>();
  #version = 0;

  get(name: string) {
    return this.#secrets.get(name);
  }

  subscribe(listener: (name: string) => void) {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  set(name: string, { certificatePem, privateKeyPem }: Pair): void {
    this.#put(name, { certificatePem, privateKeyPem });
  }

  setCa(name: string, authoritiesPem: string): void {
    this.#put(name, { authoritiesPem });
  }

  #put(name: string, content: Partial<Pair> & { readonly authoritiesPem?: string }): void {
    this.#version += 1;
    this.#secrets.set(name, { version: this.#version, ...content });
    for (const listener of this.#listeners) listener(name);
  }
}

/** West of a mesh whose workloads web and batch want to leave, with the outside on loopback. */
export interface EgressScene {
  readonly mesh: Mesh;
  readonly dns: DnsServer;
  readonly secrets: TestSecrets;
  /** Of the outside's servers; the secret `outside-ca` trusts it. */
  readonly ca: OutsideCa;
  /** Where a workload's way begins: `proxy`, `sni`, or `api.example.com:443`. */
  way(workload: string, name: string): Promise<string>;
  dial(workload: string, name: string): Promise<RawSocket>;
  apply(...policies: readonly SnapshotEgressPolicy[]): void;
  /** Audit records of denials since the last call. */
  denials(): readonly LogFields[];
  gatewayLog(): readonly LogFields[];
  stop(): Promise<void>;
}

export interface EgressSceneOptions {
  readonly agents: boolean;
  readonly policies: readonly SnapshotEgressPolicy[];
  /** Of the HTTP proxy for workloads with an SVID. */
  readonly proxyListen?: Address;
  /** Instead of those that the test sets. */
  readonly secretSource?: SecretSource;
  /** A clock of the test's own, so that time-outs need no waiting. */
  readonly now?: () => number;
  /** West's workloads; `web` and `batch` unless given. */
  readonly callers?: MeshOptions["callers"];
}

export async function startEgress({
  agents,
  policies,
  secretSource,
  proxyListen,
  callers,
  now,
}: EgressSceneOptions): Promise<EgressScene> {
  const dns = await startDnsServer();
  const secrets = new TestSecrets();
  const ca = createOutsideCa("outside");
  secrets.setCa("outside-ca", ca.certificatePem);
  const resolver = new CachingResolver({ ...systemLookups([dns.address]), now: Date.now });
  const outside = {
    secrets: secretSource ?? secrets,
    resolver,
    guarded: guardedRanges(),
    stop: () => {},
    ...(proxyListen === undefined ? {} : { proxyListen }),
  };
  const mesh = await startMesh({
    agents,
    endpoint: "127.0.0.1:9",
    outside,
    ...(callers === undefined ? {} : { callers }),
    ...(now === undefined ? {} : { now }),
    change: (snapshot) => (snapshot.cluster === "west" ? { ...snapshot, egress: { policies } } : snapshot),
  });
  const entry = () => mesh.member(agents ? "west agent" : "west gateway");
  const clients: RawSocket[] = [];
  let read = 0;
  const way = (workload: string, name: string) =>
    until(`${workload} has a way out by ${name}`, 5_000, () => {
      const found = entry()
        .proxy.listeners()
        .find(
          (status) =>
            status.workload === workload &&
            (status.way === name ||
              (status.way === "address" && `${status.service}:${status.port}` === name)),
        );
      return found?.address;
    });
  return {
    mesh,
    dns,
    secrets,
    ca,
    way,
    async dial(workload, name) {
      const client = await dialRaw(await way(workload, name));
      clients.push(client);
      return client;
    },
    apply(...next) {
      mesh.publish((snapshot) =>
        snapshot.cluster === "west" ? { ...snapshot, egress: { policies: next } } : snapshot,
      );
    },
    denials() {
      const { log } = mesh.member("west gateway");
      const lines = log.slice(read).filter((line) => line["event"] === "egress_denied");
      read = log.length;
      return lines;
    },
    gatewayLog: () => mesh.member("west gateway").log,
    async stop() {
      for (const client of clients) client.destroy();
      mesh.close();
      await dns.stop();
    },
  };
}

export const WEB = "ns/shop/sa/web";
export const BATCH = "ns/shop/sa/batch";
