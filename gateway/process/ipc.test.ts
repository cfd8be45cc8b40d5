import { describe, expect, it } from "vitest";
import { type IpcEvents, type IpcPort, openIpc } from "./ipc.ts";

function fakeParent() {
  const sent: unknown[] = [];
  let onDisconnect = (): void => {};
  let onMessage = (_: unknown): void => {};
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
    on(_event: "message", listener: (message: unknown) => void) {
      onMessage = listener;
    },
  } satisfies IpcPort;
  return { port, sent, disconnect: () => onDisconnect(), say: (message: unknown) => onMessage(message) };
}

const DEAF: IpcEvents = { onOrphaned: () => {}, onRelieved: () => {} };

describe("openIpc", () => {
  it("sends to the parent and survives a parent that dies meanwhile", () => {
    const { port, sent } = fakeParent();
    openIpc(port, DEAF).send({ type: "draining" });
    expect(sent).toEqual([{ type: "draining" }]);
  });

  it("sends nothing once the parent is gone", () => {
    const { port, sent } = fakeParent();
    const ipc = openIpc(port, DEAF);
    port.connected = false;
    ipc.send({ type: "draining" });
    expect(sent).toEqual([]);
  });

  it("announces that the process is orphaned", () => {
    let orphaned = 0;
    const { port, disconnect } = fakeParent();
    openIpc(port, { ...DEAF, onOrphaned: () => void orphaned++ });
    disconnect();
    expect(orphaned).toBe(1);
  });

  it("hears that the successor serves, and nothing in anything else", () => {
    let relieved = 0;
    const { port, say } = fakeParent();
    openIpc(port, { ...DEAF, onRelieved: () => void relieved++ });
    for (const message of [null, "relieved", { type: "ready" }]) say(message);
    expect(relieved).toBe(0);
    say({ type: "relieved" });
    expect(relieved).toBe(1);
  });

  it("does nothing in a process that nobody supervises", () => {
    const unheard = () => expect.unreachable("must not listen");
    const bare: IpcPort = { once: unheard, on: unheard };
    openIpc(bare, DEAF).send({ type: "draining" });
  });
});
