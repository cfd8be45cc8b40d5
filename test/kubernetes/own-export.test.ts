import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ENDPOINT_SLICES } from "../../agents/kubernetes/api/resource-type.ts";
import { KubernetesSource } from "../../agents/kubernetes/source.ts";
import { buildAgent } from "../../agents/proxy/stack.ts";
import { VERSION } from "../../federation/model/version.ts";
import { openDiscovery } from "../../gateway/discovery/index.ts";
import { systemClock } from "../../gateway/process/clock.ts";
import type { MemberContext } from "../../gateway/process/member.ts";
import { NOTHING_OUTSIDE } from "../../gateway/process/outside.ts";
import { type KubeScene, startKubeScene, WEB } from "../fakes/kube-scene.ts";
import { call, clientAs, installAgents, localAddress, until } from "../fakes/kube-world.ts";
import { createMemoryLog } from "../fakes/memory-log.ts";
import { unwrap } from "../fakes/pki.ts";
import { slice } from "./objects.ts";

const [SLICES] = ENDPOINT_SLICES;
/** Where what pods of west send to imported services is led, as capture does. */
const AGENT = localAddress(41);

let scene: KubeScene;
let source: KubernetesSource;
const closers: (() => void)[] = [];

beforeAll(async () => {
  scene = await startKubeScene();
  const { api, gatewayHost, tunnelPort, stateDir, discovery: gateway } = scene.west;
  installAgents(api);
  const ports = [{ name: "tunnel", port: tunnelPort }];
  await api.put(
    SLICES,
    slice("isthmus-gateway", { namespace: "isthmus-system", ports, addresses: [gatewayHost] }),
  );
  const { trustDomain } = gateway.state.current;
  const common = {
    stateDir,
    version: VERSION,
    log: createMemoryLog(),
    clock: systemClock,
    random: Math.random,
  };
  const client = await clientAs(api, "agent");
  source = new KubernetesSource({ ...common, client, trustDomain, role: "agent" });
  const self = { role: "agent", member: "agent-1", servicesSource: source } as const;
  const discovery = unwrap(await openDiscovery({ ...common, ...self }));
  const context: MemberContext = {
    config: {} as MemberContext["config"],
    discovery,
    log: common.log,
    now: Date.now,
    monotonicMs: () => performance.now(),
    random: Math.random,
    outside: NOTHING_OUTSIDE,
    claims: { isShared: () => false, claim: () => {} },
    onChange: () => {},
  };
  const agent = buildAgent(context);
  source.start();
  await agent.start({ host: AGENT, port: 0 });
  closers.push(
    () => source.stop(),
    () => agent.close(),
    () => discovery.stop(),
    () => client.close(),
  );
}, 180_000);

afterAll(async () => {
  for (const close of closers) close();
  await scene?.close();
});

async function captured(): Promise<string> {
  const port = source.pods.ports.current.find((entry) => entry.service.name === "cart")?.listen;
  return port === undefined ? "" : (await call(WEB, { address: AGENT, port })).body;
}

const leadsTo = (answer: string): Promise<true> =>
  until(`a captured call gets ${answer}`, 8_000, async () => (await captured()) === answer || undefined);

const several = async (): Promise<readonly string[]> => {
  const answers = [];
  for (let turn = 0; turn < 12; turn++) answers.push(await captured());
  return [...new Set(answers)];
};

describe("a captured call to a name that the caller's own cluster exports", () => {
  it("stays there, whether others export the name too or not", async () => {
    await scene.offer(scene.west, "cart");
    await leadsTo("cart of west");
    await scene.offer(scene.east, "cart");
    await until("west knows both", 8_000, () =>
      scene.west.discovery.snapshot.current?.imports.length === 2 ? true : undefined,
    );
    expect(await several()).toEqual(["cart of west"]);
  });

  it("goes to another cluster when its own has no endpoint any more", async () => {
    const { api } = scene.west;
    await api.put(SLICES, slice("cart", { ports: [{ name: "http", port: 80 }], addresses: [] }));
    await leadsTo("cart of east");
    expect(await several()).toEqual(["cart of east"]);
  });
});
