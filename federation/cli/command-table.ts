// Longer than other files because every command is read in one table.
import { PROBLEMS } from "../model/problem.ts";
import type { Command } from "./invocation.ts";
import { FORMATS } from "./output/format.ts";

/**
 * Every command of the program as data: commander, the help and the shell completions are made from it. Implementations are
 * loaded when they run, so that `isthmus version` does not pay for what `isthmus up` needs.
 */
export interface CommandSpec {
  /** `cluster register` */
  readonly path: string;
  /** `<name>` required, `[name]` optional, `[name...]` any number. */
  readonly args?: readonly ArgumentSpec[];
  readonly summary: string;
  readonly options: readonly OptionSpec[];
  readonly group: "Try it" | "Federate" | "Resources" | "Look" | "Run a role";
  readonly load: () => Promise<Command>;
}

export interface ArgumentSpec {
  readonly name: string;
  readonly summary: string;
  readonly words?: readonly string[];
}

export interface OptionSpec {
  /** As commander has it: `-f, --file <path>`; a value `<x...>` may be given several times. */
  readonly flags: string;
  readonly summary: string;
  readonly words?: readonly string[];
}

const OUTPUT: readonly OptionSpec[] = [
  { flags: "-o, --output <format>", summary: "how to print data", words: FORMATS },
  { flags: "--color <when>", summary: "auto, always or never", words: ["auto", "always", "never"] },
];
const CONNECTION: readonly OptionSpec[] = [
  { flags: "--registry <url>", summary: "the registry (ISTHMUS_REGISTRY)" },
  { flags: "--token-file <path>", summary: "file with the operator token (ISTHMUS_TOKEN_FILE)" },
  { flags: "--config <path>", summary: "file with contexts (ISTHMUS_CONFIG; ~/.config/isthmus/config.yaml)" },
  { flags: "--context <name>", summary: "which context of that file (ISTHMUS_CONTEXT)" },
  ...OUTPUT,
];
const DRY_RUN: OptionSpec = { flags: "--dry-run", summary: "say what would change, change nothing" };
const TIMEOUT: OptionSpec = { flags: "--timeout <time>", summary: "how long to wait, such as 30s or 2m" };
const CHANGE: readonly OptionSpec[] = [
  DRY_RUN,
  { flags: "--wait", summary: "wait until every member of the clusters concerned applied it" },
  TIMEOUT,
  ...CONNECTION,
];
const CLUSTER: OptionSpec = { flags: "--cluster <name>", summary: "the cluster (ISTHMUS_CLUSTER)" };
const NAMESPACE: OptionSpec = { flags: "-n, --namespace <name>", summary: "the namespace" };
const STATE_DIR: OptionSpec = {
  flags: "--state <dir>",
  summary: "the state directory (ISTHMUS_STATE_DIR)",
};
const LISTEN: OptionSpec = { flags: "--listen <address>", summary: "host:port (ISTHMUS_LISTEN)" };
/** Where a registry keeps its facts. */
const STORE: readonly OptionSpec[] = [
  {
    flags: "--store <kind>",
    summary: "sqlite (default) or dynamodb (ISTHMUS_STORE)",
    words: ["sqlite", "dynamodb"],
  },
  { flags: "--table <name>", summary: "the DynamoDB table (ISTHMUS_DYNAMODB_TABLE, default isthmus)" },
  { flags: "--endpoint <url>", summary: "DynamoDB elsewhere than at AWS (ISTHMUS_DYNAMODB_ENDPOINT)" },
];

const LOG_LEVEL: OptionSpec = {
  flags: "--log-level <level>",
  summary: "debug, info, warn or error (ISTHMUS_LOG_LEVEL)",
  words: ["debug", "info", "warn", "error"],
};
const KUBERNETES: OptionSpec = {
  flags: "--kubernetes <access>",
  summary: "services from Kubernetes: in-cluster, or a kubeconfig (ISTHMUS_KUBERNETES)",
};
const MEMBER: readonly OptionSpec[] = [
  STATE_DIR,
  LISTEN,
  { flags: "--member <name>", summary: "this process's name in its cluster (ISTHMUS_MEMBER)" },
  { flags: "--services <path>", summary: "StaticCluster file (ISTHMUS_SERVICES_FILE)" },
  { flags: "--admin-listen <address>", summary: "health, metrics, probes (ISTHMUS_ADMIN_LISTEN)" },
  { flags: "--registry <url>", summary: "instead of the one it joined (ISTHMUS_REGISTRY)" },
  KUBERNETES,
  LOG_LEVEL,
  {
    flags: "--workers <count>",
    summary: "processes that share the port: a number, or auto for one per core (ISTHMUS_WORKERS)",
  },
  {
    flags: "--access-log <which>",
    summary: "off, errors, all, or a share such as 1%, errors always (ISTHMUS_ACCESS_LOG)",
  },
];

