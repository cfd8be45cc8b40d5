import * as z from "zod";
import type { EgressPolicySpec, ExternalTarget } from "../egress-policy.ts";
import { parseExternalHost, parseHostnamePattern } from "../external-host.ts";
import { parseCidr } from "../ip-address.ts";
import { alsoCheck } from "./decode.ts";
import { duration, label, port, workloadPattern } from "./fields.ts";

const MAX_PATTERNS = 256;
const MAX_TARGETS = 2_000;
const MAX_REFS = 64;

/** Refuses with the parser's own words, which say what to write instead. */
function checkedBy(parse: (text: string) => { readonly ok: boolean; readonly error?: string }) {
  return z.string().check((context) => {
    const parsed = parse(context.value);
    if (!parsed.ok)
      context.issues.push({ code: "custom", message: parsed.error ?? "", input: context.value });
  });
}

export const hostnamePattern = checkedBy((text) => withError(parseHostnamePattern(text)));
export const plainHostname = checkedBy((text) => {
  const parsed = parseExternalHost(text);
  return parsed.ok && (parsed.value.kind !== "name" || parsed.value.name !== text)
    ? { ok: false, error: "must be a host name in lower case" }
    : withError(parsed);
});
export const cidr = checkedBy((text) => withError(parseCidr(text)));

function withError(result: { readonly ok: boolean } | { readonly ok: false; readonly error: string }) {
  return "error" in result ? { ok: false, error: result.error } : { ok: true };
}

/** RFC 9110 §5.6.2; CONNECT and TRACE are never forwarded. */
export const method = z
  .string()
  .max(32)
  .regex(
    /^(?!(?:CONNECT|TRACE)$)[A-Z][A-Z0-9_-]*$/,
    "must be an HTTP method in capitals, not CONNECT or TRACE",
  );
