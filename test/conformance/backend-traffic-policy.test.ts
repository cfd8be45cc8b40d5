// Longer than other files: one row for each field of the policy, over both versions of HTTP, read as a table.
import { describe, expect, it } from "vitest";
import type { RouteRetry, RouteTimeouts, SnapshotRoute } from "../../federation/model/traffic-route.ts";
import { H2Client } from "../fakes/h2-ask.ts";
import { dialRaw, getRequest } from "../fakes/raw-socket.ts";
import { until } from "../fakes/until.ts";
import { useRulesScene } from "./rules-scene.ts";

/** One row for every field of BackendTrafficPolicy, over the real path between clusters. */
const PROTOCOLS = ["HTTP/1.1", "HTTP/2"] as const;
const TWO = [{ name: "a" }, { name: "b" }];
const THREE = [...TWO, { name: "c" }];
const outlier = { consecutiveErrors: 2, baseEjectionMs: 1_000, maxEjectionMs: 4_000, maxEjectionPercent: 50 };

describe.each(PROTOCOLS)("BackendTrafficPolicy, by %s", (protocol) => {
  const scene = useRulesScene(protocol);
  // Connections mean something else where requests share them.
  const oneOf = (which: string) => (which === protocol ? it : () => {});

  it("circuitBreaker.maxParallelRequests: refuses what is beyond it at once", async () => {
    const { rules, call, workload } = await scene([{ name: "a" }]);
    rules({ backends: [{ circuit: { maxParallelRequests: 2 } }] });
    workload("a").behave("silent");
    const waiting = [call(), call()];
    await until("both are under way", 2_000, () => (workload("a").served === 2 ? true : undefined));
    expect((await call()).what).toBe("503 ISTH-3302");
    workload("a").behave(200);
    workload("a").release();
    expect((await Promise.all(waiting)).map(({ what }) => what)).toEqual(["200 a", "200 a"]);
    expect((await call()).what).toBe("200 a");
  });

  oneOf("HTTP/1.1")(
    "circuitBreaker.maxConnections and maxPendingRequests: of requests that have a connection each, lets so many wait and refuses the rest",
    async () => {
      const { rules, call, workload, metric } = await scene([{ name: "a" }]);
      rules({ backends: [{ circuit: { maxConnections: 1, maxPendingRequests: 1 } }] });
      workload("a").behave("silent");
      const first = call();
      await until("one is under way", 2_000, () => (workload("a").served === 1 ? true : undefined));
      const second = call();
      const third = call();
      const refused = await Promise.race([second, third]);
      expect(refused.what).toBe("503 ISTH-3302");
      workload("a").behave(200);
      workload("a").release();
      const all = (await Promise.all([first, second, third])).map(({ what }) => what);
      expect(all.toSorted()).toEqual(["200 a", "200 a", "503 ISTH-3302"]);
      expect(
        metric('isthmus_rule_verdicts_total{rule="west/shop/policy",verdict="circuit_open",mode="enforce"}'),
      ).toBe(1);
    },
  );

  oneOf("HTTP/2")("circuitBreaker.maxConnections: requests share the connections there may be", async () => {
    const { rules, call, workload } = await scene(THREE);
    rules({ backends: [{ circuit: { maxConnections: 1 } }] });
    for (const name of ["a", "b", "c"]) workload(name).behave("silent");
    const all = () => ["a", "b", "c"].map(workload);
    const waiting = Array.from({ length: 40 }, () => call());
    await until("all are under way", 2_000, () =>
      all().reduce((sum, { served }) => sum + served, 0) === 40 ? true : undefined,
    );
    expect(all().reduce((sum, { connections }) => sum + connections, 0)).toBe(1);
    for (const one of all()) one.release();
    expect(new Set((await Promise.all(waiting)).map(({ what }) => what)).size).toBe(1);
  });

  it("circuitBreaker.maxConnections: an idle connection makes room for who cannot use it", async () => {
    const { mesh, rules, call } = await scene([{ name: "a" }]);
    rules({ backends: [{ circuit: { maxConnections: 1 } }] });
    const url = `http://${mesh.address("ns/shop/sa/web")}/`;
    const http2 = new H2Client();
    const byOther = async (): Promise<number> =>
      protocol === "HTTP/2" ? (await fetch(url)).status : (await http2.ask(new URL(url).host, "/")).status;
    for (let turn = 0; turn < 2; turn++) {
      expect((await call()).what).toBe("200 a");
      expect(await byOther()).toBe(200);
    }
    http2.close();
  });

  it("circuitBreaker.maxPendingRequests: nobody stands behind a client that has left", async () => {
    const { mesh, rules, call, workload, metric } = await scene([{ name: "a" }]);
    rules({ backends: [{ circuit: { maxConnections: 1 } }] });
    workload("a").behave("silent");
    const first = fetch(`http://${mesh.address("ns/shop/sa/web")}/`);
    await until("it is under way", 2_000, () => (workload("a").served === 1 ? true : undefined));
    const leaving = new AbortController();
    const second = fetch(`http://${mesh.address("ns/shop/sa/web")}/`, { signal: leaving.signal });
    await until("both wait", 2_000, () => (metric("isthmus_connections_total") >= 2 ? true : undefined));
    const third = call();
    leaving.abort();
    await expect(second).rejects.toThrow("aborted");
    workload("a").behave(200);
    workload("a").release();
    expect([(await first).status, (await third).what]).toEqual([200, "200 a"]);
  });

  oneOf("HTTP/1.1")(
    "circuitBreaker.maxPendingRequests: one that may have left gives its place to a newcomer",
    async () => {
      const { mesh, rules, call, workload, metric } = await scene([{ name: "a" }]);
      rules({ backends: [{ circuit: { maxConnections: 1, maxPendingRequests: 1 } }] });
      workload("a").behave("silent");
      const address = mesh.address("ns/shop/sa/web");
      const first = call();
      await until("it is under way", 2_000, () => (workload("a").served === 1 ? true : undefined));
      for (const request of [
        getRequest(),
        "POST / HTTP/1.1\r\nHost: cart.shop\r\nContent-Length: 2\r\n\r\nhi",
      ]) {
        const ended = (await dialRaw(address)).send(request);
        ended.socket.end();
        const dialled = metric("isthmus_connections_total");
        const next = await dialRaw(address);
        await until("it is accepted", 2_000, () =>
          metric("isthmus_connections_total") > dialled ? true : undefined,
        );
        next.send(getRequest());
        expect(await ended.receives("ISTH-3302")).toMatch(/^HTTP\/1\.1 503 /);
        next.socket.resetAndDestroy();
      }
      const last = call();
      workload("a").behave(200);
      workload("a").release();
      expect([(await first).what, (await last).what]).toEqual(["200 a", "200 a"]);
    },
  );

  oneOf("HTTP/1.1")(
    "circuitBreaker.maxPendingRequests: one that has ended its half gets its answer where nobody needs its place",
    async () => {
      const { mesh, rules, call, workload } = await scene([{ name: "a" }]);
      rules({ backends: [{ circuit: { maxConnections: 1, maxPendingRequests: 1 } }] });
      workload("a").behave("silent");
      const first = call();
      await until("it is under way", 2_000, () => (workload("a").served === 1 ? true : undefined));
      const ended = (await dialRaw(mesh.address("ns/shop/sa/web"))).send(getRequest());
      ended.socket.end();
      workload("a").behave(200);
      workload("a").release();
      expect((await first).what).toBe("200 a");
      expect(await ended.receives("\r\n\r\na")).toMatch(/^HTTP\/1\.1 200 /);
      await ended.isGone();
    },
  );

  it("outlierDetection: ejects the endpoint that fails, and only that, and tries it again later", async () => {
    const { rules, crowd, workload, advance, metric } = await scene(THREE);
    rules({ backends: [{ outlier }] });
    workload("b").behave(500);
    await crowd(40);
    expect(await crowd(20)).toEqual({ "200 a": expect.any(Number), "200 c": expect.any(Number) });
    expect(
      metric('isthmus_rule_verdicts_total{rule="west/shop/policy",verdict="ejected",mode="enforce"}'),
    ).toBe(1);
    workload("b").behave(200);
    advance(1_001);
    expect((await crowd(40))["200 b"]).toBeGreaterThan(0);
  });

  it("outlierDetection.baseEjectionTime and maxEjectionTime: out for so long, twice as long each time, up to the most", async () => {
    const { rules, crowd, workload, advance } = await scene(THREE);
    rules({ backends: [{ outlier }] });
    workload("b").behave(500);
    await crowd(40);
    for (const outMs of [1_000, 2_000, 4_000, 4_000]) {
      const { served } = workload("b");
      advance(outMs - 10);
      await crowd(20);
      expect(workload("b").served, `${outMs} ms are not over`).toBe(served);
      advance(20);
      await crowd(60);
      expect(workload("b").served, `${outMs} ms are over`).toBeGreaterThan(served);
    }
  });

  it("mode observe: counts what would be ejected, and changes neither endpoints, sessions nor retries", async () => {
    const { rules, call, crowd, workload, metric } = await scene(THREE);
    const session = { name: "sid", type: "Cookie", permanent: false } as const;
    rules({ backends: [{ mode: "observe", outlier, session }] });
    workload("b").behave(500);
    await crowd(40);
    const { served } = workload("b");
    await crowd(40);
    expect(workload("b").served).toBeGreaterThan(served);
    const verdict = 'isthmus_rule_verdicts_total{rule="west/shop/policy",verdict="ejected",mode="observe"}';
    expect(metric(verdict)).toBeGreaterThan(0);
    expect((await call()).headers.get("set-cookie")).toBeNull();
  });

  it("mode observe: counts requests whose session it would follow, and those that it would begin one for", async () => {
    const { rules, calls, call, metric } = await scene(TWO);
    const session = { name: "sid", type: "Cookie", permanent: false } as const;
    const counted = (verdict: string) =>
      metric(`isthmus_rule_verdicts_total{rule="west/shop/policy",verdict="${verdict}",mode="observe"}`);
    rules({ backends: [{ session }] });
    const sent = { cookie: (await call()).headers.get("set-cookie")?.split(";")[0] ?? "" };
    rules({ backends: [{ mode: "observe", session }] });
    await calls(3);
    expect([counted("session_kept"), counted("session_begun")]).toEqual([0, 3]);
    expect((await call(sent)).headers.get("set-cookie")).toBeNull();
    expect([counted("session_kept"), counted("session_begun")]).toEqual([1, 3]);
  });

  it("outlierDetection.maxEjectionPercent: never ejects more than that part", async () => {
    const { rules, calls, workload } = await scene(TWO);
    rules({ backends: [{ outlier }] });
    for (const name of ["a", "b"]) workload(name).behave(500);
    await calls(30);
    const [before] = [workload("a").served + workload("b").served];
    await calls(10);
    expect(workload("a").served + workload("b").served).toBe(before + 10);
  });

  it("sessionPersistence Cookie: keeps a session at one endpoint, until that is gone", async () => {
    const { rules, call, calls, workload } = await scene(THREE);
    rules({ backends: [{ session: { name: "sid", type: "Cookie", permanent: false } }] });
    const first = await call();
    const cookie = first.headers.get("set-cookie") ?? "";
    expect(cookie).toMatch(/^sid=[0-9a-f]{8}\.[0-9a-f]{8}\.[0-9a-z]+; Path=\/; HttpOnly; SameSite=Lax$/);
    const sent = { cookie: cookie.split(";")[0] ?? "" };
    expect(await calls(20, sent)).toEqual({ [first.what]: 20 });
    const again = await call(sent);
    expect(again.headers.get("set-cookie")).toBeNull();
    await workload(first.what.slice(4)).kill();
    const moved = await call(sent);
    expect(moved.what).toMatch(/^200 [abc]$/);
    expect(moved.what).not.toBe(first.what);
    expect(moved.headers.get("set-cookie")).toMatch(/^sid=/);
  });

  it("sessionPersistence.cookieConfig Permanent and absoluteTimeout: ends the session in time", async () => {
    const { rules, call, advance } = await scene(TWO);
    rules({
      backends: [{ session: { name: "sid", type: "Cookie", permanent: true, absoluteTimeoutMs: 60_000 } }],
    });
    const cookie = (await call()).headers.get("set-cookie") ?? "";
    expect(cookie).toContain("; Max-Age=60");
    const sent = { cookie: cookie.split(";")[0] ?? "" };
    expect((await call(sent)).headers.get("set-cookie")).toBeNull();
    advance(62_000);
    expect((await call(sent)).headers.get("set-cookie")).toMatch(/^sid=/);
  });

  it("sessionPersistence Header: the same value leads to the same endpoint, and values spread", async () => {
    const { rules, calls } = await scene(THREE);
    rules({ backends: [{ session: { name: "x-user", type: "Header", permanent: false } }] });
    const homes = new Set<string>();
    for (let user = 0; user < 16; user++) {
      const answers = Object.keys(await calls(4, { "x-user": `user ${user}` }));
      expect(answers).toHaveLength(1);
      homes.add(answers[0] ?? "");
    }
    // Ports are chance, and so is who is at home where.
    expect(homes.size).toBeGreaterThan(1);
  });

  describe("retryConstraint", () => {
    const retry = { percent: 0, intervalMs: 10_000, minCount: 3, minIntervalMs: 10_000 };
    const routes = [
      {
        cluster: "west",
        namespace: "shop",
        name: "retry",
        firstSeen: "2026-01-01T00:00:00Z",
        mode: "enforce" as const,
        parents: [{ namespace: "shop", name: "cart" }],
        rules: [{ retry: { attempts: 1, codes: [500], backoff: "1ms" } }],
      },
    ];
    const refused = (mode: string) =>
      `isthmus_rule_verdicts_total{rule="west/shop/policy",verdict="retry_refused",mode="${mode}"}`;

    it("allows so many retries and passes the other failures on", async () => {
      const { rules, calls, workload, metric } = await scene([{ name: "a" }]);
      rules({ backends: [{ retry }], routes });
      workload("a").behave(500);
      await calls(10);
      expect(workload("a").served).toBe(13);
      expect([metric(refused("enforce")), metric(refused("observe"))]).toEqual([7, 0]);
    });

    it("mode observe: counts the retries that it would refuse, and lets them go", async () => {
      const { rules, calls, workload, metric } = await scene([{ name: "a" }]);
      rules({ backends: [{ mode: "observe", retry }], routes });
      workload("a").behave(500);
      await calls(10);
      expect(workload("a").served).toBe(20);
      expect([metric(refused("enforce")), metric(refused("observe"))]).toEqual([0, 7]);
    });
  });

  oneOf("HTTP/1.1")("mode observe: counts connections beyond the bound, and opens them", async () => {
    const { rules, call, workload, metric } = await scene([{ name: "a" }]);
    rules({ backends: [{ mode: "observe", circuit: { maxConnections: 1 } }] });
    workload("a").behave("silent");
    const waiting = [call(), call(), call()];
    await until("all are under way", 2_000, () => (workload("a").served === 3 ? true : undefined));
    workload("a").release();
    expect((await Promise.all(waiting)).map(({ what }) => what)).toEqual(["200 a", "200 a", "200 a"]);
    expect(
      metric('isthmus_rule_verdicts_total{rule="west/shop/policy",verdict="circuit_open",mode="observe"}'),
    ).toBe(2);
  });

  it("mode observe: counts what the circuit would refuse and leaves traffic alone", async () => {
    const { rules, call, workload, metric } = await scene([{ name: "a" }]);
    rules({ backends: [{ mode: "observe", circuit: { maxParallelRequests: 1 } }] });
    workload("a").behave("silent");
    const waiting = [call()];
    await until("one is under way", 2_000, () => (workload("a").served === 1 ? true : undefined));
    waiting.push(call());
    await until("the other as well", 2_000, () => (workload("a").served === 2 ? true : undefined));
    workload("a").release();
    expect((await Promise.all(waiting)).map(({ what }) => what)).toEqual(["200 a", "200 a"]);
    expect(
      metric('isthmus_rule_verdicts_total{rule="west/shop/policy",verdict="circuit_open",mode="observe"}'),
    ).toBe(1);
  });
});

