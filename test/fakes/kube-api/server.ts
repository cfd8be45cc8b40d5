// Longer than other files: one HTTP interface, route by route.
import { once } from "node:events";
import { err, ok } from "../../../federation/model/result.ts";
import http, { type IncomingMessage, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { freePort } from "../free-ports.ts";
import {
  type IpFamily,
  ObjectStore,
  type Outcome,
  type Refusal,
  type StoredObject,
  type StoreEvent,
} from "./store.ts";
import { SERVED_TYPES, type ServedType, typeKey } from "./types.ts";

/** What happens to the events of watches on their way; tests script it. */
export type EventFault = (events: readonly StoreEvent[]) => readonly StoreEvent[];

export interface FakeKubeApi {
  readonly url: string;
  readonly store: ObjectStore;
  /** Every request as `PATCH services shop/cart`, watches as `WATCH services`. */
  readonly requests: readonly string[];
  type(plural: string): ServedType;
  objects(plural: string, namespace?: string): readonly StoredObject[];
  put(plural: string, object: object): StoredObject;
  remove(plural: string, key: string): void;
  /** Answers these requests with a status instead; returns the way to stop. `verb resource` such as `list services`. */
  fail(matches: (verb: string, resource: string) => boolean, status: number, message?: string): () => void;
  /** Cuts every watch under way, in the middle of whatever it was sending. */
  cutWatches(): void;
  /** Drops all connections and refuses new ones until `up`. */
  down(): Promise<void>;
  up(): Promise<void>;
  /** Sends every watcher a bookmark now. */
  bookmark(): void;
  eventFault: EventFault | undefined;
  /** token → what a TokenReview answers. */
  readonly tokens: Map<string, object>;
  close(): Promise<void>;
}

export interface FakeKubeApiOptions {
  /** Where it listens. */
  readonly host?: string;
  /** First three bytes of the addresses that Services get. */
  readonly serviceRange?: string;
  /** Of the cluster, its first one first. */
  readonly families?: readonly IpFamily[];
  readonly types?: readonly ServedType[];
  readonly now?: () => number;
}

interface Route {
  readonly type: ServedType;
  readonly version: string;
  readonly namespace?: string;
  readonly name?: string;
  readonly subresource?: string;
}

/** An API server small enough to script: real HTTP, real watches, as strict as the real one where agents could err. */
export async function startFakeKubeApi(options: FakeKubeApiOptions = {}): Promise<FakeKubeApi> {
  const double = new Double(options);
  await double.up();
  return double;
}

/** No shorter than a real one's: Node's five seconds end connections under requests of a process that was busy for that long. */
const IDLE_MS = 120_000;

class Double implements FakeKubeApi {
  readonly store: ObjectStore;
  readonly requests: string[] = [];
  readonly tokens = new Map<string, object>();
  eventFault: EventFault | undefined;
  readonly #types: readonly ServedType[];
  readonly #faults = new Set<(verb: string, resource: string) => Refusal | undefined>();
  readonly #sockets = new Set<Socket>();
  readonly #watches = new Set<ServerResponse>();
  readonly #bookmarks = new Set<() => void>();
  #server = http.createServer();
  #port = 0;
  readonly #host: string;

  constructor(options: FakeKubeApiOptions) {
    this.#host = options.host ?? "127.0.0.1";
    this.#types = options.types ?? SERVED_TYPES;
    const { now = Date.now, serviceRange = "10.96.0", families = ["IPv4"] } = options;
    this.store = new ObjectStore(now, serviceRange, families);
    for (const name of ["default", "isthmus-system"])
      this.put("namespaces", { metadata: { name, labels: { "kubernetes.io/metadata.name": name } } });
  }

  get url(): string {
    return `http://${this.#host}:${this.#port}`;
  }

  async up(): Promise<void> {
    this.#server = http.createServer((request, response) => void this.#handle(request, response));
    this.#server.keepAliveTimeout = IDLE_MS;
    this.#server.on("connection", (socket) => {
      this.#sockets.add(socket);
      socket.on("close", () => this.#sockets.delete(socket));
    });
    if (this.#port === 0) this.#port = await freePort(this.#host);
    this.#server.listen(this.#port, this.#host);
    await once(this.#server, "listening");
  }

  async down(): Promise<void> {
    const closed = once(this.#server, "close");
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  async close(): Promise<void> {
    if (this.#server.listening) await this.down();
  }

  type(plural: string): ServedType {
    const found = this.#types.find((type) => type.plural === plural);
    if (found === undefined) throw new Error(`the double serves no ${plural}`);
    return found;
  }

  objects(plural: string, namespace?: string): readonly StoredObject[] {
    return this.store.list(this.type(plural), namespace);
  }

  put(plural: string, object: object): StoredObject {
    const type = this.type(plural);
    const given = object as StoredObject;
    const { outcome } = this.store.apply(type, { ...given, kind: type.kind }, "test", true);
    if (!outcome.ok) throw new Error(outcome.error.message);
    if (given["status"] === undefined) return outcome.value;
    const { outcome: done } = this.store.apply(type, given, "test", true, "status");
    if (!done.ok) throw new Error(done.error.message);
    return done.value;
  }

  remove(plural: string, key: string): void {
    const outcome = this.store.delete(this.type(plural), key);
    if (!outcome.ok) throw new Error(outcome.error.message);
  }

  fail(matches: (verb: string, resource: string) => boolean, status: number, message?: string): () => void {
    const fault = (verb: string, resource: string): Refusal | undefined =>
      matches(verb, resource)
        ? {
            code: status,
            reason: "Scripted",
            message: message ?? `${resource} is forbidden: cannot ${verb} resource "${resource}"`,
          }
        : undefined;
    this.#faults.add(fault);
    return () => this.#faults.delete(fault);
  }

  cutWatches(): void {
    for (const response of [...this.#watches]) response.socket?.destroy();
  }

  bookmark(): void {
    for (const send of this.#bookmarks) send();
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? "/", "http://api");
    const route = this.#route(url.pathname);
    if (route === undefined)
      return reply(
        response,
        404,
        status(404, "NotFound", "the server could not find the requested resource"),
      );
    const verb = verbOf(request.method ?? "GET", route, url);
    const { plural } = route.type;
    const resource = route.subresource === undefined ? plural : `${plural}/${route.subresource}`;
    const name = [route.namespace, route.name].filter((part) => part !== undefined).join("/");
    this.requests.push(`${verb.toUpperCase()} ${resource}${name === "" ? "" : ` ${name}`}`);
    for (const fault of this.#faults) {
      const refusal = fault(verb, resource);
      if (refusal !== undefined) return replyRefusal(response, refusal);
    }
    if (verb === "watch") return this.#watch(route, url, response);
    const body = await readJson(request);
    if (plural === "tokenreviews") return this.#reviewToken(response, body);
    this.#serve(verb, route, url, body, response);
  }

  #serve(verb: string, route: Route, url: URL, body: unknown, response: ServerResponse): void {
    const { type, version, namespace, name, subresource } = route;
    const key = namespace === undefined ? (name ?? "") : `${namespace}/${name ?? ""}`;
    const given = withName(body, namespace, name);
    const answer = (outcome: Outcome, code = 200): void => {
      if (!outcome.ok) replyRefusal(response, outcome.error);
      else reply(response, code, dressed(type, version, outcome.value));
    };
    switch (verb) {
      case "list":
        return this.#list(route, url, response);
      case "get": {
        const found = this.store.get(type, key);
        return answer(
          found === undefined
            ? err({ code: 404, reason: "NotFound", message: `${type.plural} "${name}" not found` })
            : ok(found),
        );
      }
      case "create":
        return answer(this.store.create(type, given), 201);
      case "update":
        return answer(this.store.update(type, given, subresource));
      case "patch": {
        const manager = url.searchParams.get("fieldManager");
        if (manager === null)
          return replyRefusal(response, {
            code: 400,
            reason: "BadRequest",
            message: "fieldManager is required for apply patch",
          });
        const force = url.searchParams.get("force") === "true";
        const { outcome, created } = this.store.apply(type, given, manager, force, subresource);
        return answer(outcome, created ? 201 : 200);
      }
      case "delete": {
        const { preconditions } = (body ?? {}) as {
          preconditions?: { uid?: string; resourceVersion?: string };
        };
        return answer(this.store.delete(type, key, preconditions));
      }
      default:
        return reply(response, 405, status(405, "MethodNotAllowed", verb));
    }
  }

  #list({ type, version, namespace }: Route, url: URL, response: ServerResponse): void {
    const matches = selector(url);
    const all = this.store.list(type, namespace).filter(matches);
    const limit = Number(url.searchParams.get("limit") ?? "0") || all.length;
    const [offset = "0", listedAt = String(this.store.version)] = (
      url.searchParams.get("continue") ?? "0"
    ).split("@");
    const start = Number(offset);
    const items = all.slice(start, start + limit);
    const rest = all.length - start - items.length;
    reply(response, 200, {
      kind: `${type.kind}List`,
      apiVersion: apiVersion(type, version),
      metadata: {
        resourceVersion: listedAt,
        ...(rest > 0 ? { continue: `${start + limit}@${listedAt}`, remainingItemCount: rest } : {}),
      },
      items: items.map((object) => dressed(type, version, object)),
    });
  }

  #watch({ type, version, namespace }: Route, url: URL, response: ServerResponse): void {
    const from = Number(url.searchParams.get("resourceVersion") ?? "0");
    const matches = selector(url);
    response.writeHead(200, { "content-type": "application/json" });
    response.flushHeaders();
    const past = this.store.since(type, from);
    if (past === undefined) {
      response.end(
        `${JSON.stringify({ type: "ERROR", object: status(410, "Expired", `too old resource version: ${from} (${this.store.compacted})`) })}\n`,
      );
      return;
    }
    const visible = ({ object }: StoreEvent): boolean =>
      (namespace === undefined || object.metadata.namespace === namespace) && matches(object);
    const send = (events: readonly StoreEvent[]): void => {
      for (const event of this.eventFault?.(events) ?? events)
        response.write(
          `${JSON.stringify({ type: event.type, object: dressed(type, version, event.object) })}\n`,
        );
    };
    send(past.filter(visible));
    const unsubscribe = this.store.subscribe((event) => {
      if (event.typeKey === typeKey(type) && visible(event)) send([event]);
    });
    const bookmark = (): void => {
      if (url.searchParams.get("allowWatchBookmarks") !== "true") return;
      const object = {
        kind: type.kind,
        apiVersion: apiVersion(type, version),
        metadata: { resourceVersion: String(this.store.version) },
      };
      response.write(`${JSON.stringify({ type: "BOOKMARK", object })}\n`);
    };
    this.#bookmarks.add(bookmark);
    const timer = setTimeout(
      () => response.end(),
      Number(url.searchParams.get("timeoutSeconds") ?? "300") * 1000,
    );
    this.#watches.add(response);
    response.on("close", () => {
      clearTimeout(timer);
      unsubscribe();
      this.#watches.delete(response);
      this.#bookmarks.delete(bookmark);
    });
  }

  #reviewToken(response: ServerResponse, body: unknown): void {
    const { spec } = body as { spec: { token: string; audiences?: readonly string[] } };
    const found: { readonly audiences?: readonly string[] } | undefined = this.tokens.get(spec.token);
    const wanted = spec.audiences ?? ["https://kubernetes.default.svc"];
    const audiences = wanted.filter((audience) => found?.audiences?.includes(audience) !== false);
    const known = audiences.length === 0 ? undefined : found && { ...found, audiences };
    reply(response, 201, {
      kind: "TokenReview",
      apiVersion: "authentication.k8s.io/v1",
      metadata: {},
      spec,
      status:
        known === undefined
          ? { authenticated: false, error: "invalid bearer token" }
          : { authenticated: true, ...known },
    });
  }

  #route(path: string): Route | undefined {
    const parts = path
      .split("/")
      .filter((part) => part !== "")
      .map(decodeURIComponent);
    const [root, ...rest] = parts;
    const [group, version, ...tail] = root === "api" ? ["", ...rest] : rest;
    if (group === "authentication.k8s.io" && tail[0] === "tokenreviews")
      return {
        type: { group, versions: ["v1"], plural: "tokenreviews", kind: "TokenReview", namespaced: false },
        version: "v1",
      };
    const namespaced = tail[0] === "namespaces" && tail.length > 2;
    const [plural, name, subresource] = namespaced ? tail.slice(2) : tail;
    const type = this.#types.find(
      (each) => each.group === group && each.plural === plural && each.versions.includes(version ?? ""),
    );
    if (type === undefined || version === undefined) return undefined;
    return {
      type,
      version,
      ...(namespaced && tail[1] !== undefined ? { namespace: tail[1] } : {}),
      ...(name === undefined ? {} : { name }),
      ...(subresource === undefined ? {} : { subresource }),
    };
  }
}

function verbOf(method: string, { name }: Route, url: URL): string {
  if (method === "GET" && name === undefined) return url.searchParams.has("watch") ? "watch" : "list";
  return { GET: "get", POST: "create", PUT: "update", PATCH: "patch", DELETE: "delete" }[method] ?? method;
}

/** Equality terms of labelSelector, and the two fields that agents select by. */
function selector(url: URL): (object: StoredObject) => boolean {
  const labels = terms(url.searchParams.get("labelSelector"));
  const fields = terms(url.searchParams.get("fieldSelector"));
  return (object) =>
    labels.every(([key, value]) => object.metadata.labels?.[key] === value) &&
    fields.every(([key, value]) =>
      key === "spec.nodeName"
        ? (object["spec"] as { nodeName?: string } | undefined)?.nodeName === value
        : object.metadata.name === value,
    );
}

function terms(text: string | null): readonly (readonly [string, string])[] {
  return (text ?? "")
    .split(",")
    .filter((term) => term !== "")
    .map((term) => {
      const [key = "", value = ""] = term.split("=");
      return [key, value] as const;
    });
}

function withName(body: unknown, namespace: string | undefined, name: string | undefined): StoredObject {
  const given = (body ?? {}) as StoredObject;
  const metadata = {
    ...given.metadata,
    ...(namespace === undefined ? {} : { namespace }),
    name: name ?? given.metadata?.name ?? "",
  };
  return { ...given, metadata };
}

function apiVersion({ group }: ServedType, version: string): string {
  return group === "" ? version : `${group}/${version}`;
}

function dressed(type: ServedType, version: string, object: StoredObject): StoredObject {
  return { ...object, apiVersion: apiVersion(type, version), kind: type.kind };
}

function status(code: number, reason: string, message: string): object {
  return { kind: "Status", apiVersion: "v1", metadata: {}, status: "Failure", code, reason, message };
}

function replyRefusal(response: ServerResponse, { code, reason, message }: Refusal): void {
  reply(response, code, status(code, reason, message));
}

function reply(response: ServerResponse, code: number, body: object): void {
  if (response.destroyed) return;
  response.writeHead(code, { "content-type": "application/json" });
  response.end(JSON.stringify(body));
}

async function readJson(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  const text = Buffer.concat(chunks).toString("utf8");
  return text === "" ? undefined : (JSON.parse(text) as unknown);
}
