import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { mintCallerToken } from "../../federation/trust/index.ts";
import { type EdgeScene, startEdge } from "../fakes/edge-scene.ts";
import { addressOf } from "../fakes/http-wire.ts";
import { type Load, startLoad, tally } from "../fakes/load.ts";
import { type Attack, floodFromOutside } from "../fakes/tunnel-flood.ts";
import { until } from "../fakes/until.ts";

const MAX_GROWTH = 64 * 1024 * 1024;
// As many connections as a session may have streams, each with both of its ends in this very process.
const MAX_SERVED_GROWTH = 2 * MAX_GROWTH;

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

const ATTACKS: readonly (readonly [what: string, attack: Attack, token: boolean])[] = [
  ["opens 100,000 streams that are allowed", "opensStreams", true],
  ["opens 100,000 streams that are refused", "opensStreams", false],
  ["opens 100,000 streams and resets them at once", "resetsAtOnce", true],
  ["opens and resets 100,000 streams that would be refused", "resetsAtOnce", false],
  ["opens and ends 100,000 streams that are refused", "opensAndEnds", false],
  ["opens 100,000 streams and resets them without an error", "resetsPolitely", true],
  ["makes the listener reset its streams", "breaksWindows", true],
  ["never ends its headers", "continuesForEver", true],
  ["floods with PING", "pings", true],
  ["floods with SETTINGS", "sendsSettings", true],
  ["floods with empty DATA", "sendsEmptyData", true],
  ["floods with PRIORITY", "setsPriorities", true],
  ["talks nonsense", "talksNonsense", true],
];

describe("a tunnel peer that floods", () => {
  let scene: EdgeScene;
  let load: Load;
  beforeAll(async () => {
    scene = await startEdge();
  });
  afterAll(() => scene.stop());
  beforeEach(() => {
    scene.skip(1_000);
    collectGarbage();
  });

  const token = () =>
    mintCallerToken({
      credential: scene.mesh.federation.credential("west", "shop", "web"),
      audience: "east.test.mesh/shop/cart",
      now: Date.now(),
    });

  it.each(ATTACKS)(
    "and %s is cut with a code, and good peers are served meanwhile",
    async (_what, attack, withToken) => {
      const east = scene.mesh.member("east gateway");
      const before = east.log.length;
      const rss = process.memoryUsage().rss;
      load = startLoad(addressOf(scene.mesh.address("ns/shop/sa/web")), 2);
      const report = await floodFromOutside({
        attack,
        address: east.listen,
        credential: scene.mesh.federation.system("west", "gateway"),
        authority: "cart.shop.svc.clusterset.local:80",
        fields: withToken ? { "isthmus-caller": token() } : {},
      });
      const served = load.report().ok;
      await until("good peers are still served", 5_000, () =>
        load.report().ok > served + 20 ? true : undefined,
      );
      const { failed } = await load.stop();
      const growth = process.memoryUsage().rss - rss;
      expect(report.cut).toBe(true);
      const lines = () => east.log.slice(before).filter((line) => line["event"] === "peer_refused");
      expect(lines().map((line) => line["code"])).toEqual(["ISTH-3012"]);
      expect(tally(failed)).toEqual({});
      expect(growth).toBeLessThan(attack === "opensStreams" && withToken ? MAX_SERVED_GROWTH : MAX_GROWTH);
      await until("all streams are given back", 5_000, () =>
        (east.proxy.status() as { readonly streams: number }).streams <= 4 ? true : undefined,
      );
      scene.workload.clear();
    },
  );
});
