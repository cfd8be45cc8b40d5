/** Which folder may import what, as data. `architecture.test.ts` runs them over the real import graph. */
export interface ImportRule {
  readonly because: string;
  /** A folder (`gateway/edge/`) or a file. */
  readonly from: readonly string[];
  /** Files in there that the rule leaves alone; say why. */
  readonly outside?: readonly string[];
  /** Folders and files of ours that these may not import … */
  readonly never?: readonly string[];
  /** … or the only ones that they may import. */
  readonly only?: readonly string[];
  /** What is let through all the same. */
  readonly except?: readonly string[];
  /** `node:http`, or `node:*` for all of them. */
  readonly neverNode?: readonly string[];
  /** The only packages that may be imported. */
  readonly packages?: readonly string[];
  /** Whether `import()` counts; a composition root starts the other parts that way. */
  readonly dynamicAllowed?: boolean;
}

const ENGINE = "gateway/dataplane/";
const ENGINE_DOOR = "gateway/dataplane/index.ts";
/** Decisions: functions of data, tested without sockets. */
const PURE = ["routing/", "policy/", "balance/", "lifecycle/", "telemetry/"].map((folder) => ENGINE + folder);
/** Nearly pure: bytes in, verdict out. */
const BYTES = ["http1/", "http2/", "identity/", "tls/"].map((folder) => ENGINE + folder);
const REGISTRY_SIDE = ["registry/", "store/", "http/", "console/", "runtime/", "cli/"].map(
  (folder) => `federation/${folder}`,
);

export const IMPORT_RULES: readonly ImportRule[] = [
  {
    because:
      "the model is words that every runtime understands; of regular expressions it takes only those that RE2 runs",
    from: ["federation/model/"],
    only: ["federation/model/"],
    neverNode: ["node:*"],
    packages: ["zod", "re2js"],
  },
  {
    because: "decisions are functions of data: they know the words and each other, no sockets, no clock",
    from: PURE,
    only: ["federation/model/", ...PURE],
    neverNode: ["node:*"],
    packages: ["re2js"],
  },
  {
    because: "the codec and the identity checks judge bytes; moving them is io's work",
    from: BYTES,
    only: ["federation/model/", ...PURE, ...BYTES],
    except: ["federation/trust/"],
    neverNode: [
      "node:net",
      "node:tls",
      "node:http",
      "node:http2",
      "node:https",
      "node:fs",
      "node:fs/promises",
    ],
    packages: [],
  },
  {
    because: "the HTTP codec stands alone, so that it can be fuzzed and timed alone",
    from: [`${ENGINE}http1/`],
    only: ["federation/model/", `${ENGINE}http1/`],
  },
  {
    because: "the HTTP/2 machine stands alone, so that it can be fuzzed without sockets",
    from: [`${ENGINE}http2/`],
    only: ["federation/model/", `${ENGINE}http2/`],
  },
  {
    because: "the engine is assembled by gateway/edge and agents/proxy; it knows neither, nor the registry",
    from: [ENGINE],
    only: [ENGINE, "federation/model/", "federation/trust/"],
    packages: ["re2js"],
  },
  {
    because: "node:http costs 100 µs a hop and node:http2 twice our own: neither stands in the data path",
    from: [ENGINE],
    // Takes the list of status words from it.
    outside: [`${ENGINE}io/problem-reply.ts`],
    neverNode: ["node:http", "node:https", "node:http2"],
  },
  {
    because: "gateways and agents speak the registry's wire format; they must live without its code",
    from: ["gateway/", "agents/"],
    never: REGISTRY_SIDE,
  },
  {
    because: "a gateway works without any agent; in Kubernetes its main loads what speaks to the API server",
    from: ["gateway/"],
    never: ["agents/"],
    dynamicAllowed: true,
  },
  {
    because: "there is one door into the engine, so that its inside can change",
    from: ["gateway/edge/", "gateway/main.ts", "agents/"],
    never: [ENGINE],
    except: [ENGINE_DOOR],
  },
  {
    because: "the agent is the same engine seen from the workload's side, not a gateway",
    from: ["agents/"],
    never: ["gateway/edge/", "gateway/main.ts"],
  },
  {
    because: "discovery keeps snapshots and credentials, and knows of the engine only its pure words",
    from: ["gateway/discovery/"],
    never: [ENGINE, "gateway/edge/", "agents/"],
    except: PURE,
  },
  {
    because: "the process shell is common to gateways and agents: it is handed the one or the other",
    from: ["gateway/process/"],
    only: [
      "gateway/process/",
      "gateway/discovery/",
      ENGINE_DOOR,
      "gateway/version.ts",
      "federation/model/",
      "federation/trust/",
    ],
  },
  {
    because: "the registry does not know how its members are made",
    from: [
      "federation/registry/",
      "federation/trust/",
      "federation/store/",
      "federation/http/",
      "federation/model/",
    ],
    never: ["gateway/", "agents/", "federation/cli/", "federation/runtime/"],
  },
  {
    because: "trust is keys and certificates; it serves the registry and the members alike",
    from: ["federation/trust/"],
    only: ["federation/trust/", "federation/model/"],
  },
  {
    because: "the registry's domain declares its ports; adapters implement them, and HTTP calls it",
    from: ["federation/registry/"],
    only: ["federation/registry/", "federation/model/", "federation/trust/"],
    neverNode: ["node:http", "node:https", "node:net", "node:sqlite"],
  },
  {
    because: "a store implements the registry's port and nothing else",
    from: ["federation/store/"],
    only: ["federation/store/", "federation/registry/", "federation/model/"],
  },
  {
    because: "the app is one fetch function for every runtime",
    from: ["federation/http/"],
    never: ["federation/store/"],
    neverNode: ["node:*"],
    except: ["node:crypto", "node:buffer"],
  },
  {
    because:
      "the command line composes: it starts the parts as processes, and imports of the members only joining and what needs nothing else of theirs",
    from: ["federation/cli/"],
    never: ["gateway/", "agents/", "federation/store/", "federation/http/"],
    except: [
      "gateway/discovery/membership.ts",
      "gateway/discovery/http-fetch.ts",
      "gateway/process/process-alive.ts",
    ],
    dynamicAllowed: true,
  },
  {
    because: "tests depend on the code, never the other way round",
    from: ["federation/", "gateway/", "agents/"],
    never: ["test/"],
  },
];

