/** How soon a change is in force: 200 changes of one export, each measured from the registry's acknowledgement. */
import { applyTo, exportTo } from "../fakes/changes.ts";
import { startFederation, twoClusters } from "../fakes/federation.ts";
import { describeAnswer, requestOnce } from "../fakes/load.ts";
import { until } from "../fakes/until.ts";
import { startHttpWorkload } from "../fakes/workloads.ts";

const CHANGES = 200;

const cart = await startHttpWorkload();
const federation = await startFederation(twoClusters({ cart: cart.address }));
const took: number[] = [];
try {
  for (let change = 0; change < CHANGES; change++) {
    const granted = change % 2 === 0;
    await applyTo(federation, granted ? exportTo("web", "batch") : exportTo("web"));
    const acknowledged = performance.now();
    const wanted = granted ? "200" : "403 ISTH-2001";
    await until(`batch gets ${wanted}`, 5_000, async () =>
      describeAnswer(await requestOnce(federation.address("batch"))) === wanted ? true : undefined,
    );
    took.push(performance.now() - acknowledged);
  }
} finally {
  await federation.stop();
  await cart.stop();
}
took.sort((a, b) => a - b);
const at = (quantile: number) => `${(took[Math.ceil(CHANGES * quantile) - 1] ?? 0).toFixed(0)} ms`;
process.stdout.write(`${CHANGES} changes in force after: p50 ${at(0.5)}, p99 ${at(0.99)}, max ${at(1)}\n`);
