import { inject } from "vitest";

/** What the registry of a scene runs on: the same tests, once for each (vitest.config.ts). */
export type SceneRuntime = "node-sqlite" | "node-dynamodb" | "lambda-dynamodb" | "workerd-dynamodb";

declare module "vitest" {
  export interface ProvidedContext {
    readonly registryRuntime: SceneRuntime;
  }
}

export const RUNTIME: SceneRuntime = inject("registryRuntime");
/** Its insides can be looked at and tampered with. */
export const IN_PROCESS = RUNTIME.startsWith("node-");
/** A request may be held until there is news: only where nobody pays for the time that it takes. */
export const WAITS = IN_PROCESS;
