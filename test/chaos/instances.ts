import { type ChildProcess, fork, spawn } from "node:child_process";
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { bundlePrograms } from "../../federation/cli/up/programs.ts";
import type { DynamoDbLocal } from "../fakes/dynamodb-local.ts";

export type StoreName = "sqlite" | "dynamodb";

export interface Instance {
  readonly child: ChildProcess;
  /** Resolves with its URL when it serves; `undefined`: it ended before. */
  readonly url: Promise<string | undefined>;
  readonly ended: Promise<void>;
}

/** Registry processes on one store. On SQLite one serves at a time: a second one waits for the lock, as a standby does. */
export class Instances {
  readonly store: StoreName;
  readonly stateDir: string;
  readonly #program: string;
  readonly #settings: Readonly<Record<string, string>>;
  readonly #wrapper: readonly string[];

  private constructor(
    store: StoreName,
    stateDir: string,
    program: string,
    settings: Readonly<Record<string, string>>,
    wrapper: readonly string[],
  ) {
    this.store = store;
    this.stateDir = stateDir;
    this.#program = program;
    this.#settings = settings;
    this.#wrapper = wrapper;
  }

  static async prepare(options: {
    readonly directory: string;
    readonly store: StoreName;
    readonly dynamoDb?: DynamoDbLocal;
    /** A program that runs the registry under it: strace. */
    readonly wrapper?: readonly string[];
  }): Promise<Instances> {
    const { directory, store, dynamoDb, wrapper = [] } = options;
    mkdirSync(directory, { recursive: true });
    const { registry } = await bundlePrograms(join(directory, "programs"), {
      withTelemetry: false,
      now: Date.now,
      tell: (words) => void process.stderr.write(`${words}\n`),
    });
    const settings =
      dynamoDb === undefined
        ? {}
        : {
            ISTHMUS_STORE: "dynamodb",
            ISTHMUS_DYNAMODB_TABLE: await dynamoDb.createTable(),
            ISTHMUS_DYNAMODB_ENDPOINT: dynamoDb.endpoint,
          };
    return new Instances(store, join(directory, "state"), registry, settings, wrapper);
  }

  start(): Instance {
    const env = {
      PATH: process.env["PATH"],
      ISTHMUS_STATE_DIR: this.stateDir,
      ISTHMUS_LISTEN: "127.0.0.1:0",
      ISTHMUS_FEDERATION: "demo.mesh",
      ISTHMUS_LOG_LEVEL: "warn",
      ...this.#settings,
    };
    const [command, ...args] = this.#wrapper;
    const child =
      command === undefined
        ? fork(this.#program, { env, stdio: ["ignore", "ignore", "ignore", "ipc"] })
        : spawn(command, [...args, process.execPath, this.#program], {
            env,
            stdio: ["ignore", "ignore", "ignore", "ipc"],
          });
    const ended = new Promise<void>((resolve) => void child.once("exit", () => resolve()));
    const url = new Promise<string | undefined>((resolve) => {
      child.on("message", (message: { readonly type?: string; readonly listen?: string }) => {
        if (message.type === "ready") resolve(`http://${message.listen}`);
      });
      void ended.then(() => resolve(undefined));
    });
    return { child, url, ended };
  }

  get adminToken(): string {
    return readFileSync(join(this.stateDir, "admin.token"), "utf8").trim();
  }
}
