import { networkInterfaces } from "node:os";
import { join } from "node:path";
import type { Address } from "../../federation/model/address.ts";
import { type Cidr, parseIp } from "../../federation/model/ip-address.ts";
import type { Logger } from "../../federation/model/log.ts";
import { problem } from "../../federation/model/problem.ts";
import { err } from "../../federation/model/result.ts";
import {
  CachingResolver,
  type GuardedRange,
  guardedRanges,
  type NameResolver,
  NO_SECRETS,
  type SecretSource,
  systemLookups,
} from "../dataplane/index.ts";
import { joinSecrets, openFileSecrets } from "../discovery/index.ts";
import type { Clock } from "./clock.ts";
import type { ProcessConfig } from "./config.ts";

/** What a gateway needs of its machine to reach the outside. */
export interface Outside {
  readonly secrets: SecretSource;
  readonly resolver: NameResolver;
  readonly guarded: readonly GuardedRange[];
  /** Where callers from outside are served; absent: nowhere. */
  readonly listen?: Address;
  /** The HTTP proxy for workloads that hold their own SVID; absent: there is none. */
  readonly proxyListen?: Address;
  stop(): void;
}

export interface StoppableSecrets extends SecretSource {
  stop(): void;
}

const SECRETS = "secrets";

/** `more`: secrets from elsewhere than files, which stand behind those. */
export async function openOutside(
  config: ProcessConfig,
  clock: Clock,
  log: Logger,
  more?: StoppableSecrets,
): Promise<Outside> {
  const directory = config.secretsDir ?? join(config.stateDir, SECRETS);
  const files = await openFileSecrets({ directory, clock, log });
  const resolver = new CachingResolver({ ...systemLookups(config.dnsServers), now: clock.now });
  const guarded = guardedRanges([...config.clusterCidrs, ...ownAddresses()]);
  const { ingressListen: listen, proxyListen } = config;
  return {
    secrets: more === undefined ? files : joinSecrets(files, more),
    resolver,
    guarded,
    ...(listen === undefined ? {} : { listen }),
    ...(proxyListen === undefined ? {} : { proxyListen }),
    stop() {
      files.stop();
      more?.stop();
    },
  };
}

/** An agent does not leave the federation by itself. */
export const NOTHING_OUTSIDE: Outside = {
  secrets: NO_SECRETS,
  resolver: {
    resolve: (_name, done) => done(err(problem("external_unresolved", "an agent resolves no names"))),
  },
  guarded: [],
  stop: () => {},
};

/** This machine's addresses: a name that leads to one of them leads back into the gateway, or to what runs beside it. */
function ownAddresses(): readonly Cidr[] {
  return Object.values(networkInterfaces())
    .flat()
    .flatMap((found) => {
      const base = found === undefined || found.internal ? undefined : parseIp(found.address);
      return base === undefined ? [] : [{ base, prefix: base.family === 4 ? 32 : 128 }];
    });
}
