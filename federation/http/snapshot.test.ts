// Longer than other files: one endpoint in all its forms: whole and delta, plain and packed, asked and waited for.
import { gunzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { applyDelta } from "../../gateway/discovery/snapshot-delta.ts";
import { unwrap } from "../../test/fakes/pki.ts";
import { eventually } from "../../test/fakes/manual-clock.ts";
import {
  exportOf,
  importOf,
  openRegistryScene,
  policyOf,
  type SceneOptions,
} from "../../test/fakes/registry-scene.ts";
import { useTempDirs } from "../../test/fakes/temp-dir.ts";
import { IN_PROCESS, RUNTIME, WAITS } from "../../test/fakes/scene-runtime.ts";
import { signMemberRequest, verifySnapshot } from "../trust/index.ts";
import { preferredWait } from "./handlers/snapshot.ts";

const directory = useTempDirs();

async function linkedClusters(options: Partial<SceneOptions> = {}) {
  const scene = await openRegistryScene({ directory: directory(), ...options });
  const [east, west] = [await scene.join("east"), await scene.join("west")];
  await scene.reportServices(east, "cart");
  await scene.reportGateway(east, "192.0.2.1:15008");
  const poll = (etag: string, wait = 30, signal?: AbortSignal) =>
    scene.send("GET", "/v1/clusters/west/snapshot", {
      as: west.credential(),
      headers: { "if-none-match": etag, prefer: `wait=${wait}` },
      ...(signal === undefined ? {} : { signal }),
    });
  const etag = async () => (await poll('"none"')).headers.get("etag") ?? "";
  const waiting = (count = 1) => eventually(() => scene.registry.wakeups.waiting === count);
  return { ...scene, east, west, poll, etag, waiting };
}

describe("a snapshot", () => {
  test("holds what both sides agreed on, and the bundles of just these clusters", async () => {
    const { apply, snapshot, east, west, join } = await linkedClusters();
    await join("north");
    await apply(
      exportOf("east", "cart", "west", "north"),
      importOf("west", "cart", "east"),
      policyOf("west", "p", "cart"),
    );
    const cart = { namespace: "shop", name: "cart" };
    const ports = [{ port: 80, protocol: "http" }];
    expect(await snapshot(west)).toMatchObject({
      federation: "demo.mesh",
      cluster: "west",
      trustDomain: "west.demo.mesh",
      bundles: [{ trustDomain: "west.demo.mesh" }, { trustDomain: "east.demo.mesh" }],
      denied: [],
      peers: [{ cluster: "east", gateways: [{ id: "gateway-1", address: "192.0.2.1:15008" }] }],
      imports: [
        {
          ...cart,
          from: { ...cart, cluster: "east", trustDomain: "east.demo.mesh" },
          ports,
          workloads: ["*"],
        },
      ],
      exports: [],
      egress: { policies: [{ name: "p", mode: "enforce", from: ["*"], to: [cart] }] },
    });
    expect(await snapshot(east)).toMatchObject({
      bundles: [{ trustDomain: "east.demo.mesh" }, { trustDomain: "west.demo.mesh" }],
      imports: [],
      // North was offered the service and has not accepted: it is not there yet.
      exports: [
        { ...cart, ports, consumers: [{ cluster: "west", trustDomain: "west.demo.mesh", workloads: ["*"] }] },
      ],
    });
  });

  test("carries an alias under its local name", async () => {
    const { apply, snapshot, west } = await linkedClusters();
    const alias = importOf("west", "basket", "east");
    if (alias.kind !== "ServiceImport") throw new Error("not an import");
    const from = { cluster: "east", namespace: "shop", name: "cart" };
    await apply(exportOf("east", "cart", "west"), { ...alias, spec: { from } });
    expect(await snapshot(west)).toMatchObject({ imports: [{ name: "basket", from: { name: "cart" } }] });
  });

  test("changes its revision only when its own content changes", async () => {
    const { apply, snapshot, east, west, send } = await linkedClusters();
    const before = (await snapshot(west)).revision;
    await apply(policyOf("east", "p", "cart"));
    expect((await snapshot(west)).revision).toBe(before);
    await apply(exportOf("east", "cart", "west"));
    expect(await snapshot(west)).toMatchObject({ imports: [], offers: [{ name: "cart", cluster: "east" }] });
    await apply(importOf("west", "cart", "east"));
    const linked = await snapshot(west);
    expect(linked.revision).toBeGreaterThan(before);
    expect((await snapshot(east)).revision).toBe(linked.revision);
    await send("DELETE", "/v1/resources/ServiceExport/east/shop/cart");
    const cut = await snapshot(west);
    expect(cut.revision).toBeGreaterThan(linked.revision);
    expect(cut.imports).toEqual([]);
    expect(cut.peers).toEqual([]);
  });

  test("keeps its revision over a restart of the registry", async () => {
    const path = directory();
    const first = await linkedClusters({ directory: path });
    await first.apply(exportOf("east", "cart", "west"), importOf("west", "cart", "east"));
    await first.apply(policyOf("east", "p", "cart"));
    const [before, state] = [await first.snapshot(first.west), await first.state()];
    await first.close();
    const second = await openRegistryScene({ directory: path });
    expect(await second.state()).toEqual(state);
    expect((await second.state()).clusters.get("west")?.snapshotRevision).toBe(before.revision);
  });
});

describe("asking for news", () => {
  test("answers 304 to the current ETag and 200 to any other", async () => {
    const { poll, etag } = await linkedClusters();
    const current = await etag();
    expect(await poll(current, 0)).toMatchObject({ status: 304, text: "" });
    expect((await poll('"9999"', 0)).status).toBe(200);
    const plain = await poll("", 0);
    expect(plain.status).toBe(200);
    expect(plain.headers.get("content-type")).toBe("application/jose");
  });
});

describe("a delta", () => {
  const wanting = (base: string, more: Record<string, string> = {}) => ({
    headers: { "if-none-match": base, "a-im": "isthmus-delta", ...more },
  });

  test("leads a member from the snapshot that it has to the newest, byte for byte", async () => {
    const { send, apply, west, etag } = await linkedClusters();
    const ask = (request: object) =>
      send("GET", "/v1/clusters/west/snapshot", { as: west.credential(), ...request });
    for (let index = 0; index < 20; index++)
      await apply(exportOf("east", `s${index}`, "west"), importOf("west", `s${index}`, "east"));
    const base = await etag();
    const before = await ask({});
    await apply(policyOf("west", "p", "cart"));
    const delta = await ask(wanting(base));
    expect(delta.status).toBe(226);
    expect(Object.fromEntries(delta.headers)).toMatchObject({ im: "isthmus-delta", "delta-base": base });
    const whole = await ask({});
    expect(delta.headers.get("etag")).toBe(whole.headers.get("etag"));
    const revision = Number(base.slice(1, -1));
    expect(unwrap(applyDelta(delta.text, { revision, jws: before.text }, 1_000_000))).toBe(whole.text);
    expect((await ask(wanting(delta.headers.get("etag") ?? ""))).status).toBe(304);
  });

  test("is not sent to whom it would not help: without a known base, or where nearly all is new", async () => {
    const { send, west, apply, etag } = await linkedClusters();
    const ask = (request: object) =>
      send("GET", "/v1/clusters/west/snapshot", { as: west.credential(), ...request });
    for (const base of ['"1"', '"999999"', "*", '"x"', ""])
      expect((await ask(wanting(base))).status).toBe(200);
    const base = await etag();
    await apply(policyOf("west", "p", "cart"));
    expect((await ask({ headers: { "if-none-match": base, "a-im": "vcdiff" } })).status).toBe(200);
  });

  test("leads from either form of signature to the one that the member reads", async () => {
    const { ask, apply, west } = await packing();
    const digest = "application/isthmus-digest+jose, application/jose";
    const plain = await ask({});
    const signed = await ask({ accept: digest });
    // What is there serves everybody who can read it.
    expect(signed.headers.get("etag")).toBe(plain.headers.get("etag"));
    await apply(policyOf("west", "p", "cart"));
    const tag = plain.headers.get("etag") ?? "";
    const base = { revision: Number(tag.slice(1, -1)), jws: plain.body.toString() };
    const wanted = { "a-im": "isthmus-delta", "if-none-match": tag };
    const news = await ask({ ...wanted, accept: digest });
    const whole = await ask({ accept: digest });
    expect([news.status, whole.headers.get("content-type")]).toEqual([
      226,
      "application/isthmus-digest+jose",
    ]);
    expect(news.headers.get("etag")).toBe(whole.headers.get("etag"));
    expect(unwrap(applyDelta(news.body.toString(), base, 1_000_000))).toBe(whole.body.toString());
    const old = await ask(wanted);
    const oldWhole = await ask({ accept: "*/*" });
    expect([old.status, oldWhole.headers.get("content-type")]).toEqual([226, "application/jose"]);
    expect(unwrap(applyDelta(old.body.toString(), base, 1_000_000))).toBe(oldWhole.body.toString());
    expect(oldWhole.headers.get("etag")).not.toBe(whole.headers.get("etag"));
    const keys = { keys: [...west.answer.snapshotKeys.keys] };
    for (const { body } of [whole, oldWhole])
      expect(unwrap(await verifySnapshot(body.toString(), keys))).toMatchObject({ cluster: "west" });
    // A cache that holds the new form has nothing for whom it asks.
    const stale = { "if-none-match": whole.headers.get("etag") ?? "" };
    expect((await ask(stale)).status).toBe(200);
    expect((await ask({ ...stale, accept: digest })).status).toBe(304);
  });

  test.skipIf(RUNTIME === "workerd-dynamodb")(
    "and a whole snapshot are packed for those who unpack them, under a tag of their own",
    async () => {
      const { ask, apply } = await packing();
      const plain = await ask({});
      const packed = await ask({ "accept-encoding": "gzip" });
      expect(packed.headers.get("content-encoding")).toBe("gzip");
      const text = gunzipSync(packed.body).toString();
      expect(text).toBe(plain.body.toString());
      const tags = [plain.headers.get("etag"), packed.headers.get("etag")];
      // Strong, and different: the bytes differ (RFC 9110 §8.8.3).
      expect(tags[1]).toBe(tags[0]?.replace(/"$/, '-gzip"'));
      for (const { headers } of [plain, packed]) {
        expect(headers.get("vary")).toBe("accept, accept-encoding, a-im");
        expect(headers.get("cache-control")).toBe("public, no-cache");
      }
      expect((await ask({ "accept-encoding": "gzip;q=0" })).headers.get("content-encoding")).toBeNull();
      await apply(policyOf("west", "p", "cart"));
      const delta = await ask({
        "a-im": "isthmus-delta",
        "accept-encoding": "gzip",
        "if-none-match": tags[1] ?? "",
      });
      expect(delta.status).toBe(226);
      expect(delta.headers.get("delta-base")).toBe(tags[1]);
    },
  );

  test("a cache that holds both representations learns which of them it may go on with", async () => {
    const { ask } = await packing();
    const [plain = "", packed = ""] = await Promise.all(
      [{}, { "accept-encoding": "gzip" }].map(
        async (headers) => (await ask(headers)).headers.get("etag") ?? "",
      ),
    );
    const answer = async (tags: string, encoding: string) => {
      const reply = await ask({ "if-none-match": tags, "accept-encoding": encoding });
      return [reply.status, reply.headers.get("etag")];
    };
    expect(await answer(plain, "gzip")).toEqual([304, plain]);
    expect(await answer(packed, "gzip")).toEqual([304, packed]);
    expect(await answer(`W/${packed}`, "gzip")).toEqual([304, packed]);
    expect(await answer(plain, "identity")).toEqual([304, plain]);
    expect(await answer(`${plain}, ${packed}`, "identity")).toEqual([304, plain]);
    if (packed !== plain) expect(await answer(packed, "identity")).toEqual([200, plain]);
  });
});

/** Asked without anything in between that unpacks. */
async function packing() {
  const scene = await linkedClusters();
  const names = Array.from({ length: 20 }, (_, index) => `s${index}`);
  await scene.apply(
    ...names.flatMap((name) => [exportOf("east", name, "west"), importOf("west", name, "east")]),
  );
  const url = "http://registry.test/v1/clusters/west/snapshot";
  const ask = async (headers: Record<string, string>) => {
    const credential = scene.west.credential();
    const signed = { credential, method: "GET", url, body: undefined, now: scene.clock.now() };
    const authorization = signMemberRequest(signed);
    const reply = await scene.fetch(new Request(url, { headers: { authorization, ...headers } }));
    return { status: reply.status, headers: reply.headers, body: Buffer.from(await reply.arrayBuffer()) };
  };
  return { ...scene, ask };
}

describe.runIf(WAITS)("waiting for news", () => {
  test("wakes at once on a change of this cluster, and not on one of another", async () => {
    const { poll, etag, apply, waiting, registry } = await linkedClusters();
    await apply(exportOf("east", "cart", "west"));
    const pending = poll(await etag());
    await waiting();
    await apply(policyOf("east", "p", "cart"));
    expect(registry.wakeups.waiting).toBe(1);
    await apply(importOf("west", "cart", "east"));
    const reply = await pending;
    expect(reply.status).toBe(200);
    expect(reply.headers.get("preference-applied")).toBe("wait=30");
    expect(reply.headers.get("etag")).toBe(`"${registry.state.revision}"`);
    expect(registry.wakeups.waiting).toBe(0);
  });

  test("answers 304 when the time is over, and never waits longer than a minute", async () => {
    const { poll, etag, clock, waiting } = await linkedClusters();
    const short = poll(await etag(), 5);
    await waiting();
    clock.advance(5_000);
    expect((await short).status).toBe(304);
    const long = poll(await etag(), 86_400);
    await waiting();
    clock.advance(60_000);
    expect((await long).status).toBe(304);
    expect(preferredWait("respond-async, wait=10; foo")).toBe(10);
    expect(preferredWait("await=10")).toBe(0);
  });

  test("forgets a waiting member whose connection ended", async () => {
    const { poll, etag, waiting } = await linkedClusters();
    const gone = new AbortController();
    const pending = poll(await etag(), 30, gone.signal).catch(() => "gone");
    await waiting();
    gone.abort();
    await waiting(0);
    await pending;
  });

  test("refuses more waiting members than it can hold, and wakes all of them together", async () => {
    const { poll, etag, apply, waiting } = await linkedClusters({ waiting: { total: 3, perName: 2 } });
    const current = await etag();
    const held = [poll(current), poll(current)];
    await waiting(2);
    const refused = await poll(current);
    expect(refused).toMatchObject({ status: 429, json: { code: "ISTH-5012" } });
    expect(refused.headers.get("retry-after")).toBe("1");
    await apply(policyOf("west", "p", "cart"));
    expect((await Promise.all(held)).map(({ status }) => status)).toEqual([200, 200]);
  });

  test("tells a waiting member that its cluster was removed", async () => {
    const { poll, etag, waiting, send } = await linkedClusters();
    const pending = poll(await etag());
    await waiting();
    await send("DELETE", "/v1/clusters/west");
    expect(await pending).toMatchObject({ status: 404, json: { code: "ISTH-5003" } });
  });

  test.runIf(IN_PROCESS)("compiles and signs one snapshot for all members that ask", async () => {
    const { send, west, registry } = await linkedClusters();
    const ask = () => send("GET", "/v1/clusters/west/snapshot", { as: west.credential() });
    const replies = await Promise.all(Array.from({ length: 5 }, ask));
    expect(new Set(replies.map(({ text }) => text)).size).toBe(1);
    expect(registry.snapshot("west", "whole")).toBe(registry.snapshot("west", "whole"));
  });
});