describe.each(PROTOCOLS)(
  "BackendTrafficPolicy failover, where two clusters have the service, by %s",
  (protocol) => {
    const scene = useRulesScene(protocol);
    const levels = [[{ cluster: "east", weight: 1 }], [{ cluster: "north", weight: 1 }]];
    const failover = {
      levels,
      overprovisioning: 1.4,
      panicThreshold: 0.5,
      failbackDelayMs: 1_000,
      failbackRampMs: 1_000,
    };
    const inNorth = [{ name: "n1" }, { name: "n2" }];

    it("priorities: goes to the first level while that is well, and to the next when its service is gone", async () => {
      const { rules, calls, workload, advance } = await scene(TWO, { inNorth });
      rules({ backends: [{ failover }] });
      expect(Object.keys(await calls(20)).every((what) => /^200 [ab]$/.test(what))).toBe(true);
      for (const name of ["a", "b"]) await workload(name).kill();
      await until("north answers", 2_000, async () =>
        (Object.keys(await calls(1))[0] ?? "").startsWith("200 n") ? true : undefined,
      );
      expect(Object.keys(await calls(20)).every((what) => /^200 n[12]$/.test(what))).toBe(true);
      for (const name of ["a", "b"]) await workload(name).revive();
      // The probe finds them within a moment; until the delay is over not one request goes back.
      await until("they are served again", 5_000, async () => {
        advance(200);
        return /^200 [ab]$/.test(Object.keys(await calls(1))[0] ?? "") ? true : undefined;
      });
      advance(3_000);
      expect(Object.keys(await calls(20)).every((what) => /^200 [ab]$/.test(what))).toBe(true);
    });

    it("failback.delay and ramp: nothing returns before the delay, then a growing part", async () => {
      const { rules, calls, crowd, workload, advance } = await scene(TWO, { inNorth });
      const slowly = { ...failover, failbackDelayMs: 10_000, failbackRampMs: 10_000 };
      rules({ backends: [{ failover: slowly }] });
      for (const name of ["a", "b"]) await workload(name).kill();
      await until("north answers", 2_000, async () =>
        (Object.keys(await calls(1))[0] ?? "").startsWith("200 n") ? true : undefined,
      );
      for (const name of ["a", "b"]) await workload(name).revive();
      let passedMs = 0;
      await until("the first request returns", 10_000, async () => {
        advance(100);
        passedMs += 100;
        return /^200 [ab]$/.test(Object.keys(await calls(1))[0] ?? "") ? true : undefined;
      });
      expect(passedMs).toBeGreaterThanOrEqual(10_000);
      const returned = async () => {
        const { "200 a": a = 0, "200 b": b = 0, ...rest } = await crowd(200);
        expect(Object.keys(rest).every((what) => /^200 n[12]$/.test(what))).toBe(true);
        return a + b;
      };
      expect(await returned()).toBeLessThan(150);
      advance(12_000);
      expect(await returned()).toBe(200);
    });

    it("mode observe: leaves the clusters their shares, and counts what would go elsewhere", async () => {
      const { rules, calls, metric } = await scene([{ name: "a" }], { inNorth: [{ name: "n" }] });
      const northFirst = [[{ cluster: "north", weight: 1 }], [{ cluster: "east", weight: 1 }]];
      rules({ backends: [{ mode: "observe", failover: { ...failover, levels: northFirst } }] });
      const verdict =
        'isthmus_rule_verdicts_total{rule="west/shop/policy",verdict="failover",mode="observe"}';
      const { "200 a": a = 0, "200 n": n = 0 } = await calls(60);
      expect([a > 0, n > 0, a + n]).toEqual([true, true, 60]);
      expect(metric(verdict)).toBe(a);
      rules({ backends: [{ failover: { ...failover, levels: northFirst } }] });
      expect(await calls(30)).toEqual({ "200 n": 30 });
    });

    it("weights: divides a level by weight, and composes with priorities", async () => {
      const { rules, calls } = await scene([{ name: "a" }], { inNorth: [{ name: "n" }] });
      const one = [
        [
          { cluster: "east", weight: 3 },
          { cluster: "north", weight: 1 },
        ],
      ];
      rules({ backends: [{ failover: { ...failover, levels: one } }] });
      const { "200 n": north = 0, ...rest } = await calls(400);
      expect(Object.keys(rest)).toEqual(["200 a"]);
      expect(north).toBeGreaterThan(60);
      expect(north).toBeLessThan(145);
    });

    it("readiness: sends on only what the ready endpoints cannot carry", async () => {
      const { rules, crowd, workload } = await scene(TWO, { inNorth });
      rules({ backends: [{ failover }] });
      await crowd(10);
      await workload("b").kill();
      await crowd(20);
      const counts = await crowd(300);
      const { "200 a": a = 0, "200 n1": n1 = 0, "200 n2": n2 = 0, ...rest } = counts;
      expect(rest).toEqual({});
      // Half of them ready: 1.4 × 0.5 stays.
      expect(a).toBeGreaterThan(170);
      expect(a).toBeLessThan(250);
      expect(n1 + n2).toBe(300 - a);
    });

    it("panic: goes on trying when every endpoint of every level is gone", async () => {
      const { rules, calls, workload } = await scene([{ name: "a" }], { inNorth: [{ name: "n" }] });
      rules({ backends: [{ failover }] });
      for (const name of ["a", "n"]) await workload(name).kill();
      expect(Object.keys(await calls(20)).every((what) => what === "503 ISTH-3004")).toBe(true);
      await workload("a").revive();
      await until("the first that is back is used", 3_000, async () =>
        (await calls(1))["200 a"] === 1 ? true : undefined,
      );
    });

    it("a killed endpoint costs no request that was not under way", async () => {
      const { rules, crowd, workload, advance } = await scene(THREE, { agents: true });
      rules({ backends: [{ outlier }] });
      await crowd(30);
      await workload("b").kill();
      const counts = await crowd(60);
      expect(Object.keys(counts).toSorted()).toEqual(["200 a", "200 c"]);
      await workload("b").revive();
      // It was ejected as well, for the requests that it broke.
      advance(1_100);
      await until("it is used again", 3_000, async () =>
        (await crowd(40))["200 b"] === undefined ? undefined : true,
      );
    });
  },
);

