// Longer than other files: one state machine, which is easier to follow in one place.
import type { Logger } from "../../../federation/model/log.ts";
import { type Problem, PROBLEMS } from "../../../federation/model/problem.ts";
import { createWatch, type PublishableWatch, type Watch } from "../../../gateway/dataplane/index.ts";
import { backoffMs } from "../../../gateway/discovery/index.ts";
import type { Clock, Random, Timer } from "../../../gateway/process/clock.ts";
import type { KubeClient } from "./client.ts";
import { type ApiFailure, failureOf, problemOf } from "./failure.ts";
import { asKubeObject, isOlder, isRecord, type KubeObject, objectKey } from "./object.ts";
import { apiVersionOf, pathOf, type ResourceType } from "./resource-type.ts";

export interface InformerOptions<T> {
  readonly client: KubeClient;
  /** Versions of one kind, the preferred one first. */
  readonly types: readonly ResourceType[];
  readonly namespace?: string;
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** What is kept of an object: the little that is needed, since whole objects of a large cluster take gigabytes. */
  readonly digest: (object: KubeObject) => T | undefined;
  readonly onChange: (key: string, next: T | undefined, previous: T | undefined) => void;
  /** A complete list was taken over. */
  readonly onListed?: () => void;
}

/** Keeps a map equal to a collection of the API server: one list, then a watch from there, and again when it breaks. */
export interface Informer<T> {
  readonly type: ResourceType;
  /** By `namespace/name`. */
  readonly items: ReadonlyMap<string, T>;
  /** A complete list was seen once, or the API server has no such kind. Without it nothing may be concluded from absence. */
  readonly known: boolean;
  /** Why it cannot follow just now. */
  readonly problem: Watch<Problem | undefined>;
  start(): void;
  stop(): void;
}

const PAGE = "500";
const RETRY = { baseMs: 200, capMs: 15_000 };
// A missing kind or permission is mended by people: asking again is for their comfort, not for speed.
const MISSING_RETRY = { baseMs: 2_000, capMs: 30_000 };
// The server ends a watch after this; spread, so that a restarted fleet does not come back in step.
const WATCH_SECONDS = 300;
// Bookmarks come about once a minute: three missed ones mean that nobody is at the other end.
const SILENCE_MS = 200_000;
/** A relist of thousands of processes at once is what keeps a returning API server down. */
const RELIST_SPREAD_MS = 1_000;
const MAX_TOMBSTONES = 4_096;

interface Kept<T> {
  readonly value: T | undefined;
  readonly version: string | undefined;
}

export function createInformer<T>(options: InformerOptions<T>): Informer<T> {
  return new ListThenWatch(options);
}

class ListThenWatch<T> implements Informer<T> {
  readonly items = new Map<string, T>();
  readonly problem: PublishableWatch<Problem | undefined> = createWatch<Problem | undefined>(undefined);
  known = false;
  readonly #options: InformerOptions<T>;
  /** Versions by key: an event that is older than what is kept arrived out of order, or twice. */
  readonly #versions = new Map<string, string>();
  /** Versions at which objects were deleted since the last list: a late event must not bring them back. */
  readonly #tombstones = new Map<string, string>();
  #type: ResourceType;
  #version = "";
  #failures = 0;
  #lastFailure: ApiFailure["kind"] | undefined;
  #timer: Timer | undefined;
  #endWatch: (() => void) | undefined;
  #stopped = false;

  constructor(options: InformerOptions<T>) {
    this.#options = options;
    const [first] = options.types;
    if (first === undefined) throw new TypeError("an informer needs a type");
    this.#type = first;
  }

  get type(): ResourceType {
    return this.#type;
  }

  start(): void {
    void this.#list();
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
    this.#endWatch?.();
  }

  async #list(): Promise<void> {
    const listed = await this.#listAll();
    if (this.#stopped) return;
    if ("failure" in listed) return this.#listFailed(listed.failure);
    this.#failures = 0;
    this.#version = listed.version;
    this.#tombstones.clear();
    this.#replace(listed.objects);
    this.known = true;
    this.#wellAgain();
    this.#options.onListed?.();
    this.#watch();
  }

