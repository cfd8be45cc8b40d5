import { err, ok, type Result } from "../../../federation/model/result.ts";

/** Where the API server is, and as whom we speak. */
export interface KubeAccess {
  readonly url: URL;
  /** PEM. */
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  readonly serverName?: string;
  /** Asked for every request: projected tokens are replaced while we run. */
  token(): string | undefined;
}

export interface AccessEnvironment {
  get(name: string): string | undefined;
  readFile(path: string): string;
  /** Parses YAML; handed in, because the parser costs a process in a cluster 10 MB for nothing. */
  parseYaml?(text: string): unknown;
}

const ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount";

/** The pod's own service account. */
export function inClusterAccess(environment: AccessEnvironment): Result<KubeAccess> {
  const host = environment.get("KUBERNETES_SERVICE_HOST");
  const port = environment.get("KUBERNETES_SERVICE_PORT") ?? "443";
  if (host === undefined)
    return err("KUBERNETES_SERVICE_HOST is not set: this process does not run in a pod; give a kubeconfig");
  const url = URL.parse(`https://${host.includes(":") ? `[${host}]` : host}:${port}`);
  if (url === null) return err(`KUBERNETES_SERVICE_HOST "${host}" is not an address`);
  const directory = environment.get("ISTHMUS_KUBE_ACCOUNT_DIR") ?? ACCOUNT;
  try {
    const ca = environment.readFile(`${directory}/ca.crt`);
    let token = environment.readFile(`${directory}/token`).trim();
    return ok({
      url,
      ca,
      token() {
        try {
          token = environment.readFile(`${directory}/token`).trim();
        } catch {
          // Between two versions of the projected volume the last token is still the best one.
        }
        return token;
      },
    });
  } catch (error) {
    return err(`the service account's files cannot be read: ${(error as Error).message}`);
  }
}

interface KubeConfig {
  readonly "current-context"?: string;
  readonly contexts?: readonly {
    readonly name: string;
    readonly context: { readonly cluster: string; readonly user: string };
  }[];
  readonly clusters?: readonly {
    readonly name: string;
    readonly cluster: { readonly [key: string]: unknown };
  }[];
  readonly users?: readonly { readonly name: string; readonly user: { readonly [key: string]: unknown } }[];
}

/** A kubeconfig file, with a client certificate or a token; what needs a plug-in program is refused by name. */
export function kubeConfigAccess(path: string, environment: AccessEnvironment): Result<KubeAccess> {
  let config: KubeConfig | null;
  try {
    const text = environment.readFile(path);
    config = (environment.parseYaml ?? JSON.parse)(text) as KubeConfig | null;
  } catch (error) {
    return err(`${path} cannot be read: ${(error as Error).message}`);
  }
  const name = config?.["current-context"];
  const context = config?.contexts?.find((each) => each.name === name)?.context;
  const cluster = config?.clusters?.find((each) => each.name === context?.cluster)?.cluster;
  const user = config?.users?.find((each) => each.name === context?.user)?.user ?? {};
  if (cluster === undefined) return err(`${path} has no usable current-context`);
  const url = URL.parse(textOf(cluster["server"]) ?? "");
  if (url === null) return err(`${path}: the cluster's server is not a URL`);
  for (const plugin of ["exec", "auth-provider"])
    if (user[plugin] !== undefined)
      return err(`${path}: users with "${plugin}" are not supported; use a token`);
  try {
    const ca = material(cluster, "certificate-authority", environment);
    const cert = material(user, "client-certificate", environment);
    const key = material(user, "client-key", environment);
    const tokenFile = textOf(user["tokenFile"]);
    const token = textOf(user["token"]);
    return ok({
      url,
      ...(ca === undefined ? {} : { ca }),
      ...(cert === undefined ? {} : { cert }),
      ...(key === undefined ? {} : { key }),
      ...(textOf(cluster["tls-server-name"]) === undefined
        ? {}
        : { serverName: String(cluster["tls-server-name"]) }),
      token: () => (tokenFile === undefined ? token : environment.readFile(tokenFile).trim()),
    });
  } catch (error) {
    return err(`${path}: ${(error as Error).message}`);
  }
}

/** `<name>-data` in base64, or the file that `<name>` points to. */
function material(
  section: { readonly [key: string]: unknown },
  name: string,
  environment: AccessEnvironment,
): string | undefined {
  const data = textOf(section[`${name}-data`]);
  if (data !== undefined) return Buffer.from(data, "base64").toString("utf8");
  const file = textOf(section[name]);
  return file === undefined ? undefined : environment.readFile(file);
}

function textOf(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}
