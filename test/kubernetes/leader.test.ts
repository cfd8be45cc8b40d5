import { afterEach, describe, expect, it } from "vitest";
import { createKubeClient, type KubeClient } from "../../agents/kubernetes/api/client.ts";
import { LEASES } from "../../agents/kubernetes/api/resource-type.ts";
import { createLeader, type Leader, LEASE_SECONDS } from "../../agents/kubernetes/leader.ts";
import { SILENT_LOGGER } from "../../federation/model/log.ts";
import { type KubeApi, startKubeApi } from "../fakes/kube-world.ts";
import { createManualClock, type ManualClock } from "../fakes/manual-clock.ts";

const HOUR_MS = 3_600_000;
let api: KubeApi | undefined;
const clients: KubeClient[] = [];
const clocks: ManualClock[] = [];
let underway = 0;
const leaders: Leader[] = [];

afterEach(async () => {
  await Promise.all(leaders.splice(0).map((leader) => leader.stop()));
  for (const client of clients.splice(0)) client.close();
  clocks.length = 0;
  await api?.close();
});

/** Turns all clocks on, each from where it is; every request of a second is answered before the next one begins. */
async function pass(seconds: number): Promise<void> {
  for (let second = 0; second < seconds; second++) {
    for (const clock of clocks) clock.advance(1_000);
    do await new Promise((resolve) => setTimeout(resolve, 1));
    while (underway > 0);
  }
}

interface Candidate extends Leader {
  /** As a process that was killed: it says nothing more, and gives nothing back. */
  kill(): void;
}

function candidate(identity: string, clockOffMs: number): Candidate {
  if (api === undefined) throw new Error("no API server");
  const client = createKubeClient(api.access);
  const clock = createManualClock(Date.now() + clockOffMs);
  clocks.push(clock);
  let isKilled = false;
  clients.push(client);
  const leader = createLeader({
    client: {
      ...client,
      async request(request) {
        if (isKilled) return new Promise(() => {});
        underway += 1;
        return client.request(request).finally(() => (underway -= 1));
      },
    },
    namespace: "isthmus-system",
    name: "isthmus-controller",
    identity,
    clock,
    random: () => 0.5,
    log: SILENT_LOGGER,
  });
  leader.start();
  return {
    leading: leader.leading,
    problem: undefined,
    start: () => {},
    stop: () => leader.stop(),
    kill() {
      isKilled = true;
    },
  };
}

const holder = async (): Promise<unknown> => {
  const lease = await api?.get(LEASES, "isthmus-system", "isthmus-controller");
  return (lease?.spec as { readonly holderIdentity?: string } | undefined)?.holderIdentity;
};

describe("two candidates whose clocks and the API server's disagree", () => {
  it.each([
    ["the holder's is an hour slow", -HOUR_MS, 0],
    ["the holder's is an hour fast", HOUR_MS, 0],
    ["the follower's is an hour fast", 0, HOUR_MS],
  ])(
    "have one leader, and the other after the Lease's time when it is killed: %s",
    async (_, first, second) => {
      api = await startKubeApi();
      const one = candidate("one", first);
      await pass(1);
      expect(one.leading.current).toBe(true);
      const two = candidate("two", second);
      let together = 0;
      const unsubscribe = two.leading.subscribe((leads) => (together += leads ? 1 : 0));
      // Three times as long as a Lease lives: by the written times the holder's would be over, or not begun.
      await pass(LEASE_SECONDS * 3);
      expect([one.leading.current, two.leading.current, together]).toEqual([true, false, 0]);
      unsubscribe();
      one.kill();
      await pass(LEASE_SECONDS - 2);
      expect(two.leading.current).toBe(false);
      await pass(6);
      expect(two.leading.current).toBe(true);
      expect(await holder()).toBe("two");
      leaders.push(two);
    },
    60_000,
  );
});
