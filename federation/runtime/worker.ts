import { systemClock } from "./clock.ts";
import { createServerless, type ServerlessRegistry } from "./serverless.ts";

type Bindings = Readonly<Record<string, unknown>>;

let known: ServerlessRegistry | undefined;

/** Bindings are the same for all requests of an isolate; they only come with the first one. */
function registryOf(env: Bindings): ServerlessRegistry {
  known ??= createServerless({
    get: (key) => (typeof env[key] === "string" ? env[key] : undefined),
    clock: systemClock,
    random: Math.random,
    newId: () => crypto.randomUUID(),
    write: (line) => console.log(line),
  });
  return known;
}

// The runtime asks for a default export.
// oxlint-disable-next-line import/no-default-export
export default {
  fetch: (request: Request, env: Bindings): Promise<Response> => registryOf(env).fetch(request),
  scheduled: (_event: unknown, env: Bindings): Promise<void> => registryOf(env).scheduled(),
};
