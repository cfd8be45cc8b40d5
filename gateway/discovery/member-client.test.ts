import { describe, expect, it } from "vitest";
import { createFakeRegistry } from "../../test/fakes/fake-registry.ts";
import { createManualClock, type ManualClock, settle } from "../../test/fakes/manual-clock.ts";
import { createTestFederation } from "../../test/fakes/pki.ts";
import { createMemberClient, type MemberRequest, retryAfterMs } from "./member-client.ts";

const REPORT: MemberRequest = { method: "PUT", path: "/v1/clusters/east/members/gateway-1", body: { a: 1 } };

function scene(fetcher?: (clock: ManualClock) => typeof fetch) {
  const clock = createManualClock();
  const federation = createTestFederation("demo.mesh", ["east"], clock.now());
  const registry = createFakeRegistry(federation, "east", clock);
  const credential = federation.system("east", "gateway");
  const client = createMemberClient({
    registry: `${registry.url}/`,
    credential: () => credential,
    clock,
    fetch: fetcher?.(clock) ?? registry.fetch,
  });
  return { clock, registry, client };
}

function answering(make: () => Response | Promise<Response>) {
  return () => (async () => make()) as typeof fetch;
}

describe("createMemberClient", () => {
  it("signs what it sends so that the registry accepts it", async () => {
    const { client, registry } = scene();
    expect(await client.request(REPORT)).toMatchObject({ ok: true, value: { status: 204 } });
    expect(registry.reports).toEqual([{ a: 1 }]);
    expect(registry.lastHeaders.get("authorization")).toMatch(/^Isthmus-Member /);
  });

  it("hands on the registry's own problem, and the clocks' difference where that is the reason", async () => {
    const { client, registry } = scene();
    registry.skewMs = 3_600_000;
    expect(await client.request(REPORT)).toMatchObject({
      ok: false,
      error: {
        name: "member_request_expired",
        status: 401,
        detail: expect.stringContaining("this clock is 3600 s behind the registry's"),
      },
    });
  });

  it("hands on how long the registry wants to be left alone, whoever says so", async () => {
    for (const [status, header, expected] of [
      [429, "7", 7_000],
      [503, "86400", 60_000],
      [502, "soon", undefined],
    ] as const) {
      const { client } = scene(
        answering(() => new Response("", { status, headers: { "retry-after": header } })),
      );
      const answer = await client.request(REPORT);
      expect(answer.ok ? answer : answer.error.retryAfterMs, header).toBe(expected);
    }
    const date = "Sun, 06 Nov 1994 08:49:37 GMT";
    expect(retryAfterMs("Sun, 06 Nov 1994 08:49:39 GMT", date, 0)).toBe(2_000);
    expect(retryAfterMs("Sun, 06 Nov 1994 08:49:30 GMT", date, 0)).toBe(0);
  });

  it("gives up on a registry that never answers", async () => {
    const { client, clock, registry } = scene();
    registry.mood = "mute";
    const answer = client.request(REPORT);
    await clock.advanceAsync(5000);
    expect(await answer).toEqual({
      ok: false,
      error: { name: "registry_unreachable", detail: "http://registry.test: no answer within 5 s" },
    });
    expect(clock.pending).toBe(0);
  });

  it("gives up on a registry that drips its answer", async () => {
    const { client, clock } = scene((time) => async (_, init) => {
      const body = new ReadableStream<Uint8Array>({
        start(controller) {
          const drip = (): void => {
            if (init?.signal?.aborted === true) return;
            controller.enqueue(Buffer.from(" "));
            time.after(1000, drip);
          };
          drip();
          init?.signal?.addEventListener("abort", () => controller.error(init.signal?.reason));
        },
      });
      return new Response(body);
    });
    const answer = client.request(REPORT);
    await clock.advanceAsync(5000);
    expect(await answer).toMatchObject({
      ok: false,
      error: { detail: expect.stringContaining("within 5 s") },
    });
  });

  it("stops reading an answer that is too long", async () => {
    let cancelled = false;
    const endless = () =>
      new ReadableStream<Uint8Array>({
        pull: (controller) => controller.enqueue(new Uint8Array(64 * 1024)),
        cancel: () => void (cancelled = true),
      });
    const { client } = scene(answering(() => new Response(endless())));
    expect(await client.request(REPORT)).toMatchObject({
      ok: false,
      error: { name: "registry_unreachable", detail: expect.stringContaining("more than 262144 bytes") },
    });
    expect(cancelled).toBe(true);
  });

  it("tells why a connection failed, not only that fetch did", async () => {
    const { client, registry } = scene();
    registry.mood = "down";
    expect(await client.request(REPORT)).toMatchObject({
      ok: false,
      error: { name: "registry_unreachable", detail: "http://registry.test: connect ECONNREFUSED" },
    });
  });

  it.each([
    ["an error page", () => new Response("<html>Bad gateway</html>", { status: 502 })],
    ["a redirect", () => new Response(null, { status: 302, headers: { location: "http://evil.test/" } })],
    ["a code that is not ours", () => new Response('{"code":"E42","detail":"x"}', { status: 400 })],
    ["JSON that is no object", () => new Response("null", { status: 500 })],
  ])("does not take %s for the registry's word", async (_, make) => {
    const { client } = scene(answering(make));
    const answer = await client.request(REPORT);
    expect(answer).toMatchObject({
      ok: false,
      error: { name: "registry_unreachable", status: make().status },
    });
  });

  it("can be given up by its caller", async () => {
    const { client, registry, clock } = scene();
    registry.mood = "mute";
    const abort = new AbortController();
    const answer = client.request({ ...REPORT, signal: abort.signal });
    await settle();
    abort.abort();
    expect(await answer).toMatchObject({ ok: false, error: { detail: expect.stringContaining("given up") } });
    expect(clock.pending).toBe(0);
    expect(await client.request({ ...REPORT, signal: abort.signal })).toMatchObject({ ok: false });
  });
});
