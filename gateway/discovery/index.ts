/**
 * How a member learns what it may do: its identity from the cluster state directory, the signed snapshot from the
 * registry, services from the static file. Everything here may fail without harm to traffic.
 */
export { type AddressBook, type AddressKey, openAddressBook } from "./address-book.ts";
export {
  type ClusterState,
  hasJoined,
  type Membership,
  readClusterState,
  readMembership,
  STATE_FILES,
} from "./cluster-state.ts";
export { type CredentialSource, createCredentialSource, type IdentityStatus } from "./credential-source.ts";
export type { IdentityIssuer } from "./issued-credentials.ts";
export { type Discovery, type DiscoveryOptions, openDiscovery, type SelfReport } from "./discovery.ts";
export { createMemberClient, type MemberClient } from "./member-client.ts";
export { openFileSecrets } from "./file-secrets.ts";
export {
  joinSecrets,
  SECRET_KEYS,
  type SecretReader,
  SecretStore,
  type SecretTexts,
  type StoredSecret,
} from "./secret-store.ts";
export { adoptJoinKey, pendingJoinKey } from "./join-key.ts";
export { type JoinOptions, joinCluster, joinWithCsr } from "./membership.ts";
export type { SnapshotSourceStatus } from "./snapshot-poll.ts";
export type {
  AgentAddress,
  EndpointListener,
  EntryPort,
  PodEntries,
  ServicesSource,
  Topology,
} from "./services-source.ts";
export { parseStaticCluster, readStaticCluster, type StaticFileProblem } from "./static-services.ts";
export { type Backoff, backoffMs } from "../dataplane/lifecycle/backoff.ts";
export { createPush } from "./push.ts";
