import type { Context } from "hono";
import * as z from "zod";
import type { AppliedKind } from "../../model/resource.ts";
import {
  applyRequest,
  applyResponse,
  deleteResponse,
  resourceKind,
  resourceList,
} from "../../model/wire/api.ts";
import { nearest } from "../../model/wire/nearest.ts";
import { APPLIED_KINDS, withoutStatus } from "../../model/wire/resource.ts";
import { listResources, type ResourceFilter } from "../../registry/queries.ts";
import type { ItemKey } from "../../registry/state.ts";
import { requireOperator } from "../access.ts";
import { type Endpoint, pathParam } from "../endpoint.ts";
import { orThrow, problemError } from "../problem-error.ts";
import { decodeQuery } from "../query.ts";
import { decodeBody, readBody } from "../read-body.ts";

const listQuery = z.strictObject({
  kind: resourceKind.exactOptional(),
  cluster: z.string().exactOptional(),
  namespace: z.string().exactOptional(),
  name: z.string().exactOptional(),
}) satisfies z.ZodType<ResourceFilter>;

const deleteQuery = z.strictObject({
  dryRun: z.enum(["true", "false"]).exactOptional(),
  resourceVersion: z.stringFormat("revision", /^[0-9]{1,15}$/).exactOptional(),
});

export const RESOURCE_ENDPOINTS: readonly Endpoint[] = [
  {
    method: "post",
    path: "/v1/apply",
    summary:
      "Create or change resources, all or nothing; `metadata.resourceVersion` is a condition where given",
    security: ["operator"],
    body: applyRequest,
    answer: { status: 200, schema: applyResponse },
    async handle(c, { registry }) {
      const actor = await requireOperator(registry, c, "editor");
      const request = decodeBody(c, await readBody(c), tolerantApplyRequest);
      return c.json(orThrow(await registry.apply(actor, request)));
    },
  },
  {
    method: "get",
    path: "/v1/resources",
    summary: "Resources with their conditions",
    security: ["operator"],
    query: listQuery,
    answer: { status: 200, schema: resourceList },
    async handle(c, { registry }) {
      await requireOperator(registry, c, "viewer");
      const { state } = registry;
      return c.json({ revision: state.revision, items: listResources(state, decodeQuery(c, listQuery)) });
    },
  },
  {
    method: "delete",
    path: "/v1/resources/{kind}/{cluster}/{namespace}/{name}",
    summary: "Delete one resource; the namespace of kinds that have none is written `-`",
    security: ["operator"],
    query: deleteQuery,
    answer: { status: 200, schema: deleteResponse },
    async handle(c, { registry }) {
      const actor = await requireOperator(registry, c, "editor");
      const { dryRun, resourceVersion } = decodeQuery(c, deleteQuery);
      const command = {
        key: keyOfPath(c),
        resourceVersion: resourceVersion === undefined ? undefined : Number(resourceVersion),
        dryRun: dryRun === "true",
      };
      return c.json(orThrow(await registry.deleteResource(actor, command)));
    },
  },
];

/** What a listing answered may be edited and sent back: its `status` is dropped. */
const tolerantApplyRequest = z.preprocess((body) => {
  if (typeof body !== "object" || body === null || !("resources" in body)) return body;
  return Array.isArray(body.resources) ? { ...body, resources: body.resources.map(withoutStatus) } : body;
}, applyRequest);

function keyOfPath(c: Context): ItemKey {
  const kind = appliedKindOf(pathParam(c, "kind"));
  const namespace = pathParam(c, "namespace");
  return {
    kind,
    cluster: pathParam(c, "cluster"),
    namespace: namespace === "-" ? "" : namespace,
    name: pathParam(c, "name"),
  };
}

function appliedKindOf(text: string): AppliedKind {
  const kind = APPLIED_KINDS.find((known) => known.toLowerCase() === text.toLowerCase());
  if (kind !== undefined) return kind;
  const suggestion = nearest(text, APPLIED_KINDS);
  const message = `${APPLIED_KINDS.join(", ")} can be deleted`;
  throw problemError("request_invalid", message, [
    suggestion === undefined ? { path: "kind", message } : { path: "kind", message, suggestion },
  ]);
}
