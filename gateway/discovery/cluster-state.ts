import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { JSONWebKeySet } from "jose";
import * as z from "zod";
import { type Problem, problem } from "../../federation/model/problem.ts";
import { err, ok, type Result } from "../../federation/model/result.ts";
import { parseTrustDomain, type TrustDomain } from "../../federation/model/spiffe-id.ts";
import type { TrustBundle } from "../../federation/model/trust-bundle.ts";
import { decode } from "../../federation/model/wire/decode.ts";
import {
  bundlesFromMap,
  bundlesToMap,
  type ClusterCa,
  type ClusterCaCertificate,
  loadClusterCa,
  loadClusterCaCertificate,
  privateKeyToPem,
  readSecretFile,
  writeSecretFile,
} from "../../federation/trust/index.ts";
import { errorCode, fileProblem } from "./atomic-file.ts";
import { keySet } from "./key-set.ts";

/** What a cluster holds after it joined. The processes that may mint identities share it. */
export interface ClusterState extends Membership {
  readonly ca: ClusterCa;
}

/** The same without the CA's key: all that a process needs that is given its identities by another one. */
export interface Membership {
  readonly federation: string;
  readonly cluster: string;
  readonly trustDomain: TrustDomain;
  readonly registry: string;
  readonly snapshotKeys: JSONWebKeySet;
  /** RFC 3339 */
  readonly joinedAt: string;
  readonly bundles: readonly TrustBundle[];
  readonly ca: ClusterCaCertificate;
}

/** The files of a state directory. */
export const STATE_FILES = {
  cluster: "cluster.json",
  key: "ca.key",
  certificate: "ca.crt",
  bundles: "bundles.json",
} as const;

const clusterFile = z.object({
  federation: z.string().min(1),
  cluster: z.string().min(1),
  trustDomain: z.string(),
  registry: z.url({ protocol: /^https?$/ }),
  snapshotKeys: keySet,
  joinedAt: z.string(),
});

/** Whether a cluster has joined with this directory. `cluster.json` is written last, so that it vouches for the rest. */
export function hasJoined(stateDir: string): boolean {
  const text = readText(join(stateDir, STATE_FILES.cluster));
  // A file that cannot be read is there all the same.
  return !text.ok || text.value !== undefined;
}

/** The whole state, or what keeps it from being used: nothing is taken from a directory that is only half right. */
export function readClusterState(stateDir: string): Result<ClusterState, Problem> {
  return readWith(stateDir, readCa);
}

/** From a directory that may lack the CA's key. */
export function readMembership(stateDir: string): Result<Membership, Problem> {
  return readWith(stateDir, readCaCertificate);
}

function readWith<C extends ClusterCaCertificate>(
  stateDir: string,
  read: (stateDir: string) => Result<C, Problem>,
): Result<Membership & { readonly ca: C }, Problem> {
  const facts = readFacts(stateDir);
  if (!facts.ok) return facts;
  const trustDomain = parseTrustDomain(facts.value.trustDomain);
  if (!trustDomain.ok) return unusable(join(stateDir, STATE_FILES.cluster), trustDomain.error);
  const ca = read(stateDir);
  if (!ca.ok) return ca;
  if (ca.value.trustDomain !== trustDomain.value) {
    const told = `is the CA of ${ca.value.trustDomain}, but the directory belongs to ${trustDomain.value}`;
    return unusable(join(stateDir, STATE_FILES.certificate), told);
  }
  const bundles = readBundles(stateDir);
  if (!bundles.ok) return bundles;
  return ok({ ...facts.value, trustDomain: trustDomain.value, bundles: bundles.value, ca: ca.value });
}

/** Whether somebody has renewed it since: cheap enough to ask often. */
export function isCaReplaced(stateDir: string, ca: ClusterCaCertificate): boolean {
  const text = readText(join(stateDir, STATE_FILES.certificate));
  return text.ok && text.value !== undefined && text.value !== ca.certificatePem;
}

/** Everything of a cluster that holds its CA's key itself. Each file is replaced whole, `cluster.json` last. */
export function writeClusterState(stateDir: string, state: ClusterState): Result<undefined, Problem> {
  return writeFiles(stateDir, state, [[STATE_FILES.key, privateKeyToPem(state.ca.privateKey)]]);
}

/**
 * The same without the key: it is somebody else's, or stays as it is. Then one file alone decides which CA is in force, and no
 * crash can leave a pair that does not match.
 */
