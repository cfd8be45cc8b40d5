/** Where things lie in the one table: `pk` groups what is read together, `sk` orders it. */
export interface Key {
  readonly pk: string;
  readonly sk: string;
}

/** Revision and what a start needs to find its way: small, because every poll reads it. */
export const HEAD: Key = { pk: "head", sk: "head" };
export const FOUNDATION: Key = { pk: "foundation", sk: "foundation" };

export const LOG = "log";
export const AUDIT = "audit";
export const CHECKPOINT = "checkpoint";
export const VAULT = "vault";

/** Fixed width, so that the order of texts is the order of numbers. */
const WIDTH = 16;

export function revisionKey(revision: number): string {
  return String(revision).padStart(WIDTH, "0");
}

/** Of a sort key that begins with a revision. */
export function revisionOf(sk: string): number {
  return Number(sk.slice(0, WIDTH));
}

export function requestPk(token: string): string {
  return `request#${token}`;
}

export function spentKey(name: string): Key {
  return { pk: `spent#${name}`, sk: "spent" };
}

/** Not `snapshot#`: there releases look that would send members a form which those cannot read. */
export function snapshotPk(cluster: string): string {
  return `signed#${cluster}`;
}

/** One partition takes a thousand writes a second; heartbeats of ten thousand clusters are more. */
export const MEMBER_SHARDS = 16;

export function memberPk(cluster: string): string {
  let hash = 0;
  for (let index = 0; index < cluster.length; index++)
    hash = (hash * 31 + cluster.charCodeAt(index)) % 1_000_003;
  return memberShardPk(hash % MEMBER_SHARDS);
}

export function memberShardPk(shard: number): string {
  return `members#${shard}`;
}

export function memberSk(cluster: string, member: string): string {
  return `${cluster}/${member}`;
}
