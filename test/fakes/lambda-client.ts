import { lambdaHandler, type Invocation } from "../../federation/runtime/lambda-events.ts";
import { createServerless, type ServerlessTools } from "../../federation/runtime/serverless.ts";
import type { ManualClock } from "./manual-clock.ts";

export type EventShape = "function-url" | "alb";

/** Answers of a Lambda function as its front end turns them into HTTP. */
export interface LambdaAnswer {
  readonly statusCode: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly isBase64Encoded?: boolean;
}

export function serveOnLambda(
  settings: Readonly<Record<string, string>>,
  clock: ManualClock,
  shape: EventShape = "function-url",
): (request: Request) => Promise<Response> {
  const handler = lambdaHandler(createServerless(lambdaTools(settings, clock)));
  return async (request) => {
    const answer = (await handler(await eventOf(request, shape))) as LambdaAnswer;
    return responseOf(answer);
  };
}

export function lambdaTools(
  settings: Readonly<Record<string, string>>,
  clock: ServerlessTools["clock"],
): ServerlessTools {
  const write = (line: string): void => void process.stderr.write(`${line}\n`);
  const newId = (): string => crypto.randomUUID();
  return { get: (key) => settings[key], clock: realTimers(clock), random: Math.random, newId, write };
}

/** The hands of the clock are the test's; pauses of the store pass by themselves. */
function realTimers({ now }: ServerlessTools["clock"]): ServerlessTools["clock"] {
  return {
    now,
    after(ms, run) {
      const timer = setTimeout(run, ms);
      return { cancel: () => clearTimeout(timer) };
    },
  };
}

/** More than the front ends take; the rest of an endless body never gets to a function. */
const MAX_PAYLOAD = 6 * 1024 * 1024;

/** A request as a function URL or API Gateway (payload version 2), or a load balancer, hands it over. */
export async function eventOf(request: Request, shape: EventShape): Promise<Invocation> {
  const url = new URL(request.url);
  const body = await readBody(request);
  const headers = Object.fromEntries(request.headers);
  const encoded = body === undefined ? {} : { body: body.toString("base64"), isBase64Encoded: true };
  if (shape === "alb") {
    const event = {
      httpMethod: request.method,
      path: url.pathname,
      headers: { ...headers, host: url.host },
      queryStringParameters: Object.fromEntries(url.search === "" ? [] : rawQuery(url.search)),
      body: null,
      isBase64Encoded: false,
      ...encoded,
      requestContext: { elb: { targetGroupArn: "arn:aws:elasticloadbalancing:test" } },
    };
    return event;
  }
  const event = {
    version: "2.0",
    routeKey: "$default",
    rawPath: url.pathname,
    rawQueryString: url.search.slice(1),
    headers: { ...headers, host: url.host },
    isBase64Encoded: false,
    ...encoded,
    requestContext: {
      accountId: "anonymous",
      domainName: url.host,
      http: {
        method: request.method,
        path: url.pathname,
        protocol: "HTTP/1.1",
        sourceIp: "192.0.2.1",
        userAgent: "",
      },
      stage: "$default",
    },
  };
  return event as unknown as Invocation;
}

function rawQuery(search: string): readonly (readonly [string, string])[] {
  return search
    .slice(1)
    .split("&")
    .map((pair) => {
      const [name = "", value = ""] = pair.split("=");
      return [name, value] as const;
    });
}

async function readBody(request: Request): Promise<Buffer | undefined> {
  if (request.body === null) return undefined;
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of request.body as AsyncIterable<Uint8Array>) {
    chunks.push(chunk);
    length += chunk.length;
    if (length > MAX_PAYLOAD) break;
  }
  return Buffer.concat(chunks);
}

function responseOf({
  statusCode,
  headers = {},
  body = "",
  isBase64Encoded = false,
}: LambdaAnswer): Response {
  const empty = [204, 304].includes(statusCode);
  const bytes = Buffer.from(body, isBase64Encoded ? "base64" : "utf8");
  return new Response(empty ? null : bytes, { status: statusCode, headers });
}