export function writeMembership(stateDir: string, membership: Membership): Result<undefined, Problem> {
  return writeFiles(stateDir, membership, []);
}

type File = readonly [name: string, text: string];

function writeFiles(
  stateDir: string,
  { federation, cluster, trustDomain, registry, snapshotKeys, joinedAt, bundles, ca }: Membership,
  key: readonly File[],
): Result<undefined, Problem> {
  const facts = { federation, cluster, trustDomain, registry, snapshotKeys, joinedAt };
  const files: readonly File[] = [
    [STATE_FILES.bundles, json(bundlesToMap(bundles))],
    ...key,
    [STATE_FILES.certificate, ca.certificatePem],
    [STATE_FILES.cluster, json(facts)],
  ];
  for (const [name, text] of files) {
    const written = writeSecretFile(join(stateDir, name), text);
    if (!written.ok) return written;
  }
  return ok(undefined);
}

export function createStateDir(stateDir: string): Result<undefined, Problem> {
  try {
    mkdirSync(stateDir, { recursive: true, mode: 0o700 });
    return ok(undefined);
  } catch (error) {
    return err(fileProblem(stateDir, "written", error));
  }
}

/** From here until it is written again the directory counts as not joined. */
export function withdrawClusterState(stateDir: string): Result<undefined, Problem> {
  try {
    rmSync(join(stateDir, STATE_FILES.cluster), { force: true });
    return ok(undefined);
  } catch (error) {
    return err(fileProblem(join(stateDir, STATE_FILES.cluster), "written", error));
  }
}

function readFacts(stateDir: string): Result<z.output<typeof clusterFile>, Problem> {
  const path = join(stateDir, STATE_FILES.cluster);
  const text = readText(path);
  if (!text.ok) return text;
  if (text.value === undefined) {
    return err(
      problem("state_unusable", `${stateDir} holds no joined cluster; join first: isthmus cluster join`),
    );
  }
  const value = parseJson(text.value);
  if (value === undefined) return unusable(path, "is not whole JSON: half written, or edited by hand");
  const decoded = decode(clusterFile, value);
  if (decoded.ok) return decoded;
  return unusable(path, decoded.error.map(({ path: field, message }) => `${field} ${message}`).join("; "));
}

function readCa(stateDir: string): Result<ClusterCa, Problem> {
  const keyPath = join(stateDir, STATE_FILES.key);
  const certificatePath = join(stateDir, STATE_FILES.certificate);
  const key = readSecretFile(keyPath);
  if (!key.ok) return err(problem("state_unusable", key.error.detail));
  const certificate = readRequired(certificatePath);
  if (!certificate.ok) return certificate;
  const ca = loadClusterCa({ certificatePem: certificate.value, privateKeyPem: key.value });
  if (ca.ok) return ca;
  return err(problem("state_unusable", `${keyPath} and ${certificatePath}: ${ca.error.detail}`));
}

function readCaCertificate(stateDir: string): Result<ClusterCaCertificate, Problem> {
  const path = join(stateDir, STATE_FILES.certificate);
  const certificate = readRequired(path);
  if (!certificate.ok) return certificate;
  const ca = loadClusterCaCertificate(certificate.value);
  return ca.ok ? ca : err(problem("state_unusable", `${path}: ${ca.error.detail}`));
}

function readBundles(stateDir: string): Result<readonly TrustBundle[], Problem> {
  const path = join(stateDir, STATE_FILES.bundles);
  const text = readRequired(path);
  if (!text.ok) return text;
  const bundles = bundlesFromMap(text.value);
  return bundles.ok ? bundles : unusable(path, bundles.error.detail);
}

/** `undefined`: there is no such file. */
function readText(path: string): Result<string | undefined, Problem> {
  try {
    return ok(readFileSync(path, "utf8"));
  } catch (error) {
    return errorCode(error) === "ENOENT" ? ok(undefined) : err(fileProblem(path, "read", error));
  }
}

function readRequired(path: string): Result<string, Problem> {
  const text = readText(path);
  if (!text.ok) return text;
  return text.value === undefined ? unusable(path, "is missing: the join did not finish") : ok(text.value);
}

function unusable(path: string, why: string): Result<never, Problem> {
  return err(problem("state_unusable", `${path} ${why}`));
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function json(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}
