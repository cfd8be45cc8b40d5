import { afterEach, expect, test } from "vitest";
import { tableOf } from "../fakes/dynamodb-local.ts";
import { dynamoDbMissing } from "../fakes/dynamodb-missing.ts";
import { type Federation, startFederation, twoClusters } from "../fakes/federation.ts";
import { describeAnswer, requestOnce } from "../fakes/load.ts";
import { useTempDirs } from "../fakes/temp-dir.ts";
import { until } from "../fakes/until.ts";
import { startHttpWorkload, type Workload } from "../fakes/workloads.ts";

const directory = useTempDirs();
const missing = dynamoDbMissing();
let federation: Federation | undefined;
let cart: Workload | undefined;
afterEach(async () => {
  await federation?.stop();
  await cart?.stop();
});

test.skipIf(missing !== undefined)(
  `a whole federation runs on a table, and goes on where its registry is killed (${missing ?? "DynamoDB Local"})`,
  { timeout: 90_000 },
  async () => {
    const { local, table } = await tableOf(directory());
    cart = await startHttpWorkload();
    const [first, ...rest] = twoClusters({ cart: cart.address });
    const { spec, ...head } = first as { readonly spec: object };
    const registry = { store: "dynamodb", endpoint: local.endpoint, table };
    const running = await startFederation([{ ...head, spec: { ...spec, registry } }, ...rest]);
    federation = running;
    const call = async (workload: string) => describeAnswer(await requestOnce(running.address(workload)));
    expect(await call("web")).toBe("200");
    expect(await call("batch")).toBe("403 ISTH-2001");
    const before = running.signal({ role: "registry" }, "SIGKILL");
    expect(await call("web")).toBe("200");
    await running.returned({ role: "registry" }, before, 30_000);
    // What it knows, it has from the table: its disk holds keys only.
    const listed = await until("it answers", 20_000, async () => {
      const clusters = await running.isthmus("cluster", "list", "-o", "json");
      return clusters.code === 0 ? clusters.out : undefined;
    });
    expect(listed).toContain('"east"');
    expect((await running.isthmus("check", "-o", "json")).code).toBe(0);
  },
);
