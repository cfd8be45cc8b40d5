import { afterAll, afterEach, beforeAll, expect } from "vitest";
import { type Federation, startFederation, twoClusters } from "./federation.ts";
import { describeAnswer, type Load, requestOnce, startLoad } from "./load.ts";
import { until } from "./until.ts";
import { startEchoWorkload, startHttpWorkload, type Workload } from "./workloads.ts";

/** Two clusters with real workloads: `web` of west may call `cart` and `echo` of east, `batch` may not. */
export interface Scene {
  readonly federation: Federation;
  readonly cart: Workload;
  /** What `web`, or another workload, gets when it calls `cart`: `200`, `403 ISTH-2001`, `refused` … */
  call(workload?: string): Promise<string>;
  /** Waits until a call gets this answer; fails after the deadline. */
  untilCall(wanted: string, deadlineMs: number, workload?: string): Promise<void>;
  /** Load from `web` that is well under way. */
  load(): Promise<Load>;
}

/** Requests that show that a load runs. */
const SOME = 500;
export const CONNECTIONS = 16;
const START_MS = 70_000;

/** One federation for all tests of a file: it takes seconds to start. */
export function useScene(
  shape: { readonly agents?: boolean; readonly gateways?: number; readonly agentReplicas?: number } = {},
): Scene {
  const workloads: Workload[] = [];
  const loads: Load[] = [];
  let running: Federation | undefined;
  beforeAll(async () => {
    const [cart, echo] = [await startHttpWorkload(), await startEchoWorkload()];
    workloads.push(cart, echo);
    running = await startFederation(twoClusters({ ...shape, cart: cart.address, echo: echo.address }));
  }, START_MS);
  afterEach(async () => {
    for (const load of loads.splice(0)) await load.stop();
  });
  afterAll(async () => {
    await running?.stop();
    for (const workload of workloads) await workload.stop();
  });

  const federation = () => {
    if (running === undefined) throw new Error("the federation did not start");
    return running;
  };
  const call = async (workload = "web") => describeAnswer(await requestOnce(federation().address(workload)));
  return {
    get federation() {
      return federation();
    },
    get cart() {
      const [cart] = workloads;
      if (cart === undefined) throw new Error("the workload did not start");
      return cart;
    },
    call,
    untilCall: async (wanted, deadlineMs, workload) => {
      let last = "";
      await until(`${workload ?? "web"} gets ${wanted}`, deadlineMs, async () => {
        last = await call(workload);
        return last === wanted ? true : undefined;
      }).catch((error: unknown) => expect.fail(`${String(error)}; the last answer was ${last}`));
    },
    async load() {
      const load = startLoad(federation().address("web"), CONNECTIONS);
      loads.push(load);
      await goesOn(load, 5_000);
      return load;
    },
  };
}

/** Waits until the load has had some more good answers. */
export async function goesOn(load: Load, deadlineMs: number, requests = SOME): Promise<void> {
  const { ok } = load.report();
  await until("the load goes on", deadlineMs, () => (load.report().ok > ok + requests ? true : undefined));
}
