import { availableParallelism } from "node:os";
import { EXIT } from "../exit.ts";
import { ok } from "../../model/result.ts";
import { type Command, type Flags, usage } from "../invocation.ts";

/** Flags of the roles and the settings that they stand for; the roles themselves read their environment only. */
const SETTINGS: { readonly [flag: string]: string } = {
  state: "ISTHMUS_STATE_DIR",
  listen: "ISTHMUS_LISTEN",
  federation: "ISTHMUS_FEDERATION",
  member: "ISTHMUS_MEMBER",
  advertise: "ISTHMUS_ADVERTISE",
  services: "ISTHMUS_SERVICES_FILE",
  adminListen: "ISTHMUS_ADMIN_LISTEN",
  registry: "ISTHMUS_REGISTRY",
  logLevel: "ISTHMUS_LOG_LEVEL",
  accessLog: "ISTHMUS_ACCESS_LOG",
  kubernetes: "ISTHMUS_KUBERNETES",
  node: "ISTHMUS_NODE",
  joinTokenFile: "ISTHMUS_JOIN_TOKEN_FILE",
  store: "ISTHMUS_STORE",
  table: "ISTHMUS_DYNAMODB_TABLE",
  endpoint: "ISTHMUS_DYNAMODB_ENDPOINT",
};

/** The settings that the given flags make. */
export function settingsOf(flags: Flags): Readonly<Record<string, string>> {
  const settings: Record<string, string> = {};
  for (const [flag, name] of Object.entries(SETTINGS)) {
    const value = flags.text(flag);
    if (value !== undefined) settings[name] = value;
  }
  return settings;
}

/** The role runs in this process: it takes the signals, and its exit code is the command's. */
function role(load: () => Promise<unknown>): Command {
  return async ({ flags }) => {
    Object.assign(process.env, settingsOf(flags));
    await load();
    return ok(EXIT.yes);
  };
}

export const registry = role(() => import("../../runtime/node.ts"));
export const controller = role(() => import("../../../agents/kubernetes/main.ts"));
export const gateway = withWorkers(
  "gateway",
  role(() => import("../../../gateway/main.ts")),
);
export const agent = withWorkers(
  "agent",
  role(() => import("../../../agents/main.ts")),
);

/** Several processes on one port where that is asked for; one, in this process, otherwise. */
function withWorkers(name: "gateway" | "agent", alone: Command): Command {
  return async (invocation) => {
    const wanted = invocation.flags.text("workers") ?? invocation.terminal.env("ISTHMUS_WORKERS") ?? "1";
    const count = wanted === "auto" ? availableParallelism() : Number(wanted);
    if (!Number.isInteger(count) || count < 1 || count > MAX_WORKERS)
      return usage(`--workers ${wanted} is neither auto nor a number from 1 to ${MAX_WORKERS}`);
    if (count === 1) return alone(invocation);
    const { runWorkers } = await import("../workers/run-workers.ts");
    return runWorkers(invocation, name, count, { ...process.env, ...settingsOf(invocation.flags) });
  };
}

// More than a machine has cores for is surely a typing mistake.
const MAX_WORKERS = 64;
