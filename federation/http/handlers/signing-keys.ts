import * as z from "zod";
import { keyRotation, keyRotationRequest } from "../../model/wire/api.ts";
import { requireOperator } from "../access.ts";
import type { Endpoint } from "../endpoint.ts";
import { orThrow, problemError } from "../problem-error.ts";
import { decodeBody, readBody } from "../read-body.ts";

export const SIGNING_KEY_ENDPOINTS: readonly Endpoint[] = [
  {
    method: "get",
    path: "/v1/snapshot-keys",
    summary: "The keys that sign snapshots, vouched for by the federation's root; 404 before any was rotated",
    security: ["open"],
    answer: { status: 200, schema: z.string(), type: "application/jose" },
    handle(c, { registry }) {
      const { signing } = registry.state;
      if (signing === undefined)
        throw problemError("not_found", "the key that the federation was founded with is the only one");
      return c.body(signing.document, 200, {
        "content-type": "application/jose",
        "cache-control": "public, no-cache",
        etag: `"${signing.sequence}"`,
      });
    },
  },
  {
    method: "post",
    path: "/v1/snapshot-keys/rotate",
    summary:
      "Announce a new signing key, which signs an hour later; `compromised`: in force at once, the old one void",
    security: ["operator"],
    body: keyRotationRequest,
    answer: { status: 200, schema: keyRotation },
    async handle(c, { registry }) {
      const actor = await requireOperator(registry, c, "admin");
      const { compromised = false, dryRun = false } = decodeBody(c, await readBody(c), keyRotationRequest);
      return c.json(orThrow(await registry.keys.rotate(actor, { compromised, dryRun })));
    },
  },
];
