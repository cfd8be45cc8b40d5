import net, { type AddressInfo } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { problem } from "../../../federation/model/problem.ts";
import { err, ok } from "../../../federation/model/result.ts";
import type { Snapshot } from "../../../federation/model/snapshot.ts";
import { entryEnvironment } from "../../../test/fakes/entry-environment.ts";
import { createMemoryLog, type MemoryLog } from "../../../test/fakes/memory-log.ts";
import { id, importRule, westTables } from "../../../test/fakes/rules.ts";
import { until } from "../../../test/fakes/until.ts";
import { createWatch, type PublishableWatch } from "../lifecycle/watch.ts";
import type { RouteTables } from "../routing/tables.ts";
import { type AllocateAddresses, ListenerSet } from "./listener-set.ts";

const WEB = id("west/shop/web");
const BATCH = id("west/shop/batch");
const BASKET = importRule({ name: "basket" });

describe("the set of workload listeners", () => {
  let tables: PublishableWatch<RouteTables | undefined>;
  let log: MemoryLog;
  let changes: number;
  let asked: string[][];
  let allocate: AllocateAddresses;
  let set: ListenerSet;
  beforeEach(() => {
    tables = createWatch<RouteTables | undefined>(undefined);
    log = createMemoryLog();
    changes = 0;
    asked = [];
    allocate = async (keys) => {
      asked.push(keys.map(({ workload, service, port }) => `${workload} ${service} ${port}`));
      return ok(keys.map(() => "127.0.0.1:0"));
    };
    set = new ListenerSet(
      entryEnvironment({ tables, log }),
      (keys) => allocate(keys),
      log,
      () => (changes += 1),
    );
  });
  afterEach(() => set.close());

  const publish = (change: Partial<Snapshot> = {}) => tables.publish(westTables(change));

  const listeners = (count: number) =>
    until(`${count} listeners`, 5_000, () => (set.status().length === count ? set.status() : undefined));

  const accepts = (address: string) =>
    new Promise<boolean>((resolve) => {
      const socket = net.connect({ host: "127.0.0.1", port: Number(address.split(":")[1]) });
      socket.on("connect", () => (socket.destroy(), resolve(true))).on("error", () => resolve(false));
    });

  it("is empty before there are rules", async () => {
    await set.setWorkloads([WEB]);
    expect(set.status()).toEqual([]);
  });

  it("has one for every workload and port of an imported service, each at an address of its own", async () => {
    publish({ imports: [importRule({ ports: [80, 81].map((port) => ({ port, protocol: "http" })) })] });
    await set.setWorkloads([WEB, BATCH]);
    const status = set.status();
    expect(status.map(({ workload, service, port }) => [workload, service, port])).toEqual([
      ["ns/shop/sa/web", "cart.shop", 80],
      ["ns/shop/sa/batch", "cart.shop", 80],
      ["ns/shop/sa/web", "cart.shop", 81],
      ["ns/shop/sa/batch", "cart.shop", 81],
    ]);
    expect(new Set(status.map(({ address }) => address)).size).toBe(4);
    for (const { address } of status) expect(await accepts(address)).toBe(true);
    expect(changes).toBeGreaterThan(0);
  });

  it("asks for addresses only of what is new", async () => {
    publish();
    await set.setWorkloads([WEB]);
    publish({ imports: [importRule(), BASKET] });
    await listeners(2);
    expect(asked).toEqual([["ns/shop/sa/web cart.shop 80"], ["ns/shop/sa/web basket.shop 80"]]);
  });

  it("keeps a listener whose import is gone, but does not list it", async () => {
    publish();
    await set.setWorkloads([WEB]);
    const [{ address } = { address: "" }] = set.status();
    publish({ imports: [] });
    await listeners(0);
    expect(await accepts(address)).toBe(true);
    publish();
    expect(await listeners(1)).toMatchObject([{ address }]);
    expect(asked).toHaveLength(1);
  });

  it("ends the listeners of a workload that is gone", async () => {
    publish();
    await set.setWorkloads([WEB, BATCH]);
    const batch = set.status().find(({ workload }) => workload.endsWith("batch"));
    await set.setWorkloads([WEB]);
    expect(set.status()).toHaveLength(1);
    expect(await accepts(batch?.address ?? "")).toBe(false);
  });

  it("opens a port anew when it speaks another protocol", async () => {
    publish();
    await set.setWorkloads([WEB]);
    publish({ imports: [importRule({ ports: [{ port: 80, protocol: "tcp" }] })] });
    await until("it speaks TCP", 5_000, () =>
      set.find({ workload: "ns/shop/sa/web", service: "cart.shop", port: 80 })?.protocol.name === "tcp"
        ? true
        : undefined,
    );
    expect(set.status()).toHaveLength(1);
  });

  it("tries again when a port is taken, opens the others meanwhile, and complains once", async () => {
    const taken = net.createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => taken.once("listening", resolve));
    const { port } = taken.address() as AddressInfo;
    allocate = async (keys) =>
      ok(keys.map(({ service }) => (service === "cart.shop" ? `127.0.0.1:${port}` : "127.0.0.1:0")));
    publish({ imports: [importRule(), BASKET] });
    await set.setWorkloads([WEB]);
    expect(set.status()).toMatchObject([{ service: "basket.shop" }]);
    await set.setWorkloads([WEB]);
    const detail = `another program listens on 127.0.0.1:${port}`;
    expect(log.of("listener_failed")).toMatchObject([{ code: "ISTH-6003", detail }]);
    const about = { workload: "ns/shop/sa/web", service: "cart.shop", port: 80 };
    expect(set.failures()).toEqual([{ ...about, code: "ISTH-6003", detail }]);
    taken.close();
    await listeners(2);
    expect(set.failures()).toEqual([]);
    expect(log.of("listener_failed")).toHaveLength(1);
  });

  it("tries again when no address can be had", async () => {
    const failing = allocate;
    allocate = async () => err(problem("state_unusable", "the address book is locked"));
    publish();
    await set.setWorkloads([WEB]);
    expect(log.of("listener_failed")).toMatchObject([{ code: "ISTH-6004" }]);
    expect(set.failures()).toMatchObject([{ service: "cart.shop", code: "ISTH-6004" }]);
    allocate = failing;
    await listeners(1);
  });

  it("opens nothing after it was closed, even where an address was on its way", async () => {
    let answer: (() => void) | undefined;
    allocate = (keys) =>
      new Promise((resolve) => {
        answer = () => resolve(ok(keys.map(() => "127.0.0.1:0")));
      });
    publish();
    const settled = set.setWorkloads([WEB]);
    set.close();
    answer?.();
    await settled;
    expect(set.status()).toEqual([]);
  });
});
