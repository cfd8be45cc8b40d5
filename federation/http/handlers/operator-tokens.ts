import { operatorTokenRequest, operatorTokenResponse } from "../../model/wire/api.ts";
import { timestamp } from "../../registry/clock.ts";
import { requireOperator } from "../access.ts";
import type { Endpoint } from "../endpoint.ts";
import { decodeBody, readBody } from "../read-body.ts";

export const OPERATOR_TOKEN_ENDPOINTS: readonly Endpoint[] = [
  {
    method: "post",
    path: "/v1/operator-tokens",
    summary: "Issue a token for another operator or a program",
    security: ["operator"],
    body: operatorTokenRequest,
    answer: { status: 201, schema: operatorTokenResponse },
    async handle(c, { registry }) {
      await requireOperator(registry, c, "admin");
      const request = decodeBody(c, await readBody(c), operatorTokenRequest);
      const { token, expiresAtMs } = await registry.authority.issueOperatorToken(
        request,
        registry.state,
        registry.clock.now(),
      );
      return c.json({ token, expiresAt: timestamp(expiresAtMs) }, 201);
    },
  },
];