  /** All pages, of the first version that the API server knows; nothing is taken over unless all of them came. */
  async #listAll(): Promise<Listed<T> | { readonly failure: ApiFailure }> {
    let missing: ApiFailure | undefined;
    for (const type of this.#options.types) {
      const listed = await this.#listOf(type);
      if (!("failure" in listed)) {
        this.#type = type;
        return listed;
      }
      if (listed.failure.kind !== "not_found") return listed;
      missing ??= listed.failure;
    }
    return { failure: missing ?? failureOf(404, "no version of this kind is served") };
  }

  async #listOf(type: ResourceType): Promise<Listed<T> | { readonly failure: ApiFailure }> {
    const { client, namespace } = this.#options;
    const path = pathOf(type, namespace === undefined ? {} : { namespace });
    const objects = new Map<string, Kept<T>>();
    let token: string | undefined;
    let version = "";
    do {
      const query = { ...this.#selectors(), limit: PAGE, continue: token };
      const answer = await client.request({ method: "GET", path, query });
      if (this.#stopped) return { failure: failureOf(0, "stopped") };
      if (!answer.ok) return { failure: answer.error };
      const page = readPage(answer.value);
      if (page === undefined) return { failure: failureOf(500, `GET ${path} answered no list`) };
      for (const item of page.items) {
        const object = asKubeObject(item);
        if (object !== undefined) objects.set(objectKey(object.metadata), this.#kept(object));
      }
      version = page.version;
      token = page.token;
    } while (token !== undefined);
    return { objects, version };
  }

  #listFailed(failure: ApiFailure): void {
    this.#countFailure(failure);
    const isAbsent = failure.kind === "not_found";
    // A kind that nobody installed has no objects. One that vanished later is an error like another: what is known stays.
    if (isAbsent && !this.known) {
      this.known = true;
      this.#options.onListed?.();
    }
    this.#complain("list", failure);
    const slow = isAbsent || failure.kind === "forbidden" || failure.kind === "unauthorized";
    this.#after(this.#delay(failure, slow ? MISSING_RETRY : RETRY), () => void this.#list());
  }

  #watch(): void {
    const { client, namespace, random } = this.#options;
    let heard = false;
    this.#endWatch = client.watch({
      path: pathOf(this.#type, namespace === undefined ? {} : { namespace }),
      query: {
        ...this.#selectors(),
        watch: "1",
        allowWatchBookmarks: "true",
        resourceVersion: this.#version,
        timeoutSeconds: String(Math.round(WATCH_SECONDS * (1 + random()))),
      },
      silenceMs: SILENCE_MS,
      onOpen: () => this.#wellAgain(),
      onEvent: (event) => {
        heard = true;
        this.#onEvent(event);
      },
      onEnd: (failure) => this.#watchEnded(failure, heard),
    });
  }

  #onEvent(event: unknown): void {
    if (this.#stopped || !isRecord(event)) return;
    const { type, object: given } = event;
    if (type === "ERROR") {
      const status = isRecord(given) ? given : {};
      const end = this.#endWatch;
      end?.();
      const message = typeof status["message"] === "string" ? status["message"] : "";
      this.#watchEnded(failureOf(Number(status["code"] ?? 500), message), false);
      return;
    }
    const object = asKubeObject(type === "BOOKMARK" ? withName(given) : given);
    if (object === undefined) return;
    this.#failures = 0;
    this.#wellAgain();
    const { resourceVersion } = object.metadata;
    // Not compared with the bookmark before: out of order, only the newest says where to go on.
    if (resourceVersion !== undefined && !isOlder(resourceVersion, this.#version))
      this.#version = resourceVersion;
    if (type === "ADDED" || type === "MODIFIED") this.#put(objectKey(object.metadata), this.#kept(object));
    else if (type === "DELETED") this.#delete(objectKey(object.metadata), resourceVersion);
  }

  #watchEnded(failure: ApiFailure | undefined, heard: boolean): void {
    if (this.#stopped) return;
    const { random } = this.#options;
    if (failure === undefined && heard) return this.#watch();
    if (failure?.kind === "gone") return this.#after(RELIST_SPREAD_MS * random(), () => void this.#list());
    this.#countFailure(failure);
    if (failure !== undefined) this.#complain("watch", failure);
    const isLost = failure?.kind === "not_found" || failure?.kind === "forbidden";
    const resume = (): void => (isLost ? void this.#list() : this.#watch());
    this.#after(this.#delay(failure, isLost ? MISSING_RETRY : RETRY), resume);
  }

  #replace(objects: ReadonlyMap<string, Kept<T>>): void {
    for (const key of [...this.#versions.keys()]) if (!objects.has(key)) this.#remove(key);
    for (const [key, kept] of objects) this.#set(key, kept);
  }

  #put(key: string, kept: Kept<T>): void {
    const known = this.#versions.get(key) ?? this.#tombstones.get(key);
    if (kept.version !== undefined && kept.version === known) return;
    if (isOlder(kept.version, known)) return;
    this.#tombstones.delete(key);
    this.#set(key, kept);
  }

  #delete(key: string, version: string | undefined): void {
    if (isOlder(version, this.#versions.get(key))) return;
    if (version !== undefined) {
      this.#tombstones.set(key, version);
      const [oldest] = this.#tombstones.keys();
      if (this.#tombstones.size > MAX_TOMBSTONES && oldest !== undefined) this.#tombstones.delete(oldest);
    }
    this.#remove(key);
  }

  #set(key: string, { value, version }: Kept<T>): void {
    if (version !== undefined && this.#versions.get(key) === version) return;
    this.#versions.set(key, version ?? "");
    const previous = this.items.get(key);
    if (value === undefined) this.items.delete(key);
    else this.items.set(key, value);
    if (value !== previous) this.#options.onChange(key, value, previous);
  }

  #remove(key: string): void {
    const previous = this.items.get(key);
    this.#versions.delete(key);
    this.items.delete(key);
    if (previous !== undefined) this.#options.onChange(key, undefined, previous);
  }

  #kept(object: KubeObject): Kept<T> {
    return { value: this.#options.digest(object), version: object.metadata.resourceVersion };
  }

  #selectors(): { readonly labelSelector: string | undefined; readonly fieldSelector: string | undefined } {
    const { labelSelector, fieldSelector } = this.#options;
    return { labelSelector, fieldSelector };
  }

  /**
   * Another kind of failure begins anew: a server that was away for a minute and now refuses, because it does not know its
   * roles yet, is about to be well.
   */
  #countFailure(failure: ApiFailure | undefined): void {
    this.#failures = failure?.kind === this.#lastFailure ? this.#failures + 1 : 1;
    this.#lastFailure = failure?.kind;
  }

  #delay(failure: ApiFailure | undefined, backoff: typeof RETRY): number {
    return failure?.retryAfterMs ?? backoffMs(this.#failures, this.#options.random(), backoff);
  }

  #after(ms: number, run: () => void): void {
    this.#timer = this.#options.clock.after(ms, () => {
      if (!this.#stopped) run();
    });
  }

  #complain(verb: string, failure: ApiFailure): void {
    const { log } = this.#options;
    const what = `${verb} ${this.#type.plural}.${apiVersionOf(this.#type)}`;
    const found = problemOf(what, failure);
    // Logged where a problem begins or changes, not at every attempt. That nobody installed an optional kind is no news.
    if (found.name !== this.problem.current?.name) {
      const level = found.name === "kube_resource_missing" ? "info" : "warn";
      log[level]("kube_follow_failed", { code: PROBLEMS[found.name].code, detail: found.detail });
    }
    this.problem.publish(found);
  }

  #wellAgain(): void {
    if (this.problem.current === undefined) return;
    this.#options.log.info("kube_follow_recovered", { resource: this.#type.plural });
    this.problem.publish(undefined);
  }
}

interface Listed<T> {
  readonly objects: ReadonlyMap<string, Kept<T>>;
  readonly version: string;
}

interface Page {
  readonly items: readonly unknown[];
  readonly version: string;
  readonly token: string | undefined;
}

function readPage(value: unknown): Page | undefined {
  if (!isRecord(value)) return undefined;
  const { items, metadata } = value;
  // An empty collection of an old API server is `null`.
  if (!Array.isArray(items ?? []) || !isRecord(metadata)) return undefined;
  const { resourceVersion, continue: token } = metadata;
  return {
    items: (items ?? []) as readonly unknown[],
    version: typeof resourceVersion === "string" ? resourceVersion : "",
    token: typeof token === "string" && token !== "" ? token : undefined,
  };
}

/** A bookmark carries a resource version and nothing else. */
function withName(object: unknown): unknown {
  return isRecord(object) && isRecord(object["metadata"])
    ? { ...object, metadata: { name: "-", ...object["metadata"] } }
    : object;
}
