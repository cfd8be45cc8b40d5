import { systemClock } from "./clock.ts";
import { lambdaHandler } from "./lambda-events.ts";
import { createServerless } from "./serverless.ts";

export const handler = lambdaHandler(
  createServerless({
    get: (key) => process.env[key],
    clock: systemClock,
    random: Math.random,
    newId: () => crypto.randomUUID(),
    write: (line) => void process.stdout.write(`${line}\n`),
  }),
);
