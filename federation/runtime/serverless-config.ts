import type { LogLevel } from "../model/log.ts";
import type { Issue } from "../model/problem.ts";
import { err, ok, type Result } from "../model/result.ts";
import { federationName } from "../model/wire/fields.ts";
import { type DynamoDbSettings, LOG_LEVELS, parseDynamoDb } from "./config.ts";

/** Settings of a registry that has no disk: on Lambda and Workers. */
export interface ServerlessConfig {
  readonly federation: string;
  readonly table: DynamoDbSettings;
  /** Hex. */
  readonly adminTokenSha256: string;
  /** What seals the keys in the table. */
  readonly seal:
    | { readonly kind: "kms"; readonly keyId: string }
    | { readonly kind: "secret"; readonly secret: string };
  /** A root key that never leaves KMS. */
  readonly rootKmsKey?: string;
  readonly kmsEndpoint?: string;
  readonly logLevel: LogLevel;
}

/** All mistakes at once. */
export function parseServerlessConfig(
  get: (key: string) => string | undefined,
): Result<ServerlessConfig, readonly Issue[]> {
  const issues: Issue[] = [];
  const complain = (path: string, message: string): void => void issues.push({ path, message });
  const federation = get("ISTHMUS_FEDERATION") || "";
  if (!federationName.safeParse(federation).success)
    complain("ISTHMUS_FEDERATION", `"${federation}" is not a DNS name such as "acme.mesh"`);
  const adminTokenSha256 = get("ISTHMUS_ADMIN_TOKEN_SHA256") || "";
  if (!/^[0-9a-f]{64}$/.test(adminTokenSha256))
    complain("ISTHMUS_ADMIN_TOKEN_SHA256", "must be the SHA-256 of the admin token, 64 hexadecimal digits");
  const keyId = get("ISTHMUS_SEAL_KMS_KEY") || undefined;
  const secret = get("ISTHMUS_SEAL_SECRET") || undefined;
  if ((keyId === undefined) === (secret === undefined))
    complain("ISTHMUS_SEAL_KMS_KEY", "exactly one of it and ISTHMUS_SEAL_SECRET seals the keys in the table");
  const level = get("ISTHMUS_LOG_LEVEL") || "info";
  const logLevel = LOG_LEVELS.find((known) => known === level);
  if (logLevel === undefined)
    complain("ISTHMUS_LOG_LEVEL", `"${level}" is not one of ${LOG_LEVELS.join(", ")}`);
  const table = parseDynamoDb(get, complain);
  const rootKmsKey = get("ISTHMUS_ROOT_KMS_KEY") || undefined;
  const kmsEndpoint = get("ISTHMUS_KMS_ENDPOINT") || undefined;
  if (issues.length > 0 || table === undefined || logLevel === undefined) return err(issues);
  return ok({
    federation,
    table,
    adminTokenSha256,
    seal: keyId === undefined ? { kind: "secret", secret: secret ?? "" } : { kind: "kms", keyId },
    ...(rootKmsKey === undefined ? {} : { rootKmsKey }),
    ...(kmsEndpoint === undefined ? {} : { kmsEndpoint }),
    logLevel,
  });
}
