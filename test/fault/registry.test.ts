import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Federation, startFederation, twoClusters } from "../fakes/federation.ts";
import { describe as words, requestOnce, startLoad, tally } from "../fakes/load.ts";
import { until } from "../fakes/until.ts";
import { startHttpWorkload, type Workload } from "../fakes/workloads.ts";

const REGISTRY = { role: "registry" } as const;

describe("when the registry is lost", () => {
  let cart: Workload;
  let federation: Federation;
  beforeAll(async () => {
    cart = await startHttpWorkload();
    federation = await startFederation(twoClusters({ cart: cart.address }));
  });
  afterAll(async () => {
    await federation.stop();
    await cart.stop();
  });

  test("kill -9 of it under load fails no request", async () => {
    const load = startLoad(federation.address("web"), 16);
    await until("the load runs", 5_000, () => (load.report().ok > 500 ? true : undefined));
    const before = federation.signal(REGISTRY, "SIGKILL");
    await federation.returned(REGISTRY, before);
    const seen = load.report().ok;
    await until("the load goes on", 5_000, () => (load.report().ok > seen + 500 ? true : undefined));
    const { failed } = await load.stop();
    expect(tally(failed)).toEqual({});
  });

  test("a write that was acknowledged is there after kill -9", async () => {
    const acknowledged = await federation.isthmus("cluster", "register", "north");
    const before = federation.signal(REGISTRY, "SIGKILL");
    expect(acknowledged).toMatchObject({ code: 0 });
    await federation.returned(REGISTRY, before);
    const clusters = await federation.isthmus("cluster", "list", "-o", "json");
    expect(clusters.out).toContain('"north"');
  });

  test("a gateway and an agent that restart meanwhile serve from the last good snapshot", async () => {
    // Stopped, not killed: it takes connections and never answers, which is the harder case.
    federation.signal(REGISTRY, "SIGSTOP");
    try {
      for (const role of ["gateway", "agent"] as const) {
        for (const cluster of ["east", "west"]) {
          const before = federation.signal({ role, cluster }, "SIGKILL");
          await federation.returned({ role, cluster }, before);
        }
      }
      const answer = await until("west reaches east again", 2_000, async () => {
        const one = words(await requestOnce(federation.address("web")));
        return one === "200" ? one : undefined;
      });
      expect(answer).toBe("200");
      expect(words(await requestOnce(federation.address("batch")))).toBe("403 ISTH-2001");
    } finally {
      federation.signal(REGISTRY, "SIGCONT");
    }
  });
});
