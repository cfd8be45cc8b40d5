import { afterEach, describe, expect, it } from "vitest";
import type { Snapshot, SnapshotEgressPolicy } from "../../federation/model/snapshot.ts";
import type { TrustDomain } from "../../federation/model/spiffe-id.ts";
import { type EdgeOptions, type EdgeScene, startEdge } from "../fakes/edge-scene.ts";
import { getRequest, type RawSocket } from "../fakes/raw-socket.ts";
import { until } from "../fakes/until.ts";

type Change = (snapshot: Snapshot) => Snapshot;

const ECHO: EdgeOptions = { protocol: "tcp", script: (connection, chunk) => connection.send(chunk) };
const MEMBERS = ["west agent", "west gateway", "east gateway", "east agent"];

let scene: EdgeScene | undefined;
afterEach(async () => {
  await scene?.stop();
  scene = undefined;
});

const start = async (options: EdgeOptions = {}): Promise<EdgeScene> => {
  scene = await startEdge({ agents: true, ...options });
  return scene;
};

/** Publishes to one member only, as if the others had not heard of it yet. */
function publishTo({ mesh }: EdgeScene, name: string, change: Change): void {
  const { snapshot } = mesh.member(name);
  if (snapshot.current === undefined) throw new Error(`${name} has no snapshot`);
  snapshot.publish({ ...change(snapshot.current), revision: snapshot.current.revision + 1 });
}

/** What an owner's withdrawal does to both sides. */
const withdraw: Change = (snapshot) => ({
  ...snapshot,
  exports: snapshot.exports.map((rule) => ({
    ...rule,
    consumers: rule.consumers.map((consumer) => ({ ...consumer, workloads: ["ns/shop/sa/other"] })),
  })),
  imports: snapshot.imports.map((rule) => ({ ...rule, workloads: ["ns/shop/sa/other"] })),
});

const restore: Change = (snapshot) => ({
  ...snapshot,
  exports: snapshot.exports.map((rule) => ({
    ...rule,
    consumers: rule.consumers.map((consumer) => ({ ...consumer, workloads: ["ns/shop/sa/web"] })),
  })),
  imports: snapshot.imports.map((rule) => ({ ...rule, workloads: ["ns/shop/sa/web"] })),
});

const closed = (what: string, socket: RawSocket | undefined) =>
  until(`${what} is over`, 5_000, () => (socket?.closed === true ? true : undefined));

async function answerTo(client: RawSocket, request: string): Promise<string> {
  client.forget();
  client.send(request);
  return client.receives(/\r\n\r\n/);
}

describe.each(MEMBERS)("when only the %s has heard that a permission was withdrawn", (member) => {
  it("the next request is refused with 403 and a code, idle connections end, and it is served again once restored", async () => {
    const { dial, workload } = await start();
    const client = await dial();
    expect(await answerTo(client, getRequest("/before"))).toContain("HTTP/1.1 200 ");
    publishTo(scene!, member, withdraw);
    await workload.connections[0]?.isGone();
    const refused = await answerTo(client, getRequest("/after"));
    expect(refused).toContain("HTTP/1.1 403 ");
    expect(refused).toContain("isthmus-code: ISTH-2001");
    expect(workload.seen()).not.toContain("/after");
    expect(client.closed).toBe(false);
    publishTo(scene!, member, restore);
    expect(await answerTo(client, getRequest("/again"))).toContain("HTTP/1.1 200 ");
  });

  it("a TCP connection under way is reset at both ends", async () => {
    const { dial, workload } = await start(ECHO);
    const client = (await dial()).send("hello");
    await client.receives("hello");
    publishTo(scene!, member, withdraw);
    await closed("the client's connection", client);
    await closed("the workload's connection", workload.connections[0]);
    expect(client.reset).toBe(true);
    const { log } = scene!.mesh.member(member);
    const refusals = log.filter(({ event }) => event === "refused" || event === "tunnel_refused");
    expect(refusals.map((line) => line["code"])).toEqual(["ISTH-2001"]);
    const next = await dial();
    await closed("the next connection", next);
    expect(workload.connections).toHaveLength(1);
  });
});

describe.each(MEMBERS)(
  "when only the %s has heard of a withdrawal in the middle of an exchange",
  (member) => {
    it("a request without an answer is refused, or broken off, and never completed", async () => {
      const { dial, workload } = await start({ script: () => {} });
      const client = (await dial()).send(getRequest("/slow"));
      const busy = await until("the workload has it", 5_000, () => workload.connections[0]);
      await busy.receives("/slow");
      publishTo(scene!, member, withdraw);
      await closed("the workload's connection", busy);
      await client.receives(/^HTTP\/1\.1 (403|502) /);
    });

    it("a WebSocket is reset at both ends", async () => {
      const { dial, workload } = await start({
        script: (connection) =>
          connection.send("HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"),
      });
      const client = (await dial()).send(getRequest("/", "Connection: upgrade", "Upgrade: websocket"));
      await client.receives("101 Go");
      publishTo(scene!, member, withdraw);
      await closed("the client's connection", client);
      await closed("the workload's connection", workload.connections[0]);
      expect(client.reset).toBe(true);
    });
  },
);

