import * as z from "zod";
import { parseExternalHost } from "../external-host.ts";
import type { OutsideIngress } from "../ingress.ts";
import { externalPath, plainHostname, secretRef } from "./egress-policy.ts";
import { port } from "./fields.ts";

const MAX_NAMES = 64;
const MAX_PATHS = 64;
export const MAX_INGRESS = 64;

const hostname = plainHostname.refine((text) => {
  const host = parseExternalHost(text);
  return host.ok && host.value.kind === "name";
}, "must be a host name: SNI holds no address");

export const outsideIngress = z.strictObject({
  hostnames: z.array(hostname).min(1).max(MAX_NAMES),
  paths: z.array(externalPath).min(1).max(MAX_PATHS).exactOptional(),
  port,
  tls: z.strictObject({
    certificateRef: secretRef,
    clientValidation: z
      .strictObject({
        caCertificateRefs: z.array(secretRef).min(1).max(MAX_NAMES),
        mode: z.enum(["Required", "Optional"]),
      })
      .exactOptional(),
  }),
}) satisfies z.ZodType<OutsideIngress>;