describe.each(PROTOCOLS)("a retry, by %s", (protocol) => {
  const scene = useRulesScene(protocol);
  const service = { namespace: "shop", name: "cart" };
  const retrying = (retry: RouteRetry) => [
    {
      cluster: "west",
      namespace: "shop",
      name: "retry",
      firstSeen: "2026-01-01T00:00:00Z",
      mode: "enforce" as const,
      parents: [service],
      rules: [{ retry: { backoff: "1ms", ...retry } }],
    },
  ];
  const failover = {
    overprovisioning: 1.4,
    panicThreshold: 0.5,
    failbackDelayMs: 1_000,
    failbackRampMs: 1_000,
  };
  const east = { cluster: "east", weight: 1 };
  const north = { cluster: "north", weight: 1 };

  it("costs no request when an endpoint is killed under them", async () => {
    const { rules, call, crowd, workload } = await scene(THREE, { agents: true });
    rules({ routes: retrying({}) });
    await crowd(30);
    workload("b").behave("silent");
    const before = workload("b").served;
    const under = Array.from({ length: 30 }, () => call());
    await until("some wait for it", 2_000, () => (workload("b").served > before + 3 ? true : undefined));
    await workload("b").kill();
    const answers = new Set((await Promise.all(under)).map(({ what }) => what));
    expect([...answers].toSorted()).toEqual(["200 a", "200 c"]);
    expect(Object.keys(await crowd(30)).toSorted()).toEqual(["200 a", "200 c"]);
  });

  it("goes to another endpoint than the one that failed", async () => {
    const { rules, crowd, workload } = await scene(THREE);
    rules({ routes: retrying({ codes: [500] }) });
    await crowd(20);
    workload("b").behave(500);
    const before = workload("b").served;
    expect(Object.keys(await crowd(40)).toSorted()).toEqual(["200 a", "200 c"]);
    expect(workload("b").served).toBeGreaterThan(before);
  });

  it("goes to another cluster of the same level, and is counted for that", async () => {
    const { rules, calls, workload, metric } = await scene(TWO, { inNorth: [{ name: "n" }] });
    rules({
      routes: retrying({ codes: [503] }),
      backends: [{ failover: { ...failover, levels: [[east, north]] } }],
    });
    for (const name of ["a", "b"]) workload(name).behave(503);
    expect(await calls(30)).toEqual({ "200 n": 30 });
    const counted = (destination: string) =>
      metric(
        `isthmus_requests_total{source_cluster="west",workload="ns/shop/sa/web",destination_cluster="${destination}"`,
      );
    expect([counted("east"), counted("north")]).toEqual([0, 30]);
  });

  it("goes to the next level only when its own has no other endpoint", async () => {
    const { rules, calls, workload } = await scene(TWO, { inNorth: [{ name: "n" }] });
    const backends = [{ failover: { ...failover, levels: [[east], [north]] } }];
    rules({ routes: retrying({ codes: [503] }), backends });
    workload("a").behave(503);
    expect(await calls(20)).toEqual({ "200 b": 20 });
    workload("b").behave(503);
    rules({ routes: retrying({ codes: [503], attempts: 2 }), backends });
    expect(await calls(20)).toEqual({ "200 n": 20 });
  });

  it.each([true, false])(
    "counts only endpoints of the version that was asked for as others, agents: %s",
    async (agents) => {
      const placed = [
        { name: "a", version: "v1" },
        { name: "b", version: "v2" },
      ];
      const options = { agents, inNorth: [{ name: "n", version: "v1" }] };
      const { rules, calls, workload } = await scene(placed, options);
      const backends = [{ failover: { ...failover, levels: [[east], [north]] } }];
      rules({ routes: retrying({ codes: [503] }), backends, rollouts: [{ weight: 0 }] });
      expect(await calls(5)).toEqual({ "200 a": 5 });
      workload("a").behave(503);
      expect(await calls(20)).toEqual({ "200 n": 20 });
    },
  );
});

