import * as z from "zod";
import {
  clusterDeleteResponse,
  clusterList,
  clusterStatus,
  registerRequest,
  registerResponse,
} from "../../model/wire/api.ts";
import { requireOperator, requireOperatorOrMember } from "../access.ts";
import { type Endpoint, pathParam } from "../endpoint.ts";
import { orThrow } from "../problem-error.ts";
import { decodeQuery } from "../query.ts";
import { decodeBody, readBody } from "../read-body.ts";

const dryRunQuery = z.strictObject({ dryRun: z.enum(["true", "false"]).exactOptional() });

export const CLUSTER_ENDPOINTS: readonly Endpoint[] = [
  {
    method: "post",
    path: "/v1/clusters",
    summary: "Register a cluster and get its single-use join token; one that has not joined gets a new token",
    security: ["operator"],
    body: registerRequest,
    answer: { status: 201, schema: registerResponse },
    async handle(c, { registry }) {
      const actor = await requireOperator(registry, c, "admin");
      const { name, dryRun = false } = decodeBody(c, await readBody(c), registerRequest);
      return c.json(orThrow(await registry.register(actor, name, dryRun)), dryRun ? 200 : 201);
    },
  },
  {
    method: "get",
    path: "/v1/clusters",
    summary: "All clusters, their members and what those have applied",
    security: ["operator"],
    answer: { status: 200, schema: clusterList },
    async handle(c, { registry }) {
      await requireOperator(registry, c, "viewer");
      return c.json({ revision: registry.state.revision, items: orThrow(await registry.clusterStatuses()) });
    },
  },
  {
    method: "get",
    path: "/v1/clusters/{name}",
    summary: "One cluster; its own members may ask too",
    security: ["operator", "member"],
    answer: { status: 200, schema: clusterStatus },
    async handle(c, { registry }) {
      const name = pathParam(c, "name");
      await requireOperatorOrMember(registry, c, { role: "viewer", cluster: name });
      return c.json(orThrow(await registry.clusterStatus(name)));
    },
  },
  {
    method: "delete",
    path: "/v1/clusters/{name}",
    summary: "Remove a cluster that neither exports nor imports anything",
    security: ["operator"],
    query: dryRunQuery,
    answer: { status: 200, schema: clusterDeleteResponse },
    async handle(c, { registry }) {
      const actor = await requireOperator(registry, c, "admin");
      const { dryRun } = decodeQuery(c, dryRunQuery);
      return c.json(orThrow(await registry.deleteCluster(actor, pathParam(c, "name"), dryRun === "true")));
    },
  },
];
