import type { WorkloadListenerFailure, WorkloadListenerStatus } from "../../federation/model/resource.ts";

/** What a role tells the process that started it. */
export type IpcMessage =
  | { readonly type: "ready"; readonly listen: string; readonly admin: string }
  | {
      readonly type: "listeners";
      readonly listeners: readonly WorkloadListenerStatus[];
      readonly failures: readonly WorkloadListenerFailure[];
    }
  | { readonly type: "draining" };

/** The part of `process` that matters here. */
export interface IpcPort {
  readonly connected?: boolean;
  send?(message: unknown, callback: (error: Error | null) => void): boolean;
  once(event: "disconnect", listener: () => void): unknown;
  on(event: "message", listener: (message: unknown) => void): unknown;
}

/** What the process that started it tells a role: its successor serves, so it may stop accepting. */
export const RELIEVED = { type: "relieved" } as const;

export interface Ipc {
  send(message: IpcMessage): void;
}

export interface IpcEvents {
  /** The parent is gone. */
  onOrphaned(): void;
  onRelieved(): void;
}

/** Without a parent that listens, sending does nothing. */
export function openIpc(port: IpcPort, { onOrphaned, onRelieved }: IpcEvents): Ipc {
  if (port.send === undefined) return { send: () => {} };
  port.once("disconnect", onOrphaned);
  port.on("message", (message) => {
    if ((message as { readonly type?: unknown } | null)?.type === RELIEVED.type) onRelieved();
  });
  return {
    send(message) {
      // The parent may die between the check and the write: that ends in `disconnect`, not in an error of ours.
      if (port.connected === true) port.send?.(message, () => {});
    },
  };
}
