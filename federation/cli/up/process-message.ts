import type { WorkloadListenerFailure, WorkloadListenerStatus } from "../../model/resource.ts";

/** What `up` takes notice of in the messages of its processes. */
export type ProcessMessage =
  | { readonly type: "ready"; readonly admin: string | undefined }
  | { readonly type: "draining" }
  | {
      readonly type: "listeners";
      readonly listeners: readonly WorkloadListenerStatus[];
      readonly failures: readonly WorkloadListenerFailure[];
    };

/** `undefined` for anything else: a newer process may say more than this program understands. */
export function parseProcessMessage(message: unknown): ProcessMessage | undefined {
  if (typeof message !== "object" || message === null || !("type" in message)) return undefined;
  if (message.type === "draining") return { type: message.type };
  if (message.type === "ready") {
    const admin: unknown = Reflect.get(message, "admin");
    return { type: message.type, admin: typeof admin === "string" ? admin : undefined };
  }
  if (message.type !== "listeners" || !("listeners" in message)) return undefined;
  const { listeners } = message;
  const failures: unknown = Reflect.get(message, "failures");
  if (!Array.isArray(listeners) || !listeners.every(isListener)) return undefined;
  // They only explain: what is not understood of them is left out.
  return {
    type: "listeners",
    listeners,
    failures: Array.isArray(failures) ? failures.filter(isFailure) : [],
  };
}

function isListener(value: unknown): value is WorkloadListenerStatus {
  return isAbout(value, ["workload", "service", "address"]);
}

function isFailure(value: unknown): value is WorkloadListenerFailure {
  return isAbout(value, ["workload", "service", "code", "detail"]);
}

function isAbout(value: unknown, texts: readonly string[]): boolean {
  return (
    typeof value === "object" &&
    value !== null &&
    texts.every((field) => typeof Reflect.get(value, field) === "string") &&
    typeof Reflect.get(value, "port") === "number"
  );
}
