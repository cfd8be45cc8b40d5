import { createServerless, type ServerlessRegistry } from "../../federation/runtime/serverless.ts";

let now = 0;
const registries = new Map<string, ServerlessRegistry>();

function registryOf(settings: string): ServerlessRegistry {
  const known = registries.get(settings);
  if (known !== undefined) return known;
  const values = JSON.parse(settings) as Readonly<Record<string, string>>;
  const made = createServerless({
    get: (key) => values[key],
    clock: {
      now: () => now,
      after(ms, run) {
        const timer = setTimeout(run, ms);
        return { cancel: () => clearTimeout(timer) };
      },
    },
    random: Math.random,
    newId: () => crypto.randomUUID(),
    write: (line) => console.log(line),
  });
  registries.set(settings, made);
  return made;
}

// The runtime asks for a default export.
// oxlint-disable-next-line import/no-default-export
export default {
  fetch(request: Request): Promise<Response> {
    now = Number(request.headers.get("test-now"));
    return registryOf(request.headers.get("test-settings") ?? "{}").fetch(request);
  },
};
