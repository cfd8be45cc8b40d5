import { mkdirSync, readFileSync, renameSync } from "node:fs";
import { join } from "node:path";
import { err, ok, type Result } from "../../federation/model/result.ts";
import { writeSecretFile } from "../../federation/trust/index.ts";
import { STATE_FILES } from "../../gateway/discovery/index.ts";
import type { KubeClient } from "./api/client.ts";
import { type ApiFailure, failureOf } from "./api/failure.ts";
import { asKubeObject, type KubeObject } from "./api/object.ts";
import { apiVersionOf, CONFIG_MAPS, pathOf, type ResourceType, SECRETS } from "./api/resource-type.ts";
import { textMap } from "./digest/fields.ts";
import { FIELD_MANAGER, LABEL, SYSTEM_NAMESPACE } from "./labels.ts";

/**
 * The cluster's membership as a Secret, so that its gateways share it and restarts do not need a new token; they alone may
 * read it. What is not secret of it stands in a ConfigMap of the same name, for agents and controllers.
 */
export const CLUSTER_SECRET = "isthmus-cluster";
const AT = { namespace: SYSTEM_NAMESPACE, name: CLUSTER_SECRET };
const METADATA = { ...AT, labels: { [LABEL.managedBy]: LABEL.manager } };

const NAMES = Object.values(STATE_FILES);
const PUBLIC_NAMES = NAMES.filter((name) => name !== STATE_FILES.key);

export type StateFiles = { readonly [name: string]: string };

export async function readClusterSecret(
  client: KubeClient,
): Promise<Result<StateFiles | undefined, ApiFailure>> {
  const path = pathOf(SECRETS, AT);
  const answer = await client.request({ method: "GET", path });
  if (!answer.ok) return answer.error.kind === "not_found" ? ok(undefined) : answer;
  const object = asKubeObject(answer.value);
  return object === undefined ? err(failureOf(500, "the answer is no Secret")) : ok(stateFilesOf(object));
}

/** `undefined` unless all of it is there: half a membership is none. */
export function stateFilesOf(secret: KubeObject): StateFiles | undefined {
  const data = textMap(secret["data"]);
  const files = Object.fromEntries(
    NAMES.map((name) => [name, Buffer.from(data[name] ?? "", "base64").toString("utf8")]),
  );
  return NAMES.every((name) => files[name] !== "") ? files : undefined;
}

/** The part without the key. */
export async function readClusterConfig(
  client: KubeClient,
): Promise<Result<StateFiles | undefined, ApiFailure>> {
  const path = pathOf(CONFIG_MAPS, AT);
  const answer = await client.request({ method: "GET", path });
  if (!answer.ok) return answer.error.kind === "not_found" ? ok(undefined) : answer;
  const object = asKubeObject(answer.value);
  return object === undefined ? err(failureOf(500, "the answer is no ConfigMap")) : ok(publicFilesOf(object));
}

/** `undefined` unless all of it is there. */
export function publicFilesOf(configMap: KubeObject): StateFiles | undefined {
  const data = textMap(configMap["data"]);
  const files = Object.fromEntries(PUBLIC_NAMES.map((name) => [name, data[name] ?? ""]));
  return PUBLIC_NAMES.every((name) => files[name] !== "") ? files : undefined;
}

/** Every gateway says the same; applying what is there already changes nothing. */
export async function writeClusterConfig(
  client: KubeClient,
  stateDir: string,
): Promise<Result<undefined, ApiFailure>> {
  const data = Object.fromEntries(
    PUBLIC_NAMES.map((name) => [name, readFileSync(join(stateDir, name), "utf8")]),
  );
  return applyOurs(client, CONFIG_MAPS, {
    apiVersion: apiVersionOf(CONFIG_MAPS),
    kind: CONFIG_MAPS.kind,
    metadata: METADATA,
    data,
  });
}

/** Every gateway says the same, since all of them join with one key; applying what is there already changes nothing. */
export async function writeClusterSecret(
  client: KubeClient,
  stateDir: string,
): Promise<Result<undefined, ApiFailure>> {
  const files = NAMES.map((name) => [name, readFileSync(join(stateDir, name), "utf8")] as const);
  return applyOurs(client, SECRETS, secretOf(files));
}

async function applyOurs(
  client: KubeClient,
  type: ResourceType,
  body: object,
): Promise<Result<undefined, ApiFailure>> {
  const answer = await client.request({
    method: "PATCH",
    path: pathOf(type, AT),
    query: { fieldManager: FIELD_MANAGER, force: "true" },
    body,
    contentType: "application/apply-patch+yaml",
  });
  return answer.ok ? ok(undefined) : answer;
}

/**
 * The key that the cluster joins with, before it has joined: `pem` unless another gateway, or this one in an earlier life, was
 * first. Answers whose it is.
 */
export async function reserveClusterKey(
  client: KubeClient,
  pem: string,
): Promise<Result<string, ApiFailure>> {
  const created = await client.request({
    method: "POST",
    path: pathOf(SECRETS, { namespace: SYSTEM_NAMESPACE }),
    query: { fieldManager: FIELD_MANAGER },
    body: secretOf([[STATE_FILES.key, pem]]),
  });
  if (created.ok) return ok(pem);
  if (created.error.kind !== "conflict") return created;
  const found = await client.request({ method: "GET", path: pathOf(SECRETS, AT) });
  if (!found.ok) return found;
  const data = textMap(asKubeObject(found.value)?.["data"]);
  const theirs = Buffer.from(data[STATE_FILES.key] ?? "", "base64").toString("utf8");
  return theirs === "" ? err(failureOf(500, `it has no ${STATE_FILES.key}: delete it`)) : ok(theirs);
}

function secretOf(files: readonly (readonly [name: string, text: string])[]) {
  return {
    apiVersion: apiVersionOf(SECRETS),
    kind: SECRETS.kind,
    type: "Opaque",
    metadata: METADATA,
    data: Object.fromEntries(files.map(([name, text]) => [name, Buffer.from(text).toString("base64")])),
  };
}

/** Writes what differs; `cluster.json` last, because it vouches for the rest. Answers whether anything did. */
export function writeStateFiles(stateDir: string, files: StateFiles): boolean {
  mkdirSync(stateDir, { recursive: true, mode: 0o700 });
  const order = NAMES.filter((name) => files[name] !== undefined).sort(
    (a, b) => Number(a === STATE_FILES.cluster) - Number(b === STATE_FILES.cluster),
  );
  let changed = false;
  for (const name of order) {
    const path = join(stateDir, name);
    const text = files[name] ?? "";
    if (readIfThere(path) === text) continue;
    const written = writeSecretFile(`${path}.new`, text);
    if (!written.ok) throw new Error(written.error.detail);
    renameSync(`${path}.new`, path);
    changed = true;
  }
  return changed;
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}