describe.each(PROTOCOLS)("Rollout, by %s", (protocol) => {
  const scene = useRulesScene(protocol);

  it("divides the requests between two versions by weight", async () => {
    const { rules, calls } = await scene([
      { name: "a", version: "v1" },
      { name: "b", version: "v2" },
    ]);
    for (const [weight, least, most] of [
      [0, 0, 0],
      [100, 300, 300],
      [20, 30, 95],
    ] as const) {
      rules({ rollouts: [{ weight }] });
      const canary = (await calls(300))["200 b"] ?? 0;
      expect(canary).toBeGreaterThanOrEqual(least);
      expect(canary).toBeLessThanOrEqual(most);
    }
  });

  it("keeps a session at its version, and takes it along when that gets nothing more", async () => {
    const { rules, call, calls } = await scene([
      { name: "a", version: "v1" },
      { name: "b", version: "v2" },
    ]);
    const cookie = { name: "sid", type: "Cookie", permanent: false } as const;
    const roll = (
      weight: number,
      session: typeof cookie | { type: "Header"; name: string; permanent: false },
    ) => rules({ backends: [{ session }], rollouts: [{ weight }] });
    roll(100, cookie);
    const given = (await call()).headers.get("set-cookie") ?? "";
    const sent = { cookie: given.split(";")[0] ?? "" };
    roll(1, cookie);
    expect(await calls(20, sent)).toEqual({ "200 b": 20 });
    roll(0, cookie);
    expect(await calls(20, sent)).toEqual({ "200 a": 20 });
    roll(0, { name: "x-user", type: "Header", permanent: false });
    for (const user of ["anna", "bert", "carl", "dora"])
      expect(await calls(3, { "x-user": user })).toEqual({ "200 a": 3 });
  });

  it("mode observe: leaves the versions alone and counts what would go to the canary", async () => {
    const { rules, crowd, calls, metric } = await scene([
      { name: "a", version: "v1" },
      { name: "b", version: "v2" },
    ]);
    const verdict = 'isthmus_rule_verdicts_total{rule="west/shop/rollout",verdict="canary",mode="observe"}';
    rules({ rollouts: [{ weight: 100, mode: "observe" }] });
    expect(Object.keys(await crowd(40)).toSorted()).toEqual(["200 a", "200 b"]);
    expect(metric(verdict)).toBe(40);
    rules({ rollouts: [{ weight: 0, mode: "observe" }] });
    await calls(10);
    expect(metric(verdict)).toBe(40);
  });

  it("takes canaries that are silent or break off for failing", async () => {
    const { mesh, rules, calls, workload } = await scene([
      { name: "a", version: "v1" },
      { name: "b", version: "v2" },
    ]);
    const timeout = (timeouts: RouteTimeouts): SnapshotRoute => ({
      cluster: "west",
      namespace: "shop",
      name: "cart",
      firstSeen: "2026-01-01T00:00:00Z",
      mode: "enforce",
      parents: [{ namespace: "shop", name: "cart" }],
      rules: [{ timeouts }],
    });
    const failures = () => mesh.member("west gateway").proxy.canaries?.()[0]?.failures;
    workload("b").behave("silent");
    rules({ rollouts: [{ weight: 100 }], routes: [timeout({ request: "50ms" })] });
    expect(await calls(3)).toEqual({ "504 ISTH-3006": 3 });
    rules({ rollouts: [{ weight: 100 }], routes: [timeout({ backendRequest: "50ms" })] });
    expect(await calls(3)).toEqual({ "504 ISTH-3006": 3 });
    expect(failures()).toBe(6);
    workload("b").behave("half");
    expect(await calls(3)).toEqual({ broken: 3 });
    expect(failures()).toBe(9);
  });
});
