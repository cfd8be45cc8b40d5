import { once } from "node:events";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { alive, childrenOf } from "../fakes/federation.ts";
import { startWorkerWorld, type WorkerWorld } from "../fakes/workers.ts";
import { startHttpWorkload, type Workload } from "../fakes/workloads.ts";
import { until } from "../fakes/until.ts";

interface Status {
  readonly workers: readonly { readonly member: string; readonly pid: number; readonly running: boolean }[];
}

describe("a gateway of two worker processes", () => {
  let cart: Workload;
  let world: WorkerWorld;
  beforeAll(async () => {
    cart = await startHttpWorkload();
    world = await startWorkerWorld(cart.address, 2);
    await until("the first answer", 20_000, async () => ((await call()) === 200 ? true : undefined));
  }, 90_000);
  afterAll(async () => {
    await world?.stop();
    await cart.stop();
  });

  const call = async (): Promise<number> => {
    const { host, port } = world.web;
    try {
      const answer = await fetch(`http://${host}:${port}/`, { headers: { connection: "close" } });
      await answer.arrayBuffer();
      return answer.status;
    } catch {
      return 0;
    }
  };
  const ask = async (path: string) => (await fetch(`http://${world.west.admin}${path}`)).text();
  const status = async () => JSON.parse(await ask("/status")) as Status;
  const answered = async (): Promise<number> =>
    Number(/isthmus_requests_total\{[^}]*"2xx"[^}]*\} (\d+)/.exec(await ask("/metrics"))?.[1] ?? 0);

  it("answers metrics and status for all of them", async () => {
    const before = await answered();
    for (let sent = 0; sent < 20; sent++) expect(await call()).toBe(200);
    expect((await answered()) - before).toBe(20);
    const { workers } = await status();
    expect(workers.map(({ member, running }) => [member, running])).toEqual([
      ["edge-1", true],
      ["edge-2", true],
    ]);
    expect(await ask("/readyz")).toBe("2 of 2 workers serve\n");
  });

  it("goes on when one is killed, starts it again, and loses none of its counts", async () => {
    const before = await answered();
    const [victim] = (await status()).workers;
    process.kill(victim?.pid ?? 0, "SIGKILL");
    await until("the other one serves", 5_000, async () => ((await call()) === 200 ? true : undefined));
    await until("both run again", 20_000, async () => {
      const { workers } = await status();
      return workers.every(({ running, pid }) => running && pid !== victim?.pid) ? true : undefined;
    });
    expect(await answered()).toBeGreaterThan(before);
  });

  it("replaces one that is told to go without failing a request", async () => {
    const [leaving] = (await status()).workers;
    process.kill(leaving?.pid ?? 0, "SIGTERM");
    const answers: number[] = [];
    await until("it is replaced", 20_000, async () => {
      answers.push(await call());
      return alive(leaving?.pid ?? 0) ? undefined : true;
    });
    expect(answers.filter((code) => code !== 200)).toEqual([]);
  });

  it("ends them all in good order on SIGTERM", async () => {
    const children = childrenOf(world.west.process.pid ?? 0);
    world.west.process.kill("SIGTERM");
    const [code] = (await once(world.west.process, "exit")) as [number | null];
    expect(code).toBe(0);
    expect(children.filter(alive)).toEqual([]);
  });
});
