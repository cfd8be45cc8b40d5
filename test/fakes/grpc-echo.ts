/** A gRPC service by @grpc/grpc-js, and its client: strings as messages, so that no schema is needed. */
import * as grpc from "@grpc/grpc-js";

const text = (value: string): Buffer => Buffer.from(value, "utf8");
const untext = (bytes: Buffer): string => bytes.toString("utf8");

function method(name: string, requestStream: boolean, responseStream: boolean) {
  return {
    path: `/test.Echo/${name}`,
    requestStream,
    responseStream,
    requestSerialize: text,
    requestDeserialize: untext,
    responseSerialize: text,
    responseDeserialize: untext,
  };
}

export const ECHO = {
  unary: method("Unary", false, false),
  serverStream: method("ServerStream", false, true),
  clientStream: method("ClientStream", true, false),
  bidi: method("Bidi", true, true),
  /** The same as `unary`, of another service. */
  other: { ...method("Unary", false, false), path: "/test.Other/Unary" },
} satisfies grpc.ServiceDefinition;

export interface EchoServer {
  readonly address: string;
  /** Calls that their clients cancelled, or whose deadline passed. */
  readonly cancelled: string[];
  stop(): Promise<void>;
}

const unaryHandler =
  (cancelled: string[], name: string) =>
  (call: grpc.ServerUnaryCall<string, string>, done: grpc.sendUnaryData<string>) => {
    call.once("cancelled", () => cancelled.push("unary"));
    if (call.request === "never") return;
    if (call.request.startsWith("fail ")) {
      const details = "as it was asked to, 100 % of the time: ü";
      return done({ code: Number(call.request.slice(5)), details });
    }
    // Its status comes in trailers, since its head has gone already.
    if (call.request.startsWith("late ")) {
      call.sendMetadata(new grpc.Metadata());
      return done({ code: Number(call.request.slice(5)), details: "late" });
    }
    const answer = new grpc.Metadata();
    answer.set("x-caller", String(call.metadata.get("x-caller")[0] ?? ""));
    answer.set("x-backend", name);
    answer.set("x-seen", JSON.stringify(call.metadata.toJSON()));
    call.sendMetadata(answer);
    const trailers = new grpc.Metadata();
    trailers.set("x-length", String(call.request.length));
    done(null, call.request, trailers);
  };

const HANDLERS = (cancelled: string[], name: string): grpc.UntypedServiceImplementation => ({
  unary: unaryHandler(cancelled, name),
  other: unaryHandler(cancelled, name),
  serverStream: (call: grpc.ServerWritableStream<string, string>) => {
    call.once("cancelled", () => cancelled.push("serverStream"));
    if (call.request === "slow") {
      const timer = setInterval(() => call.write("s"), 20);
      return void call
        .once("close", () => clearInterval(timer))
        .once("cancelled", () => clearInterval(timer));
    }
    const [count = 0, size = 0] = call.request.split(" ").map(Number);
    let sent = 0;
    const more = (): void => {
      while (sent < count) {
        sent += 1;
        if (!call.write("s".repeat(size))) return void call.once("drain", more);
      }
      call.end();
    };
    more();
  },
  clientStream: (call: grpc.ServerReadableStream<string, string>, done: grpc.sendUnaryData<string>) => {
    let messages = 0;
    let bytes = 0;
    call.on("data", (message: string) => {
      messages += 1;
      bytes += message.length;
    });
    call.once("end", () => done(null, `${messages} ${bytes}`));
  },
  bidi: (call: grpc.ServerDuplexStream<string, string>) => {
    call.once("cancelled", () => cancelled.push("bidi"));
    call.on("data", (message: string) => call.write(`echo ${message}`));
    call.once("end", () => call.end());
  },
});

/** `name`: what it calls itself in the head of unary answers. */
export async function startEcho(name = "echo"): Promise<EchoServer> {
  const server = new grpc.Server();
  const cancelled: string[] = [];
  server.addService(ECHO, HANDLERS(cancelled, name));
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    );
  });
  return {
    address: `127.0.0.1:${port}`,
    cancelled,
    stop: () => new Promise((resolve) => (server.forceShutdown(), server.tryShutdown(() => resolve()))),
  };
}

export function echoClient(address: string, options: grpc.ClientOptions = {}): grpc.Client {
  return new grpc.Client(address, grpc.credentials.createInsecure(), {
    "grpc.max_receive_message_length": 16 * 1024 * 1024,
    "grpc.enable_retries": 0,
    "grpc.use_local_subchannel_pool": 1,
    ...options,
  });
}

export interface UnaryAnswer {
  readonly code: grpc.status;
  readonly details: string;
  readonly value: string | undefined;
  readonly metadata: grpc.Metadata | undefined;
  readonly trailers: grpc.Metadata;
}

export function unary(
  client: grpc.Client,
  message: string,
  options: grpc.CallOptions = {},
  metadata = new grpc.Metadata(),
  path = ECHO.unary.path,
): Promise<UnaryAnswer> {
  return new Promise((resolve) => {
    let value: string | undefined;
    let head: grpc.Metadata | undefined;
    const call = client.makeUnaryRequest(path, text, untext, message, metadata, options, (_error, answer) => {
      value = answer;
    });
    call.once("metadata", (received) => {
      head = received;
    });
    call.once("status", (status) => {
      setImmediate(() =>
        resolve({
          code: status.code,
          details: status.details,
          value,
          metadata: head,
          trailers: status.metadata,
        }),
      );
    });
  });
}
