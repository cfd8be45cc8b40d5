import { sourceClusters } from "../../model/resource.ts";
import { ok } from "../../model/result.ts";
import type { ClusterDeleteResponse, RegisterResponse } from "../../model/wire/api.ts";
import type { Planned } from "../change.ts";
import {
  appliedResources,
  type ClusterRecord,
  type FederationState,
  keyText,
  resourceKey,
  trustDomainOf,
} from "../state.ts";
import { refuse } from "./refuse.ts";

/** More than the design's two thousand; beyond it, snapshots of a hub cluster grow too large to be pleasant. */
const MAX_CLUSTERS = 5_000;

/** SVIDs of an earlier CA live on for an hour; renewals are weeks apart. The rest is for answers that got lost. */
const AUTHORITIES_KEPT = 16;

export interface IssuedCa {
  readonly certificatePem: string;
  /** Base64. */
  readonly certificateDer: string;
  readonly notAfter: string;
}

export interface IssuedJoinToken {
  readonly token: string;
  readonly tokenId: string;
  readonly expiresAt: string;
}

/** A cluster that never redeemed its token gets a new one, and the old one is void. */
export function planRegister(
  state: FederationState,
  command: { readonly name: string; readonly time: string; readonly issued: IssuedJoinToken },
): Planned<RegisterResponse> {
  const { name, time, issued } = command;
  const existing = state.clusters.get(name);
  if (existing?.record.state === "joined") {
    return refuse(
      "cluster_exists",
      `cluster ${name} joined at ${existing.record.joinedAt ?? "an earlier time"}`,
    );
  }
  if (existing === undefined && state.clusters.size >= MAX_CLUSTERS) {
    return refuse("limit_exceeded", `a federation has at most ${MAX_CLUSTERS} clusters`);
  }
  const record: ClusterRecord = {
    name,
    state: "pending",
    registeredAt: existing?.record.registeredAt ?? time,
    authorities: [],
    gateways: [],
    resourceVersion: state.revision + 1,
    joinTokenId: issued.tokenId,
  };
  const action = existing === undefined ? "registered" : "reissued";
  return ok({
    draft: {
      puts: [{ kind: "Cluster", value: record }],
      deletes: [],
      audit: {
        action: existing === undefined ? "cluster.register" : "cluster.reissue",
        targets: [`Cluster/${name}`],
      },
    },
    answer: () => ({
      cluster: name,
      trustDomain: trustDomainOf(state.federation, name),
      action,
      token: issued.token,
      expiresAt: issued.expiresAt,
    }),
  });
}

/** Spends the token: true once, because the write is conditional on the state that it was planned from. */
export function planJoin(
  state: FederationState,
  command: {
    readonly cluster: string;
    readonly tokenId: string;
    readonly ca: IssuedCa;
    readonly time: string;
  },
): Planned<ClusterRecord> {
  const spendable = checkJoinToken(state, command.cluster, command.tokenId);
  if (!spendable.ok) return spendable;
  const { joinTokenId: _spent, ...rest } = spendable.value;
  const record: ClusterRecord = {
    ...rest,
    state: "joined",
    spentTokenId: command.tokenId,
    joinedAt: command.time,
    caNotAfter: command.ca.notAfter,
    authorities: [command.ca.certificateDer],
    resourceVersion: state.revision + 1,
  };
  return ok({
    draft: {
      puts: [{ kind: "Cluster", value: record }],
      deletes: [],
      audit: { action: "cluster.join", targets: [`Cluster/${record.name}`] },
    },
    answer: () => record,
  });
}

export function checkJoinToken(state: FederationState, cluster: string, tokenId: string) {
  const record = state.clusters.get(cluster)?.record;
  if (record === undefined)
    return refuse("join_token_invalid", `cluster ${cluster} is not registered any more`);
  if (record.spentTokenId === tokenId)
    return refuse(
      "join_token_spent",
      `cluster ${cluster} joined with it at ${record.joinedAt ?? "an earlier time"}`,
    );
  if (record.joinTokenId !== tokenId)
    return refuse("join_token_invalid", `a newer token was printed for cluster ${cluster}`);
  return ok(record);
}

export function planRenew(
  state: FederationState,
  command: { readonly cluster: string; readonly ca: IssuedCa },
): Planned<ClusterRecord> {
  const record = state.clusters.get(command.cluster)?.record;
  if (record?.state !== "joined") return refuse("not_found", `cluster ${command.cluster} is not a member`);
  const { ca } = command;
  const renewed = {
    ...record,
    caNotAfter: ca.notAfter,
    authorities: [ca.certificateDer, ...record.authorities].slice(0, AUTHORITIES_KEPT),
    resourceVersion: state.revision + 1,
  };
  return ok({
    draft: {
      puts: [{ kind: "Cluster", value: renewed }],
      deletes: [],
      audit: { action: "cluster.renew", targets: [`Cluster/${record.name}`] },
    },
    answer: () => renewed,
  });
}

export function planDeleteCluster(
  state: FederationState,
  command: { readonly name: string; readonly dryRun: boolean },
): Planned<ClusterDeleteResponse> {
  const { name, dryRun } = command;
  const cluster = state.clusters.get(name);
  if (cluster === undefined) return refuse("not_found", `there is no cluster ${name}`);
  const inUse = [
    ...appliedResources(cluster).filter(({ kind }) => kind !== "EgressPolicy"),
    ...[...state.clusters.values()].flatMap(({ imports }) =>
      [...imports.values()].filter((resource) => sourceClusters(resource).includes(name)),
    ),
  ];
  if (inUse.length > 0) {
    const names = inUse.slice(0, 5).map((resource) => keyText(resourceKey(resource)));
    const rest = inUse.length > names.length ? ` and ${inUse.length - names.length} more` : "";
    return refuse("cluster_in_use", `cluster ${name} is named by ${names.join(", ")}${rest}`);
  }
  return ok({
    draft: {
      puts: [],
      deletes: [
        ...[...cluster.policies.values(), ...cluster.rules.values()].map(resourceKey),
        { kind: "Services", cluster: name, namespace: "", name: "" },
        { kind: "Cluster", cluster: name, namespace: "", name: "" },
      ],
      audit: { action: "cluster.delete", targets: [`Cluster/${name}`] },
    },
    answer: ({ revision }) => ({ revision, dryRun, cluster: name }),
  });
}
