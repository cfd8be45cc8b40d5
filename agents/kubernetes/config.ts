import { readFileSync } from "node:fs";
import { err, type Result } from "../../federation/model/result.ts";
import { type AccessEnvironment, inClusterAccess, type KubeAccess, kubeConfigAccess } from "./api/access.ts";

const IN_CLUSTER = "in-cluster";

/** `ISTHMUS_KUBERNETES`: `in-cluster`, or the path of a kubeconfig. */
export async function findKubeAccess(setting: string | undefined): Promise<Result<KubeAccess>> {
  if (setting === undefined) return err("ISTHMUS_KUBERNETES is not set: in-cluster, or a kubeconfig's path");
  const environment: AccessEnvironment = {
    get: (name) => process.env[name],
    readFile: (path) => readFileSync(path, "utf8"),
  };
  if (setting === IN_CLUSTER) return inClusterAccess(environment);
  const { parse } = await import("yaml");
  return kubeConfigAccess(setting, { ...environment, parseYaml: (text) => parse(text) as unknown });
}
