import { createHash, randomBytes } from "node:crypto";
import { describe, expect, test } from "vitest";
import {
  ADMIN_TOKEN,
  type JoinedCluster,
  memberReport,
  openRegistryScene,
  type RegistryScene,
} from "../../test/fakes/registry-scene.ts";
import { useTempDirs } from "../../test/fakes/temp-dir.ts";
import type { MemberReport } from "../model/resource.ts";
import { signMemberRequest } from "../trust/index.ts";
import { signWithSvid } from "../trust/svid-jws.ts";

const directory = useTempDirs();

const GATEWAY = "/v1/clusters/east/members/gateway-1";
const USED = { status: 401, json: { code: "ISTH-1041" } };

/** A request as somebody on its way can keep it, and play it back. */
interface Captured {
  readonly method: string;
  readonly path: string;
  readonly body: string;
  readonly authorization: string;
}

async function scene() {
  const opened = await openRegistryScene({ directory: directory() });
  const east = await opened.join("east");
  let sequence = 0;
  const capture = (method: string, path: string, content: object): Captured => {
    const now = opened.clock.now();
    sequence = Math.max(sequence + 1, now);
    const body = JSON.stringify(content);
    const credential = east.credential();
    const authorization = signMemberRequest({ credential, method, url: path, body, now, sequence });
    return { method, path, body, authorization };
  };
  const heartbeat = (report: Partial<MemberReport>) => capture("PUT", GATEWAY, memberReport(report));
  return { ...opened, east, capture, heartbeat };
}

async function play(fetch: RegistryScene["fetch"], { method, path, body, authorization }: Captured) {
  const headers = { authorization, "content-type": "application/json" };
  const reply = await fetch(new Request(`http://registry.test${path}`, { method, headers, body }));
  const text = await reply.text();
  return { status: reply.status, json: text === "" ? undefined : (JSON.parse(text) as unknown) };
}

/** As an operator sees it. */
async function clusterAt(fetch: RegistryScene["fetch"]) {
  const headers = { authorization: `Bearer ${ADMIN_TOKEN}` };
  const reply = await fetch(new Request("http://registry.test/v1/clusters/east", { headers }));
  return (await reply.json()) as {
    readonly gateways: readonly object[];
    readonly members: readonly object[];
  };
}

/** As the release before signed. */
function signWithoutSequence({ credential }: JoinedCluster, body: string, now: number): string {
  const iat = Math.floor(now / 1_000);
  const signer = credential();
  const jwt = signWithSvid(signer, "isthmus-member+jwt", {
    sub: signer.spiffeId.uri,
    htm: "PUT",
    htu: GATEWAY,
    body: createHash("sha256").update(body).digest("base64url"),
    iat,
    exp: iat + 60,
    jti: randomBytes(16).toString("base64url"),
  });
  return `Isthmus-Member ${jwt}`;
}

describe("what a member signed", () => {
  test("changes something once: not again by another instance, and not after a restart", async () => {
    const { capture, fetch, another, east, state } = await scene();
    const cart = { namespace: "shop", name: "cart", ports: [{ port: 80, protocol: "http" }] };
    const requests = [
      capture("PUT", "/v1/clusters/east/services", { services: [cart] }),
      capture("PUT", "/v1/clusters/east/services", { services: [] }),
      capture("POST", "/v1/clusters/east/renew", { csr: east.csr() }),
    ];
    for (const request of requests) expect((await play(fetch, request)).status).toBe(200);
    const { revision } = await state();
    const elsewhere = await another();
    for (const request of requests) expect(await play(elsewhere, request)).toMatchObject(USED);
    const next = capture("PUT", "/v1/clusters/east/services", { services: [] });
    expect(await play(elsewhere, next)).toMatchObject({ json: { revision, changed: false } });
  });

  test("of itself is never turned back: an earlier heartbeat is refused wherever it comes again", async () => {
    const { heartbeat, fetch, another, clock } = await scene();
    const first = heartbeat({ appliedRevision: 1, advertise: "192.0.2.1:15008" });
    const second = heartbeat({ appliedRevision: 2, advertise: "192.0.2.2:15008" });
    for (const request of [first, second]) expect((await play(fetch, request)).status).toBe(204);
    // The first instance leaves nothing behind in its memory.
    await clock.advanceAsync(2_000);
    const elsewhere = await another();
    for (const request of [first, second]) expect(await play(elsewhere, request)).toMatchObject(USED);
    expect(await clusterAt(elsewhere)).toMatchObject({
      gateways: [{ id: "gateway-1", address: "192.0.2.2:15008" }],
      members: [{ appliedRevision: 2 }],
    });
    const third = heartbeat({ appliedRevision: 3, advertise: "192.0.2.2:15008" });
    expect((await play(elsewhere, third)).status).toBe(204);
  });

  test("and what only repeats itself does not make it look alive when it is played back", async () => {
    const { heartbeat, fetch, another, clock } = await scene();
    expect((await play(fetch, heartbeat({ appliedRevision: 1 }))).status).toBe(204);
    await clock.advanceAsync(10_000);
    const repetition = heartbeat({ appliedRevision: 1 });
    expect((await play(fetch, repetition)).status).toBe(204);
    await clock.advanceAsync(2_000);
    const elsewhere = await another();
    const before = (await clusterAt(elsewhere)).members;
    await clock.advanceAsync(60_000);
    await play(elsewhere, repetition);
    expect((await clusterAt(elsewhere)).members).toEqual(before);
  });

  test("before it was forgotten does not bring it back", async () => {
    const { heartbeat, fetch, another, clock, send } = await scene();
    const report = { appliedRevision: 1, advertise: "192.0.2.1:15008" };
    const first = heartbeat(report);
    expect((await play(fetch, first)).status).toBe(204);
    await clock.advanceAsync(10_000);
    const repetition = heartbeat(report);
    expect((await play(fetch, repetition)).status).toBe(204);
    expect((await send("DELETE", GATEWAY)).status).toBe(204);
    await clock.advanceAsync(5_000);
    const elsewhere = await another();
    for (const request of [first, repetition]) expect(await play(elsewhere, request)).toMatchObject(USED);
    expect(await clusterAt(elsewhere)).toMatchObject({ gateways: [], members: [] });
    // Who still runs says so again, and is a member again.
    await clock.advanceAsync(20_000);
    expect((await play(elsewhere, heartbeat(report))).status).toBe(204);
    expect((await clusterAt(elsewhere)).members).toHaveLength(1);
  });

  test("in a release before, without a sequence, is ordered by the second", async () => {
    const { fetch, clock, east } = await scene();
    const send = async () => {
      const body = JSON.stringify(memberReport({}));
      const authorization = signWithoutSequence(east, body, clock.now());
      return (await play(fetch, { method: "PUT", path: GATEWAY, body, authorization })).status;
    };
    expect(await send()).toBe(204);
    expect(await send()).toBe(401);
    await clock.advanceAsync(1_000);
    expect(await send()).toBe(204);
  });
});