/** Globals that make a function depend on when and where it runs; passed in everywhere else. */
export interface AmbientRule {
  readonly because: string;
  readonly pattern: RegExp;
  /** Where it is allowed: folders, files, or file names. */
  readonly edges: readonly string[];
}

const EDGES = [
  "main.ts",
  "config.ts",
  "clock.ts",
  "gateway/process/",
  "federation/runtime/",
  "federation/cli/",
  "test/",
];

export const AMBIENT_RULES: readonly AmbientRule[] = [
  { because: "settings come in as arguments", pattern: /\bprocess\s*\.\s*env\b/g, edges: EDGES },
  {
    because: "time comes in as an argument",
    pattern:
      /\bDate\s*\.\s*now\b|\bnew\s+Date\s*\(\s*\)|\bperformance\s*\.\s*now\b|\bprocess\s*\.\s*(?:hrtime|uptime)\b/g,
    edges: EDGES,
  },
  {
    because: "randomness comes in as an argument; keys and token ids come from node:crypto in trust",
    pattern: /\bMath\s*\.\s*random\b/g,
    edges: EDGES,
  },
  {
    because:
      "key material and unguessable names are made in trust; elsewhere only names of temporary files are random",
    pattern: /\b(?:randomBytes|randomUUID|getRandomValues|randomInt)\b/g,
    edges: [...EDGES, "federation/trust/", "gateway/discovery/"],
  },
  {
    because: "only the HTTP layer throws problems; everything below returns them",
    pattern: /\bnew\s+ProblemError\b/g,
    edges: ["federation/http/", "test/"],
  },
  {
    because: "a debugging aid",
    pattern: /\bconsole\s*\.\s*\w+|\bdebugger\b/g,
    // workerd has no other way to write a line of log.
    edges: ["test/", "federation/runtime/worker.ts"],
  },
];

/** The newest Node release line fix we rely on: SNI matching and the header limit (faults 1). */
export const OLDEST_NODE = [24, 21, 0] as const;

/** A path of somebody's machine. Assembled, so that this file does not contain one. */
export const MACHINE_PATH = new RegExp(
  String.raw`(?:^|[^A-Za-z0-9_.~/-])/(?:${["work", "farm", "root", "home"].join("|")})/[A-Za-z0-9_.]`,
);

export const MAX_LINES = 300;
export const MAX_README_LINES = 60;
export const TOP_LEVEL_FOLDERS = ["agents", "federation", "gateway", "infra", "test"] as const;
