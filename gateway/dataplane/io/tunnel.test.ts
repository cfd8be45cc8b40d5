import { once } from "node:events";
import net, { type AddressInfo } from "node:net";
import { describe, expect, it, onTestFinished } from "vitest";
import { createMemoryLog } from "../../../test/fakes/memory-log.ts";
import { createTestFederation } from "../../../test/fakes/pki.ts";
import { EAST } from "../../../test/fakes/rules.ts";
import { until } from "../../../test/fakes/until.ts";
import { compilePeerTrust } from "../identity/peer-trust.ts";
import { createWatch } from "../lifecycle/watch.ts";
import { Tunnel, type TunnelEnvironment } from "./tunnel.ts";
import { Upstream } from "./upstream.ts";

const PEER = { trustDomain: EAST, role: "gateway" } as const;

/** A peer that hangs up on everybody, and what dials it on a machine whose clock is set back whenever it is read. */
async function scene() {
  let dialled = 0;
  const server = net.createServer((socket) => {
    dialled += 1;
    socket.destroy();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => void server.close());
  const federation = createTestFederation("test.mesh", ["east", "west"]);
  let wallMs = Date.now();
  const env: TunnelEnvironment = {
    credential: createWatch(federation.system("west", "gateway")),
    trust: createWatch(compilePeerTrust(federation.bundles, [])),
    log: createMemoryLog(),
    now: () => (wallMs -= 3_600_000),
    monotonicMs: () => performance.now(),
    random: () => 0,
  };
  return { address: `127.0.0.1:${(server.address() as AddressInfo).port}`, env, dialled: () => dialled };
}

describe("a tunnel on a machine whose clock is set back", () => {
  it("is dialled again in time", async () => {
    const { address, env, dialled } = await scene();
    const tunnel = new Tunnel(address, PEER, env, () => {});
    onTestFinished(() => tunnel.close());
    await until("it was dialled three times", 2_000, () => (dialled() >= 3 ? true : undefined));
  });

  it("is waited for as long as ever, and no longer", async () => {
    const { address, env } = await scene();
    const upstream = new Upstream("east", PEER, env, () => {});
    onTestFinished(() => upstream.close());
    upstream.setAddresses([address]);
    const began = performance.now();
    const ready = await new Promise<boolean>((resolve) => upstream.whenReady(resolve));
    expect(ready).toBe(false);
    expect(performance.now() - began).toBeLessThan(3_000);
  });
});
