import { describe, expect, it } from "vitest";
import { type IpcPort, openIpc } from "./ipc.ts";

function fakeParent() {
  const sent: unknown[] = [];
  let onDisconnect = (): void => {};
  const port = {
    connected: true as boolean,
    send(message: unknown, callback: (error: Error | null) => void) {
      sent.push(message);
      callback(new Error("EPIPE"));
      return true;
    },
    once(_event: "disconnect", listener: () => void) {
      onDisconnect = listener;
    },
  } satisfies IpcPort;
  return { port, sent, disconnect: () => onDisconnect() };
}

describe("openIpc", () => {
  it("sends to the parent and survives a parent that dies meanwhile", () => {
    const { port, sent } = fakeParent();
    openIpc(port, () => {}).send({ type: "draining" });
    expect(sent).toEqual([{ type: "draining" }]);
  });

  it("sends nothing once the parent is gone", () => {
    const { port, sent } = fakeParent();
    const ipc = openIpc(port, () => {});
    port.connected = false;
    ipc.send({ type: "draining" });
    expect(sent).toEqual([]);
  });

  it("announces that the process is orphaned", () => {
    let orphaned = 0;
    const { port, disconnect } = fakeParent();
    openIpc(port, () => orphaned++);
    disconnect();
    expect(orphaned).toBe(1);
  });

  it("does nothing in a process that nobody supervises", () => {
    const bare: IpcPort = { once: () => expect.unreachable("must not listen") };
    openIpc(bare, () => {}).send({ type: "draining" });
  });
});
