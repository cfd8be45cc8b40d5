import { type PolicyKind, specJsonSchema } from "../../model/wire/policy-kinds.ts";

type Schema = { [field: string]: unknown };

const GROUP = "isthmus.dev";
const VERSION = "v1alpha1";

const TARGETS = column("Targets", ".spec.targetRefs");

/**
 * What `kubectl get` shows beside the name; the rest of the columns is common. Lists are shown whole, as JSON: of a path with
 * several results an API server shows the first, and a policy for two services would look like one for one of them.
 */
const COLUMNS: { readonly [kind: string]: readonly Column[] } = {
  EgressPolicy: [column("Mode", ".spec.mode"), column("From", ".spec.from"), column("To", ".spec.to")],
  RateLimit: [
    TARGETS,
    column("Requests", ".spec.limit.requests", "integer"),
    column("Per", ".spec.limit.unit"),
    column("Mode", ".spec.mode"),
  ],
  BackendTrafficPolicy: [TARGETS, column("Mode", ".spec.mode")],
  AuthorizationPolicy: [
    column("Action", ".spec.action"),
    column("Mode", ".spec.mode"),
    TARGETS,
    column("From", ".spec.from"),
    column("To", ".spec.to"),
  ],
  TrafficRoute: [column("Parents", ".spec.parentRefs"), column("Hostnames", ".spec.hostnames")],
  Rollout: [
    column("Target", ".spec.targetRef.name"),
    column("Stable", ".spec.stable.version"),
    column("Canary", ".spec.canary.version"),
    column("Mode", ".spec.mode"),
  ],
};

interface Column {
  readonly name: string;
  readonly type: string;
  readonly jsonPath: string;
}

function column(name: string, jsonPath: string, type = "string"): Column {
  return { name, type, jsonPath };
}

/** A kind's CustomResourceDefinition: its schema is made from the one by which the registry judges it. */
export function crdOf({ kind, plural, namespaced, spec }: PolicyKind): object {
  return {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name: `${plural}.${GROUP}` },
    spec: {
      group: GROUP,
      scope: namespaced ? "Namespaced" : "Cluster",
      names: { kind, listKind: `${kind}List`, plural, singular: kind.toLowerCase(), categories: ["isthmus"] },
      versions: [
        {
          name: VERSION,
          served: true,
          storage: true,
          subresources: { status: {} },
          additionalPrinterColumns: [
            ...(COLUMNS[kind] ?? []),
            column("Accepted", '.status.conditions[?(@.type=="Accepted")].reason'),
            column("Ready", '.status.conditions[?(@.type=="Ready")].reason'),
            column("Age", ".metadata.creationTimestamp", "date"),
          ],
          schema: {
            openAPIV3Schema: {
              type: "object",
              required: ["spec"],
              properties: {
                apiVersion: { type: "string" },
                kind: { type: "string" },
                metadata: { type: "object" },
                spec: structural(specJsonSchema(spec) as Schema),
                status: { type: "object", properties: { conditions: CONDITIONS } },
              },
            },
          },
        },
      ],
    },
  };
}

const CONDITIONS = {
  type: "array",
  "x-kubernetes-list-type": "map",
  "x-kubernetes-list-map-keys": ["type"],
  items: {
    type: "object",
    required: ["type", "status", "lastTransitionTime", "reason", "message"],
    properties: {
      type: { type: "string", maxLength: 316 },
      status: { type: "string", enum: ["True", "False", "Unknown"] },
      observedGeneration: { type: "integer", format: "int64", minimum: 0 },
      lastTransitionTime: { type: "string", format: "date-time" },
      reason: { type: "string", minLength: 1, maxLength: 1024 },
      message: { type: "string", maxLength: 32768 },
    },
  },
};

// RE2 has no look-around; what such a pattern forbids, the registry still refuses.
const LOOK_AROUND = /\(\?[=!<]/;
const KEPT = [
  "type",
  "format",
  "description",
  "enum",
  "default",
  "minimum",
  "maximum",
  "minLength",
  "maxLength",
  "pattern",
  "minItems",
  "maxItems",
  "nullable",
];

/**
 * JSON Schema as a structural schema (Kubernetes' word): one type everywhere, no alternatives. Alternatives become what
 * they have in common, so the API server accepts a little more than the registry, and never less.
 */
export function structural(schema: Schema): Schema {
  const options = (schema["anyOf"] ?? schema["oneOf"] ?? schema["allOf"]) as Schema[] | undefined;
  if (options !== undefined) return merged(options.map(structural));
  const made: Schema = {};
  for (const field of KEPT) if (schema[field] !== undefined) made[field] = schema[field];
  if (typeof made["pattern"] === "string" && LOOK_AROUND.test(made["pattern"])) delete made["pattern"];
  // Said by a pattern in every place where we use it, and the API server's own idea of it is another.
  if (made["pattern"] !== undefined) delete made["format"];
  const { properties, additionalProperties, items, required } = schema;
  if (properties !== undefined) {
    made["properties"] = Object.fromEntries(
      Object.entries(properties as { [name: string]: Schema }).map(([name, each]) => [
        name,
        structural(each),
      ]),
    );
    if (Array.isArray(required)) made["required"] = required;
  } else if (typeof additionalProperties === "object" && additionalProperties !== null) {
    made["additionalProperties"] = structural(additionalProperties as Schema);
  }
  if (items !== undefined) made["items"] = structural(items as Schema);
  if (made["type"] === undefined) made["x-kubernetes-preserve-unknown-fields"] = true;
  return made;
}

function merged(options: readonly Schema[]): Schema {
  const [first = {}] = options;
  const types = new Set(options.map(({ type }) => type));
  if (types.size !== 1) return { "x-kubernetes-preserve-unknown-fields": true };
  if (first["type"] !== "object") {
    const enums = options.map((option) => option["enum"] as unknown[] | undefined);
    const all = enums.every((values) => values !== undefined)
      ? { enum: enums.flatMap((values) => values ?? []) }
      : {};
    return { type: first["type"], ...all };
  }
  const properties: { [name: string]: Schema } = {};
  for (const option of options) {
    for (const [name, schema] of Object.entries((option["properties"] ?? {}) as { [name: string]: Schema })) {
      const known = properties[name];
      properties[name] = known === undefined ? schema : merged([known, schema]);
    }
  }
  const required = ((first["required"] ?? []) as string[]).filter((name) =>
    options.every((option) => ((option["required"] ?? []) as string[]).includes(name)),
  );
  return { type: "object", properties, ...(required.length === 0 ? {} : { required }) };
}
