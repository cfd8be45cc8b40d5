import { join } from "node:path";
import { NODE_BUILTINS } from "../bundle/node-builtins.ts";
import { processBundle, ROOT, sourceOf } from "../bundle/process-bundle.ts";
import { KeptBundle } from "./kept-bundle.ts";
import type { Role } from "./plan.ts";

/** What a process of each role runs. */
export type Programs = Readonly<Record<Role, string>>;

/** The sources themselves: what runs where nothing is bundled. */
export const SOURCES: Programs = {
  registry: sourceOf("registry"),
  gateway: sourceOf("gateway"),
  agent: sourceOf("agent"),
};

/**
 * V8 flags of whatever carries requests (decision 66), the images too. Literals that once survived a lot are not to be allocated old
 * from then on: dead and old, they keep what a request made until the whole heap is marked. And a request's way is many small
 * functions, of which V8 puts twice as many into one another if it may.
 */
export const COMPILER_FLAGS: readonly string[] = [
  "--no-allocation-site-pretenuring",
  "--max-inlined-bytecode-size=920",
  "--max-inlined-bytecode-size-cumulative=2400",
];

/**
 * V8 flags of every process of `up`. Its young generation would grow to 48 MB under load, which costs more memory than it saves
 * time; collecting heaps this small on one thread costs less than waking helpers for it; and an old generation that may
 * grow by 40 % between collections, instead of fourfold, does not pile up what closed connections leave behind.
 */
export const PROCESS_FLAGS: readonly string[] = [
  "--max-semi-space-size=4",
  "--single-threaded-gc",
  "--heap-growing-percent=40",
  ...COMPILER_FLAGS,
];

/**
 * One pool of the C library's allocator for all threads: each pool keeps what it has once taken, 6 MB more with eight of
 * them, and the threads beside the main one allocate too little to wait for each other.
 */
export const PROCESS_ENVIRONMENT: Readonly<Record<string, string>> = { MALLOC_ARENA_MAX: "1" };

/** How the programs of one machine are made. */
export interface BundleOptions {
  readonly withTelemetry: boolean;
  /** Where a bundle is kept for the next start; absent: it is made anew. */
  readonly cache?: string | undefined;
  /** Milliseconds since the epoch, as the file system counts them. */
  readonly now: () => number;
  readonly tell: (words: string) => void;
}

/**
 * One file per role, made from the sources: a process then starts in half the time and in 40 MB less than with type
 * stripping, which counts twice after a crash. Where esbuild cannot run, the sources themselves serve, and `tell` says why.
 */
export async function bundlePrograms(directory: string, options: BundleOptions): Promise<Programs> {
  const { withTelemetry, cache, now, tell } = options;
  const name = withTelemetry ? "programs-telemetry" : "programs";
  const kept = cache === undefined ? undefined : new KeptBundle(ROOT, join(cache, "bundles"), name);
  try {
    if (!(await kept?.take(directory))) {
      const begun = now();
      const inputs = await bundle(directory, withTelemetry);
      // A disk that is full, or read only, costs the next start a second and this one nothing.
      await kept?.keep(directory, inputs, begun).catch(() => undefined);
    }
    return {
      registry: join(directory, "registry.mjs"),
      gateway: join(directory, "gateway.mjs"),
      agent: join(directory, "agent.mjs"),
    };
  } catch (cause) {
    const [reason] = String(cause).split("\n");
    tell(`running the sources as they are, which takes 40 MB more per process: ${reason}`);
    return SOURCES;
  }
}

/** Answers what it was made of, from the root of the project. */
async function bundle(directory: string, withTelemetry: boolean): Promise<readonly string[]> {
  const { build, stop } = await import("esbuild");
  const { metafile } = await build({
    ...processBundle(["registry", "gateway", "agent"], directory),
    absWorkingDir: ROOT,
    metafile: true,
    logLevel: "silent",
    // The SDK is larger than all the rest: bundled, in files of its own, only for who switches it on.
    ...(withTelemetry ? { splitting: true } : { external: ["*/open-telemetry.ts"] }),
  });
  // Its service would stay beside this process for as long as that runs, in 200 MB.
  await stop();
  return Object.keys(metafile.inputs).filter((input) => !input.startsWith(`${NODE_BUILTINS}:`));
}