describe("a change of rules", () => {
  it("answers 404 for an import that is gone, at the same local address", async () => {
    const { dial, mesh } = await start();
    const client = await dial();
    await answerTo(client, getRequest());
    mesh.publish((snapshot) => ({ ...snapshot, imports: [] }));
    const refused = await answerTo(client, getRequest());
    expect(refused).toContain("HTTP/1.1 404 ");
    expect(refused).toContain("isthmus-code: ISTH-2004");
  });

  it("keeps everything running when it changes nothing for this caller", async () => {
    const { dial, mesh } = await start(ECHO);
    const client = (await dial()).send("hello");
    await client.receives("hello");
    mesh.publish((snapshot) => ({ ...snapshot, issuedAt: "2026-01-02T00:00:00Z" }));
    client.send("again");
    await client.receives("helloagain");
  });

  it("leads an alias to the service it stands for", async () => {
    const alias: Change = (snapshot) => ({
      ...snapshot,
      imports: snapshot.imports.map((rule) => ({ ...rule, namespace: "mine", name: "basket" })),
    });
    const { mesh } = await start({ change: alias });
    const address = mesh.address("ns/shop/sa/web");
    expect(mesh.member("west agent").proxy.listeners()[0]).toMatchObject({ service: "basket.mine" });
    expect((await fetch(`http://${address}/`)).status).toBe(200);
  });
});

const policy = (mode: SnapshotEgressPolicy["mode"], account: string): SnapshotEgressPolicy => ({
  name: `${mode}-${account}`,
  mode,
  from: [`ns/shop/sa/${account}`],
  to: [{ namespace: "shop", name: "cart" }],
});

const egress =
  (...policies: readonly SnapshotEgressPolicy[]): Change =>
  (snapshot) => ({ ...snapshot, egress: { policies } });

describe("an egress policy", () => {
  it("denies what no enforcing policy allows, at once, and says so", async () => {
    const { dial, mesh } = await start();
    const client = await dial();
    expect(await answerTo(client, getRequest())).toContain("HTTP/1.1 200 ");
    mesh.publish(egress(policy("enforce", "batch")));
    const refused = await answerTo(client, getRequest());
    expect(refused).toContain("HTTP/1.1 403 ");
    expect(refused).toContain("isthmus-code: ISTH-2002");
    mesh.publish(egress(policy("enforce", "batch"), policy("enforce", "web")));
    expect(await answerTo(client, getRequest())).toContain("HTTP/1.1 200 ");
  });

  it("is enforced by the gateway even if the agent does not know of it", async () => {
    const { dial, mesh } = await start();
    publishTo(scene!, "west gateway", egress(policy("enforce", "batch")));
    const refused = await answerTo(await dial(), getRequest());
    expect(refused).toContain("isthmus-code: ISTH-2002");
    expect(mesh.member("west agent").log.at(-1)).toMatchObject({ code: "ISTH-2002" });
  });

  it("that observes denies nothing and counts what it would deny", async () => {
    const { dial, mesh } = await start({ change: egress(policy("observe", "batch")) });
    expect(await answerTo(await dial(), getRequest())).toContain("HTTP/1.1 200 ");
    const counted = /isthmus_egress_observed_denials_total\{[^}]*workload="ns\/shop\/sa\/web"[^}]*\} 1/;
    expect(mesh.member("west agent").proxy.metrics()).toMatch(counted);
  });
});

describe.each([
  { denier: "east gateway", denied: "west.test.mesh" },
  { denier: "west gateway", denied: "east.test.mesh" },
])("when the $denier learns that $denied was revoked", ({ denier, denied }) => {
  it("its tunnels and all they carry are cut, and nothing is let in again", async () => {
    const { dial, workload, mesh } = await start(ECHO);
    const client = (await dial()).send("hello");
    await client.receives("hello");
    publishTo(scene!, denier, (snapshot) => ({ ...snapshot, denied: [denied as TrustDomain] }));
    await closed("the client's connection", client);
    await closed("the workload's connection", workload.connections[0]);
    expect(client.reset).toBe(true);
    await until("the tunnels are down", 5_000, () =>
      mesh
        .member("west gateway")
        .proxy.tunnels()
        .some(({ cluster, state }) => cluster === "east" && state === "up")
        ? undefined
        : true,
    );
    expect(mesh.member(denier).log.map((line) => line["code"])).toContain("ISTH-1012");
    const next = await dial();
    await closed("the next connection", next);
    expect(workload.connections).toHaveLength(1);
  });
});

describe("a workload that speaks first", () => {
  it("is heard before the client has said a word", async () => {
    const { dial, workload } = await start({ protocol: "tcp", script: () => {} });
    const client = await dial();
    const served = await until("the workload is dialled", 5_000, () => workload.connections[0]);
    served.send("220 ready\r\n");
    await client.receives("220 ready");
    client.send("HELO\r\n");
    await served.receives("HELO");
  });
});
