import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Federation, startFederation, twoClusters } from "../fakes/federation.ts";
import { describe as words, requestOnce } from "../fakes/load.ts";
import { until } from "../fakes/until.ts";
import { startHttpWorkload, type Workload } from "../fakes/workloads.ts";

describe("when the workload itself is lost", () => {
  let cart: Workload;
  let federation: Federation;
  beforeAll(async () => {
    cart = await startHttpWorkload();
    federation = await startFederation(twoClusters({ cart: cart.address, agents: false }));
  });
  afterAll(async () => {
    await federation.stop();
    await cart.stop();
  });

  test("the caller is told that it is the workload, and is served again as soon as that is back", async () => {
    const web = federation.address("web");
    expect(words(await requestOnce(web))).toBe("200");
    await cart.stop();
    expect(words(await requestOnce(web))).toBe("503 ISTH-3004");
    await cart.start();
    await until("service is back", 2_000, async () =>
      words(await requestOnce(web)) === "200" ? true : undefined,
    );
  });

  test("the refusal of a forbidden caller stays what it is while the workload is away", async () => {
    await cart.stop();
    expect(words(await requestOnce(federation.address("batch")))).toBe("403 ISTH-2001");
    await cart.start();
  });
});
