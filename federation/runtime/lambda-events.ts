import { Hono } from "hono";
import { handle, type LambdaContext, type LambdaEvent } from "hono/aws-lambda";
import type { ServerlessRegistry } from "./serverless.ts";

export type Invocation = LambdaEvent | { readonly source: string };

/** Function URL, API Gateway v2 and ALB events are requests; what EventBridge sends is its clock. */
export function lambdaHandler(
  registry: ServerlessRegistry,
): (event: Invocation, context?: LambdaContext) => Promise<unknown> {
  const app = new Hono();
  app.all("*", (c) => registry.fetch(c.req.raw));
  const respond = handle(app);
  return (event, context) => ("source" in event ? registry.scheduled() : respond(event, context));
}
