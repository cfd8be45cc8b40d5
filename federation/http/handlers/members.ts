import { declareRequest, declareResponse, servicesRequest, servicesResponse } from "../../model/wire/api.ts";
import { memberName } from "../../model/wire/fields.ts";
import { memberReport } from "../../model/wire/member-report.ts";
import { requireMember, requireOperator } from "../access.ts";
import { type Endpoint, pathParam } from "../endpoint.ts";
import { orThrow, problemError } from "../problem-error.ts";
import { decodeBody } from "../read-body.ts";

export const MEMBER_ENDPOINTS: readonly Endpoint[] = [
  {
    method: "put",
    path: "/v1/clusters/{name}/services",
    summary: "The complete list of the cluster's services; only its gateways know it",
    security: ["member"],
    body: servicesRequest,
    answer: { status: 200, schema: servicesResponse },
    async handle(c, { registry }) {
      const name = pathParam(c, "name");
      const { actor, body, spend } = await requireMember(registry, c, name, ["gateway"]);
      const { services } = decodeBody(c, body, servicesRequest);
      await spend();
      return c.json(orThrow(await registry.reportServices(actor, name, services)));
    },
  },
  {
    method: "put",
    path: "/v1/clusters/{name}/declared",
    summary:
      "The complete set of what the cluster's own control plane declares; what it declared before and leaves out is deleted",
    security: ["member"],
    body: declareRequest,
    answer: { status: 200, schema: declareResponse },
    async handle(c, { registry }) {
      const name = pathParam(c, "name");
      const { actor, body, spend } = await requireMember(registry, c, name, ["controller"]);
      const request = decodeBody(c, body, declareRequest);
      await spend();
      return c.json(orThrow(await registry.declare(actor, name, request)));
    },
  },
  {
    method: "put",
    path: "/v1/clusters/{name}/members/{member}",
    summary: "A member's heartbeat and its acknowledgement of the applied revision",
    security: ["member"],
    body: memberReport,
    answer: { status: 204 },
    async handle(c, { registry }) {
      const name = pathParam(c, "name");
      const { actor, role, body, sequence } = await requireMember(registry, c, name);
      const report = decodeBody(c, body, memberReport);
      const member = pathParam(c, "member");
      if (!memberName.safeParse(member).success)
        throw problemError("request_invalid", "the member's name must be a DNS label");
      // An agent that calls itself a gateway would draw other clusters' traffic to itself.
      if (report.role !== role) throw problemError("forbidden", `${actor} is no ${report.role}`);
      orThrow(await registry.reportMember(actor, name, member, { report, sequence }));
      return c.body(null, 204);
    },
  },
  {
    method: "delete",
    path: "/v1/clusters/{name}/members/{member}",
    summary: "Forget a member that is gone for good, and a gateway's address with it",
    security: ["operator"],
    answer: { status: 204 },
    async handle(c, { registry }) {
      const actor = await requireOperator(registry, c, "admin");
      orThrow(await registry.forgetMember(actor, pathParam(c, "name"), pathParam(c, "member")));
      return c.body(null, 204);
    },
  },
];
