import type { ChildProcess } from "node:child_process";
import { afterEach, describe, expect, test } from "vitest";
import { lambdaHandler } from "../../federation/runtime/lambda-events.ts";
import { createServerless } from "../../federation/runtime/serverless.ts";
import { bundle, LIMITS } from "../../infra/bundle/bundle.ts";
import { tableOf } from "../fakes/dynamodb-local.ts";
import { dynamoDbMissing } from "../fakes/dynamodb-missing.ts";
import { eventOf, lambdaTools, type LambdaAnswer } from "../fakes/lambda-client.ts";
import { createManualClock } from "../fakes/manual-clock.ts";
import { HOST_TOKEN, serverlessSettings, startLambda } from "../fakes/runtime-servers.ts";
import { useTempDirs } from "../fakes/temp-dir.ts";

const directory = useTempDirs();
const missing = dynamoDbMissing();
/** Of our own: loading the bundle and answering the first request, not starting Node. */
const COLD_START_US = 400_000;

let child: ChildProcess | undefined;
afterEach(() => void child?.kill());

test.each(["lambda", "worker"] as const)("the bundle for %s is as small as it may be", async (target) => {
  const { bytes } = await bundle(target);
  expect(bytes).toBeGreaterThan(100_000);
  expect(bytes).toBeLessThan(LIMITS[target]);
});

describe.skipIf(missing !== undefined)(missing ?? "a Lambda function", () => {
  test("starts cold within 400 ms of CPU time", async () => {
    const path = directory();
    const { local, table } = await tableOf(path);
    // The least of three starts: what else runs on the cores adds to the CPU time of a start, and never takes from it.
    let least = Number.POSITIVE_INFINITY;
    for (let start = 0; start < 3 && least >= COLD_START_US; start++) {
      const lambda = await startLambda(path, serverlessSettings(local, table));
      child = lambda.child;
      expect((await fetch(`${lambda.url}/v1/federation`)).status).toBe(200);
      const cpu = (await (await fetch(`${lambda.url}/host/cpu`)).json()) as { readonly first: number };
      least = Math.min(least, cpu.first);
      child.kill();
    }
    console.log(`cold start to first byte: ${Math.round(least / 1_000)} ms of CPU time`);
    expect(least).toBeLessThan(COLD_START_US);
  });

  test("answers a load balancer's events and the clock's", async () => {
    const { local, table } = await tableOf(directory());
    const tools = lambdaTools(serverlessSettings(local, table), createManualClock());
    const handler = lambdaHandler(createServerless(tools));
    const request = new Request("http://lb/v1/clusters?dryRun=x", {
      headers: { authorization: `Bearer ${HOST_TOKEN}` },
    });
    const answer = (await handler(await eventOf(request, "alb"))) as LambdaAnswer;
    expect(answer.statusCode).toBe(200);
    expect(await handler({ source: "aws.events" })).toBeUndefined();
  });

  test("says nothing about its settings where they are wrong", async () => {
    const lines: string[] = [];
    const tools = { ...lambdaTools({}, createManualClock()), write: (line: string) => void lines.push(line) };
    const answer = await createServerless(tools).fetch(new Request("http://lambda/v1/federation"));
    expect(answer.status).toBe(503);
    expect(await answer.text()).not.toMatch(/ISTHMUS_/);
    expect(lines.join()).toContain("ISTHMUS_FEDERATION");
  });
});
