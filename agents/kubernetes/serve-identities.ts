import type { Logger } from "../../federation/model/log.ts";
import { type Problem, PROBLEMS } from "../../federation/model/problem.ts";
import { ok, type Result } from "../../federation/model/result.ts";
import { indexBundles, parseCsr } from "../../federation/trust/index.ts";
import {
  createPush,
  type Discovery,
  type IdentityIssuer,
  type Membership,
} from "../../gateway/discovery/index.ts";
import { systemClock, systemRandom } from "../../gateway/process/clock.ts";
import type { CaIssuerRef, ProcessConfig } from "../../gateway/process/config.ts";
import type { Closable } from "../../gateway/process/member.ts";
import { createCertificateRequestSigner } from "../identity/certificate-request-signer.ts";
import { createIssuer } from "../identity/issuer.ts";
import { openIssuerServer } from "../identity/issuer-server.ts";
import { createLocalSigner, type SvidSigner } from "../identity/svid-signer.ts";
import { createTokenReviewer } from "../identity/token-review.ts";
import type { KubeClient } from "./api/client.ts";
import { problemOf } from "./api/failure.ts";
import { CLUSTER_SECRET, writeClusterConfig, writeClusterSecret } from "./cluster-secret.ts";
import type { KubernetesSource } from "./source.ts";

const PUBLISH_BACKOFF = { baseMs: 500, capMs: 30_000 } as const;

/** An issuer outside that signs for this gateway, and through it for agents and controllers. */
export interface ExternalCa {
  readonly signer: SvidSigner;
  /** Of this gateway's own identities, and of the workloads that it serves. */
  readonly issuer: IdentityIssuer;
  /** Judges from now on by the CA as it was certified last. */
  follow(discovery: Discovery): void;
}

export function createExternalCa(
  caIssuer: CaIssuerRef,
  { member, svidTtlMs }: Pick<ProcessConfig, "member" | "svidTtlMs">,
  { bundles, ca: initial }: Membership,
  client: KubeClient,
  log: Logger,
): ExternalCa {
  let ca = initial;
  const signer = createCertificateRequestSigner({
    client,
    issuer: caIssuer,
    member,
    bundles: indexBundles(bundles),
    ca: () => ca,
    clock: systemClock,
    random: systemRandom,
    log,
  });
  return {
    signer,
    issuer: {
      async issue({ csrPem, spiffeId }) {
        const csr = parseCsr(csrPem);
        if (!csr.ok) return csr;
        const { publicKey } = csr.value;
        return signer.sign({ csrPem, publicKey, spiffeId, lifetimeMs: svidTtlMs });
      },
    },
    follow({ state }) {
      ca = state.current.ca;
      state.subscribe((next) => {
        ca = next.ca;
      });
    },
  };
}

export interface ServeIdentitiesOptions {
  readonly config: ProcessConfig;
  readonly client: KubeClient;
  readonly source: KubernetesSource;
  readonly discovery: Discovery;
  /** Absent: this gateway holds the key of its cluster's CA. */
  readonly external: ExternalCa | undefined;
  readonly log: Logger;
}

/** A gateway is its cluster's issuer, and says to all what of the membership is not secret. */
export async function serveIdentities(options: ServeIdentitiesOptions): Promise<Result<Closable, Problem>> {
  const { config, client, source, discovery, external, log } = options;
  const { ca, credentials, state } = discovery;
  external?.follow(discovery);
  const publication = publishMembership(options);
  const signer = external?.signer ?? (ca && createLocalSigner(ca, systemClock));
  if (signer === undefined || config.issuerListen === undefined) return ok({ close: publication.stop });
  const issuer = createIssuer({
    trustDomain: state.current.trustDomain,
    reviewer: createTokenReviewer(client, systemClock),
    signer,
    lifetimeMs: config.svidTtlMs,
    runsOn: () =>
      source.knowsPods
        ? ({ namespace, account }, node) => source.runsOn(namespace, account, node)
        : undefined,
    log,
  });
  const server = await openIssuerServer(config.issuerListen, issuer, credentials.credential);
  if (!server.ok) return server;
  log.info("issuing", { listen: server.value.address });
  return ok({
    close() {
      publication.stop();
      server.value.close();
    },
  });
}

function publishMembership({ config, client, discovery, external, log }: ServeIdentitiesOptions): {
  stop(): void;
} {
  const { stateDir } = config;
  // At the start it is what was just read; where others write it too, it must not be put back to that later.
  let isRenewed = false;
  const write = async () => {
    if (external === undefined && isRenewed) {
      const kept = await writeClusterSecret(client, stateDir);
      if (!kept.ok) return kept;
    }
    return writeClusterConfig(client, stateDir);
  };
  const publication = createPush(
    systemClock,
    systemRandom,
    { gatherMs: 0, backoff: PUBLISH_BACKOFF },
    async () => {
      const told = await write();
      if (told.ok) return true;
      const { name, detail } = problemOf(`patch ${CLUSTER_SECRET}`, told.error);
      log.warn("membership_not_written", { code: PROBLEMS[name].code, detail });
      return false;
    },
  );
  if (external === undefined) publication.changed();
  const unsubscribe = discovery.state.subscribe(() => {
    isRenewed = true;
    publication.changed();
  });
  return {
    stop() {
      unsubscribe();
      publication.stop();
    },
  };
}