const MANIFEST: OptionSpec = { flags: "--manifest", summary: "as YAML on stdout" };
const KINDS = [
  "clusters",
  "services",
  "exports",
  "imports",
  "egress",
  "ratelimits",
  "trafficpolicies",
  "rollouts",
];
const KIND: ArgumentSpec = { name: "<kind>", summary: "what to look at", words: KINDS };
const SERVICE: ArgumentSpec = { name: "<service>", summary: "name.namespace, such as cart.shop" };
const ROLLOUT: ArgumentSpec = { name: "<rollout>", summary: "namespace/name, or cluster/namespace/name" };
const FILE: OptionSpec = { flags: "-f, --file <path...>", summary: "YAML or JSON; - reads stdin" };

export const COMMANDS: readonly CommandSpec[] = [
  {
    path: "demo",
    group: "Try it",
    summary: "two clusters on this machine: a call that works, one that is refused, and why",
    options: [
      { flags: "--once", summary: "run it, check it, exit 0 or 1" },
      { flags: "-v, --verbose", summary: "show the processes' logs" },
      TIMEOUT,
      ...OUTPUT,
    ],
    load: async () => (await import("./demo/command.ts")).demo,
  },
  {
    path: "up",
    group: "Try it",
    summary: "start a whole federation on this machine from one file",
    options: [
      { flags: "-f, --file <path>", summary: "the file; - reads stdin" },
      { flags: "--state <dir>", summary: "keep the state here (default: a temporary directory)" },
      { flags: "-v, --verbose", summary: "show the processes' logs" },
      { flags: "--dry-run", summary: "check the file and say what would be started" },
      TIMEOUT,
      ...OUTPUT,
    ],
    load: async () => (await import("./up/command.ts")).up,
  },
  {
    path: "cluster register",
    group: "Federate",
    summary: "admit a cluster: prints its single-use join token",
    args: [{ name: "<cluster>", summary: "a name, such as east" }],
    options: [DRY_RUN, ...CONNECTION],
    load: async () => (await import("./commands/cluster.ts")).register,
  },
  {
    path: "cluster join",
    group: "Federate",
    summary: "make this machine a member: redeems the join token",
    args: [{ name: "<cluster>", summary: "the name that was registered" }],
    options: [
      { flags: "--join-token <token>", summary: "what cluster register printed (ISTHMUS_JOIN_TOKEN)" },
      { flags: "--join-token-file <path>", summary: "a file that holds it; - reads stdin" },
      STATE_DIR,
      { flags: "--force", summary: "replace the membership that the state directory holds" },
      DRY_RUN,
      ...CONNECTION,
    ],
    load: async () => (await import("./commands/join.ts")).join,
  },
  {
    path: "cluster list",
    group: "Federate",
    summary: "the clusters of the federation",
    options: CONNECTION,
    load: async () => (await import("./commands/cluster.ts")).list,
  },
  {
    path: "cluster status",
    group: "Federate",
    summary: "one cluster's members, revisions and tunnels",
    args: [{ name: "<cluster>", summary: "its name" }],
    options: CONNECTION,
    load: async () => (await import("./commands/cluster.ts")).status,
  },
  {
    path: "install",
    group: "Federate",
    summary: "print what a Kubernetes cluster needs: isthmus install --manifest … | kubectl apply -f -",
    options: [
      MANIFEST,
      { flags: "--registry <url>", summary: "the registry (ISTHMUS_REGISTRY)" },
      { flags: "--advertise <address>", summary: "where other clusters dial the gateways, host:port" },
      { flags: "--join-token-file <path>", summary: "what cluster register printed; - reads stdin" },
      { flags: "--ca-csr <path>", summary: "the CA's key is with an issuer of cert-manager's: its request" },
      {
        flags: "--ca-issuer <issuer>",
        summary: "which, such as StepIssuer.certmanager.step.sm/west (Issuer/isthmus-ca)",
      },
      {
        flags: "--image-prefix <prefix>",
        summary: "where the images are, such as registry.example.com/isthmus",
      },
      { flags: "--image-tag <tag>", summary: "their tag" },
      { flags: "--agents", summary: "an agent on every node too; makes their namespace a privileged one" },
    ],
    load: async () => (await import("./commands/install.ts")).install,
  },
  {
    path: "uninstall",
    group: "Federate",
    summary: "print what to delete: isthmus uninstall --manifest | kubectl delete --ignore-not-found -f -",
    options: [MANIFEST, { flags: "--mcs", summary: "the MCS kinds too, with all their objects" }],
    load: async () => (await import("./commands/install.ts")).uninstall,
  },
  {
    path: "service export",
    group: "Federate",
    summary: "offer a service to other clusters",
    args: [SERVICE],
    options: [
      CLUSTER,
      { flags: "--to <clusters...>", summary: "consumers: cluster names" },
      {
        flags: "--workload <patterns...>",
        summary: "only these of their workloads, such as ns/shop/sa/web",
      },
      ...CHANGE,
    ],
    load: async () => (await import("./commands/service.ts")).exportService,
  },
  {
    path: "service import",
    group: "Federate",
    summary: "accept a service of another cluster",
    args: [SERVICE],
    options: [
      CLUSTER,
      { flags: "--from <clusters>", summary: "who exports it; several with commas" },
      { flags: "--as <service>", summary: "another local name: name.namespace" },
      ...CHANGE,
    ],
    load: async () => (await import("./commands/service.ts")).importService,
  },
  {
    path: "service list",
    group: "Federate",
    summary: "services, who exports them and who imports them",
    options: [CLUSTER, ...CONNECTION],
    load: async () => (await import("./commands/service-list.ts")).list,
  },
  {
    path: "rollout status",
    group: "Federate",
    summary: "where rollouts stand, and why; exit 1 if the named one went back",
    args: [{ name: "[rollout]", summary: "namespace/name, or cluster/namespace/name" }],
    options: [CLUSTER, NAMESPACE, ...CONNECTION],
    load: async () => (await import("./commands/rollout.ts")).status,
  },
  {
    path: "rollout pause",
    group: "Federate",
    summary: "keep a rollout at its step",
    args: [ROLLOUT],
    options: [CLUSTER, NAMESPACE, ...CHANGE],
    load: async () => (await import("./commands/rollout.ts")).pause,
  },
  {
    path: "rollout promote",
    group: "Federate",
    summary:
      "go on: past a step that waits, into one that was paused by hand; one that went back begins anew",
    args: [ROLLOUT],
    options: [CLUSTER, NAMESPACE, ...CHANGE],
    load: async () => (await import("./commands/rollout.ts")).promote,
  },
  {
    path: "rollout abort",
    group: "Federate",
    summary: "send every request to the stable version again",
    args: [ROLLOUT],
    options: [CLUSTER, NAMESPACE, ...CHANGE],
    load: async () => (await import("./commands/rollout.ts")).abort,
  },
  {
    path: "egress list",
    group: "Federate",
    summary: "policies: which workloads may leave, to where and as whom",
    options: [CLUSTER, ...CONNECTION],
    load: async () => (await import("./commands/egress.ts")).list,
  },
  {
    path: "egress report",
    group: "Federate",
    summary: "what left the cluster, and the smallest policy that allows exactly that",
    options: [
      { flags: "--write <file>", summary: "write that policy, to be read and applied" },
      CLUSTER,
      ...CONNECTION,
    ],
    load: async () => (await import("./commands/egress-report.ts")).report,
  },
  {
    path: "egress test",
    group: "Federate",
    summary: "would this workload reach that host? exit 0 yes, 1 no, 2 cannot tell",
    args: [
      { name: "<workload>", summary: "such as ns/shop/sa/web" },
      { name: "<destination>", summary: "host:port (443 unless given), or a service's clusterset name" },
    ],
    options: [
      { flags: "-f, --file <path...>", summary: "by the policies of these files; else by a gateway's own" },
      { flags: "--method <name>", summary: "for HTTP: with this method" },
      { flags: "--path <path>", summary: "for HTTP: and this path" },
      CLUSTER,
      ...CONNECTION,
    ],
    load: async () => (await import("./commands/egress-test.ts")).test,
  },
  {
    path: "apply",
    group: "Resources",
    summary: "create or change exports, imports and rules from a file, all or nothing",
    options: [FILE, ...CHANGE],
    load: async () => (await import("./commands/apply.ts")).apply,
  },
  {
    path: "get",
    group: "Resources",
    summary: "show resources as they are, with their conditions",
    args: [KIND, { name: "[name]", summary: "cluster/namespace/name, or cluster/name" }],
    options: [CLUSTER, NAMESPACE, ...CONNECTION],
    load: async () => (await import("./commands/get.ts")).get,
  },
  {
    path: "delete",
    group: "Resources",
    summary: "remove a resource, or the resources of a file",
    args: [
      { name: "[kind]", summary: "its kind, or kind/cluster/namespace/name", words: KINDS },
      { name: "[name]", summary: "cluster/namespace/name" },
    ],
    options: [FILE, CLUSTER, NAMESPACE, ...CHANGE],
    load: async () => (await import("./commands/delete.ts")).remove,
  },
  {
    path: "check",
    group: "Look",
    summary: "is the federation well? every check with its fix; exit 1 if not",
    options: [
      { flags: "--no-probe", summary: "leave out the end-to-end probes" },
      TIMEOUT,
      ...CONNECTION.filter(({ flags }) => !flags.startsWith("-o")),
      { flags: "-o, --output <format>", summary: "how to print", words: ["table", "short", "json", "yaml"] },
    ],
    load: async () => (await import("./check/command.ts")).check,
  },
  {
    path: "explain",
    group: "Look",
    summary: "what a code means and what to do about it (works offline), or why a call fails",
    args: [
      {
        name: "[code]",
        summary: "such as ISTH-2001; without it, all of them",
        words: Object.values(PROBLEMS).map(({ code }) => code),
      },
    ],
    options: [
      { flags: "--from <workload>", summary: "who calls: west/ns/shop/sa/web, or west/shop/web" },
      { flags: "--to <service>", summary: "what it calls, by its local name: cart.shop" },
      ...CONNECTION,
    ],
    load: async () => (await import("./commands/explain.ts")).explain,
  },
  {
    path: "version",
    group: "Look",
    summary: "the versions of Isthmus and of Node.js",
    options: OUTPUT,
    load: async () => (await import("./commands/version.ts")).version,
  },
  {
    path: "completion",
    group: "Look",
    summary: "a script that completes commands in your shell",
    args: [{ name: "<shell>", summary: "bash, zsh or fish", words: ["bash", "zsh", "fish"] }],
    options: [],
    load: async () => (await import("./commands/completion.ts")).completion,
  },
  {
    path: "registry",
    group: "Run a role",
    summary: "run a registry in the foreground",
    options: [
      STATE_DIR,
      LISTEN,
      { flags: "--federation <name>", summary: "such as acme.mesh (ISTHMUS_FEDERATION)" },
      ...STORE,
      LOG_LEVEL,
    ],
    load: async () => (await import("./commands/role.ts")).registry,
  },
  {
    path: "registry export",
    group: "Run a role",
    summary: "write a federation whole, keys included, into a new file",
    args: [{ name: "<file>", summary: "must not exist; only you can read it" }],
    options: [STATE_DIR, ...STORE],
    load: async () => (await import("./commands/registry.ts")).exportCommand,
  },
  {
    path: "registry import",
    group: "Run a role",
    summary: "fill an empty store from an export: same revisions, same keys",
    args: [{ name: "<file>", summary: "what registry export wrote" }],
    options: [STATE_DIR, ...STORE],
    load: async () => (await import("./commands/registry.ts")).importCommand,
  },
  {
    path: "registry migrate",
    group: "Run a role",
    summary: "make what a store lacks: the table, or the file and its schema",
    options: [STATE_DIR, ...STORE],
    load: async () => (await import("./commands/registry.ts")).migrateCommand,
  },
  {
    path: "registry recover",
    group: "Run a role",
    summary: "go on with an older copy of a store: members accept it again",
    options: [STATE_DIR, ...STORE],
    load: async () => (await import("./commands/registry.ts")).recoverCommand,
  },
  {
    path: "registry rotate-key",
    group: "Run a role",
    summary: "announce a new key for signing snapshots and tokens; members follow by themselves",
    options: [
      ...CONNECTION,
      { flags: "--compromised", summary: "at once: the old key, and every token signed with it, are void" },
      DRY_RUN,
    ],
    load: async () => (await import("./commands/rotate-key.ts")).rotateKey,
  },
  {
    path: "gateway",
    group: "Run a role",
    summary: "run a gateway of a joined cluster in the foreground",
    options: [
      ...MEMBER,
      { flags: "--advertise <address>", summary: "where other clusters dial it (ISTHMUS_ADVERTISE)" },
    ],
    load: async () => (await import("./commands/role.ts")).gateway,
  },
  {
    path: "controller",
    group: "Run a role",
    summary: "keep a Kubernetes cluster's objects and the registry in step",
    options: [
      STATE_DIR,
      LISTEN,
      { flags: "--member <name>", summary: "this process's name in its cluster (ISTHMUS_MEMBER)" },
      { flags: "--admin-listen <address>", summary: "health, metrics, probes (ISTHMUS_ADMIN_LISTEN)" },
      { flags: "--registry <url>", summary: "the registry to join (ISTHMUS_REGISTRY)" },
      {
        flags: "--join-token-file <path>",
        summary: "joins with it, unless the cluster has joined (ISTHMUS_JOIN_TOKEN_FILE)",
      },
      KUBERNETES,
      LOG_LEVEL,
    ],
    load: async () => (await import("./commands/role.ts")).controller,
  },
  {
    path: "agent",
    group: "Run a role",
    summary: "run an agent of a joined cluster in the foreground",
    options: MEMBER,
    load: async () => (await import("./commands/role.ts")).agent,
  },
];

/** What a group of commands is about, for its own help. */
export const NOUNS: { readonly [noun: string]: string } = {
  cluster: "register, join and look at clusters",
  service: "export, import and list services",
  rollout: "follow and steer rollouts",
  egress: "what may leave a cluster",
};
