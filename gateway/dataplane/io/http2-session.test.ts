import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { socketTransport } from "./http2-session.ts";

const closing: (() => void)[] = [];
afterEach(() => {
  for (const close of closing.splice(0)) close();
});

async function joined(): Promise<{ readonly near: Socket; readonly far: Socket }> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const near = connect((server.address() as AddressInfo).port, "127.0.0.1");
  const [[far]] = (await Promise.all([once(server, "connection"), once(near, "connect")])) as [
    [Socket],
    unknown,
  ];
  closing.push(() => {
    near.destroy();
    far.destroy();
    server.close();
  });
  return { near, far };
}

describe("a session's bytes on a socket", () => {
  it("are the session's again at once where the kernel takes them", async () => {
    const { near, far } = await joined();
    let isBack = false;
    socketTransport(near).write(Buffer.from("few"), () => void (isBack = true));
    expect(isBack).toBe(true);
    expect(String((await once(far, "data"))[0])).toBe("few");
  });

  it("are so only once they are gone where the peer reads nothing, and arrive as they were", async () => {
    const { near, far } = await joined();
    far.pause();
    // More than any kernel's buffers for a connection.
    const many = Buffer.alloc(64 * 1024 * 1024, "m");
    let isBack = false;
    const back = new Promise<void>((resolve) => {
      socketTransport(near).write(many, () => {
        isBack = true;
        resolve();
      });
    });
    await new Promise((resolve) => setImmediate(resolve));
    expect(isBack).toBe(false);
    let received = 0;
    far.on("data", (chunk: Buffer) => void (received += chunk.length)).resume();
    await back;
    socketTransport(near).write(Buffer.from("end"), () => {});
    near.end();
    await once(far, "end");
    expect(received).toBe(many.length + 3);
  });
});
