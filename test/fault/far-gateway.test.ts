import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Federation, startFederation, twoClusters } from "../fakes/federation.ts";
import { describe as words, echoOnce, requestOnce, startLoad, tally } from "../fakes/load.ts";
import { until } from "../fakes/until.ts";
import { startEchoWorkload, startHttpWorkload, type Workload } from "../fakes/workloads.ts";

const FAR = { role: "gateway", cluster: "east" } as const;

describe("when the only gateway of the other cluster is lost", () => {
  let workloads: Workload[];
  let federation: Federation;
  beforeAll(async () => {
    workloads = [await startHttpWorkload(), await startEchoWorkload()];
    const [cart, echo] = workloads.map(({ address }) => address);
    federation = await startFederation(twoClusters({ cart: cart ?? "", echo: echo ?? "" }));
  });
  afterAll(async () => {
    await federation.stop();
    for (const workload of workloads) await workload.stop();
  });

  test("callers get a 503 that names the code and the fix, at once, and service within 2 s of its return", async () => {
    const web = federation.address("web");
    const load = startLoad(web, 16);
    await until("the load runs", 5_000, () => (load.report().ok > 500 ? true : undefined));
    federation.pause();
    const before = federation.signal(FAR, "SIGKILL");
    const refusal = await until("a 503", 1_000, async () => {
      const one = await requestOnce(web);
      return typeof one !== "string" && one.status === 503 ? one : undefined;
    });
    expect(refusal.headers.get("content-type")).toContain("application/problem+json");
    expect(JSON.parse(refusal.body)).toMatchObject({ status: 503, code: "ISTH-3003" });
    expect(refusal.headers.get("isthmus-code")).toBe("ISTH-3003");
    const asked = performance.now();
    expect(words(await requestOnce(web))).toBe("503 ISTH-3003");
    expect(performance.now() - asked).toBeLessThan(1_000);

    federation.resume();
    await federation.returned(FAR, before);
    await until("service is back", 2_000, async () =>
      words(await requestOnce(web)) === "200" ? true : undefined,
    );
    const { failed } = await load.stop();
    const kinds = Object.keys(tally(failed)).filter((what) => !what.startsWith("503 ISTH-300"));
    expect(kinds, "what was under way may break, everything later is told why").toEqual(
      kinds.filter((what) => ["closed", "reset"].includes(what)),
    );
    expect(failed.filter(({ what }) => !what.startsWith("503")).length).toBeLessThanOrEqual(16);
  });

  test("a TCP connection ends, and a new one works after its return", async () => {
    const echo = federation.address("web", "echo.shop");
    const before = federation.signal(FAR, "SIGKILL");
    await federation.returned(FAR, before);
    const back = await until("an echo", 2_000, async () => {
      const one = await echoOnce(echo, "hello").catch(() => "");
      return one === "hello" ? one : undefined;
    });
    expect(back).toBe("hello");
  });
});
