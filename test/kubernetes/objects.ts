/** Objects as people and Kubernetes' own controllers write them, with good defaults. */
export const namespace = (name: string, annotations: Record<string, string> = {}) => ({
  metadata: { name, annotations },
});

export interface ServiceOptions {
  readonly namespace?: string;
  readonly ports?: readonly {
    readonly name?: string;
    readonly port: number;
    readonly protocol?: string;
    readonly appProtocol?: string;
  }[];
  readonly spec?: object;
  readonly labels?: Record<string, string>;
  readonly annotations?: Record<string, string>;
}

const HTTP = [{ name: "http", port: 80 }];

export const service = (name: string, options: ServiceOptions = {}) => ({
  metadata: {
    namespace: options.namespace ?? "shop",
    name,
    labels: options.labels ?? {},
    annotations: options.annotations ?? {},
  },
  spec: {
    selector: { app: name },
    ports: (options.ports ?? HTTP).map((port) => ({ protocol: "TCP", ...port })),
    ...options.spec,
  },
});

export const serviceExport = (
  name: string,
  options: {
    readonly namespace?: string;
    readonly annotations?: Record<string, string>;
    readonly spec?: object;
  } = {},
) => ({
  metadata: { namespace: options.namespace ?? "shop", name, annotations: options.annotations ?? {} },
  ...(options.spec === undefined ? {} : { spec: options.spec }),
});

export interface SliceOptions {
  readonly namespace?: string;
  readonly suffix?: string;
  readonly ports?: readonly { readonly name?: string; readonly port: number }[];
  readonly addresses: readonly string[];
  readonly ready?: boolean;
}

/** As the EndpointSlice controller writes it. */
export const slice = (name: string, options: SliceOptions) => ({
  metadata: {
    namespace: options.namespace ?? "shop",
    name: `${name}-${options.suffix ?? "1"}`,
    labels: { "kubernetes.io/service-name": name },
  },
  addressType: "IPv4",
  ports: (options.ports ?? []).map((port) => ({ name: "", protocol: "TCP", ...port })),
  endpoints: options.addresses.map((address) => ({
    addresses: [address],
    conditions: { ready: options.ready ?? true },
  })),
});

/** What a restricted namespace, such as ours, admits. */
const RESTRICTED = {
  allowPrivilegeEscalation: false,
  runAsNonRoot: true,
  capabilities: { drop: ["ALL"] },
  seccompProfile: { type: "RuntimeDefault" },
};

export interface PodOptions {
  readonly namespace?: string;
  readonly node?: string;
}

/** Without an address it has not started. */
export const pod = (
  name: string,
  account: string,
  address: string | undefined,
  { namespace: space = "shop", node }: PodOptions = {},
) => ({
  metadata: { namespace: space, name },
  spec: {
    serviceAccountName: account,
    containers: [{ name: "main", image: "app", securityContext: RESTRICTED }],
    ...(node === undefined ? {} : { nodeName: node }),
  },
  ...(address === undefined
    ? {}
    : { status: { phase: "Running", podIP: address, podIPs: [{ ip: address }] } }),
});

/** A ServiceImport as people write it: a name of their own for a service that others export. */
export const alias = (name: string, from: string, space = "shop") => ({
  metadata: { namespace: space, name, annotations: { "isthmus.dev/from": from } },
});
