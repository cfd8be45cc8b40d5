import { joinRequest, joinResponse, renewRequest, renewResponse } from "../../model/wire/api.ts";
import { requireMember } from "../access.ts";
import { type Endpoint, pathParam } from "../endpoint.ts";
import { orThrow } from "../problem-error.ts";
import { decodeBody, readBody } from "../read-body.ts";

/** A token and a CSR; whoever sends more has shown no credential yet. */
const MAX_JOIN_BYTES = 32 * 1024;

export const JOIN_ENDPOINTS: readonly Endpoint[] = [
  {
    method: "post",
    path: "/v1/join",
    summary:
      "Redeem a join token: a CSR for the cluster's CA certificate and everything to trust; repeated with the same key, the same answer",
    security: ["token"],
    body: joinRequest,
    answer: { status: 200, schema: joinResponse },
    async handle(c, { registry }) {
      const request = decodeBody(c, await readBody(c, MAX_JOIN_BYTES), joinRequest);
      return c.json(orThrow(await registry.join(request)));
    },
  },
  {
    method: "post",
    path: "/v1/clusters/{name}/renew",
    summary: "Renew the cluster's CA certificate; its gateways and its controller may",
    security: ["member"],
    body: renewRequest,
    answer: { status: 200, schema: renewResponse },
    async handle(c, { registry }) {
      const name = pathParam(c, "name");
      const { actor, body, spend } = await requireMember(registry, c, name, ["gateway", "controller"]);
      const { csr } = decodeBody(c, body, renewRequest);
      await spend();
      return c.json(orThrow(await registry.renew(actor, name, csr)));
    },
  },
];