export const externalPath = z.strictObject({
  type: z.enum(["Exact", "PathPrefix"]),
  value: z
    .string()
    .max(1024)
    .regex(
      /^\/(?!.*\/\/)(?!.*(?:^|\/)\.\.?(?:\/|$))[!-"$->@-~]*$/,
      `must begin with "/" and be in its simplest form`,
    ),
});
export const secretRef = z.strictObject({ name: label });

const external = {
  hostname: hostnamePattern.exactOptional(),
  cidr: cidr.exactOptional(),
  ports: z.array(port).min(1).max(64).exactOptional(),
  protocol: z.enum(["http", "tcp"]).exactOptional(),
  http: z
    .strictObject({
      methods: z.array(method).min(1).max(32).exactOptional(),
      paths: z.array(externalPath).min(1).max(MAX_PATTERNS).exactOptional(),
    })
    .exactOptional(),
};
export const externalTarget = z.strictObject(external) satisfies z.ZodType<ExternalTarget>;
const target = z.strictObject({
  service: z.strictObject({ namespace: label, name: label }).exactOptional(),
  ...external,
});
const source = alsoCheck(
  z.strictObject({
    workload: workloadPattern.exactOptional(),
    namespace: label.exactOptional(),
    cluster: label.exactOptional(),
  }),
  (value, report) => {
    const given = ["workload", "namespace", "cluster"].filter((field) => has(value, field));
    if (given.length !== 1) report([], "needs exactly one of workload, namespace or cluster");
  },
);

export const egressTls = z.strictObject({
  mode: z.enum(["passthrough", "originate", "mutual"]),
  sni: plainHostname.exactOptional(),
  validation: z
    .strictObject({
      wellKnownCACertificates: z.literal("System").exactOptional(),
      caCertificateRefs: z.array(secretRef).min(1).max(MAX_REFS).exactOptional(),
      subjectAltNames: z
        .array(
          z.discriminatedUnion("type", [
            z.strictObject({ type: z.literal("Hostname"), hostname: plainHostname }),
            z.strictObject({ type: z.literal("URI"), uri: z.string().min(3).max(2048) }),
          ]),
        )
        .min(1)
        .max(MAX_REFS)
        .exactOptional(),
    })
    .exactOptional(),
  minVersion: z.enum(["1.2", "1.3"]).exactOptional(),
  clientCertificateRef: secretRef.exactOptional(),
  clientCertificates: z
    .array(z.strictObject({ workload: workloadPattern, clientCertificateRef: secretRef }))
    .min(1)
    .max(MAX_PATTERNS)
    .exactOptional(),
});

export const egressRateLimit = z.strictObject({
  requests: z.int().min(1).max(1_000_000),
  interval: duration.exactOptional(),
  burst: z.int().min(1).max(1_000_000).exactOptional(),
});

export const egressTimeouts = z.strictObject({
  connect: duration.exactOptional(),
  request: duration.exactOptional(),
  idle: duration.exactOptional(),
});

export const egressPriority = z.int().min(-1_000).max(1_000);

export const egressPolicySpec = alsoCheck(
  z.strictObject({
    mode: z.enum(["observe", "enforce"]),
    priority: egressPriority.exactOptional(),
    from: z.array(source).min(1).max(MAX_PATTERNS),
    to: z.array(target).max(MAX_TARGETS),
    tls: egressTls.exactOptional(),
    rateLimit: egressRateLimit.exactOptional(),
    timeouts: egressTimeouts.exactOptional(),
  }) satisfies z.ZodType<EgressPolicySpec>,
  checkTogether,
);

type Report = (path: readonly PropertyKey[], text: string) => void;

/** Fields that contradict each other; the values may not have the right shape. */
function checkTogether(value: unknown, report: Report): void {
  const tls = fieldOf(value, "tls");
  const mode = fieldOf(tls, "mode");
  const targets = fieldOf(value, "to");
  const list: readonly unknown[] = Array.isArray(targets) ? targets : [];
  if (tls !== undefined) checkTls(tls, mode, report);
  if (tls !== undefined && !list.some((item) => has(item, "hostname") || has(item, "cidr")))
    report(["tls"], "no destination of this policy is external: tls concerns only those");
  list.forEach((item, index) => {
    const given = ["service", "hostname", "cidr"].filter((field) => has(item, field));
    if (given.length === 0) report(["to", index], "needs one of service, hostname or cidr");
    if (has(item, "service")) {
      const extra = Object.keys(item as object).filter((field) => field !== "service");
      if (extra.length > 0) report(["to", index], `service goes without ${extra.join(", ")}`);
      return;
    }
    checkHttp(item, index, mode, report);
  });
}

function checkTls(tls: unknown, mode: unknown, report: Report): void {
  const hasClient = has(tls, "clientCertificateRef") || has(tls, "clientCertificates");
  if (mode === "mutual" && !hasClient)
    report(["tls", "mode"], "mutual needs clientCertificateRef or clientCertificates");
  if (mode !== "mutual" && hasClient)
    report(["tls", "mode"], "a client certificate is shown in mode mutual only");
  if (mode !== "passthrough") return;
  for (const field of ["validation", "sni", "minVersion"])
    if (has(tls, field)) report(["tls", field], "the gateway does not speak TLS itself in mode passthrough");
}

function checkHttp(item: unknown, index: number, mode: unknown, report: Report): void {
  const protocol = fieldOf(item, "protocol");
  if (has(item, "http") && protocol === "tcp")
    report(["to", index, "http"], "HTTP rules need protocol http: other bytes are not looked at");
  if (mode === "passthrough" && (has(item, "http") || protocol === "http"))
    report(
      ["to", index],
      "HTTP is not visible in mode passthrough: use originate, or leave the HTTP rules away",
    );
}

function fieldOf(value: unknown, field: string): unknown {
  return typeof value === "object" && value !== null
    ? (Object.getOwnPropertyDescriptor(value, field)?.value as unknown)
    : undefined;
}

function has(value: unknown, field: string): boolean {
  return fieldOf(value, field) !== undefined;
}
