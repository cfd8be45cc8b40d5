import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { lambdaHandler } from "../../federation/runtime/lambda-events.ts";
import { eventOf, type LambdaAnswer } from "./lambda-client.ts";

/** What stands in front of a Lambda function at AWS, on this machine: `lambda-host.ts <bundle>`, settings from the environment. */
const [bundle = ""] = process.argv.slice(2);
const before = process.cpuUsage();
const { handler } = (await import(bundle)) as { readonly handler: ReturnType<typeof lambdaHandler> };
const loaded = process.cpuUsage(before);
let first: NodeJS.CpuUsage | undefined;

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of request) chunks.push(chunk as Uint8Array);
  const headers = new Headers();
  for (let index = 0; index + 1 < request.rawHeaders.length; index += 2)
    headers.append(request.rawHeaders[index] ?? "", request.rawHeaders[index + 1] ?? "");
  const url = `http://${request.headers.host ?? "lambda"}${request.url ?? "/"}`;
  const body = chunks.length === 0 ? {} : { body: Buffer.concat(chunks) };
  const event = await eventOf(
    new Request(url, { method: request.method ?? "GET", headers, ...body }),
    "function-url",
  );
  const reply = (await handler(event)) as LambdaAnswer;
  first ??= process.cpuUsage(before);
  response.writeHead(reply.statusCode, reply.headers ?? {});
  response.end(Buffer.from(reply.body ?? "", reply.isBase64Encoded === true ? "base64" : "utf8"));
}

const server = createServer((request, response) => {
  if (request.url === "/host/cpu") {
    // Microseconds of CPU: to load the bundle, and until the first answer was there.
    const sum = ({ user, system }: NodeJS.CpuUsage): number => user + system;
    response.end(
      JSON.stringify({ loaded: sum(loaded), first: first === undefined ? undefined : sum(first) }),
    );
    return;
  }
  answer(request, response).catch((cause: unknown) => {
    response.writeHead(502);
    response.end(String(cause));
  });
});
server.listen(0, "127.0.0.1", () => process.send?.(server.address()));
process.once("disconnect", () => process.exit(0));
